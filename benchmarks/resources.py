"""Time and memory: importing, conditioning and answering, beside scikit-learn's KDE in the same run."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from report import write
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from disco_samplers import DiScoFormer

IMPORT = """import time
t = time.perf_counter()
import torch
a = time.perf_counter()
import disco_samplers
print(a - t, time.perf_counter() - a)"""


def import_seconds(repeats: int = 5) -> tuple[float, float]:
    """Median seconds of importing torch, and of importing disco_samplers after it, in fresh processes."""
    times = [
        [
            float(v)
            for v in subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True).stdout.split()
        ]
        for _ in range(repeats)
    ]
    torch_seconds, ours = np.median(times, axis=0)
    return float(torch_seconds), float(ours)


def measure(n: int, d: int) -> dict[str, float]:
    """Seconds to condition on n points and to answer n queries, and this process's peak memory in GB."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, n, d)).astype(np.float32)
    disco = DiScoFormer.from_pretrained()
    disco.condition(x[:64]).log_prob(y[:64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    estimate = disco.condition(x)
    middle = time.perf_counter()
    estimate.log_prob_and_score(y)
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"condition": middle - start, "answer": end - middle, "before": before, "peak": peak}


def in_process(n: int, d: int) -> dict[str, float]:
    """The same in a process of its own, so that its peak memory is its own."""
    code = f"import sys; sys.path.insert(0, {sys.path[0]!r}); from resources import measure as m; print(*m({n}, {d}).values())"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(("condition", "answer", "before", "peak"), map(float, out), strict=True))


def kde_seconds(n: int, d: int, tuned: bool) -> float:
    """scikit-learn's KDE on the same sizes: fit (with a 5-fold search over 20 bandwidths if tuned) and answer."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, n, d))
    start = time.perf_counter()
    if tuned:
        search = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.1, 3, 20)}, cv=5).fit(x)
        search.best_estimator_.score_samples(y)
    else:
        KernelDensity(bandwidth=0.5).fit(x).score_samples(y)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=50_000, help="largest n = m (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="n up to 8192")
    options = parser.parse_args()
    name, sizes = "resources", [(2048, 2), (2048, 10), (8192, 10), (options.largest, 10)]
    if options.quick:
        name, sizes = "resources_quick", sizes[:3]
    started = time.time()
    rows, raw = [], []
    for n, d in sizes:
        ours = in_process(n, d)
        total = ours["condition"] + ours["answer"]
        plain = kde_seconds(n, d, tuned=False) if n <= 8192 else float("nan")
        tuned = kde_seconds(n, d, tuned=True) if n <= 2048 else float("nan")
        raw.append({"n": n, "d": d, "kde": plain, "kde_tuned": tuned} | ours)
        ratios = [f"{total / other:.2f}" if np.isfinite(other) else "" for other in (plain, tuned)]
        rows.append([str(n), str(d), f"{ours['condition']:.2f}", f"{ours['answer']:.2f}", f"{ours['peak']:.2f}", *ratios])
    torch_seconds, ours_seconds = import_seconds()
    raw.append({"import_torch": torch_seconds, "import_disco_samplers": ours_seconds})
    write(
        name,
        "Time and memory",
        "Contexts and queries of the same size n, standard normal; density and score together. Ratios are to scikit-learn's "
        "`KernelDensity` (log-density only), once with a given bandwidth, once with 5-fold grid search over 20 bandwidths.\n\n"
        f"`import disco_samplers` takes {ours_seconds:.3f} s beyond the {torch_seconds:.2f} s of `import torch` "
        f"({ours_seconds / torch_seconds:.3f} of it; medians of 5 fresh processes).",
        ["n = m", "d", "condition (s)", "answer (s)", "peak memory (GB)", "time / KDE", "time / tuned KDE"],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
