"""``disco diffuse``: samples of a table, and one line on whatever is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from disco_samplers import cli, files

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

SMALL = ["--num-samples", "40", "--num-steps", "5", "--replicas", "1", "--quiet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a table of 80 rows, of unlike scales and far from zero."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(80, 2)) * [0.1, 50.0] + [3.0, 1000.0]
    files.write_table("data.csv", {"mu": x[:, 0], "theta": x[:, 1]})
    return x


def run(capsys, *arguments):
    status = cli.main(["diffuse", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("scheduler", ["DPMSolverMultistep", "DDIMScheduler", "FlowMatchEulerDiscrete", "DiscoLangevin"])
def test_samples_have_names_and_units_of_the_table(scheduler, here, capsys):
    status, out, err = run(capsys, "data.csv", *SMALL, "--scheduler", scheduler, "--out", "new.csv")
    assert (status, err) == (0, "")
    table = files.read_table("new.csv")
    assert table.names == ["mu", "theta"]
    assert table.values.shape == (40, 2)
    # 40 draws of the data's spread: their mean is off by five standard errors once in two million.
    assert (np.abs(table.values.mean(0) - here.mean(0)) < 5 * here.std(0) / 40**0.5 + 0.3 * here.std(0)).all()
    assert "40 samples of 2 variables by" in out
    assert "wrote new.csv" in out


def test_same_seed_same_file_and_a_picture(here, capsys, tmp_path):
    for name in ("a", "b"):
        assert run(capsys, "data.csv", *SMALL, "--seed", "3", "--out", f"{name}.csv", "--plot", f"{name}.png")[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_weights_and_chains_count(capsys, tmp_path, monkeypatch):
    """Rows of N(0, 1.5^2) with weights to N(1, 1), and four chains that repeat each row: read for what they are worth."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    x = 1.5 * rng.normal(size=(400, 1))
    weight = np.exp(-0.5 * (x[:, 0] - 1) ** 2 + 0.5 * (x[:, 0] / 1.5) ** 2)
    files.write_table("weighted.csv", {"x": x[:, 0], "weight": weight})
    many = ["--num-samples", "400", "--num-steps", "20", "--out", "new.csv"]
    status, out, err = run(capsys, "weighted.csv", *SMALL, *many, "--row-weights", "weight")
    assert (status, err) == (0, "")
    assert "weighted, worth" in out
    new = files.read_table("new.csv").values
    # Means of 400 draws and of rows worth 200 are off by .09 together; the rows themselves have mean 0 and deviation 1.5.
    assert abs(new.mean() - 1) < 0.45
    assert abs(new.std() - 1) < 0.25
    chains = rng.normal(size=(4, 50, 2)).repeat(3, axis=1)
    np.save("chains.npy", chains)
    assert "4 chains of 2 columns, 200 distinct" in run(capsys, "chains.npy", *SMALL)[1]
    assert "of 2 columns, 200 distinct" in run(capsys, "chains.npy", *SMALL, "--iid")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.csv", *SMALL, "--scheduler", "Nothing"], "is not a scheduler of diffusers"),
        (["data.csv", *SMALL, "--scheduler", "DDIMPipeline"], "is not a scheduler of diffusers"),
        (["data.csv", *SMALL, "--scheduler", "RePaint"], "RePaint"),
        (["none.csv", *SMALL], "no file"),
        (["data.csv", *SMALL, "--out", "new.txt"], "extension"),
        (["data.csv", *SMALL, "--num-samples", "0"], "num_samples must be at least 1"),
        (["data.csv", *SMALL, "--num-steps", "0"], "num_inference_steps must be at least 1"),
        (["few.csv", *SMALL], "at least 16"),
        (["constant.csv", *SMALL], "two different values"),
        (["missing.csv", *SMALL], "missing or infinite"),
    ],
)
def test_one_line_on_what_is_wrong(arguments, message, here, capsys):
    files.write_table("few.csv", {"x": here[:5, 0]})
    files.write_table("constant.csv", {"x": here[:, 0], "y": np.ones(80)})
    files.write_table("missing.csv", {"x": np.where(here[:, 0] > 3.1, np.nan, here[:, 0])})
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert err.startswith("disco: error: ")
    assert message in err
    assert err.count("\n") == 1
