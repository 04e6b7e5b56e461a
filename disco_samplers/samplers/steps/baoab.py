"""Underdamped Langevin dynamics by the BAOAB splitting."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.samplers.steps.kernel import Info, noise, where
from disco_samplers.types import ScoreFunction


class State(NamedTuple):
    """Positions (c, d) of c chains, the score there, and velocities (c, d) in the factor's coordinates."""

    position: Tensor
    score: Tensor
    velocity: Tensor


def init(position: Tensor, score: ScoreFunction) -> State:
    """The state at starting positions (c, d), at rest."""
    return State(position, score(position), torch.zeros_like(position))


def step(
    state: State,
    score: ScoreFunction,
    *,
    step_size: float,
    factor: Tensor,
    generator: torch.Generator | None,
    friction: float = 2.0,
) -> tuple[State, Info]:
    r"""One step: half a kick (B), half a drift (A), friction and noise (O), half a drift, half a kick; of weak order two.

    .. math:: dx = L v\, dt, \qquad dv = L^\top \nabla \log f(x)\, dt - \gamma v\, dt + \sqrt{2 \gamma}\, dW

    It asks for the score once a step. On a Gaussian its stationary law of x is exact for every stable step, h < 2 in
    whitened coordinates; elsewhere the bias is of order :math:`h^2`. A chain whose step leaves the finite numbers stays where
    it was, at rest, and the step counts as diverged.

    Arguments:
        state: of c chains.
        score: of the target, (c, d) -> (c, d).
        step_size: h > 0.
        factor: L, (d, d); the mass matrix is the inverse of L L'.
        generator: source of randomness.
        friction: gamma > 0; 2 is critical for a standard normal.

    References:
        Leimkuhler, Matthews, *Rational construction of stochastic numerical methods for molecular sampling*, Applied
        Mathematics Research eXpress 2013, sections 2 and 3.

    Example:
        >>> state = init(torch.ones(1, 1), lambda x: -x)
        >>> step(state, lambda x: -x, step_size=0.1, factor=torch.eye(1), generator=torch.Generator())[1].diverged
        tensor([False])
    """
    h, keep = step_size, math.exp(-friction * step_size)
    v = state.velocity + 0.5 * h * state.score @ factor
    middle = keep * v + math.sqrt(1 - keep**2) * noise(v, generator)
    position = state.position + 0.5 * h * (v + middle) @ factor.T
    finite = torch.isfinite(position).all(-1)
    new = score(torch.where(finite[:, None], position, state.position))
    good = finite & torch.isfinite(new).all(-1)
    moved = State(position, new, middle + 0.5 * h * new @ factor)
    at_rest = state._replace(velocity=torch.zeros_like(v))
    return where(good, moved, at_rest), Info(torch.ones_like(v[:, 0]), ~good)
