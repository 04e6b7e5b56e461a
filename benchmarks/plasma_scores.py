"""Score error of velocity distributions with known scores: DiScoFormer beside the blob method and kernel densities.

Relative score error sum |s - s*|^2 / sum |s*|^2 at the particles themselves, in %. "Best" bandwidth is the one of 14 with the
lowest error on the very particles it is judged on: no rule for choosing a bandwidth can do better. "Calibrated" scores are
brought to keep the moment identities of any score, as DiscoScore does unless told otherwise. Problems: the BKW solution at
three times (at time 0 it vanishes at v = 0 and its score is singular there), a bi-Maxwellian with temperatures 1 and 2, two
beams of unit temperature at +-2.4, a Maxwellian with a cold bump of a tenth of the particles, a kappa distribution.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from disco_samplers.integrations.plasma.exact import BKW
from disco_samplers.integrations.plasma.scores import DiscoScore
from disco_samplers.integrations.plasma.scores.calibrated import calibrate
from report import write
from torch import Tensor

from disco_samplers import DiScoFormer
from disco_samplers.reference import Gaussian, GaussianMixture, StudentT

SEED = 31_000_000
METHODS = ("DiScoFormer", "DiScoFormer, not calibrated", "blob, best", "blob, best, calibrated")


class At:
    """The BKW solution at a time, drawn from and scored as the other densities are."""

    def __init__(self, d: int, time: float) -> None:
        self.solution, self.time = BKW(d), time

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        return self.solution.sample(n, self.time, generator=generator)

    def score(self, v: Tensor) -> Tensor:
        return self.solution.score(v, self.time)


def problems(d: int) -> dict[str, At | Gaussian | GaussianMixture | StudentT]:
    eye, zero = torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
    axis = eye[0]
    half, bump = torch.tensor([0.5, 0.5], dtype=torch.float64), torch.tensor([0.9, 0.1], dtype=torch.float64)
    return {
        "BKW, t = 0": At(d, 0.0),
        "BKW, t = 2": At(d, 2.0),
        "BKW, t = 6": At(d, 6.0),
        "bi-Maxwellian": Gaussian(zero, torch.diag(2 - axis)),
        "two beams": GaussianMixture(half, torch.stack([2.4 * axis, -2.4 * axis]), torch.stack([eye, eye])),
        "bump on tail": GaussianMixture(bump, torch.stack([zero, 4 * axis]), torch.stack([eye, 0.25 * eye])),
        "kappa": StudentT(zero, eye, 6.0),
    }


def blob_score(v: Tensor, squared: Tensor, h: float) -> Tensor:
    """What Blob(h) gives, from squared distances that all bandwidths share."""
    kernel = torch.exp(squared / (-2 * h * h))
    inverse = 1 / kernel.sum(1)
    pull = kernel * (inverse[:, None] + inverse)
    return (pull @ v - v * pull.sum(1, keepdim=True)) / h**2


def errors(disco: DiScoFormer, v: Tensor, truth: Tensor) -> list[float]:
    w, cell = torch.ones(len(v), dtype=v.dtype), torch.zeros(len(v), dtype=torch.int64)

    def relative(s: Tensor) -> float:
        return float((s - truth).square().sum() / truth.square().sum())

    size = float(v.std(0).mean())
    grid = torch.logspace(math.log10(0.12), math.log10(1.1), 14).tolist()
    squared = torch.cdist(v.float(), v.float(), compute_mode="donot_use_mm_for_euclid_dist").square()
    blobs = [blob_score(v.float(), squared, h * size).double() for h in grid]
    raw = DiscoScore(disco, calibrate=False)(v, w, cell, 1)
    return [
        relative(calibrate(raw, v, w, cell, 1)),
        relative(raw),
        min(map(relative, blobs)),
        min(relative(calibrate(s, v, w, cell, 1)) for s in blobs),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--size", type=int, default=1000, help="particles in the cell (default: %(default)s)")
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--model", help="a shipped name, folder or file (default: velocities)")
    parser.add_argument("--name", default="plasma_scores")
    options = parser.parse_args()
    started = time.time()
    disco = DiScoFormer.from_pretrained(options.model or "velocities")
    rows, raw = [], []
    for d in options.dims:
        ratios = []
        for index, (name, problem) in enumerate(problems(d).items()):
            found = []
            for i in range(options.sets):
                generator = torch.Generator().manual_seed(SEED + 10_000 * d + 100 * index + i)
                v = problem.sample(options.size, generator=generator)
                found.append(errors(disco, v, problem.score(v)))
            table = 100 * torch.tensor(found)
            mean, error = table.mean(0), table.std(0) / math.sqrt(options.sets)
            ratios.append(float(mean[0] / mean[2]))
            cells = [f"{m:.2f} ± {e:.2f}" for m, e in zip(mean.tolist(), error.tolist(), strict=True)]
            rows.append([f"{d}V", name, *cells, f"{ratios[-1]:.2f}"])
            print(" | ".join(rows[-1]), flush=True)
            raw.append({"d": d, "problem": name, "mean": dict(zip(METHODS, mean.tolist(), strict=True)), "ratio": ratios[-1]})
        rows.append([f"{d}V", "mean of the ratios", *[""] * len(METHODS), f"{sum(ratios) / len(ratios):.2f}"])
    about = (
        __doc__.split("\n", 1)[1].strip()
        + f"\n\n{options.size} particles, {options.sets} sets a problem, mean ± standard error."
    )
    write(
        options.name,
        "Scores of velocity distributions",
        about,
        ["", "problem", *METHODS, "DiScoFormer / blob, best"],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
