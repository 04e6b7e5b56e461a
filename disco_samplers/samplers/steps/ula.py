"""The unadjusted Langevin algorithm."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.samplers.steps.kernel import Info, noise, where
from disco_samplers.types import ScoreFunction


class State(NamedTuple):
    """Positions (c, d) of c chains and the score there."""

    position: Tensor
    score: Tensor


def init(position: Tensor, score: ScoreFunction) -> State:
    """The state at starting positions (c, d)."""
    return State(position, score(position))


def step(
    state: State, score: ScoreFunction, *, step_size: float, factor: Tensor, generator: torch.Generator | None
) -> tuple[State, Info]:
    r"""One Euler-Maruyama step of the preconditioned Langevin diffusion, of weak order one.

    .. math:: x' = x + e P \nabla \log f(x) + \sqrt{2 e}\, L \xi, \qquad P = L L^\top

    Its stationary law is not f: on N(0, v) with P = 1 the variance is v / (1 - e/(2v)). A chain whose step leaves the finite
    numbers stays where it was, and the step counts as diverged.

    Arguments:
        state: of c chains.
        score: of the target, (c, d) -> (c, d).
        step_size: e > 0.
        factor: L, (d, d).
        generator: source of randomness.

    References:
        Roberts, Tweedie, *Exponential convergence of Langevin distributions*, Bernoulli 1996.

    Example:
        >>> state = init(torch.ones(1, 1), lambda x: -x)
        >>> step(state, lambda x: -x, step_size=0.1, factor=torch.eye(1), generator=torch.Generator())[1].diverged
        tensor([False])
    """
    x = state.position
    drift = state.score @ factor
    position = x + (step_size * drift + (2 * step_size) ** 0.5 * noise(x, generator)) @ factor.T
    finite = torch.isfinite(position).all(-1)
    new = score(torch.where(finite[:, None], position, x))
    good = finite & torch.isfinite(new).all(-1)
    return where(good, State(position, new), state), Info(torch.ones_like(x[:, 0]), ~good)
