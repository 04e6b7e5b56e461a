"""Densities of draws that integrate to one and can be drawn from: what posteriors are compared with."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.estimate import DiScoFormer, check_model
from disco_samplers.estimators import DEFAULTS, MAX_DIM, fit_mixture
from disco_samplers.posteriors.rows import Rows
from disco_samplers.reference import GaussianMixture, StudentTMixture

Proposal = Literal["auto", "mixture", "estimate"]

_MOST_FITTED = 4096
_POOL, _WIDE, _NORMAL = 8192, 0.2, 1e6
_REFITS, _FLOOR = 5, 3e-4
_CLEAR = 2.0
"""Standard errors by which rows must be likelier in an estimate, which costs more, than in a mixture."""

_WORTH = 0.05
"""Share of the pool that its weights must be worth for an estimate to be drawn from by them."""


class Sample(NamedTuple):
    """Points (m, d) of a fit, the ratios (m,) with which they were chosen out of a pool, and the pool's size."""

    points: Tensor
    ratio: Tensor
    pool: float


class MixtureFit:
    """A Gaussian mixture of the rows, fitted where they are white.

    Example:
        >>> from disco_samplers.draws import Draws
        >>> g = torch.Generator().manual_seed(0)
        >>> rows = Rows.of(Draws(torch.randn(500, 2, generator=g)), g)
        >>> MixtureFit(rows, g).sample(3, g).points.shape
        torch.Size([3, 2])
    """

    kind = "mixture"
    many = 16384
    """Points at which it is cheap to evaluate."""

    def __init__(self, rows: Rows, generator: torch.Generator | None) -> None:
        x = rows.equal(generator)
        x = x[:: -(-len(x) // _MOST_FITTED)]
        covariance = x.T.cov().reshape([x.shape[1]] * 2)
        lower, failed = torch.linalg.cholesky_ex(covariance)
        self.lower = preconditioners.factor(x) if failed else lower
        self.mean = x.mean(0)
        seed = int(torch.randint(2**31, (), generator=generator, device=x.device))
        self.mixture = fit_mixture(self._white(x), seed=seed)
        self.log_volume = float(self.lower.diagonal().log().sum())

    @property
    def device(self) -> torch.device:
        """Where it is evaluated."""
        return self.mean.device

    def refit(self, rows: Rows) -> MixtureFit:
        """The same number of components fitted to rows that differ a little, from where these are."""
        other = copy.copy(self)
        z = self._white(rows.flat)
        share = rows.share.flatten()[:, None]
        for _ in range(_REFITS):
            member = other.mixture.responsibilities(z) * share
            weights = member.sum(0).clamp_min(1e-12)
            means = member.T @ z / weights[:, None]
            shifts = z[:, None] - means
            covariances = torch.einsum("nk,nkd,nke->kde", member, shifts, shifts) / weights[:, None, None]
            floor = _FLOOR * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
            other.mixture = GaussianMixture(weights, means, covariances + floor)
        return other

    def spread(self, factor: float) -> MixtureFit:
        """The same with covariances so many times as large."""
        other = copy.copy(self)
        m = self.mixture
        other.mixture = GaussianMixture(m.weights, m.means, m.covariances * factor)
        return other

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density (m,) at points (m, d)."""
        return self.mixture.evaluate(self._white(x)) - self.log_volume

    def sample(self, count: int, generator: torch.Generator | None) -> Sample:
        """Independent draws."""
        x = self.mixture.draw(count, generator) @ self.lower.T + self.mean
        return Sample(x, x.new_ones(count), math.inf)

    def whole(self) -> tuple[Sample, Tensor]:
        """Many draws, and the log-density at them."""
        sample = self.sample(4 * _POOL, torch.Generator(self.device).manual_seed(0))
        return sample, self.log_prob(sample.points)

    def _white(self, x: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(self.lower, (x - self.mean).T, upper=False)
        return white.T


class EstimateFit:
    r"""DiScoFormer's estimate of the rows, normalised and drawn from by importance resampling.

    A pool of draws y of q, the mixture with a fifth of its mass in Student-t laws of three degrees of freedom, has weights
    :math:`\hat f(y) / q(y)`: their mean is the normaliser, and draws of :math:`\hat f` are chosen by them.

    References:
        Rubin, *Using the SIR algorithm to simulate posterior distributions*, Bayesian Statistics 3, 1988.
    """

    kind = "estimate"
    many = 2048

    def __init__(
        self, rows: Rows, base: MixtureFit, model: DiScoFormer, generator: torch.Generator | None, pool: int = _POOL
    ) -> None:
        self.base, self.model = base, model
        context = rows.context(generator)
        self.estimate: Any = model.condition(context, effective_size=min(rows.size, context.num_distinct))
        m = base.mixture
        weights = torch.cat([(1 - _WIDE) * m.weights, _WIDE * m.weights])
        df = torch.cat([torch.full_like(m.weights, _NORMAL), torch.full_like(m.weights, 3.0)])
        wide = StudentTMixture(weights, m.means.repeat(2, 1), m.covariances.repeat(2, 1, 1), df)
        z = wide.draw(pool, generator)
        self.pool = z @ base.lower.T + base.mean
        log_f = self.estimate.log_prob(self.pool)
        log_ratio = log_f - wide.evaluate(z) + base.log_volume
        self.log_z = float(log_ratio.logsumexp(0)) - math.log(pool)
        self.ratio = (log_ratio - self.log_z).exp()
        self.log_f = log_f - self.log_z
        self.worth = float(self.ratio.sum().square() / self.ratio.square().sum()) / pool

    @property
    def device(self) -> torch.device:
        """Where it is evaluated."""
        return self.pool.device

    def refit(self, rows: Rows) -> EstimateFit:
        """The same of rows that differ a little."""
        return EstimateFit(
            rows, self.base.refit(rows), self.model, torch.Generator(self.pool.device).manual_seed(0), _POOL // 4
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density (m,), normalised, at points (m, d)."""
        found: Tensor = self.estimate.log_prob(x) - self.log_z
        return found

    def sample(self, count: int, generator: torch.Generator | None) -> Sample:
        """Draws out of the pool, by systematic resampling."""
        offset = torch.rand((), generator=generator, dtype=torch.float64, device=self.pool.device)
        levels = (torch.arange(count, device=self.pool.device) + offset) / count * self.ratio.sum()
        index = torch.searchsorted(self.ratio.cumsum(0), levels).clamp_max(len(self.pool) - 1)
        return Sample(self.pool[index], self.ratio[index], len(self.pool))

    def whole(self) -> tuple[Sample, Tensor]:
        """The pool, and the log-density there."""
        return Sample(self.pool, self.ratio, len(self.pool)), self.log_f


Fit = MixtureFit | EstimateFit


def check_proposal(proposal: object, model: object) -> None:
    """Raises ValueError or TypeError where there is no such proposal, or the model is none or of no use to it."""
    if proposal not in get_args(Proposal):
        raise ValueError(f'proposal must be "auto", "mixture" or "estimate", got {proposal!r}')
    if model is None:
        return
    check_model(model)
    if proposal == "mixture":
        raise ValueError('model has no effect with proposal "mixture": leave it out, or choose "estimate" or "auto"')


def fit(rows: Rows, others: Rows, proposal: Proposal, model: DiScoFormer | None, generator: torch.Generator | None) -> Fit:
    """The density in whose fit the other rows are likelier: an estimate where it is clearly better, or else a mixture."""
    mixture = MixtureFit(rows, generator)
    d = rows.values.shape[-1]
    if proposal == "mixture" or (proposal == "auto" and d > MAX_DIM):
        return mixture
    if d > MAX_DIM:
        raise ValueError(f'proposal "estimate" works in at most {MAX_DIM} columns, the draws have {d}: use "mixture"')
    if model is None:
        model = DiScoFormer.from_pretrained(DEFAULTS["shard"], map_location=str(rows.values.device))
    estimate = EstimateFit(rows, mixture, model, generator)
    if proposal == "estimate":
        return estimate
    gain, variance = others.mean(estimate.log_prob(others.flat) - mixture.log_prob(others.flat))
    return estimate if float(gain) > _CLEAR * math.sqrt(variance) and estimate.worth > _WORTH else mixture
