"""The density of one shard's posterior, made fit for being added up: its errors must not be common to all shards."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.arrays import check_flag
from disco_samplers.draws import Draws, evenly, part_worth
from disco_samplers.estimate import DiScoFormer, check_model
from disco_samplers.estimators import deviation, draw_rows, mean, shuffled
from disco_samplers.posteriors.edgeworth import rows_of
from disco_samplers.posteriors.local import Local, local
from disco_samplers.posteriors.shard import Shard
from disco_samplers.randomness import generator_on
from disco_samplers.reference import KDE
from disco_samplers.scores import Score, combine
from disco_samplers.types import ArrayLike

_FOLDS = 4
_MOST_JUDGED = 256
"""Rows of a fold by which an estimate is judged."""

_PROPOSALS = 8192
_NEWTON_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Subposterior:
    r"""The posterior given one shard, as a density up to a constant.

    .. math:: \log p_k = (1 - \lambda) \log g_k + \lambda \log \hat f_k + a \cdot \theta

    Arguments:
        score: of it, with ``log_prob``.
        base: :math:`g_k`, with all draws' moments and masses of regions, see :func:`~disco_samplers.posteriors.local.local`.
        estimate: :math:`\hat f_k`, DiScoFormer's of the draws; None without a model.
        weight: :math:`\lambda`, see :func:`trust`; 0 without a model, and a is 0 then, too.
    """

    score: Score
    base: Local
    estimate: Any = None
    weight: float = 0.0


def subposterior(
    draws: ArrayLike | Draws | Shard,
    model: DiScoFormer | None = None,
    *,
    adapt: bool = False,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Subposterior:
    """The density of a shard's draws (n, d), n > d, or of :class:`~disco_samplers.Draws`, which count by what they are worth.

    Arguments:
        draws: of the shard.
        model: whose estimate of them is followed as far as held-out draws say; by default none.
        adapt: whether its estimate is adapted to them.
        seed: of the proposals by which its mean is corrected; give this or ``generator``.
        generator: source of randomness, on the device of the model.

    Raises:
        TypeError: if draws are not numeric, or ``model`` is none.
        ValueError: if there are not more draws than columns, all rows are the same, a value is not finite, or draws or
            generator are on another device.

    Example:
        >>> x = torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> subposterior(x).score(torch.zeros(1, 2)).shape
        torch.Size([1, 2])
    """
    if model is not None:
        check_model(model)
    check_flag("adapt", adapt)
    if adapt and model is None:
        raise ValueError("adapt has no effect without model=: give the model, or leave it out")
    shard = as_shard(draws, "draws", None if model is None else model.device)
    generator = generator_on(shard.rows.device, seed=seed, generator=generator)
    base = local(shard)
    if model is None:
        return Subposterior(Score(base), base)
    estimate = shard.condition(model)
    if adapt:
        estimate = estimate.adapt()
    weight = trust(shard, base, model)
    mixed = combine([(1 - weight, base), (weight, estimate)])
    if weight == 0:
        return Subposterior(mixed, base, estimate, weight)
    slope, centre = tilt(shard, mixed, generator), mean(shard.rows, shard.counts)
    linear = Score(slope.expand_as, lambda y: (y - centre) @ slope)
    return Subposterior(mixed + linear, base, estimate, weight)


def as_shard(draws: ArrayLike | Draws | Shard, name: str, device: torch.device | None) -> Shard:
    """Draws with what they are worth, on a device, from which a covariance can be had.

    Raises:
        TypeError, ValueError: as :func:`subposterior`.
    """
    shard = Shard.of(draws, name, device)
    rows_of(shard.rows, name)
    return shard


def tilt(draws: Tensor | Shard, density: Score, generator: torch.Generator | None) -> Tensor:
    r"""The slope a (d,) with which :math:`f(\theta)\, e^{a \cdot \theta}` has the mean of the draws.

    An estimate that takes two modes for a little more alike than they are is wrong in the same way on every shard, and the
    product would have it K times. The mean of f is taken over a kernel density estimate's draws y with weights f/kde,

    .. math:: \sum_j w_j(a)\, y_j = \tfrac1M \sum_j y_j, \qquad w_j(a) \propto \frac{f(y_j)}{kde(y_j)}\, e^{a \cdot y_j},

    whose right side is the draws' mean; Newton's method solves it.

    Arguments:
        draws: (n, d), or with what they are worth.
        density: f, with ``log_prob``.
        generator: source of the proposals.

    Example:
        >>> x = torch.randn(500, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> shifted = Score(lambda y: 0.5 - y, lambda y: -0.5 * (y - 0.5).square().sum(-1))
        >>> slope = tilt(x - x.mean(0), shifted, torch.Generator().manual_seed(0))
        >>> abs(float(slope) + 0.5) < 0.1
        True
    """
    shard = Shard.of(draws)
    counts = shard.counts
    white, centre, lower = _white(shard)
    kept = Shard(white).thinned().rows
    if counts is not None:  # the more of them where there is weight, and none twice
        some = min(_PROPOSALS // 4, max(2, round(float(counts.sum()))))
        kept = white[draw_rows(white, counts, some, generator, replacement=False)]
    kernels = KDE(kept, "loo")
    # Every row equally often, with its noise and the opposite: their mean is the rows', and most of the noise cancels.
    many = kept.repeat(max(1, _PROPOSALS // (2 * len(kept))), 1)
    noise = torch.randn(many.shape, dtype=many.dtype, device=many.device, generator=generator) * kernels.bandwidth
    y = torch.cat([many + noise, many - noise])
    log_weight = density.log_prob(y @ lower.T + centre) - kernels.evaluate(y)
    slope, wanted = torch.zeros_like(centre), mean(white, counts)
    for _ in range(_NEWTON_STEPS):
        w = (log_weight + y @ slope).softmax(0)[:, None]
        found = (w * y).sum(0)
        covariance = (w * (y - found)).T @ (y - found)
        ridge = 1e-3 * torch.eye(len(found), dtype=found.dtype, device=found.device)
        change = torch.linalg.solve(covariance + ridge, wanted - found)
        slope = slope + change / change.norm().clamp_min(1.0)  # at most one standard deviation at a time
    unwhitened: Tensor = torch.linalg.solve_triangular(lower.T, slope[:, None], upper=True)
    return unwhitened[:, 0]


def _white(shard: Shard) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (n, d) with mean zero and covariance one, their mean, and the factor of their covariance."""
    lower, centre = preconditioners.factor(evenly(shard.rows, shard.counts)), mean(shard.rows, shard.counts)
    white: Tensor = torch.linalg.solve_triangular(lower, (shard.rows - centre).T, upper=False)
    return white.T, centre, lower


def trust(draws: Tensor | Shard, base: Any, model: DiScoFormer) -> float:
    r"""How far a shard's estimate is to be followed beyond the moments of its draws, between 0 and 1.

    .. math:: \lambda = -\frac{E[g \cdot r + \nabla \cdot r]}{E |r|^2}, \qquad r = \hat s - g

    with g the score of ``base`` minimises the score's squared error :math:`E |g + \lambda r - \nabla \log p|^2` (by implicit
    score matching, so without knowing :math:`\nabla \log p`). The means are over held-out folds of the draws, runs of a chain
    as a whole, in whitened coordinates, with one probe for the divergence, and the numerator's standard error is taken off: an
    estimate that differs from the base by noise only gets 0, and K such noises do not add up.

    Arguments:
        draws: (n, d), or with what they are worth.
        base: a density of the draws, with ``score``.
        model: that estimates.

    References:
        Hyvarinen, *Estimation of non-normalized statistical models by score matching*, JMLR 2005, theorem 1.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> from disco_samplers.reference import Gaussian
        >>> x = torch.randn(400, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> x = torch.cat([x - 3, x + 3])
        >>> trust(x, Gaussian(x.mean(0), x.T.cov().reshape(1, 1)), DiScoFormer.from_pretrained()) > 0.8
        True
    """
    check_model(model)
    shard = Shard.of(draws, device=model.device)
    (z, centre, lower), counts = _white(shard), shard.counts
    generator = torch.Generator().manual_seed(0)
    order = shuffled(len(z), generator, shard.blocks, z.device)
    gains, judges, squares = [], [], []
    for fold in order.tensor_split(_FOLDS):
        held = fold[:_MOST_JUDGED] if counts is None else fold[:: -(-len(fold) // _MOST_JUDGED)]  # runs are of one place
        rest = torch.ones(len(z), dtype=torch.bool, device=z.device).index_fill(0, fold, False)
        x = z[held].requires_grad_()
        probe = (torch.randint(0, 2, x.shape, generator=generator, device=generator.device) * 2 - 1).to(x)
        with torch.enable_grad():
            y = x @ lower.T + centre
            known = base.score(y) @ lower
            # In the draws' own coordinates, for the network need not be equivariant to the whitening.
            residual = shard.part(rest).condition(model).score(y) @ lower - known
            (product,) = torch.autograd.grad((residual * probe).sum(), x)
        gains.append(-((known * residual).detach() + product * probe).sum(1))
        squares.append(residual.detach().square().sum(1))
        judges.append(held)
    gain, held = torch.cat(gains), torch.cat(judges)
    if counts is None:
        certain, denominator = float(gain.sum() - len(gain) ** 0.5 * gain.std()), float(torch.cat(squares).sum())
    else:
        share = counts[held] if shard.blocks is None else part_worth(counts, held)
        error = deviation(gain, share) / share.sum().sqrt()
        certain, denominator = float(mean(gain, share) - error), float(mean(torch.cat(squares), share))
    return min(max(certain / max(denominator, 1e-300), 0.0), 1.0)
