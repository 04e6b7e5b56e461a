"""``--support`` of the commands, bounds that a file knows, and what is suggested."""

import json

import numpy as np
import pytest

from disco_samplers import cli, files

SMALL = ["--num-samples", "30", "--num-chains", "2", "--num-warmup", "6", "--thinning", "1", "--quiet", "--model", "small"]


@pytest.fixture
def here(tmp_path, monkeypatch, small):
    """A folder with a table of 80 rows with a positive column and one in [0, 1], and points in and outside."""
    monkeypatch.chdir(tmp_path)
    small.save_pretrained("small")
    rng = np.random.default_rng(0)
    tau, p = rng.exponential(size=80), np.r_[0.01, 0.99, rng.random(78)]
    files.write_table("draws.csv", {"tau": tau, "p": p})
    files.write_table("points.csv", {"tau": np.array([1.0, -1.0, 0.5]), "p": np.array([0.5, 0.5, 1.5])})
    return tmp_path


def test_score(here, capsys):
    given = ["score", "draws.csv", "--at", "points.csv", "--out", "s.csv", "--model", "small", "--quiet"]
    assert cli.main([*given, "--support", "tau=positive", "p=0,1"]) == 0
    assert "looks bounded" not in capsys.readouterr().out
    found = files.read_table("s.csv", header=True)
    assert np.isfinite(found.values[0]).all()
    assert (found.values[1:, 0] == -np.inf).all()
    assert (found.values[1:, 1:] == 0).all()


def test_density_and_detect_of_rows_with_missing_cells(here, capsys):
    """A row of which a cell that is there lies outside is told, and as unusual as can be."""
    pytest.importorskip("sklearn")
    tau, p = files.read_table("draws.csv").values.T
    tau[::6], p[3::6] = np.nan, np.nan
    files.write_table("holes.csv", {"tau": tau, "p": p})
    files.write_table("asked.csv", {"tau": np.array([0.7, -1.0, np.nan]), "p": np.array([np.nan, 0.5, 0.3])})
    shared = ["asked.csv", "--train", "holes.csv", "--support", "tau=positive", "p=unit", "--quiet", "--model", "small"]
    assert cli.main(["density", *shared, "--out", "d.csv", "--plot", "d.png"]) == 0
    assert "1 of them outside the support (-inf, not in the mean)" in capsys.readouterr().out
    assert np.isneginf(files.read_table("d.csv").values[:, -1]).tolist() == [False, True, False]
    assert cli.main(["detect", *shared, "--out", "f.csv", "--plot", "f.png", "--explain-plot", "why.png"]) == 0
    assert np.isinf(files.read_table("f.csv", columns=["anomaly_score"]).values[:, 0]).tolist() == [False, True, False]
    files.write_table("off.csv", {"tau": np.r_[-1.0, tau[1:]], "p": p})
    assert cli.main(["density", *shared[:2], "off.csv", *shared[3:], "--out", "d.csv"]) != 0
    assert "1 rows lie outside the support (0.0, None) of column tau: row 0" in capsys.readouterr().err


def test_what_looks_bounded_is_said_and_no_more(here, capsys):
    given = ["score", "draws.csv", "--at", "points.csv", "--out", "s.csv", "--model", "small", "--quiet"]
    assert cli.main(given) == 0
    assert "looks bounded: --support tau=positive p=unit\n" in capsys.readouterr().out
    assert np.isfinite(files.read_table("s.csv").values).all()
    assert cli.main([*given, "--json"]) == 0
    json.loads(capsys.readouterr().out)


def test_sample_and_plot(here, capsys):
    assert cli.main(["sample", "draws.csv", *SMALL, "--support", "tau=0,", "p=unit", "--out", "new.csv"]) == 0
    tau, p = files.read_table("new.csv").values.T
    assert (tau > 0).all()
    assert ((p > 0) & (p < 1)).all()
    assert cli.main(["plot", "draws.csv", "--columns", "p", "--support", "p=unit", "--out", "p.png", "--model", "small"]) == 0
    assert (here / "p.png").exists()


def test_bounds_that_a_file_knows(here, capsys):
    """getdist's: weight, minus log-posterior, columns; ranges in a file of their own."""
    rng = np.random.default_rng(1)
    np.savetxt("chain.txt", np.c_[np.ones(80), np.zeros(80), rng.exponential(size=80)])
    (here / "chain.paramnames").write_text("tau \\tau\n")
    (here / "chain.ranges").write_text("tau 0 N\n")
    files.write_table("at.csv", {"tau": np.array([1.0, -1.0])})
    given = ["score", "chain.txt", "--at", "at.csv", "--out", "s.csv", "--model", "small", "--quiet"]
    assert cli.main(given) == 0
    assert files.read_table("s.csv").values[1, 0] == -np.inf
    assert cli.main([*given, "--support", "tau=real"]) == 0
    assert np.isfinite(files.read_table("s.csv").values).all()


def test_angles_and_a_simplex(here, capsys):
    rng = np.random.default_rng(2)
    p = rng.dirichlet([1, 1, 1], 80)
    angle = np.r_[1.0, 359.0, rng.uniform(0, 360, 78)]
    files.write_table("turns.csv", {"angle": angle, "p[0]": p[:, 0], "p[1]": p[:, 1], "p[2]": p[:, 2]})
    at = {"angle": [-1.0, 359.0, 5.0], "p[0]": [0.2, 0.2, 0.5], "p[1]": [0.3, 0.3, 0.5], "p[2]": [0.5, 0.5, 0.5]}
    files.write_table("at.csv", {name: np.array(column) for name, column in at.items()})
    given = ["score", "turns.csv", "--at", "at.csv", "--out", "s.csv", "--model", "small", "--quiet"]
    assert cli.main(given) == 0
    assert "looks bounded: --support angle=circular:360 p[0],p[1],p[2]=simplex\n" in capsys.readouterr().out
    supports = ["--support", "angle=circular:360", "p=simplex"]
    assert cli.main([*given, *supports]) == 0
    log_prob = files.read_table("s.csv").values[:, 0]
    assert log_prob[0] == pytest.approx(log_prob[1], abs=1e-6)
    assert log_prob[2] == -np.inf
    some = ["sample", "turns.csv", "--num-samples", "40", "--quiet", "--model", "small", "--out", "new.csv"]
    assert cli.main([*some, *supports]) == 0
    found = files.read_table("new.csv").values
    assert np.allclose(found[:, 1:].sum(1), 1)
    assert ((found[:, 0] >= 0) & (found[:, 0] <= 360)).all()
    assert cli.main(["plot", "turns.csv", "--columns", "p[0]", "p[1]", "--out", "p.png", "--model", "small"]) == 0
    assert cli.main([*given, "--support", "auto"]) == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("theta=positive", "--support theta=positive: write COLUMN=WHERE with a column of tau, p"),
        ("positive", "--support positive: write COLUMN=WHERE"),
        ("tau=plus", "--support tau=plus: write positive, unit, real, or LOW,HIGH with either left out"),
        ("tau=5,1", "--support tau=5,1: write positive"),
        ("tau=1,2,3", "--support tau=1,2,3: write positive"),
        ("tau=circular:", "column tau must have a period, as circular:360 has"),
        ("tau=simplex", "simplex is of two columns or more"),
        ("tau,x=simplex", "write COLUMN=WHERE with a column of tau, p"),
        ("p=0,0.5", r"rows lie outside the support \(0.0, 0.5\) of column p: rows "),
    ],
)
def test_what_is_refused_is_said_in_a_line(given, told, here, capsys):
    import re

    status = cli.main(["score", "draws.csv", "--at", "points.csv", "--out", "s.csv", "--model", "small", "--support", given])
    assert status == 1
    error = capsys.readouterr().err
    assert re.search(told, error)
    assert error.count("\n") == 1
