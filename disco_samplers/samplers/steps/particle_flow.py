"""The deterministic particle flow: a cloud moved from where it is to a target by the difference of two scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.types import ScoreFunction

Condition = Callable[[Tensor], ScoreFunction]
"""Gives a cloud's score function from its particles: ``DiScoFormer.condition``, :class:`~disco_samplers.reference.KDE`, ..."""

_REACH = 0.5
"""Longest move in a first step, in units of sqrt(d) standard deviations of the cloud; a later one may be twice the last."""

_MEMORY = 0.8
"""Share of a particle's stiffness that is remembered from step to step, so that one flat step does not loosen it."""


class State(NamedTuple):
    """A cloud, or a batch of them.

    Arguments:
        position: particles (..., n, d).
        target: the target's score there, (..., n, d).
        cloud: the cloud's own score there, (..., n, d).
        stiffness: of the target at each particle, in units of the cloud's inverse covariance, (..., n).
        moved: whitened length of each particle's last move, (..., n).
        entropy: change of the cloud's differential entropy since the start in nats, (...,).
    """

    position: Tensor
    target: Tensor
    cloud: Tensor
    stiffness: Tensor
    moved: Tensor
    entropy: Tensor


class Info(NamedTuple):
    """Of a step: acceptance (always 1) and whether the particle diverged, (..., n), and the cloud's speed before it, (...,).

    The speed is the root mean square of the whitened velocity per dimension: 0 where the two scores agree on every particle.
    """

    acceptance: Tensor
    diverged: Tensor
    speed: Tensor


def init(position: Tensor, score: ScoreFunction, *, condition: Condition) -> State:
    """The state of a cloud (n, d), or of a batch of clouds (b, n, d); asks twice for the target's score."""
    target = _at(score, position)
    # A small move along the score says how stiff the target is before the first real step.
    lower = _factor(position)
    white = target @ lower
    length = torch.linalg.vector_norm(white, dim=-1, keepdim=True).clamp_min(torch.finfo(white.dtype).tiny)
    probe = 1e-3 * white / length
    stiffness = _stiffness(_at(score, position + probe @ lower.mT) - target, probe, lower)
    still = torch.zeros_like(stiffness)
    return State(position, target, _own(condition, position), stiffness, still, still.sum(-1))


def step(state: State, score: ScoreFunction, *, condition: Condition, step_size: float = 0.3) -> tuple[State, Info]:
    r"""One explicit Euler step of the flow, of order one.

    .. math::
        \dot x_i = M_i\, C \big(\nabla \log \pi(x_i) - \nabla \log q(x_i)\big), \qquad
        \dot H = -\tfrac1n \sum_i \nabla \log q(x_i) \cdot \dot x_i

    q is the density of the cloud and C its covariance, slightly shrunk, so that the flow does not depend on units and a
    Gaussian target of any scale is reached at the same rate. :math:`M_i \le 1` shortens the step of a particle where the
    target is stiff, measured by how much its score changed along the last step, or where it would move much further than
    before. For any positive :math:`M(x)` the flow decreases KL(q | pi) and comes to rest where q = pi.

    Arguments:
        state: of one cloud or a batch.
        score: of the target, (m, d) -> (m, d).
        condition: gives a cloud's score function from its particles; is asked anew at every step.
        step_size: largest step in time; the covariance of a Gaussian cloud relaxes at rate 2.

    Returns:
        The new state and :class:`Info`. A particle whose move would leave the finite numbers stays where it is.

    References:
        Maoutsa, Reich, Opper, *Interacting particle solutions of Fokker-Planck equations through gradient-log-density
        estimation*, Entropy 2020, eq. 9; Garbuno-Inigo, Nusken, Reich, *Affine invariant interacting Langevin dynamics*,
        SIADS 2020, for the preconditioning; Malitsky, Mishchenko, *Adaptive gradient descent without descent*, ICML 2020,
        for the step size from successive gradients.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> fit = lambda x: Gaussian(x.mean(0), x.T.cov())
        >>> x = 5 + torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> state = init(x, lambda y: -y / 9, condition=fit)
        >>> for _ in range(60):
        ...     state, info = step(state, lambda y: -y / 9, condition=fit)
        >>> bool(state.position.mean(0).abs().max() < 0.05), round(float(state.position.var()))
        (True, 9)
    """
    x, lower = state.position, _factor(state.position)
    white = (state.target - state.cloud) @ lower
    length = torch.linalg.vector_norm(white, dim=-1)
    reach = (2 * state.moved).clamp_min(_REACH * math.sqrt(x.shape[-1]))
    time = torch.minimum(reach / length.clamp_min(torch.finfo(x.dtype).tiny), 1 / state.stiffness.clamp_min(1 / step_size))
    moved = time[..., None] * white
    position = x + moved @ lower.mT
    finite = torch.isfinite(position).all(-1)
    target = _at(score, torch.where(finite[..., None], position, x))
    good = finite & torch.isfinite(target).all(-1)
    position = torch.where(good[..., None], position, x)
    target = torch.where(good[..., None], target, state.target)
    stiffness = torch.maximum(_stiffness(target - state.target, moved, lower), _MEMORY * state.stiffness)
    # One that could not move tries a shorter step next time.
    stiffness = torch.where(good, stiffness, 4 * state.stiffness.clamp_min(1 / step_size))
    cloud = _own(condition, position)
    # The trapezoidal rule for the integral of the entropy's rate.
    work = 0.5 * ((state.cloud + cloud) * (position - x)).sum(-1).mean(-1)
    new = State(position, target, cloud, stiffness, torch.where(good, time * length, 0.0), state.entropy - work)
    speed = white.square().mean((-2, -1)).sqrt()
    return new, Info(torch.ones_like(length), ~good, speed)


def rates(position: Tensor, score: ScoreFunction, *, condition: Condition) -> tuple[Tensor, Tensor]:
    r"""The right-hand side of the flow with M = 1, for a solver: velocity (..., n, d) and rate of the entropy (...,).

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> fit = lambda x: Gaussian(x.mean(0), x.T.cov())
        >>> x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        >>> rates(x, fit(x), condition=fit)[0].abs().max()
        tensor(0.)
    """
    lower, cloud = _factor(position), _own(condition, position)
    velocity = (_at(score, position) - cloud) @ lower @ lower.mT
    return velocity, -(cloud * velocity).sum(-1).mean(-1)


# Both functions are the user's and may differentiate, whatever mode they are called in.


@torch.enable_grad()
def _at(score: ScoreFunction, position: Tensor) -> Tensor:
    values: Tensor = score(position.detach().flatten(0, -2)).detach()
    return values.view_as(position)


@torch.enable_grad()
def _own(condition: Condition, position: Tensor) -> Tensor:
    """The score of a cloud at its own particles."""
    return condition(position.detach())(position.detach()).detach()


def _factor(position: Tensor) -> Tensor:
    """A factor of each cloud's covariance, (..., d, d)."""
    if position.ndim == 2:
        return preconditioners.factor(position)
    return torch.stack([_factor(cloud) for cloud in position])


def _stiffness(change: Tensor, moved: Tensor, lower: Tensor) -> Tensor:
    """Change of the score along a whitened move, over its length, (..., n)."""
    length = torch.linalg.vector_norm(moved, dim=-1).clamp_min(torch.finfo(moved.dtype).tiny)
    ratio: Tensor = torch.linalg.vector_norm(change @ lower, dim=-1) / length
    return ratio.nan_to_num(posinf=0.0)
