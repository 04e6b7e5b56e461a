"""Tables larger than memory: time and error of a row by context size, memory by rows, and workers against one process.

The table has six columns: a mixture of eight normal laws, of which three columns are stretched by sinh, so that the density is
known. A context is the sample of rows that a summary keeps. Time is the processor's, one thread, for the command's own answers
(`DiscoDensity`, 4096 rows asked at a time); beside it scikit-learn's KernelDensity of the same rows, its bandwidth chosen by
held-out rows, and a GaussianMixture with up to 12 components chosen by BIC, both of columns through asinh. The error is the
mean of log f - log f^ over rows that nobody saw.

Memory is the peak of a process that runs `disco density` on files of so many rows, with a context of 256. Engines (with
--full) run the same command on the same files: one process, and Ray with one and two workers; the time in which rows are
answered counts, with the start of the workers, and results are compared to those of one process.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import torch
from disco_samplers.integrations.sklearn import DiscoDensity
from report import write
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from disco_samplers.summaries import TableSummary

D, STRETCHED = 6, 3
CHUNK = 4096


class Target:
    """The law that tables are drawn from."""

    def __init__(self) -> None:
        rng = np.random.default_rng(18)
        self.weights, self.means = rng.dirichlet(np.full(8, 3.0)), 2.0 * rng.normal(size=(8, D))
        factors = rng.normal(size=(8, D, D)) / math.sqrt(D)
        self.factors = np.linalg.cholesky(factors @ factors.transpose(0, 2, 1) + 0.1 * np.eye(D))

    def draw(self, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        k = rng.choice(8, size=n, p=self.weights)
        z = self.means[k] + np.einsum("nij,nj->ni", self.factors[k], rng.normal(size=(n, D)))
        z[:, :STRETCHED] = np.sinh(z[:, :STRETCHED])
        return z

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        z = np.concatenate([np.arcsinh(x[:, :STRETCHED]), x[:, STRETCHED:]], 1)
        jacobian = -0.5 * np.log1p(np.square(x[:, :STRETCHED])).sum(1)
        each = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            u = np.linalg.solve(factor, (z - mean).T)
            log_det = np.log(np.diagonal(factor)).sum()
            each.append(np.log(weight) - 0.5 * (np.square(u).sum(0) + D * np.log(2 * np.pi)) - log_det)
        return logsumexp(each, axis=0) + jacobian


class Straight:
    """Columns as asinh((x - median) / quartile range), for peers: so the command takes its own columns, too."""

    def __init__(self, x: np.ndarray) -> None:
        self.centre, self.scale = np.median(x, axis=0), np.subtract(*np.quantile(x, [0.75, 0.25], axis=0))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.arcsinh((x - self.centre) / self.scale)

    def log_det(self, x: np.ndarray) -> np.ndarray:
        return -0.5 * np.log1p(np.square((x - self.centre) / self.scale)).sum(1) - np.log(self.scale).sum()


def kde(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    straight = Straight(x)
    held = max(20, min(1000, len(x) // 5))
    fit, judged = straight(x[held:]), straight(x[:held])
    tried = [0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7]
    best = max(tried, key=lambda h: KernelDensity(bandwidth=h).fit(fit).score(judged))
    found = KernelDensity(bandwidth=best).fit(straight(x))
    return lambda y: found.score_samples(straight(y)) + straight.log_det(y)


def mixture(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    straight = Straight(x)
    z = straight(x)
    tried = [GaussianMixture(k, random_state=0, reg_covar=1e-4).fit(z) for k in (1, 2, 4, 8, 12)]
    best = min(tried, key=lambda found: found.bic(z))
    return lambda y: best.score_samples(straight(y)) + straight.log_det(y)


PEERS = {"KernelDensity": kde, "GaussianMixture": mixture}


def by_context(sizes: list[int], asked: int, patience: float) -> list[dict[str, object]]:
    """Seconds to fit and microseconds a row of one core, and the error with its standard error."""
    target = Target()
    summary = TableSummary().partial_fit(target.draw(200_000, 0))
    new, found, slow = target.draw(asked, 1), [], set[str]()
    truth = target.log_prob(new)
    for size in sizes:
        # Rows are kept in the order of their numbers, which says nothing of their values.
        rows = summary.rows[np.random.default_rng(0).permutation(len(summary.rows))[:size]]
        for name in ("DiscoDensity", *PEERS):
            if name in slow:
                continue
            start = time.process_time()
            density = DiscoDensity(context_size=size)
            answer = density.fit(summary).score_samples if name == "DiscoDensity" else PEERS[name](rows)
            answer(new[:64])
            fitted = time.process_time()
            log_prob = np.concatenate([answer(new[i : i + CHUNK]) for i in range(0, asked, CHUNK)])
            seconds = time.process_time() - fitted
            loss = truth - log_prob
            row = {"context": size, "method": name, "fit": fitted - start, "microseconds": 1e6 * seconds / asked}
            found.append(row | {"error": float(loss.mean()), "se": float(loss.std() / math.sqrt(asked))})
            print(found[-1], file=sys.stderr)
            slow |= {name} if time.process_time() - start > patience else set()
    return found


def files_of(folder: Path, rows: int, parts: int) -> str:
    target = Target()
    for k in range(parts):
        x = target.draw(rows // parts, 100 + k)
        pq.write_table(pa.table({f"x{i}": column for i, column in enumerate(x.T)}), folder / f"part-{k}.parquet")
    return str(folder / "part-*.parquet")


COMMAND = """import resource, sys
from disco_samplers import cli
assert cli.main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"""


def command(pattern: str, out: str, context: int, *more: str) -> dict[str, float]:
    """Seconds of the whole and of answering, and the process's peak in GB, of ``disco density``."""
    arguments = ["density", pattern, "--context-size", str(context), "--out", f"{out}/", *more]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], check=True, capture_output=True, text=True)
    whole = time.perf_counter() - start
    clocks = [line for line in re.split(r"[\r\n]", done.stderr) if line.startswith("answering") and "100%" in line]
    minutes = re.search(r"\[((?:\d+:)?\d+:\d+)<", clocks[-1])[1].split(":")
    answering = sum(60**k * int(part) for k, part in enumerate(reversed(minutes)))
    return {"seconds": whole, "answering": max(1, answering), "peak": float(done.stdout.split()[-1])}


def memory(sizes: list[int], context: int) -> list[dict[str, float]]:
    """Peak memory and rate of one process by the number of rows."""
    found = []
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            pattern = files_of(Path(folder), rows, max(1, rows // 500_000))
            found.append({"rows": rows, **command(pattern, f"{folder}/out", context)})
            print(found[-1], file=sys.stderr)
    return found


def engines(rows: int, context: int) -> list[dict[str, object]]:
    """One process, and Ray with one worker and with two, on the same files."""
    found: list[dict[str, object]] = []
    first = None
    with tempfile.TemporaryDirectory() as folder:
        pattern = files_of(Path(folder), rows, 4)
        kinds = {"one process": [], "Ray, 1 worker": ["--engine", "ray", "--workers", "1"]}
        if (os.cpu_count() or 1) > 1:
            kinds["Ray, 2 workers"] = ["--engine", "ray", "--workers", "2"]
        for number, (name, options) in enumerate(kinds.items()):
            out = f"{folder}/out{number}"
            run = {"engine": name, "rows": rows, **command(pattern, out, context, *options)}
            answers = np.asarray(ds.dataset(out).to_table()["log_prob"])
            first = answers if first is None else first
            found.append(run | {"difference": float(np.abs(answers - first).max())})
            print(found[-1], file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--full", action="store_true", help="more rows asked, 10 million rows of memory, engines: hours; needs Ray"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, only to see that it runs")
    options = parser.parse_args()
    started = time.time()
    torch.set_num_threads(1)
    run = engines(1_000_000, 1024) if options.full else []
    sizes = [256, 1024] if options.quick else [256, 1024, 4096, 16384, 32768]
    contexts = by_context(sizes, 512 if options.quick else 16384 if options.full else 2048, 900.0 if options.full else 60.0)
    rows = [10_000] if options.quick else [1_000_000, 10_000_000] if options.full else [50_000, 200_000]
    used = memory(rows, 256)
    table = [
        [
            f"{row['context']:,}",
            str(row["method"]),
            f"{row['fit']:.1f}",
            f"{row['microseconds']:.0f}",
            f"{1e3 * row['microseconds'] / 3600:.0f}",
            f"{row['error']:.3f} ± {row['se']:.3f}",
        ]
        for row in contexts
    ]
    header = ["context", "method", "fit (s)", "µs a row and core", "core hours for 1e9 rows", "error (nats)"]
    said = "; ".join(
        f"{row['rows']:,} rows: {row['peak']:.2f} GB, {row['rows'] / row['answering']:,.0f} rows a second" for row in used
    )
    about = (__doc__ or "") + f"\nMemory of one process, context 256: {said}.\n"
    if run:
        rates = [row["rows"] / row["answering"] for row in run]
        words = [
            f"{row['engine']} {rate:,.0f} rows a second ({rate / rates[0]:.2f} of one process), "
            f"difference {row['difference']:.1g}"
            for row, rate in zip(run, rates, strict=True)
        ]
        about += f"\nEngines, on {os.cpu_count()} CPUs: " + "; ".join(words) + ".\n"
    raw = {"contexts": contexts, "memory": used, "engines": run}
    name = "large_tables_quick" if options.quick else "large_tables"
    write(name, "Tables larger than memory", about, header, table, raw, started)


if __name__ == "__main__":
    main()
