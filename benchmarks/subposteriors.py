"""Posteriors split over machines, sampled by NUTS: a logistic regression on real data, and a mixture of two clusters.

Every shard has an equal share of the rows and the prior to the power 1/K, so that the posterior is the product of the shards'.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from pyro.infer import MCMC, NUTS
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch import Tensor

PROBLEMS = ("logistic", "clusters")

_LOCATION = torch.tensor([1.0, 0.0, -1.0, 0.0], dtype=torch.float64)
"""Where the clusters' prior thinks they are: it says, weakly, which of them is the first."""


_COPIES = 64
"""Independent copies of a posterior that NUTS samples as one target."""


def log_density(problem: str, rows: Tensor, prior_power: float) -> Callable[[Tensor], Tensor]:
    """The log-densities (c,) of parameters (c, d), up to a constant, given rows of data."""
    if problem == "logistic":
        x = rows[:, :-1] * (2 * rows[:, -1:] - 1)
        return lambda w: -torch.nn.functional.softplus(-w @ x.T).sum(1) - 0.5 * prior_power * w.square().sum(1)

    def clusters(means: Tensor) -> Tensor:
        distance = (rows[:, None] - means.view(-1, 1, 2, 2)).square().sum(-1)
        return (-0.5 * distance).logsumexp(2).sum(1) - 0.5 * prior_power * (means - _LOCATION).square().sum(1) / 4

    return clusters


def data(problem: str, seed: int) -> Tensor:
    """The rows, in an order by ``seed``: intercept, eight principal components and parity of 1,797 handwritten digits, or 320
    points of two overlapping clusters.
    """
    if problem == "logistic":
        images, digit = load_digits(return_X_y=True)
        x = torch.from_numpy(StandardScaler().fit_transform(PCA(8, random_state=0).fit_transform(images)))
        odd = torch.from_numpy(digit % 2)[:, None].double()
        rows = torch.cat([torch.ones(len(x), 1, dtype=torch.float64), x.double(), odd], 1)
    else:
        generator = torch.Generator().manual_seed(0)
        centre = torch.tensor([1.2, 0.6], dtype=torch.float64)
        side = torch.randint(0, 2, (320, 1), generator=generator) * 2 - 1
        rows = side * centre + torch.randn(320, 2, dtype=torch.float64, generator=generator)
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]


def draw(problem: str, rows: Tensor, prior_power: float, num_samples: int, seed: int, warmup: int = 100) -> Tensor:
    """Draws by NUTS, of independent copies of the posterior at once: a draw of their product is one of each.

    A first, short run gives the covariance, and the second moves in coordinates in which it is the identity.

    No chain gets from one mode of the clusters' posterior f to the other, where the labels S are exchanged. So NUTS samples
    (f(x) + f(Sx))/2, of whose two mirrored modes one is enough, and each draw is then x or Sx with odds f(x) : f(Sx): exact.
    """
    f = log_density(problem, rows, prior_power)
    clusters = problem == "clusters"

    def sampled(x: Tensor) -> Tensor:
        return torch.logaddexp(f(x), f(x.roll(2, 1))) if clusters else f(x)

    torch.manual_seed(seed)
    start = torch.tensor([1.2, 0.6, -1.2, -0.6]) if clusters else torch.zeros(rows.shape[1] - 1)
    first = _nuts(sampled, start.double().repeat(_COPIES, 1), 20, warmup)
    lower, mean = torch.linalg.cholesky(first.flatten(0, 1).T.cov()), first.mean((0, 1))
    white = torch.linalg.solve_triangular(lower, (first[:, -1] - mean).T, upper=False).T
    draws = _nuts(lambda u: sampled(u @ lower.T + mean), white, -(-num_samples // _COPIES), warmup // 2) @ lower.T + mean
    draws = draws.flatten(0, 1)[:num_samples]  # one copy's chain after the other
    if clusters:
        gain = f(draws.roll(2, 1)) - f(draws)
        swap = torch.rand(len(draws), generator=torch.Generator().manual_seed(seed)) < gain.sigmoid()
        draws = torch.where(swap[:, None], draws.roll(2, 1), draws)
    return draws


def _nuts(log_prob: Callable[[Tensor], Tensor], start: Tensor, num_samples: int, warmup: int) -> Tensor:
    """Draws (copy, draw, d) of copies that start at (copy, d)."""
    kernel = NUTS(potential_fn=lambda p: -log_prob(p["x"]).sum())
    mcmc = MCMC(kernel, num_samples, warmup_steps=warmup, initial_params={"x": start}, disable_progbar=True)
    mcmc.run()
    return mcmc.get_samples()["x"].transpose(0, 1)


def cached(folder: Path | None, problem: str, shards: int, seed: int, num_samples: int) -> list[Tensor]:
    """The draws of every shard of a problem; with ``folder``, made once and kept there."""
    path = folder / f"{problem}-{shards}-{seed}-{num_samples}.pt" if folder else None
    if path is not None and path.is_file():
        return torch.load(path, weights_only=True)
    parts = data(problem, seed).tensor_split(shards)
    found = [draw(problem, part, 1 / shards, num_samples, 1000 * seed + i) for i, part in enumerate(parts)]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(found, path)
    return found
