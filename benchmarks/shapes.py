"""Score and log-density error away from the published Gaussian mixtures.

Every target is the same for all methods, which see the same n samples and answer 1000 independent queries.
relative score error sum |s - s*|^2 / sum |s*|^2, and log-density mean squared error.
"KDE best" and "kernel score best" (SSGE and the nu-method) chose their settings on the very queries they are judged on.
"outliers": 5 % of the samples replaced by draws of a normal ten times as wide; queries and truth are the clean target's.
Student-t mixtures and products with Laplace laws are among the training families, at random shapes; bananas, funnels, rings,
balls and skew-normal laws are in none. "rotations" and "axes" are the two shipped sets of weights; "adapted" is
`estimate.adapt()`, which looks at nothing but the samples.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from functools import partial
from pathlib import Path

import torch
from gmm import Cell, below
from methods import best_kde, best_kernel_score, em, errors
from report import WEIGHTS, cached, summary, write
from targets import OUT_OF_FAMILY
from torch import Tensor

from disco_samplers import DiScoFormer
from disco_samplers.reference import KDE, ReferenceDensity

SEED = 30_000_000
PEERS = ("KDE best", "KDE leave-one-out", "EM + BIC", "kernel score best")
ADAPTED = ", adapted"
FEWER = {512: 10, 2048: 4}
"""Sets that are adapted to, by n, for want of time."""
TARGETS = [*OUT_OF_FAMILY, "outliers, d=2", "outliers, d=10"]


def data_set(name: str, n: int, index: int) -> tuple[ReferenceDensity, Tensor, Tensor]:
    """One target with its samples and 1000 independent queries, by a seed of its own."""
    generator = torch.Generator().manual_seed(SEED + 100_000 * TARGETS.index(name) + 100 * index + int(math.log2(n)))
    clean = OUT_OF_FAMILY[name.replace("outliers", "anisotropic")](generator)
    points = clean.draw(n + 1000, generator)
    x, y = points[:n], points[n:]
    if name.startswith("outliers"):
        some = torch.randperm(n, generator=generator)[: n // 20]
        x = x.clone()
        x[some] = x.mean(0) + 10 * x.std(0) * torch.randn(len(some), clean.dim, dtype=x.dtype, generator=generator)
    return clean, x, y


def one_set(task: tuple[str, str, int, int]) -> dict[str, tuple[float, float]]:
    """The errors of one set of weights, of its adapted estimate, or of all peers, on one data set."""
    group, kind, n, index = task
    target, x, y = data_set(kind, n, index)
    truth = target.evaluate(y), target.evaluate_score(y)
    if group != "peers":
        estimate = DiScoFormer.from_pretrained(group.removesuffix(ADAPTED)).condition(x)
        estimate = estimate.adapt() if group.endswith(ADAPTED) else estimate
        return {group: errors(estimate.log_prob_and_score(y), truth)}
    return {
        "KDE best": best_kde(x, y, truth),
        "KDE leave-one-out": errors(KDE(x, "loo").log_prob_and_score(y), truth),
        "EM + BIC": errors(em(x).log_prob_and_score(y), truth),
        "kernel score best": (best_kernel_score(x, y, truth), math.nan),
    }


def verdict(cells: list[Cell], ours: str) -> str:
    """In how many cells ours is below each peer, on the sets that both have."""
    counts = {peer: below(cells, ours, peer) for peer in PEERS}
    words = [f"{peer} in {score} in score and {density} in log-density" for peer, (score, density, _) in counts.items()]
    words[-1] = words[-1].split(" in score")[0] + " in score"  # kernel scores have no density
    return f'Of {len(cells)} cells "{ours}" is below ' + ", ".join(words) + "."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--sets", type=int, default=30)
    parser.add_argument(
        "--model", nargs="+", default=list(WEIGHTS), help="shipped names, folders or files (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished cells in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="two shapes in the plane, one set of 256 samples")
    parser.add_argument("--name", default="shapes")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.sets, options.name = [256], 1, f"{options.name}_quick"
    targets = ["banana, d=2", "anisotropic, d=2"] if options.quick else TARGETS
    started = time.time()
    rows, raw, every = [], [], []
    adapted = options.model[0] + ADAPTED
    groups, methods = [*options.model, adapted, "peers"], [*options.model, adapted, *PEERS]
    with multiprocessing.get_context("spawn").Pool(options.workers, torch.set_num_threads, (1,)) as pool:
        for name in targets:
            for n in options.sizes:
                found: Cell = {}
                for group in groups:
                    sets = min(options.sets, FEWER.get(n, options.sets)) if group == adapted else options.sets
                    tasks = [(group, name, n, index) for index in range(sets)]
                    key = f"{name}_{n}_{group}".replace(" ", "_")
                    for answers in cached(options.cache, key, partial(pool.map, one_set, tasks, 1)):
                        for method, value in answers.items():
                            found.setdefault(method, []).append(value)
                cells = [name, str(n)]
                for method in methods:
                    text, record = summary(found[method])
                    cells.append(text)
                    raw.append({"target": name, "n": n, "method": method} | record | {"errors": found[method]})
                rows.append(cells)
                every.append(found)
                print(" | ".join(cells), flush=True)
    about = __doc__.split("\n", 1)[1].strip() + (
        f"\n\n{options.sets} data sets a cell, mean ± standard error: score error in % / log-density MSE. Adapted on the first "
        f"{min(options.sets, FEWER[512])} (n = 512) or {min(options.sets, FEWER[2048])} (n = 2048).\n\n"
        + " ".join(verdict(every, method) for method in groups[:-1])
    )
    write(options.name, "Other shapes", about, ["target", "n", *methods], rows, raw, started)


if __name__ == "__main__":
    main()
