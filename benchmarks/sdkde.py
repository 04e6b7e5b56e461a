"""Score-debiased kernel density estimation: integrated squared error in one and two dimensions, beside KDE.

Targets: mixtures of Gaussians of the published family (up to 10 components, means U[-3, 3], variances U[0.2, 1]). The integral
is a sum over a grid that reaches four standard deviations beyond every component. Every bandwidth is by leave-one-out
likelihood, that of SD-KDE with the shift included (of 1024 samples; for more it falls from there at its theoretical rate,
n^(-1/(d+4)) and n^(-1/(d+8))); Scott's is the strawman. The score is that of a KDE with Scott's bandwidth (empirical),
DiScoFormer's, or the exact one.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from methods import loo_kde
from report import cached, spread, write
from torch import Tensor

from disco_samplers import DiScoFormer
from disco_samplers.reference import KDE, SDKDE, GaussianMixture
from disco_samplers.training.families import paper_mixture

SEED = 40_000_000
PUBLISHED = {"KDE, Scott": 1.241e-3, "SD-KDE, empirical": 0.981e-3, "SD-KDE, DiScoFormer": 0.798e-3, "SD-KDE, exact": 0.617e-3}


Lines = list[Tensor]
"""The grid's coordinates along each axis."""


def grid(f: GaussianMixture) -> tuple[Lines, float]:
    """The lines of a grid, and the volume of each of its points."""
    sd = f.covariances.sqrt() if f.diagonal else f.covariances.diagonal(dim1=-2, dim2=-1).sqrt()
    low, high = (f.means - 4 * sd).amin(0), (f.means + 4 * sd).amax(0)
    count = 2000 if f.dim == 1 else 70
    lines = [torch.linspace(float(a), float(b), count, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
    return lines, float(((high - low) / (count - 1)).prod())


def on_grid(estimate: Any, lines: Lines) -> Tensor:
    """The density at all points of the grid."""
    if not isinstance(estimate, KDE):
        return torch.as_tensor(estimate.log_prob(torch.cartesian_prod(*lines).view(-1, len(lines)))).exp()
    # A Gaussian kernel is a product over the axes, so that a grid of m x m points takes 2 m n exponentials, not m^2 n.
    h, x = estimate.bandwidth, estimate.samples
    kernels = [torch.exp(-0.5 * ((line[:, None] - x[:, i]) / h).square()) for i, line in enumerate(lines)]
    total = kernels[0].sum(1) if len(kernels) == 1 else (kernels[0] @ kernels[1].T).flatten()
    return total / (len(x) * (h * math.sqrt(2 * math.pi)) ** len(lines))


_MOST = 1024


def sdkde(x: Tensor, score: Callable[[Tensor], Tensor]) -> SDKDE:
    """An SD-KDE with leave-one-out bandwidth, that of the first 1024 samples brought to n."""
    return SDKDE(x, score, SDKDE(x[:_MOST], score).bandwidth * max(1.0, len(x) / _MOST) ** (-1 / (x.shape[1] + 8)))


def measure(disco: DiScoFormer, d: int, n: int, sets: int) -> dict[str, list[float]]:
    """The integrated squared error of each method on each mixture."""
    errors: dict[str, list[float]] = {}
    for index in range(sets):
        generator = torch.Generator().manual_seed(SEED + 1000 * d + index)
        family = paper_mixture(1, d, generator)
        f = GaussianMixture(*(t[0].double() for t in (family.weights, family.means, family.covariances)))
        x = f.draw(n, generator)
        score = disco.condition(x, keys=1024 if n > 1024 else None)
        estimates = {
            "KDE, Scott": KDE(x, "scott"),
            "KDE, leave-one-out": loo_kde(x, _MOST),
            "SD-KDE, empirical": sdkde(x, KDE(x, "scott").score),
            "SD-KDE, DiScoFormer": sdkde(x, score),
            "SD-KDE, exact": sdkde(x, f.score),
            "DiScoFormer": score,
        }
        lines, volume = grid(f)
        truth = on_grid(f, lines)
        for name, estimate in estimates.items():
            errors.setdefault(name, []).append(float((on_grid(estimate, lines) - truth).square().sum()) * volume)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 4096, 16384])
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--name", default="sdkde")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep finished cells here, and go on from them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    disco = DiScoFormer.from_pretrained()
    rows, raw, published = [], [], {}
    for d in (1, 2):
        for n in options.sizes:
            errors = cached(options.cache, f"{d}-{n}-{options.sets}", partial(measure, disco, d, n, options.sets))
            cells = [str(d), str(n)]
            for name, values in errors.items():
                mean, error = spread(values)
                cells.append(f"{1e3 * mean:.3f} ± {1e3 * error:.3f}")
                raw.append({"d": d, "n": n, "method": name, "integrated_squared_error": values})
            rows.append(cells)
            print(" | ".join(cells), flush=True)
            if d == 2:
                published = {name: np.mean(values) / np.mean(errors["KDE, Scott"]) for name, values in errors.items()}
                rows.append(["", "over Scott", *(f"{ratio:.2f}" for ratio in published.values())])
    ratios = {name: value / PUBLISHED["KDE, Scott"] for name, value in PUBLISHED.items()}
    rows.append(["2", "published, over Scott", *(f"{ratios[name]:.2f}" if name in ratios else "" for name in published)])
    about = __doc__.split("\n", 1)[1].strip() + f"\n\nIn units of 1e-3; mean of {options.sets} mixtures ± standard error."
    write(options.name, "Score-debiased KDE", about, ["d", "n", *published], rows, raw, started)


if __name__ == "__main__":
    main()
