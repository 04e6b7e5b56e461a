"""The Metropolis-adjusted Langevin algorithm."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.samplers.steps.kernel import Info, LogProbAndScore, accept, noise


class State(NamedTuple):
    """Positions (c, d) of c chains with log-density (c,) and score (c, d) there."""

    position: Tensor
    log_prob: Tensor
    score: Tensor


def init(position: Tensor, log_prob_and_score: LogProbAndScore) -> State:
    """The state at starting positions (c, d)."""
    return State(position, *log_prob_and_score(position))


def step(
    state: State,
    log_prob_and_score: LogProbAndScore,
    *,
    step_size: float,
    factor: Tensor,
    generator: torch.Generator | None,
) -> tuple[State, Info]:
    r"""One preconditioned Langevin proposal, accepted or rejected so that exp(log_prob) is invariant.

    .. math::
        x' = x + e P s(x) + \sqrt{2 e}\, L \xi, \qquad
        \alpha = \min\Big(1, \frac{f(x')\, q(x' \to x)}{f(x)\, q(x \to x')}\Big)

    The proposal may use any score, also one that is not the gradient of log f: only the acceptance suffers. A proposal
    that is not finite, or whose log-density falls by more than 1000, is rejected and counts as diverged. One where
    there is no density, with a finite score and a log-density of minus infinity, is only rejected.

    Arguments:
        state: of c chains.
        log_prob_and_score: (c, d) -> (c,), (c, d).
        step_size: e > 0.
        factor: L, (d, d), with P = L L'.
        generator: source of randomness.

    References:
        Roberts, Tweedie, *Exponential convergence of Langevin distributions*, Bernoulli 1996, section 1.4.

    Example:
        >>> target = lambda x: (-0.5 * x.square().sum(-1), -x)
        >>> state = init(torch.ones(1, 1), target)
        >>> info = step(state, target, step_size=0.1, factor=torch.eye(1), generator=torch.Generator())[1]
        >>> bool(info.acceptance > 0.5)
        True
    """
    x = state.position
    forward = (2 * step_size) ** 0.5 * noise(x, generator)
    drift = step_size * (state.score @ factor)
    position = x + (drift + forward) @ factor.T
    finite = torch.isfinite(position).all(-1)
    log_prob, score = log_prob_and_score(torch.where(finite[:, None], position, x))
    # In the factor's coordinates the way back is -(drift + noise) - drift', so no inverse is needed.
    back = drift + forward + step_size * (score @ factor)
    log_ratio = log_prob - state.log_prob - (back.square() - forward.square()).sum(-1) / (4 * step_size)
    good = finite & (log_prob < torch.inf) & torch.isfinite(score).all(-1) & ~torch.isnan(log_ratio)
    diverged = ~good | ((log_prob < state.log_prob - 1000) & (log_prob > -torch.inf))
    return accept(State(position, log_prob, score), state, log_ratio, diverged, generator)
