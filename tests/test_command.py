"""What all commands have in common: help, a light start, JSON, completion, pictures, and results that outlive a full disk."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from typing import get_args

import numpy as np
import pytest
from conftest import perturbed

from disco_samplers import cli, files
from disco_samplers.commands.shared.bars import in_parts
from disco_samplers.files import check_place
from disco_samplers.samplers.algorithms import Method

SMALL = ["--num-samples", "6", "--num-chains", "2", "--num-warmup", "6", "--thinning", "1", "--quiet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a table of 60 draws of two variables, one of five points, and small weights."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(60, 2)) * [1.0, 5.0]
    files.write_table("draws.csv", {"mu": x[:, 0], "theta": x[:, 1]})
    files.write_table("points.csv", {"mu": x[:5, 0], "theta": x[:5, 1]})
    perturbed("axes").save_pretrained("small")
    return tmp_path


def commands():
    """Every command's parser, by name."""
    found = {}

    def walk(parser):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    found[command.prog.removeprefix("disco ")] = command
                    walk(command)

    walk(cli._parser())
    return found


COMMANDS = commands()
LONG = sorted(set(COMMANDS) - {"app", "bench", "completion", "info", "plasma", "plasma list"})
"""Those that compute."""


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_has_an_example_that_parses_and_says_what_is_printed(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = COMMANDS[name].format_help()
    shown, found, examples = text.partition("\nexample:\n")
    assert found
    for line in examples.strip().splitlines():
        words = line.split("#")[0].split(">")[0].replace("'", "").split()
        assert words[0] == "disco"
        assert callable(cli._parser().parse_args(words[1:]).run)
    if name not in ("completion", "plasma list"):
        assert "\nwhat it says:\n" in shown


@pytest.mark.parametrize("name", LONG)
def test_what_computes_can_be_quiet_and_read_by_a_script(name):
    options = {option for action in COMMANDS[name]._actions for option in action.option_strings}
    assert "--quiet" in options
    assert "--json" in options or name == "sample"


def test_an_option_of_several_values_may_be_given_again():
    """What the first gave is not forgotten."""
    several = [a for parser in COMMANDS.values() for a in parser._actions if a.option_strings and a.nargs == "+"]
    assert several
    assert all(isinstance(a, argparse._ExtendAction) for a in several)
    said = cli._parser().parse_args(["sample", "a.csv", "--support", "a=unit", "--support", "b=positive", "c=0,"])
    assert said.support == ["a=unit", "b=positive", "c=0,"]


def test_one_option_means_one_thing():
    """An option of the same name has the same kind of value everywhere."""
    kinds = {}
    for command in COMMANDS.values():
        for action in command._actions:
            for option in action.option_strings:
                kinds.setdefault(option, set()).add((type(action).__name__, action.type))
    different = {option: kind for option, kind in kinds.items() if len(kind) > 1}
    assert set(different) <= {"--resume"}
    assert not {option for option in kinds if "_" in option}


@pytest.mark.parametrize("arguments", [["sample"], ["detect", "x.csv"], ["plasma", "run"], ["completion", "fish"], ["--help"]])
def test_arguments_are_looked_at_before_anything_heavy_is_imported(arguments):
    code = f"""
import sys
from disco_samplers import cli
try:
    cli.main({arguments})
except SystemExit:
    heavy = {{"torch", "numpy", "scipy", "matplotlib", "sklearn", "arviz", "tqdm"}}
    print(heavy & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr.splitlines()[-1] == "set()"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell, capsys):
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in ("sample", "evidence", "--num-samples", "plasma"))
    if shell == "bash":
        assert "_shtab_disco_sample_pos_0_COMPGEN=_shtab_compgen_files" in script
        assert "_shtab_disco_train___out_COMPGEN=_shtab_compgen_dirs" in script
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_completion_without_its_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 1
    assert "pip install 'disco-samplers[completion]'" in capsys.readouterr().err


def loads(capsys, *arguments):
    """The object that a command prints; nothing else may be printed, and no number that JSON does not have."""
    assert cli.main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(out, parse_constant=refuse)


def test_json(here, capsys):
    pytest.importorskip("sklearn")
    small = ["--model", "small"]
    draws = {"draws": 60, "chains": None, "variables": ["mu", "theta"], "effective_size": 60.0}
    draws |= {"r_hat": None, "not_mixed": []}
    told = loads(capsys, "score", "draws.csv", "--at", "points.csv", "--out", "s.csv", "--adapt", "--quiet", *small)
    assert told == {"input": draws, "points": 5, "written": ["s.csv"]}
    told = loads(capsys, "detect", "draws.csv", "--out", "d.csv", *small)
    assert (told["rows"], told["flagged"]) == (60, int(files.read_table("d.csv").values[:, -1].sum()))
    told = loads(capsys, "density", "points.csv", "--train", "draws.csv", "--out", "p.csv", *small)
    assert told["mean_log_prob"] == pytest.approx(files.read_table("p.csv").values[:, -1].mean())
    few = ["--num-samples", "2", "--num-chains", "8", "--num-warmup", "2", "--thinning", "1", "--quiet", *small]
    told = loads(capsys, "merge", "draws.csv", "draws.csv", "--out", "m.csv", *few)
    merged = files.read_table("m.csv").values
    assert told["summary"]["theta"]["mean"] == pytest.approx(merged[:, 1].mean(), rel=1e-6)
    assert told["summary"]["mu"]["r_hat"] is None  # two draws a chain are too few
    assert (told["complete"], set(told["shards"])) == (True, {"draws.csv"})
    assert 0 < told["shards"]["draws.csv"]["overlap"] < 1
    told = loads(capsys, "compare", "draws.csv", "draws.csv")
    assert 0 < told["p_value"] <= 1
    assert loads(capsys, "info", *small)["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("columns", "axes", "labels"), [(["mu"], 2, ("", "density (per unit of mu)")), (["mu", "theta"], 2, ("mu", "theta"))]
)
def test_plot_of_columns(columns, axes, labels, here, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    figures = []
    write = files.write
    monkeypatch.setattr("disco_samplers.pictures.figure.write", lambda path, put: (figures.append(put), write(path, put)))
    assert cli.main(["plot", "draws.csv", "--columns", *columns, "--out", "deep/p.png", "--model", "small", "--quiet"]) == 0
    assert capsys.readouterr().out == f"Draws: 60 draws of {len(columns)} columns, worth 60\nwrote deep/p.png\n"
    figure = figures[0].__closure__[0].cell_contents
    assert len(figure.axes) == axes
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == labels


def test_plot_of_many_columns_is_of_the_draws(here, capsys):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    files.write_table("wide.csv", {name: rng.normal(size=40) for name in "abc"})
    assert cli.main(["plot", "wide.csv", "--out", "p.png", "--model", "nowhere"]) == 0  # no model is needed
    assert (here / "p.png").stat().st_size > 5000
    assert cli.main(["plot", "wide.csv", "--out", "p.txt"]) == 1
    assert "the extension of a picture must be" in capsys.readouterr().err


def test_a_full_disk_costs_no_table(here, capsys, full_disk):
    pytest.importorskip("matplotlib")
    full_disk("new.csv")
    before = sorted(os.listdir())
    arguments = ["sample", "draws.csv", *SMALL, "--model", "small"]
    assert cli.main([*arguments, "--out", "new.csv", "--plot", "p.png"]) == 1
    out, err = capsys.readouterr()
    assert err == "disco: error: new.csv could not be written: No space left on device\n"
    assert "new draws: " in out
    assert "theta" in out.split("new draws: ")[1]
    assert ("wrote p.png" in out, "wrote new.csv" in out) == (True, False)
    assert sorted(os.listdir()) == sorted([*before, "p.png"])


@pytest.mark.slow
def test_a_real_limit_of_the_system(here):
    """Files of more than a kilobyte are refused by the system itself."""
    resource = pytest.importorskip("resource")
    command = [sys.executable, "-m", "disco_samplers.cli", "sample", "draws.csv", *SMALL, "--num-samples", "60"]
    done = subprocess.run(
        [*command, "--model", "small", "--out", "new.csv"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
    )
    assert done.returncode == 1
    assert done.stderr == "disco: error: new.csv could not be written: File too large\n"
    assert "new draws: " in done.stdout
    assert [name for name in os.listdir() if "new" in name] == []


def test_an_interrupt_while_writing_costs_that_file_only(here, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("disco_samplers.samplers.SamplerResult.save", interrupted)
    assert cli.main(["sample", "draws.csv", *SMALL, "--model", "small", "--out", "new.csv"]) == 130
    out, err = capsys.readouterr()
    assert err == "interrupted: new.csv was not written\n"
    assert "new draws: " in out


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_an_interrupted_chain_is_kept_and_told_of(here, sent):
    """A real Ctrl-C in the middle of the draws, or a batch system's: they are written, their table printed, and the exit
    status is 130."""
    command = [sys.executable, "-m", "disco_samplers.cli", "sample", "draws.csv", "--model", "small", "--out", "new.csv"]
    more = ["--num-samples", "1000000", "--num-warmup", "2", "--num-chains", "2"]
    with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        said = ""
        while "draws: " not in said and process.poll() is None:  # the bar of the draws
            said += process.stderr.read(64)
        time.sleep(0.5)
        process.send_signal(sent)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, said + err
    assert err.splitlines()[-1] == "interrupted: these are the draws made until then"
    assert "wrote new.csv" in out
    assert files.read_table("new.csv").num_chains == 2


@pytest.mark.parametrize("command", [["sample", "draws.csv", *SMALL], ["plot", "draws.csv"]])
def test_where_nothing_can_be_written_is_said_before_the_work(command, here, capsys):
    pytest.importorskip("matplotlib")
    (here / "file").write_text("")
    (here / "folder.png").mkdir()
    for out, message in (("file/x.png", "is not a folder"), ("folder.png", "is a folder")):
        option = "--out" if command[0] == "plot" else "--plot"
        assert cli.main([*command, option, out, "--model", "nowhere"]) == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def test_a_folder_that_may_not_be_written_to(here, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"the folder .* may not be written to"):
        check_place("new/x.csv")
    assert not (here / "new").exists()


def test_a_folder_is_made_when_something_is_written_in_it(here, capsys):
    assert cli.main(["score", "draws.csv", "--at", "nowhere.csv", "--out", "a/b/s.csv"]) == 1
    assert not (here / "a").exists()
    assert cli.main(["score", "draws.csv", "--at", "points.csv", "--out", "a/b/s.csv", "--model", "small", "--quiet"]) == 0
    assert (here / "a/b/s.csv").exists()


def test_the_file_asked_for_is_named_not_the_temporary_one(here, capsys, full_disk):
    full_disk("s.csv")
    assert cli.main(["score", "draws.csv", "--at", "points.csv", "--out", "s.csv", "--model", "small", "--quiet"]) == 1
    assert capsys.readouterr().err == "disco: error: s.csv could not be written: No space left on device\n"


def test_a_training_outlives_a_full_disk(here, capsys, full_disk, quick_validation):
    """What cannot be written on the way is a warning; what cannot at the end is an error that names the file."""
    model = {"layers": 1, "width": 8, "vector_channels": 2, "heads": 2, "head_width": 4, "hidden": 8}
    stream = {"max_dim": 2, "common_dim": 2, "min_samples": 8, "max_samples": 16, "queries": 8, "max_batch": 2}
    (here / "t.json").write_text(json.dumps({"model": model, "training": {"stream": stream, "save_minutes": 0.0}}))
    full_disk("checkpoint.pt")
    arguments = ["train", "--minutes", "0.01", "--config", "t.json", "--out", "run", "--quiet"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main(arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    path = os.path.join("run", "checkpoint.pt")
    assert lines[0] == f"disco: warning: {path} could not be written: No space left on device; the training goes on"
    assert lines[-1] == f"disco: error: {path}: No space left on device"
    assert (here / "run/model.safetensors").exists()
    assert [name for name in os.listdir("run") if name.startswith(".")] == []


def test_a_batch_system_ends_a_command_as_ctrl_c_does(here, capsys, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("disco_samplers.samplers.SamplerResult.save", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert cli.main(["sample", "draws.csv", *SMALL, "--model", "small", "--out", "new.csv"]) == 130
    assert capsys.readouterr().err == "interrupted: new.csv was not written\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_interrupted_training_is_saved_and_told_of(here, capsys, monkeypatch, quick_validation):
    from disco_samplers.training import Trainer

    step = Trainer._step

    def interrupted(self, *rest):
        if self.step == 2:
            raise KeyboardInterrupt
        return step(self, *rest)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    model = {"layers": 1, "width": 8, "vector_channels": 2, "heads": 2, "head_width": 4, "hidden": 8}
    stream = {"max_dim": 2, "common_dim": 2, "min_samples": 8, "max_samples": 16, "queries": 8, "max_batch": 2}
    (here / "t.json").write_text(json.dumps({"model": model, "training": {"stream": stream}}))
    assert cli.main(["train", "--minutes", "5", "--config", "t.json", "--out", "run", "--quiet", "--json"]) == 130
    out, err = capsys.readouterr()
    assert "interrupted: what was trained is saved" in err
    assert json.loads(out)["steps"] == 2
    assert (here / "run/checkpoint.pt").exists()


def test_rows_in_parts_are_the_rows(capsys):
    rows = np.arange(20_000.0).reshape(10_000, 2)
    first, second = in_parts(lambda part: (part[:, 0], part + 1), rows, "rows", quiet=False)
    np.testing.assert_array_equal(first, rows[:, 0])
    np.testing.assert_array_equal(second, rows + 1)
    assert "rows: 100%" in capsys.readouterr().err
    assert in_parts(lambda part: part[:, 0], rows[:5], "rows", quiet=False).tolist() == rows[:5, 0].tolist()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["detect", "density", "plot", "sample"])
def test_a_warning_is_one_line_whatever_the_command(command, here, capsys):
    x = files.read_table("draws.csv").values
    files.write_table("w.csv", {"mu": x[:, 0], "theta": x[:, 1], "weights": np.ones(60)})
    quick = SMALL if command == "sample" else ["--quiet"]
    out = ["--out", "o.png" if command == "plot" else "o.csv"]
    for needed in {"plot": ["matplotlib"], "detect": ["sklearn"], "density": ["sklearn"]}.get(command, []):
        pytest.importorskip(needed)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main([command, "w.csv", *out, *quick, "--model", "small"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("disco: warning: ") for line in lines)
    assert "the column weights is read as a variable" in lines[0]


def test_every_method_that_samples_an_estimate_is_offered():
    """But "exact", which wants a log-density that is known, and "flow", which moves particles."""
    command = next(a for a in cli._parser()._actions if a.choices and "sample" in a.choices).choices["sample"]
    choices = next(action.choices for action in command._actions if "--method" in action.option_strings)
    assert set(choices) == {"auto", *get_args(Method)} - {"exact", "flow"}
