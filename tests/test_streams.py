"""Tables in parts: read in blocks, answered part by part, continued after a kill, and what is said of bad parts."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from disco_samplers import cli, files
from disco_samplers.files import parts as parts_module

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from disco_samplers.integrations.sklearn import DiscoDensity, DiscoOutlierDetector

from disco_samplers.summaries import TableSummary

SMALL = ["--context-size", "64", "--quiet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Three parts of 40, 0 and 60 rows with labels, one with columns in another order; the rows."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(100, 2))
    write("part-0.parquet", x[:40])
    write("part-1.parquet", x[:0])
    write("part-10.parquet", x[40:], first=40, order=["b", "id", "a"])
    return x


def write(path, x, first=0, order=("id", "a", "b"), **options):
    labels = pa.array([f"row {first + k}" for k in range(len(x))], pa.string())
    table = pa.table({"id": labels, "a": x[:, 0], "b": x[:, 1]}).select(list(order))
    pq.write_table(table, path, **options)


def run(capsys, *arguments, status=0):
    found = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (found, err if not status else "") == (status, "")
    return err if status else out


def read(folder):
    return ds.dataset(folder).to_table()


def test_density_of_parts(here, capsys):
    """As of one table, each row by an estimate without it; labels are carried along; a second run does nothing anew."""
    told = run(capsys, "density", "part-*.parquet", "--index", "id", "--out", "out/", *SMALL)
    assert "log_prob of 100 rows, by 100 training rows: mean" in told
    found = read("out")
    assert found.column_names == ["id", "a", "b", "log_prob"]
    assert found["id"].to_pylist() == [f"row {k}" for k in range(100)]
    np.testing.assert_array_equal(np.stack([found["a"], found["b"]], 1), here)
    known = DiscoDensity(context_size=64).fit(here).score_training_samples()
    np.testing.assert_allclose(found["log_prob"], known, atol=1e-6)
    written = {path: path.stat().st_mtime_ns for path in Path("out").glob("part-*")}
    assert run(capsys, "density", "part-*.parquet", "--index", "id", "--out", "out/", *SMALL) == told
    assert {path: path.stat().st_mtime_ns for path in Path("out").glob("part-*")} == written
    err = run(capsys, "density", "part-*.parquet", "--index", "id", "--out", "out/", *SMALL, "--seed", "1", status=1)
    assert "out holds results of another run (of other settings): remove it" in err


def test_weights_and_missing_cells(here, capsys):
    """The mean is weighted by the rows' weights; rows that lack cells are counted, and answered by those that they have."""
    x, w = here.copy(), np.random.default_rng(1).gamma(1.0, size=100)
    x[3, 1] = np.nan
    for k, rows in enumerate((slice(0, 30), slice(30, 100))):
        pq.write_table(pa.table({"a": x[rows, 0], "b": x[rows, 1], "w": w[rows]}), f"weighted-{k}.parquet")
    told = json.loads(run(capsys, "density", "weighted-*.parquet", "--row-weights", "w", "--json", "--out", "out/", *SMALL))
    found = read("out")
    assert (told["rows"], told["lacking"], told["training"]["rows"], found.column_names) == (
        100,
        1,
        100,
        ["a", "b", "log_prob"],
    )
    assert told["mean_log_prob"] == pytest.approx(np.average(found["log_prob"], weights=w))
    known = DiscoDensity(context_size=64).fit(x, sample_weight=w).score_training_samples()
    np.testing.assert_allclose(found["log_prob"], known, atol=1e-6)


def test_detect_in_parts(here, capsys):
    new = np.array([[0.1, 0.2], [9.0, -9.0], [np.nan, 0.3]])
    write("new.parquet", new)
    command = ["detect", "new.parquet", "--train", "part-*.parquet", "--exclude", "id", "--false-alarms", "0.05"]
    assert "1 of 3 rows flagged (--false-alarms 0.05), by 100 training rows" in run(capsys, *command, "--out", "out/", *SMALL)
    found = read("out")
    detector = DiscoOutlierDetector(context_size=64, threshold="auto", false_alarms=0.05).fit(here)
    np.testing.assert_allclose(found["anomaly_score"], -detector.decision_function(new), atol=1e-6)
    np.testing.assert_allclose(found["p_value"], detector.p_values(new), atol=1e-6)
    assert found["outlier"].to_pylist() == [0, 1, 0]


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".csv"])
def test_blocks(tmp_path, monkeypatch, suffix):
    """Rows come in blocks of one size, whatever their file is divided in, and again from any block on."""
    monkeypatch.setattr(parts_module, "BLOCK", 7)
    x = np.random.default_rng(0).normal(size=(31, 2))
    path = tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        write(path, x, row_group_size=4)
    else:
        files.write_table(path, {"a": x[:, 0], "b": x[:, 1]})
    part = files.find_parts(path)[0]
    columns = files.columns_of(part, columns=["b", "a"])
    for first in (0, 1, 3, 4, 5):
        blocks = list(files.read_blocks(part, columns, done=lambda number, first=first: number < first))
        assert [(block.number, block.first) for block in blocks] == [(k, 7 * k) for k in range(first, 5)]
        if blocks:
            np.testing.assert_array_equal(np.concatenate([block.values for block in blocks]), x[7 * first :, ::-1])
    pieces = [piece for piece in files.split_part(part, 2) for _ in files.read_blocks(piece, columns)]
    assert len(pieces) == 5
    assert len(set(pieces)) == (3 if suffix == ".parquet" else 1)
    assert files.count_rows(part) == (31 if suffix == ".parquet" else None)


def test_a_data_set_in_folders(tmp_path):
    for year in (2020, 2021):
        (tmp_path / f"year={year}").mkdir()
        write(tmp_path / f"year={year}" / "a.parquet", np.full((2, 2), year - 2000.0))
    (tmp_path / "_log.txt").write_text("not a part")
    found = files.find_parts(tmp_path)
    columns = files.columns_of(found[0], exclude=["id"])
    assert columns.names == ("a", "b", "year")
    values = [next(iter(files.read_blocks(part, columns))).values[0].tolist() for part in found]
    assert values == [[20.0, 20.0, 2020.0], [21.0, 21.0, 2021.0]]


def test_a_pattern_that_finds_nothing_is_named_among_others_that_do(tmp_path):
    write(tmp_path / "a.parquet", np.zeros((2, 2)))
    with pytest.raises(FileNotFoundError, match=r"no file at .*none-\*\.csv"):
        files.find_parts([tmp_path, tmp_path / "none-*.csv"])


def test_numbers_of_every_kind(tmp_path):
    """Whole numbers, decimals, text and missing cells in parts of one table are numbers; text that is none is named."""
    kinds = [
        pa.array([1, None]),
        pa.array([1.0, float("nan")]),
        pa.array(["1", None]),
        pa.array([True, None]),
    ]
    for k, kind in enumerate(kinds):
        pq.write_table(pa.table({"a": kind}), tmp_path / f"{k}.parquet")
    (tmp_path / "4.csv").write_text("a\n1\n\n")
    (tmp_path / "5.tsv").write_text("1\t2\nNA\t3\n")
    found = files.find_parts([tmp_path / f"{k}.parquet" for k in range(4)])
    for part in found:
        values = next(files.read_blocks(part, files.Columns(("a",)))).values
        np.testing.assert_array_equal(values, [[1.0], [np.nan]])
    bare = files.find_parts(tmp_path / "5.tsv")[0]
    assert files.columns_of(bare).names == ("x0", "x1")
    np.testing.assert_array_equal(next(files.read_blocks(bare, files.Columns(("x0",)))).values, [[1.0], [np.nan]])
    pq.write_table(pa.table({"a": ["1", "one"]}), tmp_path / "6.parquet")
    with pytest.raises(files.PartError, match=r"6\.parquet holds text in column a: .*one"):
        list(files.read_blocks(files.find_parts(tmp_path / "6.parquet")[0], files.Columns(("a",))))


def bad_parts(x):
    write("bad-0.parquet", x)
    Path("bad-1.parquet").write_bytes(Path("bad-0.parquet").read_bytes()[:-100])
    pq.write_table(pa.table({"id": ["u"], "a": [1.0]}), "bad-2.parquet")
    pq.write_table(pa.table({"id": ["u"], "a": ["one"], "b": [1.0]}), "bad-3.parquet")
    pq.write_table(pa.table({"id": ["u"], "a": [np.inf], "b": [1.0]}), "bad-4.parquet")
    Path("bad-5.parquet").write_bytes(b"")
    days = pa.array([0], pa.date32())
    pq.write_table(pa.table({"id": ["u"], "a": days, "b": [1.0]}), "bad-6.parquet")
    write("bad-7.parquet", x[:3])
    return [
        "cannot be read",
        "lacks column(s) b",
        "holds text in column a",
        "infinite values in column(s) a",
        "is empty",
        "date32",
    ]


@pytest.mark.filterwarnings("always:left out")
def test_bad_parts_are_named(here, capsys):
    """An error names the first; with --skip-bad each is named in one warning, and the others are kept."""
    faults = bad_parts(here)
    command = ["density", "bad-*.parquet", "--index", "id", *SMALL]
    err = run(capsys, *command, "--out", "one/", status=1)
    assert "disco: error: bad-1.parquet cannot be read" in err
    assert err.rstrip().endswith("--skip-bad leaves such parts out")
    assert cli.main([*command, "--skip-bad", "--out", "two/"]) == 0
    out, err = capsys.readouterr()
    assert "log_prob of 103 rows, by 103 training rows; left out: bad-1.parquet, bad-2.parquet" in out
    for number, fault in enumerate(faults, 1):
        told = [line for line in err.splitlines() if f"left out: bad-{number}.parquet" in line]
        assert [fault in line for line in told] == [True], (fault, err)
    assert len(list(Path("two").glob("part-*"))) == 2


@pytest.mark.filterwarnings("always:left out")
def test_the_first_part_may_lack_a_column(here, capsys):
    """It is the one that is bad: the others' columns are taken."""
    pq.write_table(pa.table({"id": ["u", "v"], "a": [1.0, 2.0]}), "a.parquet")
    command = ["density", "*.parquet", "--index", "id", *SMALL]
    assert "a.parquet lacks column(s) b" in run(capsys, *command, "--out", "one/", status=1)
    assert cli.main([*command, "--skip-bad", "--out", "two/"]) == 0
    assert "log_prob of 100 rows" in capsys.readouterr().out


def test_a_column_that_the_training_table_lacks(here, capsys):
    """It is told of: to answer by the others alone would be another density."""
    pq.write_table(pa.table({"a": [1.0, 2.0, 4.0]}), "usual.parquet")
    command = ["density", "part-*.parquet", "--train", "usual.parquet", "--index", "id", *SMALL, "--out", "out/"]
    assert "has column(s) b, which usual.parquet lacks: --exclude or --index them" in run(capsys, *command, status=1)


def test_several_files_are_one_pattern(here, capsys):
    with pytest.raises(SystemExit):
        cli.main(["density", "part-0.parquet", "part-1.parquet", "--out", "out/"])
    assert "of several files give one pattern, in quotes, or their folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["giant.parquet", "--out", "out/"], "giant.parquet holds no numbers in column(s) text (string): --exclude them"),
        (["giant.csv", "--out", "out.csv"], "giant.csv cannot be read: a cell has more than 131,072 characters"),
        (["none-*.parquet", "--out", "out/"], "no file at none-*.parquet"),
        (["part-*.parquet", "--out", "out/"], "holds no numbers in column(s) id (string): --exclude them, or --index"),
        (["part-*.parquet", "--columns", "c", "--out", "out/"], "has no column c: there are id, a, b"),
        (["text.csv", "--out", "out/"], "holds no numbers in column(s) a b (string): write its cells between commas"),
        (["part-1.parquet", "--index", "id", "--out", "out/"], "has 0 rows of any weight"),
        (["part-0.parquet", "--index", "id", "--out", "."], ". holds other files"),
        (["part-0.parquet", "--out", "out.csv", "--skip-bad"], "--skip-bad is of tables in parts: give --out a folder"),
        (["part-0.parquet", "--out", "out.csv", "--engine", "ray"], "--engine ray is of tables in parts"),
        (["part-0.parquet", "--out", "out/", "--plot", "x.png"], "--plot is of one file of results"),
        (["part-0.parquet", "--out", "out/", "--workers", "2"], "--address and --workers are of --engine ray"),
        (["part-*.parquet", "--index", "id", "--exclude", "a", "b", "--out", "out/"], "no column is left"),
    ],
)
def test_wrong_arguments(here, capsys, arguments, message):
    Path("text.csv").write_text("a b\n1 2\n3 4\n")
    Path("giant.csv").write_text("text\n" + "x" * 200_000 + "\n")
    pq.write_table(pa.table({"text": ["x" * 200_000]}), "giant.parquet")
    err = run(capsys, "density", *arguments, "--quiet", status=1)
    assert message in err
    assert err.count("\n") == 1


def test_a_full_disk_loses_nothing(here, capsys, monkeypatch):
    write_table, written = pq.write_table, []

    def full(table, path):
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_table(table, path)

    command = ["density", "part-*.parquet", "--index", "id", "--out", "out/", *SMALL]
    monkeypatch.setattr(pq, "write_table", full)
    assert "disco: error: out/part-000002-000000.parquet: No space left on device" in run(capsys, *command, status=1)
    assert len(list(Path("out").glob("*part-*"))) == 1
    assert "log_prob of 100 rows" in run(capsys, *command)
    assert len(written) == 3


def test_a_summary_goes_on_where_it_was_stopped(here, capsys, monkeypatch):
    """A kill while the training table is read: what was saved is not read again."""
    from disco_samplers.commands.shared import streams

    monkeypatch.setattr(streams, "_SAVED", -1.0)
    taken = []

    def stopped(part, *arguments, **options):
        taken.append(part.number)
        if taken == [0, 1, 2]:
            raise KeyboardInterrupt
        return summarise(part, *arguments, **options)

    summarise = streams.summarise_part
    monkeypatch.setattr(streams, "summarise_part", stopped)
    command = ["density", "part-*.parquet", "--index", "id", "--out", "out/", *SMALL]
    assert "disco: interrupted: what is done stays in out/" in run(capsys, *command, status=130)
    assert [path.name for path in Path("out").glob("_fit-*")] == ["_fit-000000002.npz"]
    run(capsys, *command)
    assert taken == [0, 1, 2, 2]
    whole = TableSummary().partial_fit(here[:40]).partial_fit(here[40:], part=2, first=0)
    np.testing.assert_array_equal(TableSummary.load("out/_fit.npz").rows, whole.rows)


@pytest.mark.slow
def test_a_kill_loses_no_row(tmp_path):
    """kill -9 in the middle, and once more the same command: the results of one that was not killed."""
    rng = np.random.default_rng(0)
    write(tmp_path / "usual.parquet", rng.normal(size=(100, 2)))
    for k in range(12):
        write(tmp_path / f"new-{k}.parquet", rng.normal(size=(1000, 2)), first=1000 * k)
    command = [sys.executable, "-m", "disco_samplers.cli", "density", "new-*.parquet", "--train", "usual.parquet"]
    command += ["--exclude", "id", "--quiet", "--out"]
    subprocess.run([*command, "whole/"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([*command, "killed/"], cwd=tmp_path)
    while len(list((tmp_path / "killed").glob("part-*"))) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("part-*")}
    assert 3 <= len(kept) < 12
    subprocess.run([*command, "killed/"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list((tmp_path / "killed").glob(".*"))
    assert read(tmp_path / "killed").equals(read(tmp_path / "whole"))
