"""The density of one shard's posterior, made fit for being added up: its errors must not be common to all shards."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.estimate import DiScoFormer
from disco_samplers.posteriors.edgeworth import Edgeworth
from disco_samplers.reference import KDE
from disco_samplers.scores import Score, combine

_FOLDS = 4
_MOST_JUDGED = 256
"""Rows of a fold by which an estimate is judged."""

_MOST_CONTEXT = 2048
"""Rows on which the network is conditioned; of a longer run so many drawn from it."""

_PROPOSALS = 8192
_NEWTON_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Subposterior:
    r"""The posterior given one shard, as a density up to a constant.

    .. math:: \log p_k = (1 - \lambda) \log g_k + \lambda \log \hat f_k + a \cdot \theta

    Arguments:
        score: of it, with ``log_prob``.
        estimate: :math:`\hat f_k`, DiScoFormer's of the draws.
        base: :math:`g_k`, with all draws' mean, covariance and third cumulants.
        weight: :math:`\lambda`, see :func:`trust`.
    """

    score: Score
    estimate: Any
    base: Edgeworth
    weight: float


def subposterior(
    draws: Tensor, model: DiScoFormer, *, adapt: int = 0, generator: torch.Generator | None = None
) -> Subposterior:
    """The density of a shard's draws (n, d), n > d.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> shard = subposterior(x, DiScoFormer.from_pretrained(), generator=torch.Generator().manual_seed(0))
        >>> 0 <= shard.weight <= 1
        True
    """
    base = Edgeworth(draws)
    estimate = model.condition(_thinned(draws))
    if adapt:
        estimate = estimate.adapt(adapt)
    weight = trust(draws, base, model)
    mixed = combine([(1 - weight, base), (weight, estimate)])
    if weight == 0:
        return Subposterior(mixed, estimate, base, weight)
    slope = tilt(draws, mixed, generator)
    linear = Score(slope.expand_as, lambda y: (y - base.mean) @ slope)
    return Subposterior(mixed + linear, estimate, base, weight)


def tilt(draws: Tensor, density: Score, generator: torch.Generator | None) -> Tensor:
    r"""The slope a (d,) with which :math:`f(\theta)\, e^{a \cdot \theta}` has the mean of the draws.

    An estimate that takes two modes for a little more alike than they are is wrong in the same way on every shard, and the
    product would have it K times. The mean of f is taken over a kernel density estimate's draws y with weights f/kde,

    .. math:: \sum_j w_j(a)\, y_j = \tfrac1M \sum_j y_j, \qquad w_j(a) \propto \frac{f(y_j)}{kde(y_j)}\, e^{a \cdot y_j},

    whose right side is the draws' mean; Newton's method solves it.

    Arguments:
        draws: (n, d).
        density: f, with ``log_prob``.
        generator: source of the proposals.

    Example:
        >>> x = torch.randn(500, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> shifted = Score(lambda y: 0.5 - y, lambda y: -0.5 * (y - 0.5).square().sum(-1))
        >>> slope = tilt(x - x.mean(0), shifted, torch.Generator().manual_seed(0))
        >>> abs(float(slope) + 0.5) < 0.1
        True
    """
    lower = preconditioners.factor(draws)
    centre = draws.mean(0)
    white = torch.linalg.solve_triangular(lower, (draws - centre).T, upper=False).T
    kept = _thinned(white)
    kernels = KDE(kept, "loo")
    # Every row equally often, with its noise and the opposite: their mean is the rows', and most of the noise cancels.
    rows = kept.repeat(max(1, _PROPOSALS // (2 * len(kept))), 1)
    noise = torch.randn(rows.shape, dtype=rows.dtype, device=rows.device, generator=generator) * kernels.bandwidth
    y = torch.cat([rows + noise, rows - noise])
    log_weight = density.log_prob(y @ lower.T + centre) - kernels.evaluate(y)
    slope, wanted = torch.zeros_like(centre), white.mean(0)
    for _ in range(_NEWTON_STEPS):
        w = (log_weight + y @ slope).softmax(0)[:, None]
        mean = (w * y).sum(0)
        covariance = (w * (y - mean)).T @ (y - mean)
        ridge = 1e-3 * torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        change = torch.linalg.solve(covariance + ridge, wanted - mean)
        slope = slope + change / change.norm().clamp_min(1.0)  # at most one standard deviation at a time
    unwhitened: Tensor = torch.linalg.solve_triangular(lower.T, slope[:, None], upper=True)
    return unwhitened[:, 0]


def trust(draws: Tensor, base: Edgeworth, model: DiScoFormer) -> float:
    r"""How far a shard's estimate is to be followed beyond the moments of its draws, between 0 and 1.

    .. math:: \lambda = -\frac{E[g \cdot r + \nabla \cdot r]}{E |r|^2}, \qquad r = \hat s - g

    with g the score of ``base`` minimises the score's squared error :math:`E |g + \lambda r - \nabla \log p|^2` (by implicit
    score matching, so without knowing :math:`\nabla \log p`). The means are over held-out folds of the draws, in whitened
    coordinates, with one probe for the divergence, and the numerator's standard error is taken off: an estimate that differs
    from the base by noise only gets 0, and K such noises do not add up.

    Arguments:
        draws: (n, d).
        base: of the draws.
        model: that estimates.

    References:
        Hyvarinen, *Estimation of non-normalized statistical models by score matching*, JMLR 2005, theorem 1.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(400, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> x = torch.cat([x - 3, x + 3])
        >>> trust(x, Edgeworth(x), DiScoFormer.from_pretrained()) > 0.8
        True
    """
    z = base.white(draws)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(z), generator=generator, device=generator.device).to(z.device)
    gains, denominator = [], 0.0
    for fold in order.tensor_split(_FOLDS):
        held = fold[:_MOST_JUDGED]
        rest = torch.ones(len(z), dtype=torch.bool, device=z.device).index_fill(0, fold, False)
        x = z[held].requires_grad_()
        probe = (torch.randint(0, 2, x.shape, generator=generator, device=generator.device) * 2 - 1).to(x)
        with torch.enable_grad():
            known = base.white_score(x)
            # In the draws' own coordinates, for the network need not be equivariant to the whitening.
            estimated = model.condition(_thinned(draws[rest])).score(x @ base.lower.T + base.mean)
            residual = estimated @ base.lower - known
            (product,) = torch.autograd.grad((residual * probe).sum(), x)
        gains.append(-((known * residual).detach() + product * probe).sum(1))
        denominator += float(residual.detach().square().sum())
    gain = torch.cat(gains)
    certain = float(gain.sum() - len(gain) ** 0.5 * gain.std())
    return min(max(certain / max(denominator, 1e-300), 0.0), 1.0)


def _thinned(draws: Tensor) -> Tensor:
    # Drawn, for every so many-th row may be in step with the chains that the rows are of.
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(draws), generator=generator, device=generator.device)[:_MOST_CONTEXT]
    return draws[order.sort().values.to(draws.device)]
