"""Score and log-density error on the published Gaussian mixtures, beside KDE with every bandwidth and EM mixtures.

Data sets: K ~ U{1..10} components, means U[-3, 3]^d, diagonal variances U[0.2, 1]^d, weights U(0, 1) brought to sum to one.
Metrics, over independent queries of each data set, then averaged over data sets:
relative score error sum |s - s*|^2 / sum |s*|^2, and log-density mean squared error.
"KDE best" has the bandwidth that is best for the metric in question on the very queries it is judged on, searched from
coarse to fine, and the better of kernels in the data's and in whitened coordinates: no rule for choosing a bandwidth can do
better. "KDE leave-one-out" takes its bandwidth from the first 2048 samples, brought to n at its theoretical rate.
"kernel score best" is the best of SSGE and the nu-method over twelve settings, again knowing the answer.
"EM + BIC" tries full and diagonal covariances with up to 12 components; "EM, K known" has the true number and diagonals.
"rotations" and "axes" are the two shipped sets of weights; the family is axis-aligned, which only the second can see.
"published" is the published model, one network for each dimension.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import multiprocessing.pool
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from methods import best_kde, best_kernel_score, em, errors, fit_mixture, loo_kde
from report import WEIGHTS, Curve, cached, curves, spread, summary, write
from torch import Tensor

from disco_samplers import DiScoFormer
from disco_samplers.reference import KDE, GaussianMixture
from disco_samplers.training.families import paper_mixture

SEED = 20_000_000
PEERS = ("KDE best", "KDE leave-one-out", "KDE Scott", "kernel score best", "EM + BIC", "EM, K known")
PUBLISHED = {
    2: {2**8: 14.67, 2**10: 8.80, 2**12: 7.24, 2**14: 6.80},
    10: {2**8: 7.49, 2**10: 4.65, 2**12: 3.32, 2**14: 2.83},
}
"""Relative score error in %, by d and n."""

Cell = dict[str, list[tuple[float, float]]]
"""Relative score error and log-density error of each method on the first data sets, the slow ones on fewer."""


class Effort(NamedTuple):
    """How many data sets all methods, EM, and the kernel score estimators get in a cell, and how many queries each has."""

    sets: int
    em: int
    kernel: int
    queries: int


def effort(d: int, n: int, quick: bool) -> Effort:
    """Less of everything for the largest."""
    if quick:
        return Effort(4, 2, 2, 1000)
    if n <= 1024:
        return Effort(30, 10, 10 if n <= 256 else 5, 1000)
    if n <= 4096:
        return Effort(30, 10, 0, 250)
    return Effort(10, 3, 0, 250) if d <= 20 else Effort(6, 2, 0, 250)


def data_set(d: int, n: int, index: int, queries: int = 1000) -> tuple[GaussianMixture, Tensor, Tensor]:
    """One target with its context and independent queries, by a seed of its own."""
    generator = torch.Generator().manual_seed(SEED + 1000 * d + 10 * index + int(math.log2(n)) * 1_000_000)
    target = paper_mixture(1, d, generator)
    target = GaussianMixture(target.weights[0].double(), target.means[0].double(), target.covariances[0].double())
    points = target.draw(n + queries, generator)
    return target, points[:n], points[n:]


def one_set(group: str, d: int, n: int, budget: Effort, index: int) -> dict[str, tuple[float, float]]:
    """The errors of one set of weights, or of all peers, on one data set."""
    target, x, y = data_set(d, n, index, budget.queries)
    truth = target.evaluate(y), target.evaluate_score(y)
    if group != "peers":
        return {group: errors(DiScoFormer.from_pretrained(group).condition(x).log_prob_and_score(y), truth)}
    answers = {
        "KDE best": best_kde(x, y, truth),
        "KDE leave-one-out": errors(loo_kde(x).log_prob_and_score(y), truth),
        "KDE Scott": errors(KDE(x, "scott", whiten=True).log_prob_and_score(y), truth),
    }
    if index < budget.kernel:
        answers["kernel score best"] = best_kernel_score(x, y, truth), math.nan
    if index < budget.em:
        answers["EM + BIC"] = errors(em(x).log_prob_and_score(y), truth)
        # The family is axis-aligned, so this one knows the kind of covariance too.
        known = fit_mixture(x, int((target.weights > 0).sum()), "diag")
        answers["EM, K known"] = errors(known.log_prob_and_score(y), truth)
    return answers


def measure(pool: multiprocessing.pool.Pool, group: str, d: int, n: int, budget: Effort) -> Cell:
    """One cell of the table, for one set of weights or for all peers."""
    found: Cell = {}
    for answers in pool.imap(partial(one_set, group, d, n, budget), range(budget.sets)):
        for name, value in answers.items():
            found.setdefault(name, []).append(value)
    return found


def below(cells: list[Cell], ours: str, other: str, factor: float = 1.0) -> tuple[int, int, int]:
    """In how many cells ours is below the other's in score and in log-density, on the sets that both have; and of how many."""
    shared = [(cell, min(len(cell[ours]), len(cell[other]))) for cell in cells if other in cell]
    both = [torch.tensor([cell[ours][:sets], cell[other][:sets]]).mean(1) for cell, sets in shared]
    score, density = (sum(bool(factor * a < b) for a, b in pairs) for pairs in zip(*(means.T for means in both), strict=True))
    return score, density, len(both)


def verdict(cells: dict[tuple[int, int], Cell], ours: str) -> str:
    """What the table shows of one set of weights, in words."""
    every = list(cells.values())
    score, density, total = below(every, ours, "KDE best")
    parts = [f'"{ours}" is below the best KDE in {score} of {total} cells in score and in {density} in log-density']
    high = [cell for (d, _), cell in cells.items() if d >= 10]
    if high:
        score, _, total = below(high, ours, "KDE best", 3.0)
        parts.append(f"by at least 3 times in score in {score} of the {total} with d >= 10")
    score, density, total = below(every, ours, "EM + BIC")
    parts.append(f"below EM with BIC, on the sets EM was run on, in {score} of {total} in score and {density} in log-density")
    means = {key: 100 * spread([score for score, _ in cell[ours]])[0] for key, cell in cells.items()}
    known = [(means[d, n], value) for d, row in PUBLISHED.items() for n, value in row.items() if (d, n) in cells]
    if known:
        parts.append(f"below the published figure in {sum(a < b for a, b in known)} of {len(known)}")
    return "; ".join(parts) + "."


def budgets(cells: dict[tuple[int, int], Cell], quick: bool) -> str:
    """What each cell was measured on, as a list."""
    efforts: dict[tuple[int, Effort], list[str]] = {}
    for d, n in cells:
        efforts.setdefault((n, effort(d, n, quick)), []).append(str(d))
    return "\n".join(
        f"- n = {n}, d = {', '.join(ds)}: {e.sets} data sets of {e.queries} queries; "
        f"EM on the first {e.em}, kernel scores on the first {e.kernel}"
        for (n, e), ds in efforts.items()
    )


def panel(d: int, raw: list[dict[str, float | str]], weights: list[str]) -> dict[str, Curve]:
    """Score errors against n in one dimension."""
    lines: dict[str, Curve] = {}
    for r in (r for r in raw if r["d"] == d):
        name = f"DiScoFormer, {r['method']}" if r["method"] in weights else r["method"]
        for column, key in zip(lines.setdefault(name, ([], [], [])), ("n", "relative_score_error", "score_se"), strict=True):
            column.append(r[key])
    sizes = {r["n"] for r in raw}
    known = {n: value / 100 for n, value in PUBLISHED.get(d, {}).items() if n in sizes}
    return lines | ({"published": (list(known), list(known.values()), [0.0] * len(known))} if known else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[1, 2, 3, 5, 10, 20, 50, 100])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2**8, 2**10, 2**12, 2**14])
    parser.add_argument(
        "--model", nargs="+", default=list(WEIGHTS), help="shipped names, folders or files (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished cells in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="d = 1, 2, 10 and n = 64, 256 with four sets")
    parser.add_argument("--name", default="gmm")
    options = parser.parse_args()
    if options.quick:
        options.dims, options.sizes, options.name = [1, 2, 10], [64, 256], f"{options.name}_quick"
    started = time.time()
    methods = [*options.model, *PEERS]
    cells: dict[tuple[int, int], Cell] = {}
    with multiprocessing.get_context("spawn").Pool(options.workers, torch.set_num_threads, (1,)) as pool:
        for n in options.sizes:  # the shortest contexts first, so that a run that is stopped has whole columns
            for d in options.dims:
                budget, cell = effort(d, n, options.quick), {}
                for group in (*options.model, "peers"):
                    name = f"d{d}_n{n}_{Path(group).name}"
                    cell |= cached(options.cache, name, partial(measure, pool, group, d, n, budget))
                cells[d, n] = cell
                print(d, n, *(f"{m} {100 * spread([v[0] for v in cell[m]])[0]:.1f}" for m in methods if m in cell), flush=True)
    rows, raw = [], []
    for d, n in sorted(cells):
        texts = {}
        for method in (m for m in methods if m in cells[d, n]):
            texts[method], record = summary(cells[d, n][method])
            raw.append({"d": d, "n": n, "method": method} | record)
        ratios = []
        for name in options.model:
            ours, best = ([spread(c)[0] for c in zip(*cells[d, n][m], strict=True)] for m in (name, "KDE best"))
            ratios.append(" / ".join(f"{b / a:.1f}" for a, b in zip(ours, best, strict=True)))
        published = PUBLISHED.get(d, {}).get(n, "")
        rows.append([str(d), str(n), *(texts.get(m, "") for m in methods), str(published), *ratios])
    about = (
        f"{__doc__.split(chr(10), 1)[1].strip()}\n\n{' '.join(verdict(cells, name) for name in options.model)}\n\n"
        f"{budgets(cells, options.quick)}\n\n"
        "Mean ± standard error: score error in % / log-density MSE."
    )
    panels = {f"d = {d}": panel(d, raw, options.model) for d in options.dims}
    if len(options.sizes) > 1:  # one point a panel shows nothing
        curves(options.name, panels, "number of samples", "relative score error", top=2, base=2)
    write(
        options.name,
        "Gaussian mixtures of the published family" + (f", n = {options.sizes[0]}" if len(options.sizes) == 1 else ""),
        about,
        ["d", "n", *methods, "published", *(f"best KDE / {name}" for name in options.model)],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
