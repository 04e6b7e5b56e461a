"""Posteriors split over machines: by NUTS of a logistic regression on real data and of a mixture of two clusters, by MALT of
a logistic regression with a rare feature and of a mixture of three clusters, whose labels make six modes, exactly of rates.

Every shard has a share of the rows and, if nothing else is said, the prior to the power 1/K, so that the posterior is the
product of the shards'.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pyro.infer import MCMC, NUTS
from scipy.stats import gamma
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from disco_samplers import LangevinSampler

PROBLEMS = ("logistic", "rare", "clusters", "labels")

_LOCATION = {
    "clusters": torch.tensor([1.0, 0.0, -1.0, 0.0], dtype=torch.float64),
    "labels": torch.tensor([0.0, 0.6, -0.5, -0.3, 0.5, -0.3], dtype=torch.float64),
}
"""Where the clusters' prior thinks they are: it says, weakly, which of them is the first."""

_START = {
    "clusters": torch.tensor([1.2, 0.6, -1.2, -0.6], dtype=torch.float64),
    "labels": torch.tensor([0.0, 1.7, -1.5, -0.85, 1.5, -0.85], dtype=torch.float64),
    "rare": torch.tensor([-2.0, 1.0, -0.5, 0.5, 2.0], dtype=torch.float64),
}
_CHANCES = torch.tensor([1.0, 0.3, 0.2, 0.1, 0.02], dtype=torch.float64)
"""Of the features of "rare" to be there."""

_CHAINS = 500

_COPIES = 64
"""Independent copies of a posterior that NUTS samples as one target."""


def log_density(problem: str, rows: Tensor, prior_power: float) -> Callable[[Tensor], Tensor]:
    """The log-densities (c,) of parameters (c, d), up to a constant, given rows of data."""
    prior = log_prior(problem)
    if problem in ("logistic", "rare"):
        x = rows[:, :-1] * (2 * rows[:, -1:] - 1)
        return lambda w: -torch.nn.functional.softplus(-w @ x.T).sum(1) + prior_power * prior(w)

    def clusters(means: Tensor) -> Tensor:
        distance = (rows[:, None] - means.view(len(means), 1, -1, 2)).square().sum(-1)
        return (-0.5 * distance).logsumexp(2).sum(1) + prior_power * prior(means)

    return clusters


def log_prior(problem: str) -> Callable[[Tensor], Tensor]:
    """The log-density (c,) of the prior at parameters (c, d), up to a constant."""
    if problem in _LOCATION:
        return lambda means: -0.5 * (means - _LOCATION[problem]).square().sum(1) / 4
    return lambda w: -0.5 * w.square().sum(1)


def prior_gaussian(problem: str) -> tuple[Tensor, Tensor]:
    """Mean and precision of the prior."""
    if problem in _LOCATION:
        return _LOCATION[problem], torch.eye(len(_LOCATION[problem]), dtype=torch.float64) / 4
    d = data(problem, 0).shape[1] - 1
    return torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)


def data(problem: str, seed: int) -> Tensor:
    """The rows, in an order by ``seed``: intercept, eight principal components and parity of 1,797 handwritten digits, 10,000
    events with four features, one of them rare, or points of two or three overlapping clusters.
    """
    generator = torch.Generator().manual_seed(0)
    if problem == "logistic":
        images, digit = load_digits(return_X_y=True)
        x = torch.from_numpy(StandardScaler().fit_transform(PCA(8, random_state=0).fit_transform(images)))
        odd = torch.from_numpy(digit % 2)[:, None].double()
        rows = torch.cat([torch.ones(len(x), 1, dtype=torch.float64), x.double(), odd], 1)
    elif problem == "rare":
        x = (torch.rand(10000, 5, dtype=torch.float64, generator=generator) < _CHANCES).double()
        label = torch.rand(10000, dtype=torch.float64, generator=generator) < (x @ _START["rare"]).sigmoid()
        rows = torch.cat([x, label[:, None].double()], 1)
    elif problem == "labels":
        which = torch.randint(0, 3, (960,), generator=generator)
        rows = _START["labels"].view(3, 2)[which] + torch.randn(960, 2, dtype=torch.float64, generator=generator)
    else:
        centre = torch.tensor([1.2, 0.6], dtype=torch.float64)
        side = torch.randint(0, 2, (320, 1), generator=generator) * 2 - 1
        rows = side * centre + torch.randn(320, 2, dtype=torch.float64, generator=generator)
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]


def draw(problem: str, rows: Tensor, prior_power: float, num_samples: int, seed: int, warmup: int = 100) -> Tensor:
    """Draws by NUTS, of independent copies of the posterior at once, or by MALT, of many chains: one chain after the other.

    A first, short run of NUTS gives the covariance, and the second moves in coordinates in which it is the identity.

    No chain gets from one mode of a posterior f of clusters to the others, where the labels are exchanged by S. So the mean of
    f(Sx) over all S is sampled, of whose mirrored modes one is enough, and each draw is then Sx with odds f(Sx): exact.
    """
    f = log_density(problem, rows, prior_power)
    exchanges = list(itertools.permutations(range(len(_LOCATION[problem]) // 2))) if problem in _LOCATION else []
    prior = log_prior(problem)

    def exchanged(x: Tensor) -> Tensor:
        return torch.stack([x.view(len(x), -1, 2)[:, list(order)].flatten(1) for order in exchanges])

    def odds(x: Tensor) -> Tensor:  # of what the likelihood does not see
        return torch.stack([prior_power * prior(y) for y in exchanged(x)])

    def sampled(x: Tensor) -> Tensor:
        return f(x) - prior_power * prior(x) + odds(x).logsumexp(0) if exchanges else f(x)

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    if problem in ("rare", "labels"):
        start = _START[problem] + 0.3 * torch.randn(_CHAINS, len(_START[problem]), dtype=torch.float64, generator=generator)
        draws = _malt(sampled, start, -(-num_samples // _CHAINS), generator).flatten(0, 1)[:num_samples]
    else:
        start = _START[problem] if exchanges else torch.zeros(rows.shape[1] - 1, dtype=torch.float64)
        first = _nuts(sampled, start.repeat(_COPIES, 1), 20, warmup)
        lower, mean = torch.linalg.cholesky(first.flatten(0, 1).T.cov()), first.mean((0, 1))
        white = torch.linalg.solve_triangular(lower, (first[:, -1] - mean).T, upper=False).T
        draws = _nuts(lambda u: sampled(u @ lower.T + mean), white, -(-num_samples // _COPIES), warmup // 2) @ lower.T + mean
        draws = draws.flatten(0, 1)[:num_samples]
    if exchanges:
        chosen = torch.multinomial(odds(draws).softmax(0).T, 1, generator=generator)[:, 0]
        draws = exchanged(draws)[chosen, torch.arange(len(draws))]
    return draws


def _malt(log_prob: Callable[[Tensor], Tensor], start: Tensor, num_samples: int, generator: torch.Generator) -> Tensor:
    """Draws (chain, draw, d) of chains that start at (chain, d)."""

    def score(x: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            return torch.autograd.grad(log_prob(y).sum(), y)[0]

    sampler = LangevinSampler(score=score, log_prob=log_prob, method="malt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # chains are short by design
        options = {"num_warmup": 80, "thinning": 2, "progress": False}
        return sampler.run(num_samples, initial=start, generator=generator, **options).draws


def _nuts(log_prob: Callable[[Tensor], Tensor], start: Tensor, num_samples: int, warmup: int) -> Tensor:
    """Draws (copy, draw, d) of copies that start at (copy, d)."""
    kernel = NUTS(potential_fn=lambda p: -log_prob(p["x"]).sum())
    mcmc = MCMC(kernel, num_samples, warmup_steps=warmup, initial_params={"x": start}, disable_progbar=True)
    mcmc.run()
    return mcmc.get_samples()["x"].transpose(0, 1)


def parts_of(rows: Tensor, shards: int, *, unequal: bool = False) -> tuple[Tensor, ...]:
    """The rows of each shard: as many, or half of all for the first."""
    half = len(rows) // 2
    return (rows[:half], *rows[half:].tensor_split(shards - 1)) if unequal else rows.tensor_split(shards)


def cached(
    folder: Path | None,
    problem: str,
    shards: int,
    seed: int,
    num_samples: int,
    *,
    prior_power: float | None = None,
    unequal: bool = False,
) -> tuple[list[Tensor], float]:
    """The draws of every shard of a problem and the CPU seconds that they took; with ``folder``, made once and kept there.

    Arguments:
        folder: where they are kept.
        problem: one of :data:`PROBLEMS`.
        shards: their number K.
        seed: of the split and of the draws.
        num_samples: draws of each.
        prior_power: of the prior in each; 1/K if not given.
        unequal: whether the first shard has half of the rows.
    """
    kind = f"{problem}{'-unequal' if unequal else ''}{'' if prior_power is None else '-prior'}"
    path = folder / f"{kind}-{shards}-{seed}-{num_samples}.pt" if folder else None
    if path is not None and path.is_file():
        return torch.load(path, weights_only=True)
    parts = parts_of(data(problem, seed), shards, unequal=unequal)
    power = 1 / shards if prior_power is None else prior_power
    begun = time.process_time()
    found = [draw(problem, part, power, num_samples, 1000 * seed + i) for i, part in enumerate(parts)]
    kept = (found, time.process_time() - begun)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(kept, path)
    return kept


class Rates(NamedTuple):
    """Posteriors of log-rates of counts, turned in space: log-gamma laws, skewed, with exact draws and an exact product."""

    shapes: Tensor
    turn: Tensor

    @classmethod
    def of(cls, d: int, shards: int, seed: int, *, apart: float = 0.0, unequal: bool = False) -> Rates:
        """Counts of every shard in d columns, with a flat prior of the logs; ``apart`` shifts the shards' log-rates."""
        generator = torch.Generator().manual_seed(seed)
        exposure = torch.full((shards, 1), 6.0, dtype=torch.float64)
        if unequal:
            exposure[0] = 6.0 * shards
        shift = apart * torch.linspace(-1, 1, shards, dtype=torch.float64)[:, None]
        counts = torch.poisson(exposure * shift.exp().expand(-1, d), generator=generator).clamp_min(1.0)
        turn = torch.eye(d, dtype=torch.float64)
        turn = turn + 0.3 / d**0.5 * torch.randn(d, d, dtype=torch.float64, generator=generator)
        return cls(torch.stack([counts, exposure.expand(-1, d)]), turn)

    def shard(self, k: int, num_samples: int, seed: int) -> Tensor:
        """Draws of a shard's posterior."""
        return self._draws(self.shapes[:, k], num_samples, seed)

    def whole(self, num_samples: int, seed: int) -> Tensor:
        """Draws of the posterior of all."""
        return self._draws(self.shapes.sum(1), num_samples, seed)

    def chain(self, k: int, num_samples: int, seed: int, correlation: float = 0.8) -> Tensor:
        """Draws (4, n/4, d) of four chains of a shard, whose normal scores are autoregressive of order one."""
        z = torch.randn(4, num_samples // 4, len(self.turn), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for t in range(1, z.shape[1]):
            z[:, t] = correlation * z[:, t - 1] + (1 - correlation**2) ** 0.5 * z[:, t]
        counts, exposure = self.shapes[:, k].numpy()
        uniform = torch.special.ndtr(z).numpy()
        return torch.from_numpy(gamma.ppf(uniform, counts, scale=1 / exposure)).log() @ self.turn.T

    def weighted(self, k: int, num_samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Draws of a wider law and their weights: of half the counts at half the exposure."""
        counts, exposure = self.shapes[:, k]
        x = self._draws(self.shapes[:, k] / 2, num_samples, seed)
        logs = x @ torch.linalg.inv(self.turn).T
        return x, (counts / 2 * logs - exposure / 2 * logs.exp()).sum(1).softmax(0)

    def log_density(self, k: int) -> Callable[[Tensor], Tensor]:
        """Of a shard at points (c, d), up to a constant."""
        (counts, exposure), back = self.shapes[:, k], torch.linalg.inv(self.turn).T
        return lambda x: (counts * (x @ back) - exposure * (x @ back).exp()).sum(1)

    def _draws(self, shapes: Tensor, num_samples: int, seed: int) -> Tensor:
        counts, exposure = shapes.numpy()
        sizes = (num_samples, len(self.turn))
        return torch.from_numpy(np.random.default_rng(seed).gamma(counts, 1 / exposure, sizes)).log() @ self.turn.T
