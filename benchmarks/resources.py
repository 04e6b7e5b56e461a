"""Time and memory: importing, conditioning and answering, beside KDE and EM in the same run.

Contexts and queries of the same size n = m, standard normal; density and score together. Of the n queries the first 8192 are
asked: they are answered in tiles of that size, so time is in proportion (and is brought to n) and memory does not change.
Every measurement is the least of three up to n = 2048, of one beyond; memory is the peak of a process of its own.
Peers: scikit-learn's `KernelDensity` (log-density only) with a given bandwidth, and with the bandwidth of a 5-fold grid search
over 20 values; a KDE of given bandwidth in torch, evaluated in tiles (density and score); mixtures by EM with up to 12
components chosen by BIC. A peer that took more than the patience at one size is not asked the next.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from methods import em
from report import curves, exponent, write
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from disco_samplers import DiScoFormer
from disco_samplers.reference import KDE

IMPORT = """import time
t = time.perf_counter()
import torch
a = time.perf_counter()
import disco_samplers
print(a - t, time.perf_counter() - a)"""
ASKED = 8192
KEYS = ("condition", "answer", "before", "peak")


def import_seconds(repeats: int = 5) -> tuple[float, float]:
    """Median seconds of importing torch, and of importing disco_samplers after it, in fresh processes."""
    times = [[float(v) for v in _output(IMPORT)] for _ in range(repeats)]
    torch_seconds, ours = np.median(times, axis=0)
    return float(torch_seconds), float(ours)


def _output(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def data(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Context (n, d) and the queries that are asked."""
    x, y = np.random.default_rng(0).normal(size=(2, n, d)).astype(np.float32)
    return x, y[:ASKED]


def _repeats(n: int) -> range:
    return range(3 if n <= 2048 else 1)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(n: int, d: int, weights: str) -> list[float]:
    """Seconds to condition on n points and to answer n queries, and the process's memory before and at its peak in GB."""
    x, y = data(n, d)
    disco = DiScoFormer.from_pretrained(weights)
    disco.condition(x[:64]).log_prob(y[:64])
    before, condition, answer = _peak(), [], []
    for _ in _repeats(n):
        start = time.perf_counter()
        estimate = disco.condition(x)
        middle = time.perf_counter()
        estimate.log_prob_and_score(y)
        condition.append(middle - start)
        answer.append((time.perf_counter() - middle) * n / len(y))
    return [min(condition), min(answer), before, _peak()]


def in_process(n: int, d: int, weights: str) -> dict[str, float]:
    """The same in a process of its own, so that its peak memory is its own."""
    code = (
        f"import sys; sys.path.insert(0, {sys.path[0]!r}); from resources import measure as m; print(*m({n}, {d}, {weights!r}))"
    )
    return dict(zip(KEYS, map(float, _output(code)), strict=True))


def plain(x: np.ndarray) -> Callable[[np.ndarray], object]:
    return KernelDensity(bandwidth=0.5).fit(x).score_samples


def tuned(x: np.ndarray) -> Callable[[np.ndarray], object]:
    search = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.1, 3, 20)}, cv=5).fit(x)
    return search.best_estimator_.score_samples


def tiled(x: np.ndarray) -> Callable[[np.ndarray], object]:
    return KDE(x, 0.5).log_prob_and_score


def mixture(x: np.ndarray) -> Callable[[np.ndarray], object]:
    return em(torch.from_numpy(x).double()).log_prob_and_score


PEERS = {"KDE": plain, "tuned KDE": tuned, "tiled KDE": tiled, "EM + BIC": mixture}


def peer_seconds(fit: Callable[[np.ndarray], Callable[[np.ndarray], object]], n: int, d: int) -> tuple[float, float]:
    """Seconds to fit and to answer n queries, and the seconds that it really took."""
    x, y = data(n, d)
    found, begun = [], time.perf_counter()
    for _ in _repeats(n):
        start = time.perf_counter()
        answer = fit(x)
        middle = time.perf_counter()
        answer(y)
        found.append(middle - start + (time.perf_counter() - middle) * n / len(y))
    return min(found), time.perf_counter() - begun


def save(
    options: argparse.Namespace,
    rows: list[list[str]],
    raw: list[dict[str, float]],
    imports: tuple[float, float],
    started: float,
) -> None:
    """Writes the table and draws the curves of the sizes so far."""
    torch_seconds, ours_seconds = imports
    panels, growth, slopes = {}, [], []
    for d in options.dims:
        mine = [r for r in raw if r["d"] == d]
        lines = {
            "DiScoFormer": {r["n"]: r["condition"] + r["answer"] for r in mine},
            "condition alone": {r["n"]: r["condition"] for r in mine},
        }
        lines |= {name: {r["n"]: r[name] for r in mine if name in r} for name in PEERS}
        panels[f"d = {d}"] = {name: (list(found), list(found.values()), [0.0] * len(found)) for name, found in lines.items()}
        long = [r for r in mine if r["n"] >= 2**13]
        if len(long) > 1:
            slope = exponent([r["n"] for r in long], [r["condition"] for r in long])
            growth.append(f"{slope:.2f} at d = {d} (to 2^{long[-1]['n'].bit_length() - 1})")
            slopes.append({"d": d, "exponent_of_condition": slope, "largest": long[-1]["n"]})
    slopes.append({"import_torch": torch_seconds, "import_disco_samplers": ours_seconds})
    about = __doc__.split("\n", 1)[1].strip() + (
        f' The weights are "{options.model}".\n\n'
        f"`import disco_samplers` takes {ours_seconds:.3f} s beyond the {torch_seconds:.2f} s of `import torch` "
        f"({ours_seconds / torch_seconds:.3f} of it; medians of fresh processes)."
    )
    if growth:
        about += (
            f"\n\nThe time to condition, with keys in groups, grows from n = 2^13 on as n to the power of {', '.join(growth)}."
        )
    curves(options.name, panels, "number of samples and queries", "seconds", base=2)
    header = ["d", "n = m", "condition (s)", "answer (s)", "peak memory (GB)", *(f"time / {name}" for name in PEERS)]
    rows = sorted(rows, key=lambda row: (int(row[0]), int(row[1])))
    write(options.name, "Time and memory", about, header, rows, raw + slopes, started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 10, 100])
    parser.add_argument("--largest", type=int, default=17, help="largest n = m as a power of two (default: %(default)s)")
    parser.add_argument("--model", default="axes", help="a shipped name, folder or file (default: %(default)s)")
    parser.add_argument("--patience", type=float, default=4, help="seconds, see above (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=8, help="no larger size is begun after these (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="n = 256 and 1024, d = 10")
    parser.add_argument("--name", default="resources")
    options = parser.parse_args()
    sizes = [2**k for k in range(8, options.largest + 1)]
    if options.quick:
        options.name, options.dims, sizes = f"{options.name}_quick", [10], [256, 1024]
    started = time.time()
    imports = import_seconds(1 if options.quick else 5)
    rows, raw = [], []
    patient = {(d, name): True for d in options.dims for name in PEERS}
    for n in sizes:
        for d in options.dims if time.time() - started < 60 * options.minutes else []:
            ours = in_process(n, d, options.model)
            total = ours["condition"] + ours["answer"]
            peers = {}
            for name, fit in PEERS.items():
                if patient[d, name]:
                    peers[name], took = peer_seconds(fit, n, d)
                    patient[d, name] = took < options.patience
            raw.append({"n": n, "d": d} | ours | peers)
            ratios = [f"{total / peers[name]:.2f}" if name in peers else "" for name in PEERS]
            rows.append([str(d), str(n), f"{ours['condition']:.3f}", f"{ours['answer']:.3f}", f"{ours['peak']:.2f}", *ratios])
            print(" | ".join(rows[-1]), flush=True)
        save(options, rows, raw, imports, started)  # so that a run that is stopped leaves what it has


if __name__ == "__main__":
    main()
