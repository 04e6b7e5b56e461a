"""The command: sample, score, train and info on small data, and one line on whatever is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from conftest import perturbed

from disco_samplers import Draws, cli, files
from disco_samplers.samplers import summarise

SMALL = ["--num-samples", "6", "--num-chains", "2", "--num-warmup", "10", "--thinning", "1", "--quiet"]
QUICK = ["--model", "small", "--quiet"]
TINY = {
    "model": {"layers": 1, "width": 8, "vector_channels": 2, "heads": 2, "head_width": 4, "hidden": 8},
    "training": {"stream": {"max_dim": 2, "common_dim": 2, "min_samples": 8, "max_samples": 16, "queries": 8, "max_batch": 2}},
}


@pytest.fixture
def here(tmp_path, monkeypatch, quick_validation):
    """A folder with a table of 60 draws and one of 5 points."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(60, 2)) * [1.0, 5.0]
    files.write_table("draws.csv", {"mu": x[:, 0], "theta": x[:, 1]})
    files.write_table("points.csv", {"mu": x[:5, 0], "theta": x[:5, 1]})
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    return tmp_path


def run(capsys, *arguments):
    """The command's output; it must not fail nor say anything on standard error."""
    status = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("suffix", "method"),
    [(suffix, "auto") for suffix in (".csv", ".npy", ".npz", ".parquet", ".nc")]
    + [(".csv", method) for method in ("mala", "ula", "baoab", "malt", "annealed")],
)
def test_sample(suffix, method, here, capsys):
    for module in {".parquet": ["pyarrow"], ".nc": ["arviz", "h5netcdf", "h5py"]}.get(suffix, []):
        pytest.importorskip(module)
    out = run(capsys, "sample", "draws.csv", *SMALL, "--method", method, "--out", f"new{suffix}")
    table = files.read_table(f"new{suffix}")
    assert table.by_chain.shape == (2, 6, 2)
    assert table.names == (["x0", "x1"] if suffix == ".npy" else ["mu", "theta"])
    assert np.isfinite(table.values).all()
    assert "input: 60 draws of 2 variables from draws.csv" in out
    assert f"SamplerResult({'jumps' if method == 'auto' else method}, num_chains=2, num_samples=6, d=2" in out
    assert f"wrote new{suffix}" in out
    assert "sliced Wasserstein distance" in out
    lines = out.splitlines()
    # Six draws a chain: no R-hat, no ESS.
    assert [line.split() for line in lines if line.strip().startswith("mean")] == [["mean", "sd", "5%", "50%", "95%"]]
    assert [line.split() for line in lines if line.strip().startswith("input ")] == [["input", "new"] * 5]
    shown = {line.split()[0]: line.split() for line in lines if line.startswith(("mu ", "theta "))}
    for i, name in enumerate(("mu", "theta")):
        assert len(shown[name]) == 11
        assert float(shown[name][2]) == pytest.approx(table.values[:, i].mean(), abs=2e-3)


def test_same_seed_same_output(here, capsys):
    first, second, other = (
        run(capsys, "sample", "draws.csv", *SMALL, "--seed", seed, "--out", f"{name}.csv")
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert (here / "a.csv").read_bytes() == (here / "b.csv").read_bytes() != (here / "c.csv").read_bytes()
    assert first.replace("a.csv", "b.csv") == second
    assert first.replace("a.csv", "c.csv") != other


def test_closeness_in_words(here, capsys):
    rows = np.random.default_rng(0).normal(size=(60, 2))
    np.save("normal.npy", rows)
    options = ["--num-samples", "30", "--num-chains", "4", "--num-warmup", "10", "--quiet"]
    out = run(capsys, "sample", "normal.npy", *options)
    assert "new draws are as close to the input as half of it is to the other half (sliced" in out


def test_halves_far_apart_are_no_measure(here, capsys):
    np.save("few.npy", np.random.default_rng(0).normal(size=(12, 2)))
    out = run(capsys, "sample", "few.npy", *SMALL)
    assert "cannot be judged, for its halves lie apart (sliced" in out


@pytest.mark.filterwarnings("ignore::disco_samplers.draws.UnmixedWarning")
@pytest.mark.filterwarnings("ignore::disco_samplers.draws.LowEffectiveSizeWarning")
def test_halves_of_a_slow_chain_are_far_apart(here, capsys):
    """Rows drawn at random share every wiggle of a chain, so that halves of them look alike whatever the chain is worth."""
    rng = np.random.default_rng(0)
    chains = np.zeros((4, 300, 1))
    for t in range(1, 300):
        chains[:, t] = 0.97 * chains[:, t - 1] + 0.24 * rng.normal(size=(4, 1))
    np.save("slow.npy", chains)
    options = ["--num-samples", "100", "--num-chains", "4", "--num-warmup", "6", "--quiet", "--json"]
    apart = [json.loads(run(capsys, "sample", "slow.npy", *options, *more))["distance_of_halves"] for more in ([], ["--iid"])]
    assert apart[0] > 2 * apart[1]


def test_chains_that_have_not_mixed(here, capsys):
    """Two modes that local moves do not cross: a line, marks in the table, and with --strict an exit status of its own."""
    rows = np.random.default_rng(0).normal(size=(60, 1))
    rows[:30] += 30
    np.save("modes.npy", rows)
    stuck = ["modes.npy", "--method", "mala", "--num-samples", "100", "--num-warmup", "20", "--thinning", "1", "--quiet"]
    out = run(capsys, "sample", *stuck, "--num-chains", "8")
    assert "warning: chains have not mixed" in out
    row = next(line for line in out.splitlines() if line.startswith("x0 "))
    assert row.endswith("not mixed")
    assert cli.main(["sample", *stuck, "--num-chains", "8", "--strict"]) == 3
    assert cli.main(["sample", "modes.npy", *SMALL, "--strict"]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "apart.npy", *SMALL],
        ["score", "apart.npy", "--at", "apart.csv", "--out", "s.csv", "--quiet"],
        ["plot", "apart.npy", "--columns", "x0", "--out", "p.png", "--quiet"],
        ["plot", "apart.npy", "--out", "p.png", "--quiet"],
        ["compare", "apart.npy", "apart.npy", "--quiet"],
        ["merge", "apart.npy", "apart.npy", "--out", "m.csv", "--num-chains", "8", *SMALL],
        ["evidence", "apart.nc", "--log-posterior", "x2", "--proposal", "mixture", "--quiet"],
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[2:4]),
)
def test_an_input_that_has_not_mixed_is_called_so(arguments, here, capsys):
    """Two of four chains lie six deviations from the others, in one of three columns: whatever the command, it says so."""
    for module in ("matplotlib", "arviz", "h5netcdf"):
        pytest.importorskip(module)
    perturbed("axes").save_pretrained("small")
    chains = np.random.default_rng(0).normal(size=(4, 400, 3))
    chains[2:, :, 0] += 6
    np.save("apart.npy", chains)
    files.write_table("apart.csv", {f"x{i}": chains[0, :5, i] for i in range(3)})
    files.save("apart.nc", Draws(chains))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        cli.main([*arguments, "--model", "small"])
    out, err = capsys.readouterr()
    assert "the chains have not mixed, or are too short to tell: R-hat 1.74 (x0), good is 1.01 or less" in err
    if arguments[0] == "sample":
        assert "cannot be judged, for its chains have not mixed (x0) (sliced" in out
    if arguments[0] in ("compare", "merge", "evidence"):
        assert "disco: warning: apart.n" in err


def test_json_says_that_the_input_has_not_mixed(here, capsys):
    chains = np.random.default_rng(0).normal(size=(4, 100, 2))
    chains[2:, :, 0] += 6
    np.save("apart.npy", chains)
    perturbed("axes").save_pretrained("small")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = json.loads(run(capsys, "sample", "apart.npy", *SMALL, "--model", "small", "--json"))["input"]
    assert told["not_mixed"] == ["x0"]
    assert told["r_hat"]["x0"] > 1.5
    assert told["r_hat"]["x1"] < 1.1


@pytest.mark.parametrize(
    ("top", "beyond", "where", "support"),
    [(3.0, lambda x: x < 0, "below zero", "positive"), (1.0, lambda x: (x < 0) | (x > 1), "below zero or above one", "unit")],
)
def test_new_draws_beyond_an_end_are_told(here, capsys, top, beyond, where, support):
    """A scale with many draws at its edge: the estimate has density beyond it, and the command says what would forbid that."""
    u = np.random.default_rng(0).random((300, 2))
    files.write_table("scale.csv", {"tau": top * u[:, 0] + 1e-6, "mu": u[:, 1] - 0.5})
    more = ["--num-samples", "200", "--num-chains", "4", "--num-warmup", "10", "--quiet", "--out", "new.csv"]
    out = run(capsys, "sample", "scale.csv", *more)
    tau = files.read_table("new.csv").values[:, 0]
    assert f"{beyond(tau).sum()} of 800 new draws of tau lie {where}, where no input draw is: if it" in out
    assert f"say --support tau={support}\n" in out
    assert "of mu lie" not in out
    assert "lie below" not in run(capsys, "sample", "scale.csv", *more, "--support", f"tau={support}")


def test_the_method_that_is_printed_may_be_asked_for(here, capsys):
    first, second = (
        run(capsys, "sample", "draws.csv", *SMALL, "--method", name, "--out", "n.csv") for name in ("auto", "jumps")
    )
    assert first == second


def test_plot_and_adapt(here, capsys):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    perturbed().save_pretrained("small")
    out = run(capsys, "sample", "draws.csv", *SMALL, "--adapt", "--plot", "p.png", "--model", "small")
    assert (here / "p.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert min(matplotlib_image.imread("p.png").shape[:2]) > 200
    assert "adapted" in out
    assert "wrote p.png" in out


def test_progress_goes_to_standard_error(here, capsys):
    assert cli.main(["sample", "draws.csv", *SMALL[:-1], "--out", "new.csv"]) == 0
    out, err = capsys.readouterr()
    assert "jumps: " in err
    assert "jumps: " not in out


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", ".parquet"])
def test_score(suffix, here, capsys, disco):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    out = run(capsys, "score", "draws.csv", "--at", "points.csv", "--out", f"s{suffix}")
    assert "5 points from 60 draws" in out
    table = files.read_table(f"s{suffix}")
    if suffix != ".npy":
        assert table.names == ["log_prob", "score_mu", "score_theta"]
    log_prob, score = disco.condition(files.read_table("draws.csv").values).log_prob_and_score(
        files.read_table("points.csv").values
    )
    np.testing.assert_allclose(table.values, np.column_stack([log_prob, score]), rtol=1e-6)


def test_score_puts_named_columns_in_order(here, capsys):
    x = files.read_table("points.csv").values
    files.write_table("swapped.csv", {"theta": x[:, 1], "mu": x[:, 0]})
    np.save("nameless.npy", x)
    for name in ("points.csv", "swapped.csv", "nameless.npy"):
        run(capsys, "score", "draws.csv", "--at", name, "--out", f"{name}.out.csv")
    scores = [files.read_table(f"{name}.out.csv").values for name in ("points.csv", "swapped.csv", "nameless.npy")]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_columns_taken_by_their_place_are_told(here, capsys):
    x = files.read_table("draws.csv").values
    np.save("nameless.npy", x)
    scored = ["--at", "points.csv", "--out", "s.csv"]
    assert "points.csv are taken by their place: mu, theta as x0, x1" in run(capsys, "score", "nameless.npy", *scored)
    assert "by their place" not in run(capsys, "score", "draws.csv", *scored)
    by_place = run(capsys, "compare", "nameless.npy", "draws.csv")
    assert by_place.startswith("compared by their place: x0, x1 of A, mu, theta of B\nno difference seen")
    assert run(capsys, "compare", "draws.csv", "draws.csv").startswith("compared in mu, theta\nno difference seen")


def test_an_unknown_option_is_answered_by_a_close_one(here, capsys):
    for words, meant in (("--colums mu", "; did you mean --columns?"), ("--num-sample=3", ""), ("--xyz", "")):
        with pytest.raises(SystemExit) as ended:
            cli.main(["plot", "draws.csv", "--out", "p.png", *words.split()])
        assert ended.value.code == 2
        assert capsys.readouterr().err.endswith(f"error: unrecognized arguments: {words}{meant}\n")


@pytest.mark.parametrize("suffix", [".csv", ".nc"])
def test_evidence_by_a_stored_log_posterior_of_a_column_with_an_end(suffix, here, capsys):
    """An exponential and a normal column: log Z is that of their constants, known exactly."""
    for module in ("arviz", "h5netcdf"):
        pytest.importorskip(module)
    rng = np.random.default_rng(0)
    x = np.stack([rng.exponential(size=2000), rng.normal(size=2000)], 1)
    log_posterior = 3.0 - x[:, 0] - 0.5 * x[:, 1] ** 2
    name = "lp" if suffix == ".nc" else "log_posterior"
    if suffix == ".nc":
        files.save("m.nc", Draws(x, names=["tau", "mu"], log_prob=log_posterior))
    else:
        files.write_table("m.csv", {"tau": x[:, 0], "mu": x[:, 1], name: log_posterior})
    options = ["--proposal", "mixture", "--support", "tau=positive", "--json"]
    found = json.loads(run(capsys, "evidence", f"m{suffix}", "--log-posterior", name, *options))["models"][0]["evidence"]
    # Beyond five of its errors by chance once in a million.
    assert abs(found["log_z"] - 3.0 - 0.5 * np.log(2 * np.pi)) < 5 * found["standard_error"] < 0.2


def test_evidence_of_an_array_says_what_to_write(here, capsys):
    np.save("m.npy", np.random.default_rng(0).normal(size=(60, 2)))
    assert cli.main(["evidence", "m.npy", "--log-posterior", "lp", "--proposal", "mixture"]) == 1
    assert "has no column lp: it has x0, x1; a .npy has one array and no further columns" in capsys.readouterr().err


def test_score_adapted(here, capsys):
    perturbed("axes").save_pretrained("small")
    for name, options in (("plain", []), ("a", ["--adapt", "--seed", "1"]), ("b", ["--adapt", "--seed", "1"])):
        arguments = ["--at", "points.csv", "--out", f"{name}.csv", "--model", "small", "--quiet"]
        output = run(capsys, "score", "draws.csv", *arguments, *options)
        assert ("adapted" in output) == bool(options)
    assert (here / "a.csv").read_bytes() == (here / "b.csv").read_bytes()


def test_info(capsys):
    out = run(capsys, "info")
    assert f"torch {torch.__version__}" in out
    assert "symmetry=axes" in out
    assert "parameters" in out


def test_train_and_resume(here, capsys):
    arguments = ["train", "--minutes", "0.02", "--config", "tiny.json", "--out", "run", "--quiet"]
    steps = [json.loads(run(capsys, *arguments, "--json"))["steps"]]
    steps.append(int(run(capsys, *arguments, "--resume", "run").split(" steps in ")[0]))
    assert 0 < steps[0] < steps[1]
    lines = (here / "run/losses.csv").read_text().splitlines()
    numbers = [int(line.split(",")[0]) for line in lines[1:]]
    assert numbers == list(range(1, steps[1] + 1))
    assert "layers=1, width=8" in run(capsys, "info", "--model", "run")
    run(capsys, "score", "draws.csv", "--at", "points.csv", "--out", "s.csv", "--model", "run/model.safetensors")


def bad_files(folder):
    x = files.read_table("draws.csv").values
    tables = {
        "nan.npy": np.where(np.arange(60)[:, None] == 7, np.nan, x),
        "inf.npy": np.where(np.arange(60)[:, None] == 7, np.inf, x),
        "one.npy": x[:1],
        "same.npy": np.ones((60, 2)),
        "three.npy": np.ones((5, 3)),
        "wide.npy": np.random.default_rng(0).normal(size=(10, 1025)),
    }
    for name, array in tables.items():
        np.save(name, array)
    files.write_table("others.csv", {"mu": x[:5, 0], "tau": x[:5, 1]})
    (folder / "empty.csv").write_text("")
    (folder / "words.csv").write_text("a,b\n1,2\n3,four\n")
    (folder / "slash.csv").write_text("a/b,c\n1,2\n3,4\n5,5\n")
    (folder / "twice.csv").write_text("a,a\n1,2\n3,4\n")
    np.save("cube.npy", x.reshape(3, 20, 2))
    (folder / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    (folder / "not.json").write_text("{")
    (folder / "list.json").write_text("[1]")
    (folder / "section.json").write_text('{"modle": {}}')
    (folder / "model_key.json").write_text('{"model": {"layer": 1}}')
    (folder / "training_key.json").write_text('{"training": {"rate": 1}}')
    (folder / "stream_key.json").write_text('{"training": {"stream": {"dim": 1}}}')
    (folder / "model_list.json").write_text('{"model": [1]}')
    (folder / "value.json").write_text('{"model": {"layers": 0}}')
    (folder / "folder.csv").mkdir()


TRAIN = ["train", "--minutes", "0.01", "--out", "run", "--quiet"]
POINTS = ["--at", "points.csv", "--out", "out.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["sample", "nan.npy", "--out", "out.csv"],
            "nan.npy, row 7, column x0: missing; 1 of 60 rows hold missing or infinite",
        ),
        (["sample", "inf.npy"], "inf.npy, row 7, column x0: infinite; 1 of 60 rows hold missing or infinite values"),
        (["sample", "one.npy"], "at least 2 rows"),
        (["sample", "same.npy"], "all its rows are the same"),
        (["sample", "wide.npy"], "1025 columns; at most 1024"),
        (["sample", "missing.csv"], "no file at missing.csv"),
        (["sample", "folder.csv"], "no file at folder.csv"),
        (["sample", "empty.csv"], "empty.csv is empty"),
        (["sample", "words.csv"], "words.csv, line 3, column b: 'four' is not a number"),
        (["sample", "draws.pkl"], "extension must be one of"),
        (["sample", "missing.csv", "--out", "out.txt"], "out.txt: the extension must be one of"),
        (["sample", "missing.csv", "--plot", "p.txt"], "p.txt: the extension of a picture must be one of"),
        (["sample", "draws.csv", "--num-samples", "0"], "num_samples must be at least 1"),
        (["sample", "draws.csv", "--num-samples", "-3"], "num_samples must be at least 1"),
        (["sample", "draws.csv", "--num-chains", "-1"], "num_chains must be at least 1"),
        (["sample", "draws.csv", "--num-warmup", "-1"], "num_warmup must be at least 0"),
        (["sample", "draws.csv", "--thinning", "0"], "thinning must be at least 1"),
        (["sample", "draws.csv", "--seed", "9" * 30], "seed must lie in"),
        (["sample", "draws.csv", "--model", "nowhere"], "no weights file at nowhere"),
        (["sample", "draws.csv", "--model", "./no/where"], "no weights file at"),
        (["sample", "draws.csv", "--model", "cut.safetensors"], "not a whole safetensors file"),
        (["sample", "draws.csv", "--model", "draws.csv"], "not a whole safetensors file"),
        (["sample", "draws.csv", "--device", "abacus"], "--device abacus is not a device"),
        (["info", "--model", "nowhere"], "no weights file at nowhere"),
        (["score", "draws.csv", "--at", "three.npy", "--out", "out.csv"], "three.npy has 3 columns, draws.csv has 2"),
        (
            ["score", "draws.csv", "--at", "others.csv", "--out", "out.csv"],
            "others.csv has columns mu, tau, draws.csv has mu, theta",
        ),
        (["score", "draws.csv", "--at", "nan.npy", "--out", "out.csv"], "nan.npy, row 7, column x0: missing; 1 of 60"),
        (["score", "draws.csv", "--at", "missing.csv", "--out", "out.csv"], "no file at missing.csv"),
        (["score", "missing.csv", "--at", "points.csv", "--out", "out.nc"], "out.nc: the extension must be one of"),
        (["score", "same.npy", *POINTS], "all its rows are the same"),
        ([*TRAIN, "--config", "missing.json"], "missing.json"),
        ([*TRAIN, "--config", "not.json"], "not.json is not JSON"),
        ([*TRAIN, "--config", "list.json"], "list.json must hold a JSON object"),
        ([*TRAIN, "--config", "section.json"], "unknown section(s) modle"),
        ([*TRAIN, "--config", "model_key.json"], "unknown config key(s) layer"),
        ([*TRAIN, "--config", "training_key.json"], "unknown key(s) rate"),
        ([*TRAIN, "--config", "stream_key.json"], "unknown key(s) dim"),
        ([*TRAIN, "--config", "model_list.json"], "model_list.json must hold a JSON object"),
        ([*TRAIN, "--config", "value.json"], "layers must be a positive integer"),
        ([*TRAIN, "--config", "tiny.json", "--resume", "nowhere"], "no checkpoint at nowhere"),
        ([*TRAIN, "--minutes", "0"], "minutes must be positive"),
        (["sample", "draws.csv", "--columns", "tau"], "draws.csv has no column tau: there are mu, theta"),
        (["sample", "draws.csv", "--exclude", "mu", "theta"], "draws.csv no column is left"),
        (["sample", "draws.csv", "--row-weights", "w"], "draws.csv has no column w to take as weights"),
        (["sample", "draws.csv", "--row-weights", "mu"], "weights must not be negative"),
        (["sample", "draws.csv", "--burn-in", "60"], "burn-in must be a share below 1, or a whole number below the 60 draws"),
        (["score", "draws.csv", *POINTS, "--thinning", "0"], "thinning must be at least 1"),
        (["sample", "slash.csv", "--out", "out.nc"], "a variable of a netCDF file cannot be called 'a/b'"),
        (["sample", "twice.csv", "--out", "out.csv"], "column name(s) a occur more than once"),
        (["sample", "cube.npy", "--axes", "x,y,z"], "axes must be chain, draw, variable in some order, got x, y, z"),
        ([*TRAIN, "--minutes", "-1"], "minutes must be positive"),
        ([*TRAIN, "--minutes", "nan"], "minutes must be positive"),
    ],
)
def test_whatever_is_wrong_is_one_line(arguments, message, here, capsys):
    bad_files(here)
    before = snapshot(here)
    assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("disco: error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert message in err
    assert "Traceback" not in err
    assert snapshot(here) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("arguments", [["sample", "draws.csv"], ["score", "draws.csv", *POINTS], TRAIN])
def test_no_gpu(arguments, here, capsys):
    before = snapshot(here)
    assert cli.main([*arguments, "--device", "cuda"]) == 1
    assert capsys.readouterr().err == "disco: error: --device cuda: torch sees no GPU here\n"
    assert cli.main([*arguments, "--device", "mps"]) == 1
    why = "whitening needs float64, which MPS does not have; use cpu or cuda"
    assert capsys.readouterr().err == f"disco: error: --device mps does not work: {why}\n"
    assert snapshot(here) == before


def test_resuming_another_network(here, capsys):
    run(capsys, *TRAIN, "--config", "tiny.json")
    (here / "other.json").write_text(json.dumps(TINY | {"model": TINY["model"] | {"width": 16}}))
    assert cli.main([*TRAIN, "--config", "other.json", "--resume", "run"]) == 1
    assert "is of another network" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["fit"], ["sample"], ["score", "draws.csv"], ["sample", "x.csv", "--num-chains", "two"]]
)
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: disco")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([command, "--help"] for command in ("sample", "score", "train"))]
)
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 0
    assert capsys.readouterr().out


def test_interrupt(here, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("disco_samplers.LangevinSampler.run", interrupted)
    assert cli.main(["sample", "draws.csv", *SMALL, "--out", "out.csv"]) == 130
    assert capsys.readouterr().err == "disco: interrupted before there was anything to keep\n"
    assert not (here / "out.csv").exists()


@pytest.mark.slow
def test_as_a_process(here):
    def disco(*arguments):
        command = [sys.executable, "-W", "error", "-m", "disco_samplers.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    good = disco("sample", "draws.csv", *SMALL, "--out", "new.csv")
    assert (good.returncode, good.stderr) == (0, "")
    assert files.read_table("new.csv").by_chain.shape == (2, 6, 2)
    bad = disco("score", "new.csv", "--at", "missing.csv", "--out", "s.csv")
    assert (bad.returncode, bad.stdout, bad.stderr) == (1, "", "disco: error: no file at missing.csv\n")


def test_unknown_weights_name_those_of_the_package(here, capsys):
    assert cli.main(["info", "--model", "axis"]) == 1
    assert "the package itself has axes, rotations, velocities" in capsys.readouterr().err


def test_chains_are_read_as_chains_unless_told_otherwise(here, capsys):
    rng = np.random.default_rng(1)
    x = np.zeros((4, 100))
    for t in range(1, 100):
        x[:, t] = 0.9 * x[:, t - 1] + rng.normal(size=4)
    chain, draw = np.repeat(np.arange(4.0), 100), np.tile(np.arange(100.0), 4)
    files.write_table("chains.csv", {"chain": chain, "draw": draw, "mu": x.ravel()})
    files.write_table("at.csv", {"mu": np.zeros(3)})
    printed = {}
    for options in ([], ["--iid"]):
        out = run(capsys, "score", "chains.csv", "--at", "at.csv", "--out", f"score{len(options)}.csv", *options)
        printed[len(options)] = out.splitlines()[0]
    assert printed[0].startswith("Draws: 400 draws of 4 chains of 1 columns, ")
    assert float(printed[0].split("worth ")[1].replace(",", "")) < 100
    assert printed[1] == "Draws: 400 draws of 1 columns, 397 distinct, worth 397"
    told, iid = (files.read_table(f"score{k}.csv").values for k in (0, 1))
    assert not np.allclose(told, iid, rtol=1e-3)


def first_line(capsys, *arguments):
    return run(capsys, "score", *arguments, "--at", "points.csv", "--out", "s.csv").splitlines()[0]


def test_which_columns_and_rows(here, capsys, disco):
    x = files.read_table("draws.csv").values
    rng = np.random.default_rng(0)
    weights = rng.uniform(size=60)
    columns = {"who": np.array([f"p{i}" for i in range(60)]), "mu": x[:, 0], "theta": x[:, 1], "junk": weights**2, "w": weights}
    files.write_table("more.csv", columns)
    options = ["more.csv", "--index", "who", "--exclude", "junk", "--row-weights", "w"]
    line = first_line(capsys, *options)
    kish = weights.sum() ** 2 / np.square(weights).sum()
    assert line == f"Draws: 60 draws of 2 columns, weighted, worth {kish:.0f}"
    found, points = files.read_table("s.csv").values, files.read_table("points.csv").values
    expected = disco.condition(Draws(x, weights=weights)).log_prob_and_score(points)
    np.testing.assert_allclose(found, np.column_stack(expected), rtol=1e-6)
    assert (
        first_line(capsys, "more.csv", "--index", "who", "--columns", "mu", "theta") == "Draws: 60 draws of 2 columns, worth 60"
    )
    line = first_line(capsys, "draws.csv", "--burn-in", "0.5", "--thinning", "2")
    assert line.startswith("Draws: 15 draws of 1 chain of 2 columns")
    out = run(capsys, "sample", *options, *SMALL)
    assert f"Draws: 60 draws of 2 columns, weighted, worth {kish:.0f}" in out
    assert "input: 60 draws of 2 variables from more.csv" in out


def test_points_may_have_more_columns_than_are_asked_for(here, capsys):
    run(capsys, "score", "draws.csv", "--columns", "theta", "--at", "points.csv", "--out", "s.csv")
    assert files.read_table("s.csv").names == ["log_prob", "score_theta"]


def test_several_files_are_chains(here, capsys):
    x = files.read_table("draws.csv").values
    for i in (0, 1):
        files.write_table(f"c_{i}.csv", {"mu": x[i::2, 0], "theta": x[i::2, 1]})
    for given in (["c_0.csv", "c_1.csv"], ["c_*.csv"]):
        assert first_line(capsys, *given).startswith("Draws: 60 draws of 2 chains of 2 columns, worth")
    np.save("cube.npy", x.reshape(30, 2, 2))
    assert first_line(capsys, "cube.npy", "--axes", "draw,chain,variable").startswith(
        "Draws: 60 draws of 2 chains of 2 columns"
    )


def test_a_training_is_not_overwritten(here, capsys):
    arguments = [*TRAIN, "--config", "tiny.json"]
    run(capsys, *arguments)
    before = snapshot(here)
    (here / "other").mkdir()
    for more in ([], ["--resume", "other"], ["--from", "run/model.safetensors"]):
        assert cli.main([*arguments, *more]) == 1
        assert (
            "run holds a training already: continue it with --resume run, overwrite it with --force" in capsys.readouterr().err
        )
        assert snapshot(here) == before
    run(capsys, *arguments, "--force")
    run(capsys, *arguments, "--resume", "./run")


def test_columns_of_the_summary_do_not_touch(here):
    draws = -6.401e-05 - 1e-6 * np.random.default_rng(0).normal(size=(2, 20, 1))
    head, row = str(summarise(draws, ["x"])).splitlines()
    assert len(row.split()) == len(head.split()) + 1


def test_a_warning_is_one_line(here, capsys):
    x = files.read_table("draws.csv").values
    files.write_table("w.csv", {"mu": x[:, 0], "theta": x[:, 1], "weights": np.ones(60)})
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main(["score", "w.csv", "--columns", "mu", "theta", "--at", "points.csv", "--out", "s.csv"]) == 0
        assert capsys.readouterr().err == ""
        assert cli.main(["score", "w.csv", "--at", "points.csv", "--out", "s.csv"]) == 1
    said, error = capsys.readouterr().err.splitlines()
    assert said.startswith("disco: warning: the column weights is read as a variable: say row_weights (--row-weights)")
    assert error == "disco: error: points.csv has 2 columns, w.csv has 3: weights is missing"


def test_points_stay_as_they_stand(here, capsys):
    perturbed("axes").save_pretrained("small")
    points = np.array([[3.0, 3], [0, 0], [2.5, -2.5], [0.1, 0.1]])
    columns = {"mu": points[:, 0], "theta": points[:, 1]}
    files.write_table("plain.csv", columns)
    files.write_table("chained.csv", {"chain": np.array([1, 0, 1, 0]), **columns})
    files.write_table("drawn.npz", {"draw": np.array([1, 0, 1, 0]), **columns})
    np.savetxt("p_1.txt", np.column_stack([[2, 1, 3, 1], np.ones(4), points]))
    (here / "p.paramnames").write_text("mu mu\ntheta theta\n")
    found = {}
    for at in ("plain.csv", "chained.csv", "drawn.npz", "p_1.txt"):
        run(capsys, "score", "draws.csv", "--at", at, "--out", "s.csv", *QUICK)
        found[at] = files.read_table("s.csv").values
    for values in found.values():
        np.testing.assert_array_equal(values, found["plain.csv"])
    assert found["plain.csv"][1, 0] > found["plain.csv"][0, 0]


@pytest.mark.parametrize("command", ["density", "detect"])
def test_scored_rows_stay_as_they_stand(command, here, capsys):
    perturbed("axes").save_pretrained("small")
    x = files.read_table("draws.csv").values
    columns = {"mu": x[:, 0], "theta": x[:, 1]}
    chain = np.arange(60.0) % 7
    files.write_table("chains.csv", {"chain": chain, **columns})
    found = []
    for rows, train in (("draws.csv", []), ("chains.csv", []), ("chains.csv", ["--train", "draws.csv"])):
        run(capsys, command, rows, *train, "--out", "out.csv", *QUICK, "--json")
        table = files.read_table("out.csv", points=True)
        np.testing.assert_array_equal(table.values[:, :2], x)
        found.append(table.values[:, 2])
        if rows == "chains.csv":
            np.testing.assert_array_equal(table.index["chain"], chain)
    np.testing.assert_allclose(found[0], found[1])
    np.savetxt("p_1.txt", np.column_stack([1 + np.arange(60) % 3, np.ones(60), x]))
    (here / "p.paramnames").write_text("mu mu\ntheta theta\n")
    files.write_table("weighted.csv", {**columns, "w": 1 + np.arange(60) % 3})
    mean = []
    for rows, weights in (("p_1.txt", []), ("weighted.csv", ["--row-weights", "w"])):
        said = json.loads(run(capsys, command, rows, *weights, "--out", "out.csv", *QUICK, "--json"))
        assert said["rows"] == 60
        mean.append(said)
        found.append(files.read_table("out.csv").values[:, 2])
    np.testing.assert_allclose(found[-1], found[-2])
    if command == "density":
        assert mean[0]["mean_log_prob"] == pytest.approx(np.average(found[-1], weights=1 + np.arange(60) % 3))


def test_weights_are_no_variable_of_another_table(here, capsys):
    perturbed("axes").save_pretrained("small")
    x = files.read_table("draws.csv").values
    columns = {"mu": x[:, 0], "theta": x[:, 1], "weight": np.random.default_rng(0).uniform(size=60)}
    files.write_table("w.csv", columns)
    files.write_table("ptsw.csv", {name: column[:5] for name, column in columns.items()})
    weights = ["--row-weights", "weight", *QUICK]
    found = []
    for at in ("ptsw.csv", "points.csv"):
        run(capsys, "score", "w.csv", "--at", at, "--out", "s.csv", *weights)
        found.append(files.read_table("s.csv").values)
    np.testing.assert_array_equal(*found)
    for command in ("density", "detect"):
        run(capsys, command, "w.csv", "--train", "w.csv", "--out", "out.csv", *weights)
        run(capsys, command, "draws.csv", "--train", "w.csv", "--out", "out.csv", *weights)
    one, other = (run(capsys, "compare", *pair, *weights[:2]) for pair in (("draws.csv", "w.csv"), ("w.csv", "draws.csv")))
    assert one.startswith("compared in mu, theta\n")
    assert other.startswith("compared in mu, theta\n")
    assert cli.main(["compare", "draws.csv", "points.csv", *weights[:2]]) == 1
    assert "draws.csv has no column weight to take as weights" in capsys.readouterr().err


def test_columns_of_text_may_be_left_out(here, capsys):
    perturbed("axes").save_pretrained("small")
    x = files.read_table("draws.csv").values
    files.write_table("named.csv", {"who": np.array([f"n{i}" for i in range(60)]), "mu": x[:, 0], "theta": x[:, 1]})
    assert cli.main(["score", "named.csv", "--at", "points.csv", "--out", "s.csv"]) == 1
    assert "named.csv, line 2, column who: 'n0' is not a number" in capsys.readouterr().err
    for options in (["--exclude", "who"], ["--columns", "mu", "theta"], ["--index", "who"]):
        for at in ("points.csv", "named.csv"):
            run(capsys, "score", "named.csv", "--at", at, "--out", "s.csv", *QUICK, *options)
        run(capsys, "density", "named.csv", "--train", "named.csv", "--out", "s.csv", *QUICK, *options)
