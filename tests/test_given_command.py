"""``--given`` of the commands: draws and pictures of some columns where the others have given values."""

import json
import re

import numpy as np
import pytest

from disco_samplers import cli, files


@pytest.fixture
def here(tmp_path, monkeypatch, small):
    """A folder with a table of 200 rows: b follows a, c is positive."""
    monkeypatch.chdir(tmp_path)
    small.save_pretrained("small")
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    files.write_table("draws.csv", {"a": a, "b": 2 * a + 0.1 * rng.normal(size=200), "c": rng.exponential(size=200)})
    return tmp_path


def test_sample(here, capsys):
    given = ["sample", "draws.csv", "--given", "a=1.5", "--num-samples", "300", "--model", "small", "--quiet"]
    assert cli.main([*given, "--support", "c=positive", "--out", "new.csv", "--plot", "new.png"]) == 0
    said = capsys.readouterr().out
    assert "new draws: 300 of b, c given a=1.5" in said
    table = files.read_table("new.csv")
    assert table.names == ["b", "c"]
    # The network of this test is none that has learned: what it whitens it knows all the same.
    assert abs(table.values[:, 0].mean() - 3) < 0.3
    assert (table.values[:, 1] > 0).all()
    assert (here / "new.png").exists()
    assert cli.main([*given, "--given", "c=0.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["given"] == {"a": 1.5, "c": 0.5}
    assert list(told["summary"]) == ["b"]


def test_angles_are_summarised_around_their_direction(here, capsys):
    """About 0 degrees, of a turn from 0 to 360: the mean is not 180; the bound is six standard errors."""
    rng = np.random.default_rng(1)
    angle = rng.normal(0, 15, 200) % 360
    files.write_table("angles.csv", {"a": rng.normal(size=200), "angle": angle})
    given = ["sample", "angles.csv", "--given", "a=0", "--num-samples", "300", "--model", "small", "--quiet", "--json"]
    assert cli.main([*given, "--support", "angle=circular:360", "--out", "new.csv"]) == 0
    told = json.loads(capsys.readouterr().out)["summary"]["angle"]
    table = files.read_table("new.csv").values[:, 0]
    assert ((table >= 0) & (table <= 360)).all()
    turns = np.exp(1j * np.radians(table)).mean()
    assert abs((told["mean"] - np.degrees(np.angle(turns)) + 180) % 360 - 180) < 3
    assert told["sd"] < 90
    assert told["5%"] < told["mean"] < told["95%"]


@pytest.mark.parametrize("shift", [0.3, -0.3])
def test_angles_of_chains_stand_beside_those_of_the_input(here, capsys, shift):
    """Input and new draws about the seam are told in the same turn, wherever their means are."""
    angle = (np.random.default_rng(1).normal(0, 15, 200) + shift) % 360
    files.write_table("angles.csv", {"angle": angle})
    run = ["sample", "angles.csv", "--support", "angle=circular:360", "--num-samples", "100", "--num-warmup", "20"]
    assert cli.main([*run, "--iid", "--model", "small", "--quiet"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("angle"))
    old, new = (np.array(row.split()[k:11:2], dtype=float) for k in (1, 2))
    assert (np.abs(old - new)[[0, 2, 3, 4]] < 90).all()
    assert (np.array([old[1], new[1]]) < 90).all()
    assert old[2] < old[3] < old[4] < old[2] + 90


def test_plot(here):
    assert cli.main(["plot", "draws.csv", "--given", "a=1", "c=0.5", "--out", "b.png", "--model", "small"]) == 0
    assert (here / "b.png").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["a"], "--given a: write COLUMN=VALUE with a column of a, b, c"),
        (["z=1"], "--given z=1: write COLUMN=VALUE with a column of a, b, c"),
        (
            ["c=1", "--columns", "a", "b"],
            r"write COLUMN=VALUE with a column of a, b \(--columns and --exclude leave no others\)",
        ),
        (["a=x"], "--given a=x: the value must be a number"),
        (["a=1", "a=2"], "--given a=2: a has the value 1 already"),
        (["a=nan"], "given a holds NaN or infinite values"),
        (["a=1", "b=2", "c=1"], "given names all columns"),
        (["a=1", "--num-chains", "2"], "--num-chains: of chains, and draws with --given are independent"),
        (["c=-1", "--support", "c=positive"], r"given c = -1 lies outside its support \(0.0, None\)"),
        (["a=1", "--out", "new.nc"], "new.nc: the extension must be"),
    ],
)
def test_what_is_refused_is_said_in_a_line(given, told, here, capsys):
    assert cli.main(["sample", "draws.csv", "--quiet", "--model", "small", "--given", *given]) == 1
    error = capsys.readouterr().err
    assert re.search(told, error)
    assert error.count("\n") == 1
