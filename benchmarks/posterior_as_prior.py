"""Yesterday's posterior as today's prior: data in three batches, against the posterior of all data at once.

After each batch 1,000 draws of the posterior are all that is kept; the next batch's prior is made of them: DiScoFormer's
density (SampleDistribution), a multivariate normal with their mean and covariance, or the product of the marginals' kernel
densities (what interpolating each marginal does). Two models with two parameters each: exponential saturation y = A (1 -
exp(-k t)), whose log A and log k are strongly correlated along a curve; and y = a^2 + b / 2, whose sign of a no data tell,
so that the posterior has two modes. Posteriors are computed on a grid of 240 x 240 points, so that no sampler's error
enters but that of the 1,000 draws. "Draws only": what 1,000 exact draws of the final posterior leave open. Total variation
is exact on the grid; sliced W2 is between 4,000 draws, in units of the pooled standard deviations.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import pyro.distributions as dist
import torch
from disco_samplers.integrations.pyro import SampleDistribution
from report import write
from scipy.stats import gaussian_kde
from torch import Tensor

from disco_samplers.measures import sliced_wasserstein

KEPT, BATCHES, ROWS = 1000, 3, 4
Density = Callable[[Tensor], Tensor]


class Saturation:
    """y = A (1 - exp(-k t)) + noise of standard deviation 1, with log-normal priors of A (around 10) and k (around 0.3)."""

    low, high = torch.tensor([1.2, -4.2]), torch.tensor([4.2, 1.2])

    def prior(self, theta: Tensor) -> Tensor:
        return dist.Normal(torch.tensor([2.3, -1.2]), torch.tensor([0.5, 0.8])).log_prob(theta).sum(-1)

    def mean(self, theta: Tensor, t: Tensor) -> Tensor:
        size, rate = theta.exp().split(1, -1)
        return size * (1 - (-rate * t).exp())

    def data(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        t = 0.5 + 3 * torch.rand(BATCHES, ROWS, generator=generator)
        truth = torch.tensor([2.3, -1.2])
        return t, self.mean(truth, t) + torch.randn(BATCHES, ROWS, generator=generator)

    def likelihood(self, theta: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return dist.Normal(self.mean(theta, t), 1.0).log_prob(y).sum(-1)


class Square:
    """y = a^2 + b / 2 + noise of standard deviation 1, with priors N(0, 1.5^2)."""

    low, high = torch.tensor([-4.0, -6.0]), torch.tensor([4.0, 6.0])

    def prior(self, theta: Tensor) -> Tensor:
        return dist.Normal(0.0, 1.5).log_prob(theta).sum(-1)

    def mean(self, theta: Tensor) -> Tensor:
        return theta[..., :1].square() + theta[..., 1:] / 2

    def data(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.randn(BATCHES, ROWS, generator=generator)
        return torch.zeros(BATCHES, ROWS), self.mean(torch.tensor([1.3, 0.5])) + noise

    def likelihood(self, theta: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return dist.Normal(self.mean(theta), 1.0).log_prob(y).sum(-1)


def grid(model: Saturation | Square, side: int = 240) -> Tensor:
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
    """

    def __init__(self, model: Saturation | Square, points: Tensor, seed: int) -> None:
        self.points, self.generator = points, torch.Generator().manual_seed(30_000_000 + seed)
        t, y = model.data(self.generator)
        self.likelihoods = [model.likelihood(points, t[k], y[k]) for k in range(BATCHES)]
        self.whole = torch.softmax(model.prior(points) + sum(self.likelihoods), 0)
        self.first = torch.softmax(model.prior(points) + self.likelihoods[0], 0)
        self.truth = draw(self.whole, points, 4000, self.generator)
        self.kept = draw(self.first, points, KEPT, self.generator)

    def passed_on(self, prior: Callable[[Tensor], Density], generator: torch.Generator) -> Tensor:
        """The last posterior on the grid, each batch's prior being made of draws of the posterior before."""
        draws, final = self.kept, self.first
        for likelihood in self.likelihoods[1:]:
            final = torch.softmax(prior(draws)(self.points) + likelihood, 0)
            draws = draw(final, self.points, KEPT, generator)
        return final

    def variation(self, final: Tensor) -> float:
        """Total variation distance to the posterior given all data."""
        return 0.5 * float((final - self.whole).abs().sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=8, help="data sets (default: %(default)s)")
    options = parser.parse_args()
    started = time.time()
    rows, raw = [], []
    for name, model in {"correlated (saturation)": Saturation(), "bimodal (square)": Square()}.items():
        points = grid(model)
        found: dict[str, list[tuple[float, float]]] = {method: [] for method in (*METHODS, "draws only")}
        for index in range(options.sets):
            study = Study(model, points, index)
            for method, prior in METHODS.items():
                own = torch.Generator().manual_seed(index)
                final = study.passed_on(prior, own)
                distance = sliced_wasserstein(draw(final, points, 4000, own), study.truth, order=2)
                found[method].append((study.variation(final), distance))
            again = draw(study.whole, points, KEPT, study.generator)
            found["draws only"].append((math.nan, sliced_wasserstein(again, study.truth, order=2)))
        for method, values in found.items():
            table = torch.tensor(values)
            mean, error = table.mean(0), table.std(0) / math.sqrt(len(values))
            variation = "" if method == "draws only" else f"{mean[0]:.3f} ± {error[0]:.3f}"
            rows.append([name, method, variation, f"{mean[1]:.3f} ± {error[1]:.3f}"])
            raw.append(
                {"model": name, "prior": method, "total_variation": table[:, 0].tolist(), "sliced_w2": table[:, 1].tolist()}
            )
            print(" | ".join(rows[-1]), flush=True)
    about = __doc__.split("\n", 1)[1].strip() + f"\n\n{options.sets} data sets of 3 x {ROWS} rows, mean ± standard error."
    write(
        "posterior_as_prior",
        "Posterior as prior",
        about,
        ["model", "prior", "total variation", "sliced W2"],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
