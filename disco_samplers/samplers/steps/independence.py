"""Jumps between regions that no gradient connects: independent proposals, accepted by weight, and local moves between."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from disco_samplers.samplers.steps import mala
from disco_samplers.samplers.steps.kernel import Info, LogProbAndScore

_AHEAD = 4096
"""Points evaluated at a time, at most: proposals do not depend on the chains, and a batch costs little more than a point."""


class Proposal(Protocol):
    """What is proposed: draws that do not depend on where a chain stands, and their log-density, normalised or not."""

    def sample(self, num_samples: int, *, generator: torch.Generator | None = None) -> Tensor: ...

    def log_prob(self, points: Tensor) -> Tensor: ...


class State(NamedTuple):
    """Positions (c, d) of c chains, log-density, score and log-weight there, the proposals ahead of them, and steps taken."""

    position: Tensor
    log_prob: Tensor
    score: Tensor
    log_weight: Tensor
    ahead: Ahead
    steps: int


class Ahead(NamedTuple):
    """Proposals (c, s, k, d) for the next s steps, log-density and log-weight (c, s, k), score, and how many steps are used."""

    position: Tensor
    log_prob: Tensor
    score: Tensor
    log_weight: Tensor
    used: int = 0


def init(position: Tensor, log_prob_and_score: LogProbAndScore, *, proposal: Proposal) -> State:
    """The state at starting positions (c, d)."""
    log_prob, score = log_prob_and_score(position)
    none = position.new_empty(len(position), 0, 0)
    return State(
        position, log_prob, score, _log_weight(position, log_prob, proposal), Ahead(none[..., None], none, none, none), 0
    )


def step(
    state: State,
    log_prob_and_score: LogProbAndScore,
    *,
    step_size: float,
    factor: Tensor,
    generator: torch.Generator | None,
    proposal: Proposal,
    candidates: int = 4,
    period: int = 1,
    local: int = 0,
) -> tuple[State, Info]:
    r"""Jumps of each chain, and at every so many steps a Metropolis-adjusted Langevin move from there.

    .. math:: x \leftarrow y_j \ \text{ with probability } \min\big(1, w(y_j) / w(x)\big), \qquad j = 1 \dots k, \qquad
        w = \frac{f}{q}, \quad y_j \sim q \text{ independent}

    These k steps of an independence sampler leave f invariant and are uniformly ergodic where the weights are bounded; the
    local moves carry chains away from where f is far above q. Proposals are drawn and evaluated many steps ahead.

    Arguments:
        state: of c chains.
        log_prob_and_score: (m, d) -> (m,), (m, d).
        step_size: of the local moves.
        factor: L, (d, d), of the local moves.
        generator: source of randomness.
        proposal: q.
        candidates: k, proposals of a step.
        period: steps between two local moves.
        local: number of first steps that all have one, as warm-up does.

    Returns:
        The new state, and of the local move, where there is one, else of the jumps, acceptance and divergence.

    References:
        Tierney, *Markov chains for exploring posterior distributions*, Annals of Statistics 1994, section 2.3.3; Samsonov,
        Lagutin, Gabrie, Durmus, Naumov, Moulines, *Local-global MCMC kernels: the best of both worlds*, NeurIPS 2022
        (https://arxiv.org/abs/2111.02702), for the local moves between.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> far = Gaussian(torch.zeros(1), torch.tensor([100.0]))
        >>> target = lambda x: (-0.5 * x.square().sum(-1), -x)
        >>> state = init(torch.full((5, 1), 50.0), target, proposal=far)
        >>> options = {"step_size": 0.1, "factor": torch.eye(1), "generator": torch.Generator().manual_seed(0)}
        >>> state, _ = step(state, target, proposal=far, candidates=50, **options)
        >>> bool((state.position.abs() < 5).all())
        True
    """
    ahead = state.ahead
    if ahead.used == ahead.position.shape[1]:
        ahead = _look_ahead(state, log_prob_and_score, proposal, candidates, generator)
    now = [part[:, ahead.used] for part in ahead[:4]]
    ahead = ahead._replace(used=ahead.used + 1)
    c, k = now[3].shape
    u = torch.rand(c, k, dtype=now[3].dtype, device=now[3].device, generator=generator)
    # Which proposal each chain is at, the k-th being where it stood.
    at, log_weight = torch.full((c,), k, device=u.device), state.log_weight
    acceptance = torch.zeros_like(log_weight)
    for j in range(k):
        probability = (now[3][:, j] - log_weight).clamp_max(0.0).exp()
        taken = u[:, j] < probability
        at, log_weight = torch.where(taken, j, at), torch.where(taken, now[3][:, j], log_weight)
        acceptance = acceptance + probability / k
    chains = torch.arange(c, device=u.device)
    position, log_prob, score = (
        torch.cat([new, old[:, None]], 1)[chains, at] for old, new in zip(state[:3], now[:3], strict=True)
    )
    info = Info(acceptance, torch.zeros_like(at, dtype=torch.bool))
    if state.steps < local or state.steps % period == 0:
        moved, info = mala.step(
            mala.State(position, log_prob, score),
            log_prob_and_score,
            step_size=step_size,
            factor=factor,
            generator=generator,
        )
        position, log_prob, score = moved
        log_weight = _log_weight(position, log_prob, proposal)
    return State(position, log_prob, score, log_weight, ahead, state.steps + 1), info


def _look_ahead(
    state: State, target: LogProbAndScore, proposal: Proposal, candidates: int, generator: torch.Generator | None
) -> Ahead:
    """Proposals for twice as many steps as the last time, so that a short run asks for few."""
    c = len(state.position)
    steps = max(1, min(2 * state.ahead.position.shape[1] or 8, _AHEAD // (c * candidates)))
    position = proposal.sample(c * steps * candidates, generator=generator).to(state.position)
    log_prob, score = target(position)
    log_weight = _log_weight(position, log_prob, proposal)
    shape = (c, steps, candidates)
    return Ahead(*(part.unflatten(0, shape) for part in (position, log_prob, score, log_weight)))


def _log_weight(position: Tensor, log_prob: Tensor, proposal: Proposal) -> Tensor:
    """Log of f / q; a point where either is no number is never jumped to, and always left."""
    log_weight = log_prob.double() - proposal.log_prob(position).double()
    return torch.where(torch.isfinite(log_weight), log_weight, -1e300)
