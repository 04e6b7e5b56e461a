"""Subposteriors of 4 and 16 machines, sampled by NUTS and merged, beside consensus Monte Carlo, Gaussian and KDE products.

Distances are to 3000 draws of NUTS on all data; "NUTS, all data" are the other 1000 draws of the same run, as many as each
shard has. Mahalanobis: of the means, in the posterior's standard deviations. TV: total variation of histograms with 40 bins of
equal mass, mean over parameters. Sliced W2: where the posterior is white. Seconds are those of the merge, fitting included.
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

from disco_samplers.merging import merge_subposteriors

SHARD_DRAWS, FULL_DRAWS, MERGED_DRAWS = 1000, 4000, 2000
METRICS = ("Mahalanobis", "TV", "sliced W2")


def disco(shards: list[Tensor], num_samples: int, generator: torch.Generator) -> Tensor:
    """The library's merge."""
    options = {"num_samples": num_samples // 200, "chains": 200, "num_warmup": 100, "thin": 5}
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
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=PROBLEMS)
    parser.add_argument("--shards", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--splits", type=int, default=1, help="random splits of the data (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep NUTS's draws in")
    parser.add_argument("--name", default="merging")
    options = parser.parse_args()
    started = time.time()
    rows, raw = [], []
    for problem in options.problems:
        full = cached(options.cache, problem, 1, 0, FULL_DRAWS)[0]
        own, reference = full[: len(full) // 4], full[len(full) // 4 :]
        rows.append([problem, "", "NUTS, all data", *(f"{v:.3f}" for v in distances(own, reference)), ""])
        for count in options.shards:
            found: dict[str, list[list[float]]] = {name: [] for name in MERGES}
            for split in range(options.splits):
                shards = cached(options.cache, problem, count, split, SHARD_DRAWS)
                for name, merge in MERGES.items():
                    begun = time.perf_counter()
                    draws = merge(shards, MERGED_DRAWS, torch.Generator().manual_seed(split))
                    seconds = time.perf_counter() - begun
                    found[name].append([*distances(draws, reference), seconds])
                    record = dict(zip((*METRICS, "seconds"), found[name][-1], strict=True))
                    raw.append({"problem": problem, "shards": count, "split": split, "merge": name} | record)
            for name, values in found.items():
                columns = list(zip(*values, strict=True))
                cells = [cell(list(column)) for column in columns[:3]]
                rows.append([problem, str(count), name, *cells, f"{sum(columns[3]) / len(values):.1f}"])
    header = ["posterior", "shards", "merge", *METRICS, "seconds"]
    write(options.name, "Merging subposteriors", " ".join(__doc__.split("\n\n")[1].split()), header, rows, raw, started)


if __name__ == "__main__":
    main()
