"""The benchmark command on benchmarks made for the test."""

import pytest

from disco_samplers import cli
from disco_samplers.commands import bench

GOOD = """'''Measures nothing.'''
import pathlib, sys
def main():
    KNOWN = ["--quick"]
    pathlib.Path(__file__).with_suffix(".txt").write_text(str(sys.argv[1:]))
main()
""".replace("'''", '"' * 3)
BAD = '"""Fails."""\ndef main():\n    raise SystemExit(3)\nmain()\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "helpers.py").write_text('"""No benchmark."""\n')
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    return tmp_path


def test_lists_what_can_be_run(folder, capsys):
    assert cli.main(["bench", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["bad", "good"]
    assert lines[0].endswith("Fails.")
    assert lines[1].endswith("Measures nothing. [--quick]")


def test_runs_by_name_and_passes_quick_on(folder):
    assert cli.main(["bench", "good", "--quick"]) == 0
    assert (folder / "good.txt").read_text() == "['--quick']"


def test_quick_leaves_out_what_has_no_quick_form(folder, capsys):
    assert cli.main(["bench", "--quick"]) == 0
    assert (folder / "good.txt").exists()
    assert cli.main(["bench", "bad", "--quick"]) == 1
    assert "bad has no quick form: leave out --quick, or take one of good" in capsys.readouterr().err


def test_a_failure_is_named_and_the_others_run(folder, capsys):
    assert cli.main(["bench"]) == 1
    assert (folder / "good.txt").exists()
    assert "disco: error: failed: bad;" in capsys.readouterr().err


def test_unknown_names_and_no_checkout(folder, monkeypatch, capsys):
    assert cli.main(["bench", "goood"]) == 1
    assert "did you mean good?" in capsys.readouterr().err
    monkeypatch.setattr(bench, "FOLDER", folder / "nowhere")
    assert cli.main(["bench"]) == 1
    assert "clone it" in capsys.readouterr().err


def test_the_checkouts_own_benchmarks_are_found():
    found = bench.benchmarks()
    assert {"gmm", "shapes", "resources"} <= set(found)
    assert not {"report", "methods", "targets"} & set(found)
