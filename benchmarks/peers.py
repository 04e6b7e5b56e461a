"""A flow and a score network trained on each data set, with the time that takes, beside DiScoFormer.

All methods see the same n = 1024 samples and answer 1000 independent queries: relative score error in %
(sum |s - s*|^2 / sum |s*|^2) / log-density mean squared error, mean ± standard error over data sets, and the mean seconds it
took to train (or condition, or fit) and to answer. The spline flow (zuko) and the network of sliced score matching are trained
on nine tenths of the samples with Adam and stopped by the last tenth. "KDE best" knows the answer. Data sets are those of
gmm.md and shapes.md.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from collections.abc import Callable

import gmm
import shapes
import torch
from methods import Answer, best_kde, em, errors, loo_kde
from report import spread, summary, write
from torch import Tensor
from trained import SlicedScoreMatching, SplineFlow

from disco_samplers import DiScoFormer

TARGETS = ("mixtures, d=2", "mixtures, d=10", "banana, d=2", "ring, d=2", "Student-t 3, d=10", "skewed, d=10")


def _disco(x: Tensor, y: Tensor) -> Answer:
    return DiScoFormer.from_pretrained().condition(x).log_prob_and_score(y)


def _flow(x: Tensor, y: Tensor) -> Answer:
    return SplineFlow(x).log_prob_and_score(y)


def _matching(x: Tensor, y: Tensor) -> Answer:
    return torch.full_like(y[:, 0], math.nan), SlicedScoreMatching(x).score(y)


METHODS: dict[str, Callable[[Tensor, Tensor], Answer]] = {
    "DiScoFormer": _disco,
    "spline flow": _flow,
    "sliced score matching": _matching,
    "EM + BIC": lambda x, y: em(x).log_prob_and_score(y),
    "KDE leave-one-out": lambda x, y: loo_kde(x).log_prob_and_score(y),
}


def one_set(task: tuple[str, int, int]) -> dict[str, tuple[float, float, float]]:
    """Errors and seconds of every method on one data set."""
    name, n, index = task
    if name.startswith("mixtures"):
        target, x, y = gmm.data_set(int(name.split("=")[1]), n, index)
    else:
        target, x, y = shapes.data_set(name, n, index)
    truth = target.evaluate(y), target.evaluate_score(y)
    found = {}
    for method, f in METHODS.items():
        start = time.perf_counter()
        answer = f(x, y)
        found[method] = *errors(answer, truth), time.perf_counter() - start
    return found | {"KDE best": (*best_kde(x, y, truth), math.nan)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=3)
    parser.add_argument("--size", type=int, default=1024, help="samples of each data set (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="the ring, one set of 256 samples")
    parser.add_argument("--name", default="peers")
    options = parser.parse_args()
    targets = TARGETS
    if options.quick:
        options.name, options.sets, options.size = f"{options.name}_quick", 1, 256
        targets = ("ring, d=2",)
    started = time.time()
    rows, raw = [], []
    with multiprocessing.get_context("spawn").Pool(options.workers, torch.set_num_threads, (1,)) as pool:
        for name in targets:
            found = pool.map(one_set, [(name, options.size, index) for index in range(options.sets)], 1)
            cells = [name]
            for method in found[0]:
                text, record = summary([one[method][:2] for one in found])
                seconds = spread([one[method][2] for one in found])[0]
                cells.append(text if math.isnan(seconds) else f"{text} ({seconds:.2g} s)")
                raw.append({"target": name, "n": options.size, "method": method, "seconds": seconds} | record)
            rows.append(cells)
            print(" | ".join(cells), flush=True)
    about = __doc__.split("\n", 1)[1].strip().replace("n = 1024", f"n = {options.size}") + f" {options.sets} data sets a row."
    write(options.name, "Estimators trained on each data set", about, ["target", *found[0]], rows, raw, started)


if __name__ == "__main__":
    main()
