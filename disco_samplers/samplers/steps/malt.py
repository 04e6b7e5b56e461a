"""Metropolis-adjusted Langevin trajectories: underdamped Langevin dynamics with an exact stationary law, HMC at friction 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.samplers.steps import mala
from disco_samplers.samplers.steps.kernel import Info, LogProbAndScore, accept, noise

State = mala.State
init = mala.init

_MOST_STEPS = 32


def step(
    state: State,
    log_prob_and_score: LogProbAndScore,
    *,
    step_size: float,
    factor: Tensor,
    generator: torch.Generator | None,
    friction: float = 1.0,
    trajectory: float = 1.5,
) -> tuple[State, Info]:
    r"""One trajectory of the OBABO splitting, accepted or rejected as a whole.

    The velocity is drawn anew; then come n = trajectory / h steps (at most 32) of friction and noise (O), half a kick (B), a
    drift (A), half a kick and friction and noise. Only the kicks and drifts change the energy wrongly, so

    .. math:: \alpha = \min\Big(1, \frac{f(x_n)}{f(x_0)} \prod_i \exp \tfrac12 (|v_i|^2 - |v_i'|^2)\Big)

    with v and v' before and after the B A B of step i. With ``friction=0`` this is Hamiltonian Monte Carlo; friction makes it
    insensitive to the trajectory's length. A trajectory that leaves the finite numbers, or whose energy error exceeds 1000, is
    rejected and counts as diverged.

    Arguments:
        state: of c chains.
        log_prob_and_score: (c, d) -> (c,), (c, d); asked n times.
        step_size: h > 0.
        factor: L, (d, d); the mass matrix is the inverse of L L'.
        generator: source of randomness.
        friction: gamma >= 0.
        trajectory: time from one decision to the next.

    References:
        Riou-Durand, Vogrinc, *Metropolis adjusted Langevin trajectories* (https://arxiv.org/abs/2202.13230), algorithm 1;
        Duane, Kennedy, Pendleton, Roweth, *Hybrid Monte Carlo*, Physics Letters B 1987, for friction 0.

    Example:
        >>> target = lambda x: (-0.5 * x.square().sum(-1), -x)
        >>> state = init(torch.ones(1, 1), target)
        >>> info = step(state, target, step_size=0.3, factor=torch.eye(1), generator=torch.Generator())[1]
        >>> bool(info.acceptance > 0.5)
        True
    """
    h, keep = step_size, math.exp(-0.5 * friction * step_size)
    spread = math.sqrt(1 - keep**2)
    x, log_prob, score = state
    v = noise(x, generator)
    error = torch.zeros_like(log_prob)
    finite = torch.ones_like(log_prob, dtype=torch.bool)
    for _ in range(max(1, min(round(trajectory / h), _MOST_STEPS))):
        v = keep * v + spread * noise(v, generator)
        kicked = v + 0.5 * h * score @ factor
        position = x + h * kicked @ factor.T
        finite = finite & torch.isfinite(position).all(-1)
        # A chain that has left the numbers is carried along where it last was; its trajectory is rejected at the end.
        x = torch.where(finite[:, None], position, x)
        log_prob, score = log_prob_and_score(x)
        kicked = kicked + 0.5 * h * score @ factor
        error = error + 0.5 * (kicked.square() - v.square()).sum(-1)
        finite = finite & (log_prob < torch.inf) & torch.isfinite(score).all(-1)
        score = torch.where(finite[:, None], score, 0.0)
        v = keep * torch.where(finite[:, None], kicked, 0.0) + spread * noise(v, generator)
    log_ratio = log_prob - state.log_prob - error
    diverged = ~finite | torch.isnan(log_ratio) | ((log_ratio < -1000) & (log_prob > -torch.inf))
    return accept(State(x, log_prob, score), state, log_ratio, diverged, generator)
