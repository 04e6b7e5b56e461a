"""``disco detect`` and ``disco density``: index and columns carried through, flags, pictures, and one line on what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from disco_samplers import cli, files

pytest.importorskip("sklearn")

from disco_samplers.integrations.sklearn import DiscoDensity, DiscoOutlierDetector


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A table of 60 usual rows, and one of five rows with text labels in other column order, the last far away."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(65, 2))
    x[64] = 20.0
    files.write_table("usual.csv", {"a": x[:60, 0], "b": x[:60, 1]})
    files.write_table("new.csv", {"who": np.array(["u", "v", "w", "x", "y"]), "b": x[60:, 1], "a": x[60:, 0]})
    return x


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def test_detect(here, capsys):
    pytest.importorskip("matplotlib")
    out = run(
        capsys, *["detect", "new.csv", "--train", "usual.csv", "--index", "who", "--out", "flags.csv", "--plot", "flags.png"]
    )
    assert "1 of 5 rows flagged, by 60 training rows: as low as their 10 % lowest (--contamination 0.1)" in out
    table = files.read_table("flags.csv", ["who"])
    assert table.index["who"].tolist() == ["u", "v", "w", "x", "y"]
    assert table.names == ["b", "a", "anomaly_score", "outlier"]
    detector = DiscoOutlierDetector().fit(here[:60])
    np.testing.assert_allclose(table.values[:, 2], -detector.decision_function(here[60:]))
    np.testing.assert_array_equal(table.values[:, 3] == 1, table.values[:, 2] > 0)
    assert table.values[4, 3] == 1
    assert (here.shape, Path("flags.png").stat().st_size > 5000) == ((65, 2), True)


def test_detect_in_the_table_itself(here, capsys):
    out = run(capsys, *["detect", "usual.csv", "--contamination", "0.05", "--out", "flags.npz"])
    assert "3 of 60 rows flagged, by 60 training rows: the 5 % lowest (--contamination 0.05)" in out
    assert files.read_table("flags.npz").values[:, -1].sum() == 3


def test_detect_without_a_share(here, capsys):
    """Flags by p-values; of the most unusual rows each cell's surprise, in the training table's columns."""
    pytest.importorskip("matplotlib")
    given = ["detect", "new.csv", "--train", "usual.csv", "--index", "who", "--out", "flags.csv", "--false-alarms", "0.02"]
    out = run(capsys, *given, "--explain", "2", "--explain-plot", "why.png")
    assert "1 of 5 rows flagged, by 60 training rows: of usual new rows at most 2 % would be (--false-alarms 0.02)" in out
    table = files.read_table("flags.csv", ["who"])
    assert table.names == ["b", "a", "anomaly_score", "outlier", "p_value", "surprise_a", "surprise_b"]
    detector = DiscoOutlierDetector(threshold="auto", false_alarms=0.02).fit(here[:60])
    np.testing.assert_allclose(table.values[:, 4], detector.p_values(here[60:]))
    np.testing.assert_array_equal(table.values[:, 3] == 1, table.values[:, 4] <= 0.02)
    explained = np.argsort(-table.values[:, 2])[:2]
    assert np.isnan(np.delete(table.values[:, 5:], explained, 0)).all()
    np.testing.assert_allclose(table.values[explained, 5:], detector.explain(here[60:][explained]))
    assert table.values[4, 5:].min() > 2
    assert Path("why.png").stat().st_size > 5000


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_density_keeps_an_unnamed_index(suffix, here, capsys):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(here[:30], columns=["a", "b"], index=[f"row {i}" for i in range(30)])
    getattr(frame, f"to_{suffix[1:]}")(f"t{suffix}")
    run(capsys, "density", f"t{suffix}", "--train", "usual.csv", "--out", f"out{suffix}")
    found = pandas.read_csv("out.csv") if suffix == ".csv" else pandas.read_parquet("out.parquet")
    assert found.iloc[:, 0].tolist() == frame.index.tolist()
    np.testing.assert_allclose(found["log_prob"], DiscoDensity().fit(here[:60]).score_samples(here[:30]))


def test_density_says_which_rows_its_estimates_know(here, capsys):
    """Of the training table itself each row is left out; with --train it is not, and rows find themselves."""
    alone = run(capsys, "density", "usual.csv", "--out", "alone.csv")
    again = run(capsys, "density", "usual.csv", "--train", "usual.csv", "--out", "again.csv")
    assert "of 60 rows, each by an estimate made without it (cross-fitted): mean" in alone
    assert "of 60 rows, by 60: mean" in again
    density = DiscoDensity(random_state=0).fit(here[:60])
    for name, expected in (("alone", density.score_training_samples()), ("again", density.score_samples(here[:60]))):
        np.testing.assert_allclose(files.read_table(f"{name}.csv").values[:, -1], expected)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_cells_may_be_empty(suffix, here, capsys):
    """In both tables; what is written has them missing again."""
    pandas = pytest.importorskip("pandas")
    usual, new = (pandas.DataFrame(rows, columns=["a", "b"]) for rows in (here[:60], here[60:]))
    usual.iloc[3:9, 0] = new.iloc[4, 1] = new.iloc[0, 0] = np.nan
    for name, frame in (("train", usual), ("asked", new)):
        getattr(frame, f"to_{suffix[1:]}")(f"{name}{suffix}", index=False)
    given = [f"asked{suffix}", "--train", f"train{suffix}", "--out", f"out{suffix}"]
    out = run(capsys, "detect", *given)
    assert "Table: 60 rows of 2 columns, 6 with missing cells" in out
    assert "1 of 5 rows, 2 of them with missing cells, flagged" in out
    found = pandas.read_csv("out.csv") if suffix == ".csv" else pandas.read_parquet("out.parquet")
    np.testing.assert_array_equal(found["outlier"], [0, 0, 0, 0, 1])
    np.testing.assert_allclose(found[["a", "b"]], new)
    said = json.loads(run(capsys, "density", *given, "--json"))
    assert (said["lacking"], said["training"]["lacking"]) == (2, 6)
    found = pandas.read_csv("out.csv") if suffix == ".csv" else pandas.read_parquet("out.parquet")
    np.testing.assert_allclose(found["log_prob"], DiscoDensity().fit(usual.to_numpy()).score_samples(new.to_numpy()))


def test_rows_keep_their_index_when_sorted_by_draw(tmp_path):
    (tmp_path / "t.csv").write_text("chain,draw,x,id\n1,0,5,p\n0,1,6,q\n1,1,7,r\n0,0,8,s\n")
    table = files.read_table(tmp_path / "t.csv", ["id"])
    assert (table.values[:, 0].tolist(), table.index["id"].tolist(), table.num_chains) == (
        [8, 6, 5, 7],
        ["s", "q", "p", "r"],
        2,
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("detect new.csv --out o.csv", "column who: 'u' is not a number"),
        ("detect new.csv --index who name --out o.csv", "no column name to take as index"),
        (
            "detect new.csv --index who --train usual.csv --contamination 0.7 --out o.csv",
            "--contamination must lie in (0, 0.5]",
        ),
        ("detect new.csv --index who --train usual.csv --out o.npy", "must be .csv, .npz, .parquet or .feather"),
        ("detect missing.csv --out o.csv", "no file at missing.csv"),
        (
            "detect far.csv --out o.csv",
            "far.csv holds infinite values in column(s) b: 1 of 3 rows, first at row 1 (of 0 to 2)",
        ),
        (
            "detect usual.csv --train empty.csv --out o.csv",
            "empty.csv has no value in column(s) b: leave them out with --exclude",
        ),
        ("density taken.csv --out o.csv", "has a column called log_prob already"),
        ("density usual.csv --out o.csv --plot o.txt", "the extension of a picture must be"),
        ("density usual.csv --train other.csv --out o.csv", "usual.csv has columns a, b, other.csv has a, c"),
        (
            "detect usual.csv --contamination 0.1 --false-alarms 0.1 --out o.csv",
            "--contamination and --false-alarms both set the threshold: give one of them",
        ),
        ("detect usual.csv --false-alarms 0.001 --out o.csv", "false_alarms must be at least 0.016 with 60 training rows"),
        ("detect usual.csv --explain 0 --out o.csv", "--explain must be at least one row, got 0"),
        ("detect usual.csv --explain-plot o.txt --out o.csv", "the extension of a picture must be"),
        ("detect usual.csv --device nowhere --out o.csv", "is not a device"),
    ],
)
def test_bad_input(arguments, error, here, capsys):
    pytest.importorskip("matplotlib")
    Path("far.csv").write_text("a,b\n1,2\n3,inf\n4,5\n")
    Path("empty.csv").write_text("a,b\n1,\n3,\n4,\n")
    Path("other.csv").write_text("a,c\n1,2\n3,1\n4,5\n")
    Path("taken.csv").write_text("a,log_prob\n1,2\n3,1\n4,5\n")
    assert cli.main(arguments.split()) == 1
    err = capsys.readouterr().err
    assert err.startswith("disco: error: ")
    assert err.count("\n") == 1
    assert error in err
    assert not Path("o.csv").exists()
