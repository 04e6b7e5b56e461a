"""From a density that can be drawn from to one that cannot: particles carried along a path between the two."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from disco_samplers.reference import ReferenceDensity
from disco_samplers.samplers.steps import mala

_WORTH = 0.5
"""Share of the particles that their weights must be worth for a step of the path."""

_HALVINGS = 30
_MOVES = 4
_MOST_STEPS = 100
"""Of the path; of densities that can be normalised a few dozen are enough."""

_ACCEPTANCE = 0.574


def anneal(
    target: Callable[[Tensor], tuple[Tensor, Tensor]],
    start: ReferenceDensity,
    num_particles: int,
    factor: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    r"""Particles (n, d) of a density f, brought from draws of a density q along powers of both.

    .. math:: f_\beta \propto q^{1 - \beta} f^\beta, \qquad \beta: 0 \to 1

    Each step of beta goes as far as the weights :math:`(f/q)^{\Delta\beta}` of the particles are worth half of them; they are
    resampled by these, and moved by Metropolis-adjusted Langevin steps.

    Arguments:
        target: log f, up to a constant, and its score.
        start: q.
        num_particles: n.
        factor: L of the moves, (d, d), the scale of f.
        generator: source of randomness.

    References:
        Del Moral, Doucet, Jasra, *Sequential Monte Carlo samplers*, JRSS B 2006, section 2.3; *An adaptive sequential Monte
        Carlo method for approximate Bayesian computation*, Statistics and Computing 2012, for the steps.

    Raises:
        ValueError: if f is zero wherever q has mass, or the path does not end, as where f cannot be normalised.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> wide, eye = Gaussian(torch.zeros(1).double(), 100 * torch.eye(1).double()), torch.eye(1).double()
        >>> target = lambda x: (-0.5 * (x - 5).square().sum(-1), 5 - x)
        >>> x = anneal(target, wide, 1000, eye, torch.Generator().manual_seed(0))
        >>> bool((x.mean() - 5).abs() < 0.3)
        True
    """
    x, beta, step_size = start.draw(num_particles, generator), 0.0, 0.5 * len(factor) ** (-1 / 3)
    for _ in range(_MOST_STEPS):
        if beta >= 1:
            return x
        (log_f, score_f), log_q, score_q = target(x), start.evaluate(x), start.evaluate_score(x)
        log_ratio = torch.where(torch.isfinite(log_f), log_f - log_q, -math.inf)
        if not torch.isfinite(log_ratio).any():
            raise ValueError("the shards' product is zero or not finite at every point that was proposed")
        before, beta = beta, _next(log_ratio, beta)
        kept = _resampled(((beta - before) * log_ratio).softmax(0), num_particles, generator)

        def path(y: Tensor, beta: float = beta) -> tuple[Tensor, Tensor]:
            log_prob, score = target(y)
            return beta * log_prob + (1 - beta) * start.evaluate(y), beta * score + (1 - beta) * start.evaluate_score(y)

        state = mala.State(
            x[kept],
            beta * log_f[kept] + (1 - beta) * log_q[kept],
            beta * score_f[kept] + (1 - beta) * score_q[kept],
        )
        for _ in range(_MOVES):
            state, info = mala.step(state, path, step_size=step_size, factor=factor, generator=generator)
            step_size *= math.exp(float(info.acceptance.mean()) - _ACCEPTANCE)
        x = state.position
    raise ValueError(
        "the shards' product has no end: particles follow it ever further out. A prior that is narrower than the shards' draws "
        "makes it so, or one told to be in more of them than it is; without a prior, look for draws of another model"
    )


def _resampled(share: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Numbers (count,) of rows drawn by their share, systematically.

    References:
        Kitagawa, *Monte Carlo filter and smoother for non-Gaussian nonlinear state space models*, 1996.
    """
    u = torch.rand((), dtype=share.dtype, device=share.device, generator=generator)
    levels = (torch.arange(count, device=share.device) + u) / count
    return torch.searchsorted(share.cumsum(0), levels).clamp_max(len(share) - 1)


def _next(log_ratio: Tensor, beta: float) -> float:
    """The largest power up to which the weights are worth enough."""

    def worth(at: float) -> float:
        share = ((at - beta) * log_ratio).softmax(0)
        return 1 / float(share.square().sum()) / len(share)

    if worth(1.0) >= _WORTH:
        return 1.0
    low, high = beta, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(middle) >= _WORTH else (low, middle)
    return high  # not where it began, however uneven the weights
