"""Yesterday's posterior as today's prior: data in three or ten batches, against the posterior of all data at once.

After each batch draws of the posterior are all that is kept; the next batch's prior is made of them: DiScoFormer's density
(SampleDistribution), a multivariate normal with their mean and covariance, or the product of the marginals' kernel densities
(what interpolating each marginal does). Kept are 1,000 draws each time, or 500 for each batch so far. Three models with two
parameters each: a line, whose posteriors are normal; exponential saturation y = A (1 - exp(-k t)), whose log A and log k are
strongly correlated along a curve; and y = a^2 + b / 2, whose sign of a no data tell, so that the posterior has two modes, along
a curve that more data do not shorten. Posteriors are computed on a grid of 240 x 240 points (ten batches: 120 x 120), so that
no sampler's error enters but that of the draws. "Draws only": what 1,000 exact draws of the final posterior leave open. Total
variation is exact on the grid, to the posterior of the same batches; sliced W2 is between 4,000 draws, in units of the pooled
standard deviations.

Ten batches, of a normal law whose data and kept draws are equally many each time: the means of nine sets of draws enter the
last posterior, so that its error is 9^(1/2) times that after one update, whatever the prior is made by; where as many draws are
kept as there are batches, 1.8^(1/2) times. The multivariate normal on the line shows it.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyro.distributions as dist
import torch
from disco_samplers.integrations.pyro import SampleDistribution
from report import cached, spread, write
from scipy.stats import gaussian_kde
from torch import Tensor

from disco_samplers.measures import sliced_wasserstein

KEPT, BATCHES, ROWS = 1000, 3, 4
Density = Callable[[Tensor], Tensor]


class Line:
    """y = a + b t + noise of standard deviation 1, with priors N(0, 1.5^2)."""

    low, high = torch.tensor([-2.5, -2.5]), torch.tensor([2.5, 2.5])

    def prior(self, theta: Tensor) -> Tensor:
        return dist.Normal(0.0, 1.5).log_prob(theta).sum(-1)

    def mean(self, theta: Tensor, t: Tensor) -> Tensor:
        return theta[..., :1] + theta[..., 1:] * t

    def data(self, generator: torch.Generator, batches: int) -> tuple[Tensor, Tensor]:
        t = 2 * torch.rand(batches, ROWS, generator=generator) - 0.5
        return t, self.mean(torch.tensor([0.2, -0.3]), t) + torch.randn(batches, ROWS, generator=generator)

    def likelihood(self, theta: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return dist.Normal(self.mean(theta, t), 1.0).log_prob(y).sum(-1)


class Saturation:
    """y = A (1 - exp(-k t)) + noise of standard deviation 1, with log-normal priors of A (around 10) and k (around 0.3)."""

    low, high = torch.tensor([1.2, -4.2]), torch.tensor([4.2, 1.2])

    def prior(self, theta: Tensor) -> Tensor:
        return dist.Normal(torch.tensor([2.3, -1.2]), torch.tensor([0.5, 0.8])).log_prob(theta).sum(-1)

    def mean(self, theta: Tensor, t: Tensor) -> Tensor:
        size, rate = theta.exp().split(1, -1)
        return size * (1 - (-rate * t).exp())

    def data(self, generator: torch.Generator, batches: int) -> tuple[Tensor, Tensor]:
        t = 0.5 + 3 * torch.rand(batches, ROWS, generator=generator)
        truth = torch.tensor([2.3, -1.2])
        return t, self.mean(truth, t) + torch.randn(batches, ROWS, generator=generator)

    def likelihood(self, theta: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return dist.Normal(self.mean(theta, t), 1.0).log_prob(y).sum(-1)


class Square:
    """y = a^2 + b / 2 + noise of standard deviation 1, with priors N(0, 1.5^2)."""

    low, high = torch.tensor([-4.0, -6.0]), torch.tensor([4.0, 6.0])

    def prior(self, theta: Tensor) -> Tensor:
        return dist.Normal(0.0, 1.5).log_prob(theta).sum(-1)

    def mean(self, theta: Tensor) -> Tensor:
        return theta[..., :1].square() + theta[..., 1:] / 2

    def data(self, generator: torch.Generator, batches: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(batches, ROWS, generator=generator)
        return torch.zeros(batches, ROWS), self.mean(torch.tensor([1.3, 0.5])) + noise

    def likelihood(self, theta: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return dist.Normal(self.mean(theta), 1.0).log_prob(y).sum(-1)


Model = Line | Saturation | Square


def grid(model: Model, side: int = 240) -> Tensor:
    """The centres of side x side cells."""
    axes = [low + (high - low) * (torch.arange(side) + 0.5) / side for low, high in zip(model.low, model.high, strict=True)]
    return torch.cartesian_prod(*axes)


def draw(weights: Tensor, points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws of a density on the grid: a cell, and a point in it."""
    cells = torch.multinomial(weights, count, replacement=True, generator=generator)
    size = (points[-1] - points[0]) / (len(points) ** 0.5 - 1)
    return points[cells] + size * (torch.rand(count, 2, generator=generator) - 0.5)


def normal(draws: Tensor) -> Density:
    return dist.MultivariateNormal(draws.mean(0), draws.T.cov()).log_prob


def marginals(draws: Tensor) -> Density:
    kernels = [gaussian_kde(column.numpy()) for column in draws.T]

    def log_prob(points: Tensor) -> Tensor:
        # On a grid every coordinate occurs many times.
        total = torch.zeros(len(points))
        for kernel, column in zip(kernels, points.T, strict=True):
            values, back = column.unique(return_inverse=True)
            total += torch.from_numpy(kernel.logpdf(values.numpy())).float()[back]
        return total

    return log_prob


METHODS: dict[str, Callable[[Tensor], Density]] = {
    "DiScoFormer": lambda draws: SampleDistribution(draws).log_prob,
    "multivariate normal": normal,
    "marginals interpolated": marginals,
}


class Study:
    """A data set's posterior given all of it, ``whole``, and what comes of passing it on from batch to batch.

    Arguments:
        model: that made the data.
        points: of the grid.
        seed: of the data.
        batches: their number.
        growing: whether more draws are kept the more batches there were.
    """

    def __init__(self, model: Model, points: Tensor, seed: int, batches: int = BATCHES, *, growing: bool = False) -> None:
        self.points, self.growing = points, growing
        self.generator = torch.Generator().manual_seed(30_000_000 + seed)
        t, y = model.data(self.generator, batches)
        self.likelihoods = [model.likelihood(points, t[k], y[k]) for k in range(batches)]
        self.exact = (model.prior(points) + torch.stack(self.likelihoods).cumsum(0)).softmax(1)
        self.whole = self.exact[-1]
        self.truth = draw(self.whole, points, 4000, self.generator)
        self.kept = draw(self.exact[0], points, self.count(1), self.generator)

    def count(self, batches: int) -> int:
        """How many draws are kept after so many batches."""
        return KEPT // 2 * batches if self.growing else KEPT

    def passed_on(self, prior: Callable[[Tensor], Density], generator: torch.Generator) -> list[Tensor]:
        """The posteriors on the grid from the second batch on, each one's prior being made of draws of that before."""
        draws, found = self.kept, []
        for k, likelihood in enumerate(self.likelihoods[1:], 2):
            found.append(torch.softmax(prior(draws)(self.points) + likelihood, 0))
            draws = draw(found[-1], self.points, self.count(k), generator)
        return found

    def variations(self, found: list[Tensor]) -> list[float]:
        """Total variation distances of these to the posteriors of the same batches."""
        return [0.5 * float((one - exact).abs().sum()) for one, exact in zip(found, self.exact[1:], strict=True)]


MODELS = {"normal (line)": Line(), "correlated (saturation)": Saturation(), "bimodal (square)": Square()}


def three(model: Model, index: int) -> dict[str, list[float]]:
    """Of a data set, by method: total variation after one update and at the end, and sliced W2."""
    points = grid(model)
    study, found = Study(model, points, index), {}
    for method, prior in METHODS.items():
        own = torch.Generator().manual_seed(index)
        posteriors = study.passed_on(prior, own)
        distance = sliced_wasserstein(draw(posteriors[-1], points, 4000, own), study.truth, order=2)
        found[method] = [*study.variations(posteriors), float(distance)]
    again = draw(study.whole, points, KEPT, study.generator)
    found["draws only"] = [math.nan, math.nan, float(sliced_wasserstein(again, study.truth, order=2))]
    return found


def ten(model: Model, index: int, *, growing: bool) -> dict[str, list[float]]:
    """The same of ten batches."""
    points = grid(model, 120)
    study, found = Study(model, points, index, 10, growing=growing), {}
    for method in ("DiScoFormer", "multivariate normal"):
        own = torch.Generator().manual_seed(index)
        posteriors = study.passed_on(METHODS[method], own)
        distance = sliced_wasserstein(draw(posteriors[-1], points, 4000, own), study.truth, order=2)
        variations = study.variations(posteriors)
        found[method] = [variations[0], variations[-1], float(distance)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder to keep finished parts in")
    parser.add_argument("--sets", type=int, default=8, help="data sets (default: %(default)s)")
    options = parser.parse_args()
    started = time.time()
    rows, raw = [], []
    studies: list[tuple[str, str, str, Callable[[int], dict[str, list[float]]]]] = []
    for name, model in MODELS.items():
        if name != "normal (line)":
            studies.append((name, "3", "1,000", functools.partial(three, model)))
        studies.append((name, "10", "1,000", functools.partial(ten, model, growing=False)))
        studies.append((name, "10", "500 a batch", functools.partial(ten, model, growing=True)))
    for name, batches, kept, study in studies:
        found = []
        for i in range(options.sets):
            found.append(cached(options.cache, f"{name}-{batches}-{kept}-{i}".replace(" ", ""), functools.partial(study, i)))
        for method in found[0]:
            table = np.array([one[method] for one in found])
            cells = ["" if math.isnan(v) else f"{v:.3f} ± {e:.3f}" for v, e in (spread(column) for column in table.T)]
            rows.append([name, batches, kept, method, *cells])
            raw.append({"model": name, "batches": batches, "kept": kept, "prior": method, "found": table.tolist()})
            print(" | ".join(rows[-1]), flush=True)
    about = __doc__.split("\n", 1)[1].strip() + f"\n\n{options.sets} data sets of {ROWS} rows a batch, mean ± standard error."
    header = [
        "model",
        "batches",
        "draws kept",
        "prior",
        "total variation after one update",
        "at the end",
        "sliced W2 at the end",
    ]
    write("posterior_as_prior", "Posterior as prior", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
