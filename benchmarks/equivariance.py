"""Equivariance errors of both sets of weights under changes of coordinates, and of the order of rows.

Data X of the published family; queries y. The estimate of the transformed data at the transformed queries, brought back, is set
against that of the data as they are: relative score error sum |s' - s|^2 / sum |s|^2, and mean squared difference of
log-densities. Exact equivariance gives what single precision leaves. Whitening is regularised with fewer than 64 rows a
column, so n lies once below and once above. Beyond 2048 rows the context is dealt into groups, row after row, which
makes the order of rows matter. "axes" is not meant to be equivariant to rotations and general linear maps. Published: order,
translation and scaling 0, rotation 5e-4, general affine map 1e-4.
"""

from __future__ import annotations

import argparse
import time

import torch
from gmm import data_set
from report import WEIGHTS, spread, write
from torch import Tensor

from disco_samplers import DiScoFormer


def matrices(x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Linear maps of the columns, each as the A in x A."""
    d = x.shape[1]
    eye = torch.eye(d, dtype=x.dtype)
    rotation = torch.linalg.qr(torch.randn(d, d, dtype=x.dtype, generator=generator))[0]
    rotation[:, 0] *= torch.linalg.det(rotation).sign()
    signs = torch.where(torch.rand(d, generator=generator) < 0.5, -1.0, 1.0).to(x.dtype)
    signs[0] = -1
    scales = 10 ** (4 * torch.rand(d, dtype=x.dtype, generator=generator) - 2)
    return {
        "rotation": rotation,
        "reflection of columns": eye * signs,
        "reflection in a random plane": rotation @ (eye * torch.where(torch.arange(d) == 0, -1.0, 1.0)) @ rotation.T,
        "scaling of columns": eye * scales,
        "order of columns": eye[torch.randperm(d, generator=generator)],
        "general linear map": torch.randn(d, d, dtype=x.dtype, generator=generator) + eye,
    }


def differences(disco: DiScoFormer, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, tuple[float, float]]:
    """Relative squared difference of scores and mean squared difference of log-densities, by transformation."""
    log_prob, score = disco.condition(x).log_prob_and_score(y)

    def judged(new_log_prob: Tensor, new_score: Tensor) -> tuple[float, float]:
        return (
            float((new_score - score).square().sum() / score.square().sum()),
            float((new_log_prob - log_prob).square().mean()),
        )

    found = {}
    for name, a in matrices(x, generator).items():
        moved_log_prob, moved_score = disco.condition(x @ a).log_prob_and_score(y @ a)
        found[name] = judged(moved_log_prob + torch.linalg.slogdet(a)[1], moved_score @ a.T)
    shift = 100 * torch.randn(x.shape[1], dtype=x.dtype, generator=generator)
    found["translation"] = judged(*disco.condition(x + shift).log_prob_and_score(y + shift))
    rows = torch.randperm(len(x), generator=generator)
    found["order of rows"] = judged(*disco.condition(x[rows]).log_prob_and_score(y))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two data sets, no long contexts")
    parser.add_argument("--name", default="equivariance")
    options = parser.parse_args()
    shapes = [(2, 100), (2, 1024), (2, 4096), (5, 100), (5, 1024), (5, 4096)]
    if options.quick:
        options.name, options.sets, shapes = f"{options.name}_quick", 2, [(5, 100), (5, 1024)]
    torch.set_num_threads(1)
    started = time.time()
    rows, raw = [], []
    for weights in WEIGHTS:
        disco = DiScoFormer.from_pretrained(weights)
        for d, n in shapes:
            found: dict[str, list[tuple[float, float]]] = {}
            for index in range(options.sets):
                _, x, y = data_set(d, n, index, 250)
                for name, value in differences(disco, x, y, torch.Generator().manual_seed(index)).items():
                    found.setdefault(name, []).append(value)
            cells = []
            for name, values in found.items():
                score, density = (spread(column)[0] for column in zip(*values, strict=True))
                cells.append(f"{score:.0e} / {density:.0e}")
                raw.append({"weights": weights, "d": d, "n": n, "map": name, "values": values})
            rows.append([weights, str(d), str(n), *cells])
            print(" | ".join(rows[-1]), flush=True)
    about = __doc__.split("\n", 1)[1].strip() + f"\n\n{options.sets} data sets a row, means: score / log-density."
    write(options.name, "Equivariance", about, ["weights", "d", "n", *found], rows, raw, started)


if __name__ == "__main__":
    main()
