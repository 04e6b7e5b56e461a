"""Score and log-density error on the published Gaussian mixtures, beside KDE with every bandwidth and EM mixtures.

Data sets: K ~ U{1..10} components, means U[-3, 3]^d, diagonal variances U[0.2, 1]^d, weights U(0, 1) brought to sum to one.
Metrics, over 1000 independent queries of each data set, then averaged over data sets:
relative score error sum |s - s*|^2 / sum |s*|^2, and log-density mean squared error.
"KDE best" has the bandwidth that is best for the metric in question on the very queries it is judged on, out of 60,
and the better of kernels in the data's and in whitened coordinates: no rule for choosing a bandwidth can do better.
"rotations" and "axes" are the two shipped sets of weights; the family is axis-aligned, which only the second can see.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time

import torch
from methods import best_kde, em, errors, fit_mixture
from report import curves, write
from torch import Tensor

from disco_samplers import DiScoFormer
from disco_samplers.model.discoformer import SHIPPED
from disco_samplers.reference import KDE, GaussianMixture
from disco_samplers.training.families import paper_mixture

SEED = 20_000_000
PEERS = ("KDE best", "KDE leave-one-out", "KDE Scott", "EM + BIC", "EM, K known")


def data_set(d: int, n: int, index: int) -> tuple[GaussianMixture, Tensor, Tensor]:
    """One target with its context and 1000 independent queries, by a seed of its own."""
    generator = torch.Generator().manual_seed(SEED + 1000 * d + 10 * index + int(math.log2(n)) * 1_000_000)
    target = paper_mixture(1, d, generator)
    target = GaussianMixture(target.weights[0].double(), target.means[0].double(), target.covariances[0].double())
    points = target.draw(n + 1000, generator)
    return target, points[:n], points[n:]


def one_set(task: tuple[list[str], int, int, int, bool]) -> dict[str, tuple[float, float]]:
    """The errors of every method on one data set."""
    weights, d, n, index, with_em = task
    target, x, y = data_set(d, n, index)
    truth = target.evaluate(y), target.evaluate_score(y)
    answers = {name: errors(DiScoFormer.from_pretrained(name).condition(x).log_prob_and_score(y), truth) for name in weights}
    answers |= {
        "KDE best": best_kde(x, y, truth),
        "KDE leave-one-out": errors(KDE(x, "loo").log_prob_and_score(y), truth),
        "KDE Scott": errors(KDE(x, "scott", whiten=True).log_prob_and_score(y), truth),
    }
    if with_em:
        answers["EM + BIC"] = errors(em(x).log_prob_and_score(y), truth)
        # The family is axis-aligned, so this one knows the kind of covariance too.
        known = fit_mixture(x, int((target.weights > 0).sum()), "diag")
        answers["EM, K known"] = errors(known.log_prob_and_score(y), truth)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[1, 2, 5, 10, 30])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--sets", type=int, default=30)
    parser.add_argument(
        "--weights", nargs="+", default=list(SHIPPED), help="shipped names, folders or files (default: %(default)s)"
    )
    parser.add_argument("--em-sets", type=int, default=10, help="data sets for EM, the slowest (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="d = 1, 2, 10 and n = 64, 256 with four sets")
    parser.add_argument("--name", default="gmm")
    options = parser.parse_args()
    if options.quick:
        options.dims, options.sizes, options.sets, options.em_sets = [1, 2, 10], [64, 256], 4, 2
        options.name += "_quick"
    started = time.time()
    pool = multiprocessing.get_context("spawn").Pool(options.workers, torch.set_num_threads, (1,))
    rows, raw = [], []
    methods = [*options.weights, *PEERS]
    for d in options.dims:
        for n in options.sizes:
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
            tasks = [(options.weights, d, n, index, index < options.em_sets) for index in range(options.sets)]
            for answers in pool.map(one_set, tasks):
                for name, value in answers.items():
                    found[name].append(value)
            cells = [str(d), str(n)]
            for name, values in found.items():
                if not values:
                    cells.append("")
                    continue
                table = torch.tensor(values)
                mean, error = table.mean(0), table.std(0) / math.sqrt(len(values))
                cells.append(f"{100 * mean[0]:.1f} ± {100 * error[0]:.1f} / {mean[1]:.3g} ± {error[1]:.1g}")
                raw.append(
                    {
                        "d": d,
                        "n": n,
                        "method": name,
                        "sets": len(values),
                        "relative_score_error": float(mean[0]),
                        "score_se": float(error[0]),
                        "log_density_mse": float(mean[1]),
                        "density_se": float(error[1]),
                    }
                )
            best = torch.tensor(found["KDE best"]).mean(0)
            for name in options.weights:
                ours = torch.tensor(found[name]).mean(0)
                cells.append(f"{best[0] / ours[0]:.1f} / {best[1] / ours[1]:.1f}")
            rows.append(cells)
            print(" | ".join(cells), flush=True)
    about = (
        __doc__.split("\n", 1)[1].strip()
        + f"\n\n{options.sets} data sets a cell (EM: the first {options.em_sets} of them), mean ± standard error: "
        "score error in % / log-density MSE. EM tries full and diagonal covariances with up to 12 components."
    )
    pool.close()
    panels = {}
    for d in options.dims:
        cells = {method: [r for r in raw if r["d"] == d and r["method"] == method] for method in methods}
        panels[f"d = {d}"] = {
            method: ([r["n"] for r in found], [r["relative_score_error"] for r in found], [r["score_se"] for r in found])
            for method, found in cells.items()
        }
    curves(options.name, panels, "number of samples", "relative score error")
    write(
        options.name,
        "Gaussian mixtures of the published family",
        about,
        ["d", "n", *methods, *(f"best KDE / {name}" for name in options.weights)],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
