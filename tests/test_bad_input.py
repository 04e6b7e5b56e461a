"""Whatever is thrown at it: a ValueError or TypeError that says what is wrong, or finite numbers; and killed processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disco_samplers import DiScoFormer, cli, files
from disco_samplers.files import load_checkpoint

# What is read with a warning is read.
pytestmark = pytest.mark.filterwarnings("ignore::disco_samplers.draws.DrawsWarning")

X = np.random.default_rng(0).normal(size=(40, 3))

thorough = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

NUMPY = ["float64", "float32", "float16", ">f8", "longdouble", "int64", "int8", "uint16", "uint64", "bool"]
STRANGE = ["object", "str", "complex128", "datetime64[s]", "bytes", "structured"]
TORCH = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.uint8, torch.bool, torch.complex64]
SPECIAL = [float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 1e154, 1e38, 1e-300, 1e-320, 5e-324, 0.0, -0.0, 2.0**53]


@st.composite
def matrices(draw, d=None):
    """Arrays of odd shapes, mostly (n, d), with odd values, duplicates, constant and dependent columns."""
    rank = 2 if d is not None else draw(st.sampled_from([0, 1, 2, 2, 2, 2, 2, 2, 3, 4]))
    rows = st.sampled_from([0, 1, 2, 3, 5, 8, 12])
    columns = st.sampled_from([0, 1, 1, 2, 2, 3, 5]) if d is None else st.just(d)
    shape = [draw(rows) for _ in range(rank - 1)] + [draw(columns) for _ in range(min(rank, 1))]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = random.normal(size=shape) * 10.0 ** draw(st.sampled_from([0, 0, 0, -200, -30, 5, 30, 150]))
    x = x + draw(st.sampled_from([0.0, 0.0, 0.0, 1e6, -1e12]))
    if rank == 2 and x.size:
        match draw(st.sampled_from(["plain", "plain", "duplicates", "constant", "dependent", "special", "scales"])):
            case "duplicates":
                x = x[random.integers(0, max(1, len(x) // 2), len(x))]
            case "constant":
                x[:, random.integers(x.shape[1])] = draw(st.sampled_from([0.0, 1.0, 1e300, 1e-320]))
            case "dependent":
                x[:, 0] = x[:, -1] * 2 + 1
            case "special":
                for _ in range(draw(st.integers(1, 3))):
                    x[random.integers(len(x)), random.integers(x.shape[1])] = draw(st.sampled_from(SPECIAL))
            case "scales":
                x = random.normal(size=shape) * 10.0 ** random.integers(-150, 150, x.shape[1])
    return x


def cast(x, kind):
    """The array in another type, as numpy or torch has it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if isinstance(kind, torch.dtype):
            return torch.from_numpy(np.array(x)).to(kind)
        if kind == "structured":
            return np.zeros(x.shape, dtype=[("a", float), ("b", int)])
        if kind == "datetime64[s]":
            return np.zeros(x.shape, dtype="datetime64[s]")
        return x.astype({"str": "U9", "bytes": "S9"}.get(kind, kind))


kinds = st.sampled_from(["float64"] * 20 + [torch.float32] * 8 + NUMPY + TORCH + STRANGE)


def check(model, samples, points):
    try:
        estimate = model.condition(samples)
    except (TypeError, ValueError) as error:
        if "samples" not in str(error):
            raise
        return False
    try:
        answers = estimate.log_prob_and_score(points)
    except (TypeError, ValueError) as error:
        if "points" not in str(error):
            raise
        return False
    kind = torch.Tensor if isinstance(points, torch.Tensor) else np.ndarray
    for answer in answers:
        assert isinstance(answer, kind)
        assert np.isfinite(np.asarray(answer)).all()
    return True


@thorough
@given(samples=matrices(), kind=kinds, points_kind=kinds, data=st.data())
def test_condition_and_query(small, samples, kind, points_kind, data):
    d = samples.shape[-1] if samples.ndim else 1
    points = data.draw(matrices(d if data.draw(st.integers(0, 4)) and samples.ndim == 2 else None))
    check(small, cast(samples, kind), cast(points, points_kind))
    check(small, cast(samples, kind), cast(samples, kind))


@thorough
@given(samples=matrices(d=3), scale=st.sampled_from([0.0, 1.0, 1e3, 1e10, 1e100, 1e300]))
def test_far_queries(disco, samples, scale):
    with np.errstate(all="ignore"):
        points = np.clip(scale * np.random.default_rng(0).normal(size=(5, 3)), -1e308, 1e308)
    check(disco, samples, points)


def test_queries_out_of_float64_in_units_of_the_samples(disco):
    assert check(disco, 1e-200 * X, 1e200 * X)


cells = st.sampled_from(
    ["1", "2.5", "-3e-5", "1e300", "1e-300", "0", "", "nan", "inf", "x", "1,5", '"', " 7 ", "0x1f", "1_0", "é", "\0"]
)


@st.composite
def csv_files(draw):
    width = draw(st.integers(1, 4))
    rows = [[draw(st.sampled_from(["1", "2.5", "-3e-5", "0.1"])) for _ in range(width)] for _ in range(draw(st.integers(0, 6)))]
    if draw(st.booleans()):
        rows.insert(
            0, draw(st.lists(st.sampled_from(["a", "b", "c", "d", "chain", "draw", "", "é"]), min_size=width, max_size=width))
        )
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        if rows:
            row = rows[draw(st.integers(0, len(rows) - 1))]
            row[draw(st.integers(0, width - 1))] = draw(cells)
    if rows and draw(st.integers(0, 9)) == 0:
        rows[-1].append("1")
    delimiter, end = draw(st.sampled_from([",", ",", ";", "\t"])), draw(st.sampled_from(["\n", "\n", "\r\n", "\n\n"]))
    text = end.join(delimiter.join(row) for row in rows) + draw(st.sampled_from(["", end]))
    return draw(st.sampled_from(["", "", "", "\ufeff"])) + text


def score(capsys, draws, at):
    """Runs ``disco score``: finite numbers and status 0, or one line on standard error, status 1 and no file."""
    out = draws.with_name("out.csv")
    out.unlink(missing_ok=True)
    status = cli.main(["score", str(draws), "--at", str(at), "--out", str(out), "--quiet"])
    err = capsys.readouterr().err
    if status == 0:
        assert err == ""
        assert np.isfinite(files.read_table(out).values).all()
        return
    assert status == 1
    assert err.startswith("disco: error: ")
    assert err.count("\n") == 1
    assert not out.exists()


@thorough
@given(text=csv_files(), other=csv_files())
def test_score_of_any_csv(tmp_path, capsys, monkeypatch, disco, text, other):
    monkeypatch.setattr(DiScoFormer, "from_pretrained", lambda *_, **__: disco)
    draws, at = tmp_path / "draws.csv", tmp_path / "at.csv"
    draws.write_text(text, encoding="utf-8", newline="")
    at.write_text(other, encoding="utf-8", newline="")
    try:
        table = files.read_table(draws)
    except ValueError as error:
        if not str(error).startswith(str(draws)):
            raise
    else:
        assert table.values.shape == (len(table.values), len(table.names))
        assert len(table.values) % table.num_chains == 0
    score(capsys, draws, at)
    score(capsys, draws, draws)


@thorough
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".csv", ".npy", ".npz", ".parquet", ".nc"]))
def test_any_bytes_are_a_table_or_a_value_error(tmp_path, content, suffix):
    for module in {".parquet": ["pyarrow"], ".nc": ["h5netcdf", "h5py", "xarray"]}.get(suffix, []):
        pytest.importorskip(module)
    head = {".npy": b"\x93NUMPY\x01\x00", ".npz": b"PK\x03\x04", ".parquet": b"PAR1", ".nc": b"\x89HDF\r\n\x1a\n"}.get(
        suffix, b""
    )
    for start in (b"", head):
        path = tmp_path / f"t{suffix}"
        path.write_bytes(start + content)
        try:
            files.read_table(path)
        except ValueError as error:
            if str(path) not in str(error):
                raise


@pytest.mark.parametrize(
    "samples",
    [
        np.repeat(X[:10], 4, axis=0),
        np.concatenate([X, np.ones((40, 1))], 1),
        np.concatenate([X, np.zeros((40, 1)), X @ np.ones((3, 1))], 1),
        X[:2],
        (10 * X).astype(int),
        X > 0,
        X.astype(np.float16),
        torch.from_numpy(X).bfloat16(),
        torch.from_numpy(10 * X).to(torch.uint8),
        X.astype(">f8"),
        X[::-1, ::-1],
        np.asfortranarray(X),
        X.tolist(),
        1e150 * X,
        1e-150 * X,
        X + 1e9,
        X * [1e-12, 1.0, 1e12],
    ],
    ids=lambda samples: f"{getattr(samples, 'dtype', 'list')}",
)
def test_awkward_samples_have_an_estimate(samples, disco):
    assert check(disco, samples, samples)


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (X[:1], ValueError, "at least 2 rows"),
        (X[:0], ValueError, "samples"),
        (X[:, :0], ValueError, "samples is empty"),
        (X[0], ValueError, r"samples must have shape .* use x\[:, None\]"),
        (np.ones((9, 2)), ValueError, "all its rows are the same"),
        (np.zeros((4, 2000)), ValueError, "2000 columns; at most 1024 are supported: did you mean x.T"),
        (
            np.random.default_rng(0).normal(size=(8, 2000)),
            ValueError,
            "2000 columns; at most 1024 are supported: did you mean x.T",
        ),
        (np.where(X > 2, np.nan, X), ValueError, r"samples holds NaN or infinite values: \d+ of 40 rows, first at row \d+"),
        (X.astype(object), TypeError, "samples must hold real numbers, got dtype object"),
        (X.astype(str), TypeError, "samples must hold real numbers"),
        (X.astype(complex), TypeError, "samples must hold real numbers, got dtype complex128"),
        (torch.ones(4, 2, dtype=torch.complex64), TypeError, "samples must hold real numbers"),
        (None, TypeError, "samples must hold real numbers"),
        ([[1.0, 2.0], [3.0]], TypeError, "rows differ in length"),
        (torch.ones(4, 2, device="meta"), ValueError, "samples is on meta"),
        (np.ones((2, 2, 2, 2)), ValueError, "samples must have shape"),
    ],
)
def test_samples_that_have_none(samples, error, message, disco):
    with pytest.raises(error, match=message):
        disco.condition(samples)


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (X[0], ValueError, "points must have shape"),
        (X[:, :2], ValueError, "points must have 3 columns"),
        (X[None], ValueError, "points must have shape"),
        (np.full((2, 3), np.inf), ValueError, "points holds NaN or infinite"),
        (X.astype(str), TypeError, "points must hold real numbers"),
        (torch.ones(4, 3, device="meta"), ValueError, "points is on meta, the estimate on cpu"),
        (None, TypeError, "points must hold real numbers"),
    ],
)
@pytest.mark.parametrize("method", ["log_prob", "score", "log_prob_and_score"])
def test_wrong_points(points, error, message, method, disco):
    with pytest.raises(error, match=message):
        getattr(disco.condition(X), method)(points)


def test_no_points(disco):
    log_prob, score = disco.condition(X).log_prob_and_score(X[:0])
    assert log_prob.shape == (0,)
    assert score.shape == (0, 3)


def killed(command, ready, folder):
    """Runs a process until ``ready`` and kills it a little later."""
    with subprocess.Popen(
        [sys.executable, "-c", command], cwd=folder, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as process:
        deadline = time.monotonic() + 90
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.usefixtures("quick_validation")
def test_killed_while_training(tmp_path):
    config = {
        "model": {"layers": 1, "width": 8, "vector_channels": 2, "heads": 2, "head_width": 4, "hidden": 8},
        "training": {
            "save_minutes": 0.0,
            "stream": {"max_dim": 1, "common_dim": 1, "min_samples": 8, "max_samples": 8, "queries": 8, "max_batch": 1},
        },
    }
    (tmp_path / "tiny.json").write_text(json.dumps(config))
    arguments = ["train", "--minutes", "5", "--config", "tiny.json", "--out", "run", "--quiet"]
    checkpoint = tmp_path / "run/checkpoint.pt"
    # With the shipped cells most of the time goes into validating.
    quick = "from disco_samplers.training import trainer; trainer._VALIDATION_CELLS = ((1, 256), (2, 256))"
    killed(f"from disco_samplers.cli import main; {quick}; main({arguments})", checkpoint.exists, tmp_path)
    assert load_checkpoint(checkpoint)["step"] > 0
    assert DiScoFormer.from_pretrained(tmp_path / "run").config.layers == 1
    with open(tmp_path / "run/losses.csv", newline="") as file:
        assert int(next(csv.DictReader(file))["step"]) == 1
    resumed = ["train", "--minutes", "0.003", "--resume", str(tmp_path / "run"), "--out", str(tmp_path / "run"), "--quiet"]
    assert cli.main([*resumed, "--config", str(tmp_path / "tiny.json")]) == 0


@pytest.mark.slow
def test_killed_while_writing_draws(tmp_path):
    np.save(tmp_path / "draws.npy", X)
    out = tmp_path / "out.csv"
    arguments = [
        "sample",
        "draws.npy",
        "--num-samples",
        "20",
        "--num-warmup",
        "0",
        "--thinning",
        "1",
        "--out",
        "out.csv",
        "--quiet",
    ]
    # The draws stay as they are, so that all of the time goes into writing them.
    command = f"""
from disco_samplers import LangevinSampler, cli
run, results = LangevinSampler.run, []

def once(*arguments, **options):
    results.append(results[0] if results else run(*arguments, **options))
    return results[0]

LangevinSampler.run = once
while cli.main({arguments}) == 0:
    pass
"""
    killed(command, out.exists, tmp_path)
    table = files.read_table(out)
    assert table.values.shape == (80, 3)
    assert table.num_chains == 4
    assert np.isfinite(table.values).all()
