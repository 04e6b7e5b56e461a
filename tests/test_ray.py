"""Ray: the results of one process, also where workers are killed, and one line on what is wrong with a cluster."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")
pytest.importorskip("ray", reason="the extra ray is not installed")

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import ray
from disco_samplers.integrations.ray import fit, score
from disco_samplers.integrations.ray.cluster import check_workers, plainly
from disco_samplers.integrations.sklearn import DiscoDensity

from disco_samplers import DiScoFormer, cli
from disco_samplers.summaries import TableSummary

pytestmark = [
    pytest.mark.slow,
    # Of Ray's own processes and files.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    """One of two CPUs, whatever the machine has."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return np.random.default_rng(0).normal(size=(6000, 2))


def write(path, x, first=0):
    number = np.arange(first, first + len(x))
    pq.write_table(pa.table({"number": number, "a": x[:, 0], "b": x[:, 1]}), path)


def read(folder):
    return ds.dataset(folder).to_table()


def test_the_command_gives_what_one_process_gives(cluster, here, capsys):
    for k in range(6):
        write(f"part-{k}.parquet", here[1000 * k : 1000 * (k + 1)], 1000 * k)
    Path("part-6.parquet").write_bytes(b"broken")
    command = ["density", "part-*.parquet", "--exclude", "number", "--context-size", "64", "--quiet"]
    assert cli.main([*command, "--engine", "ray", "--out", "bad/"]) == 1
    assert "part-6.parquet cannot be read" in capsys.readouterr().err
    Path("part-6.parquet").unlink()
    assert (
        cli.main([*command, "--out", "one/"]) == cli.main([*command, "--engine", "ray", "--workers", "2", "--out", "two/"]) == 0
    )
    one, two = read("one"), read("two")
    assert len(one) == 6000
    assert one.drop_columns("log_prob").equals(two.drop_columns("log_prob"))
    np.testing.assert_allclose(two["log_prob"], one["log_prob"], atol=1e-6)
    assert cli.main([*command, "--engine", "ray", "--workers", "9", "--out", "three/"]) == 1
    assert "concurrency must be at most 2, the workers that the cluster has room for, got 9" in capsys.readouterr().err


def test_a_killed_worker_costs_no_row(cluster, here):
    """The actor's process is killed as soon as the first results are there."""
    for k in range(10):
        write(f"part-{k}.parquet", here[600 * k : 600 * (k + 1)] + 0.5, 600 * k)
    write("usual.parquet", here[:400])
    command = ["density", "part-*.parquet", "--train", "usual.parquet", "--columns", "a", "b", "--index", "number", "--quiet"]
    killed = []

    def kill():
        while not list(Path("killed").glob("part-*")):
            time.sleep(0.01)
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            if b"_Answerer" in process.read_bytes():
                os.kill(int(process.parent.name), signal.SIGKILL)
                killed.append(process)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert cli.main([*command, "--engine", "ray", "--workers", "1", "--out", "killed/"]) == 0
    killer.join(10)
    assert killed
    assert cli.main([*command, "--out", "whole/"]) == 0
    assert read("killed")["number"].to_pylist() == list(range(6000))
    np.testing.assert_allclose(read("killed")["log_prob"], read("whole")["log_prob"], atol=1e-6)


def test_data_sets(cluster, here):
    """Whatever blocks a data set has, the summary is that of its rows by number, and answers are those of the model here."""
    x, w = here[:2000], np.random.default_rng(1).gamma(1.0, size=2000)
    table = pa.table({"number": np.arange(2000), "w": w, "a": x[:, 0], "b": x[:, 1]})
    dataset = ray.data.from_arrow(table).repartition(7).random_shuffle(seed=0)
    summary = fit(dataset, row_weights="w", row_number="number", size=100)
    whole = TableSummary(size=100).partial_fit(x, w, names=["a", "b"])
    np.testing.assert_array_equal(summary.rows, whole.rows)
    np.testing.assert_allclose(summary.mean, whole.mean)
    by_content = fit(dataset, columns=["a", "b"], size=100)
    assert (by_content.num_rows, by_content.rows.shape) == (2000, (100, 2))
    density = DiscoDensity().fit(summary)
    estimate = DiScoFormer.from_pretrained().condition(summary)
    for model, answer in ((density, density.score_samples), (estimate, estimate.log_prob)):
        frame = score(dataset, model, columns=["a", "b"]).to_pandas().sort_values("number")
        np.testing.assert_allclose(frame["log_prob"], answer(x), atol=1e-5)
    with pytest.raises(ValueError, match=r"concurrency must be at most 1, .* beside 1 CPU that reads, got 2"):
        score(dataset, density, columns=["a", "b"], concurrency=2)
    with pytest.raises(ValueError, match="the data set has no column c: there are number, w, a, b"):
        fit(dataset, columns=["c"])
    with pytest.raises(ValueError, match=r"num_gpus=1 for each worker, and the cluster has 0 GPUs"):
        score(dataset, density, columns=["a", "b"], num_gpus=1)
    with pytest.raises(TypeError, match=r"dataset must be a data set of ray\.data, got Table"):
        fit(table)
    with pytest.raises(TypeError, match="model must be a fitted density or detector, or an estimate, got int"):
        score(dataset, 3)


def test_room(cluster):
    assert [check_workers(ray, None, 0.0, spare=spare) for spare in (0, 1, 2)] == [2, 1, 1]


def test_what_workers_raise(cluster):
    """A worker's error is that of one process; one that lacks the package is told what to install."""

    def fails(kind):
        if kind == "disk":
            raise OSError(28, "No space left on device", "out/part-0.parquet")
        raise ModuleNotFoundError("No module named 'disco_samplers'")

    with pytest.raises(OSError, match="No space left on device") as caught, plainly():
        ray.get(ray.remote(fails).remote("disk"))
    assert (type(caught.value), caught.value.strerror) == (OSError, "No space left on device")
    with pytest.raises(ImportError, match=r"a worker lacks a package .*disco_samplers.*: install"), plainly():
        ray.get(ray.remote(fails).remote("package"))


def test_addresses(here, capsys, monkeypatch):
    """One that does not answer is told of within seconds."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    write("part.parquet", here[:50])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address, message in (
        (f"127.0.0.1:{port}", f"address 127.0.0.1:{port} does not answer: Connection refused; is a Ray cluster running there?"),
        ("somewhere", "address must be HOST:PORT or ray://HOST:PORT of a Ray cluster, got 'somewhere'"),
    ):
        started = time.monotonic()
        assert cli.main(["density", "part.parquet", "--out", "out/", "--engine", "ray", "--address", address, "--quiet"]) == 1
        assert message in capsys.readouterr().err
        assert time.monotonic() - started < 10
