"""Subposteriors of 4 and 16 machines, sampled by NUTS and merged, beside consensus Monte Carlo, Gaussian and KDE products.

Distances are to 3000 draws of NUTS on all data; "NUTS, all data" is the noise: the other 1000 draws of the same run, mean over
20 such partings. Mahalanobis: of the means, in the posterior's standard deviations. TV: total variation of histograms with 40
bins of equal mass, mean over parameters. Sliced W2: where the posterior is white. Seconds are those of the merge, fitting
included. Mean ± standard error over random splits of the data. Draws: of each shard; what they leave open of a shard's
covariance enters the product's mean as many times larger as the shard's mean is away from it, which is why a nearly Gaussian
product gains from many.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from merges import consensus, gaussian_product, mahalanobis, semiparametric, sliced_wasserstein2, total_variation
from report import write
from subposteriors import PROBLEMS, cached
from torch import Tensor

from disco_samplers.posteriors import merge_subposteriors

CASES = (
    ("logistic", 4, 1000, 3),
    ("logistic", 4, 64000, 3),
    ("clusters", 4, 1000, 2),
    ("logistic", 16, 1000, 1),
    ("clusters", 16, 1000, 1),
)
"""Posterior, shards, draws of each shard, and random splits of the data."""

FULL_DRAWS, MERGED_DRAWS = 4000, 4000
METRICS = ("Mahalanobis", "TV", "sliced W2")


def disco(shards: list[Tensor], num_samples: int, generator: torch.Generator) -> Tensor:
    """The library's merge."""
    options = {"num_samples": num_samples // 800, "num_chains": 800, "num_warmup": 50, "thinning": 5}
    return merge_subposteriors(shards, generator=generator, progress=False, **options).flat


MERGES = {
    "DiScoFormer": disco,
    "semiparametric KDE product": semiparametric,
    "Gaussian product": gaussian_product,
    "consensus Monte Carlo": consensus,
}


def distances(x: Tensor, reference: Tensor) -> list[float]:
    return [f(x, reference) for f in (mahalanobis, total_variation, sliced_wasserstein2)]


def cell(values: list[float]) -> str:
    v = torch.tensor(values, dtype=torch.float64)
    return f"{v.mean():.3f}" + (f" ± {v.std() / len(v) ** 0.5:.3f}" if len(v) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder to keep NUTS's draws in")
    options = parser.parse_args()
    started = time.time()
    rows, raw = [], []
    for problem in PROBLEMS:
        full = cached(options.cache, problem, 1, 0, FULL_DRAWS)[0]
        orders = [torch.randperm(len(full), generator=torch.Generator().manual_seed(i)) for i in range(20)]
        partings = [(full[order[: len(full) // 4]], full[order[len(full) // 4 :]]) for order in orders]
        reference = partings[0][1]
        noise = zip(*(distances(*parts) for parts in partings), strict=True)
        rows.append([problem, "", "", "NUTS, all data", *(cell(list(values)) for values in noise), ""])
        for count, draws, splits in (case[1:] for case in CASES if case[0] == problem):
            longest = max(case[2] for case in CASES if case[:2] == (problem, count))
            found: dict[str, list[list[float]]] = {name: [] for name in MERGES}
            for split in range(splits):
                shards = [x[:: longest // draws] for x in cached(options.cache, problem, count, split, longest)]
                for name, merge in MERGES.items():
                    begun = time.perf_counter()
                    merged = merge(shards, MERGED_DRAWS, torch.Generator().manual_seed(split))
                    seconds = time.perf_counter() - begun
                    found[name].append([*distances(merged, reference), seconds])
                    record = dict(zip((*METRICS, "seconds"), found[name][-1], strict=True))
                    raw.append({"problem": problem, "shards": count, "draws": draws, "split": split, "merge": name} | record)
                    print(raw[-1], flush=True)
            for name, values in found.items():
                columns = list(zip(*values, strict=True))
                cells = [cell(list(column)) for column in columns[:3]]
                rows.append([problem, str(count), f"{draws:,}", name, *cells, f"{sum(columns[3]) / len(values):.1f}"])
    header = ["posterior", "shards", "draws", "merge", *METRICS, "seconds"]
    write("merging", "Merging subposteriors", " ".join(__doc__.split("\n\n")[1].split()), header, rows, raw, started)


if __name__ == "__main__":
    main()
