"""The integral of exp(log_prob) before and after `normalized()`.

In one and two dimensions by summation over a grid that reaches 12 standard deviations of the samples to each side (what lies
beyond it is the deviation from 1 that is left for the heaviest tails); in five and ten by importance sampling with draws
independent of those that `normalized()` used, 32,768 of them, with its own standard error. `normalized()` has 4096 draws.
Mixtures of the published family and the targets of shapes.md.
"""

from __future__ import annotations

import argparse
import math
import time

import gmm
import shapes
import torch
from report import spread, write
from targets import OUT_OF_FAMILY
from torch import Tensor

from disco_samplers import DiScoFormer
from disco_samplers.estimate import DensityEstimate

MIXTURES = [f"mixtures, d={d}" for d in (1, 2, 5, 10)]


def samples(name: str, n: int, index: int) -> Tensor:
    """Samples of a target by its name."""
    if name in MIXTURES:
        return gmm.data_set(int(name.split("=")[1]), n, index, 1)[1]
    return shapes.data_set(name, n, index)[1]


def integral(estimate: DensityEstimate, points: int = 300) -> tuple[float, float]:
    """The integral of the density and its standard error (0 for the sum over a grid)."""
    x = estimate.samples
    if x.shape[1] > 2:
        log_z, error = estimate.log_normalizer(num_samples=2**15, generator=torch.Generator().manual_seed(1))
        return math.exp(log_z), math.exp(log_z) * error
    center, reach = x.mean(0), 12 * x.std(0)
    axis = torch.linspace(-1, 1, points if x.shape[1] == 2 else points**2 // 10, dtype=torch.float64)
    grid = center + reach * torch.cartesian_prod(*[axis] * x.shape[1]).reshape(-1, x.shape[1])
    return float(estimate.log_prob(grid).exp().sum() * (reach * (axis[1] - axis[0])).prod()), 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=3)
    parser.add_argument("--size", type=int, default=512, help="samples of each data set (default: %(default)s)")
    parser.add_argument("--model", default="axes", help="a shipped name, folder or file (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="mixtures in one and five dimensions, two sets of 256 samples")
    parser.add_argument("--name", default="normalizers")
    options = parser.parse_args()
    names = [*MIXTURES, *OUT_OF_FAMILY]
    if options.quick:
        options.name, options.sets, options.size, names = f"{options.name}_quick", 2, 256, [MIXTURES[0], MIXTURES[2]]
    torch.set_num_threads(1)
    started = time.time()
    disco = DiScoFormer.from_pretrained(options.model)
    rows, raw = [], []
    for name in names:
        before, after, errors = [], [], []
        for index in range(options.sets):
            estimate = disco.condition(samples(name, options.size, index))
            z, error = integral(estimate)
            factor = math.exp(estimate.log_normalizer(generator=torch.Generator().manual_seed(0)).value)
            before.append(z)
            after.append(z / factor)
            errors.append(error / factor)
        raw.append({"target": name, "before": before, "after": after, "standard_errors": errors})
        cells = [f"{mean:.3f} ± {error:.3f}" for mean, error in map(spread, (before, after))]
        worst = max(after, key=lambda value: abs(value - 1))
        rows.append([name, *cells, f"{worst:.3f}", f"{max(errors):.3f}" if max(errors) else ""])
        print(" | ".join(rows[-1]), flush=True)
    about = __doc__.split("\n", 1)[1].strip() + (
        f'\n\nWeights "{options.model}", n = {options.size}, {options.sets} data sets, mean ± standard error over them.'
    )
    header = ["target", "before", "after", "farthest from 1 after", "largest standard error of an integral"]
    write(options.name, "Integrals of the density", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
