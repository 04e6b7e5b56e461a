"""How a guide's particles find the posterior: flow, birth and death, and a refreshing Langevin trajectory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.estimate import DensityEstimate
from disco_samplers.samplers import DualAveraging
from disco_samplers.samplers.steps import LogProbAndScore, birth_death, malt, particle_flow

Condition = Callable[[Tensor], DensityEstimate]

_FLOW_STEP, _FLOW_STEPS = 0.3, 20
"""Longest step of the flow, and the number of steps after which it is a quarter of that."""

_SHORTEST = 0.01
"""Length from which on the flow is at rest and Langevin trajectories do the rest."""

_BIRTH_RATE = 0.2


class State(NamedTuple):
    """A cloud of n particles.

    Arguments:
        flow: of :mod:`~disco_samplers.samplers.steps.particle_flow`.
        log_joint: the model's log-density at the particles, (n,).
        log_cloud: the cloud's own, (n,).
        averaging: of the Langevin trajectory's step size.
        steps: taken so far.
    """

    flow: particle_flow.State
    log_joint: Tensor
    log_cloud: Tensor
    averaging: DualAveraging
    steps: int

    @property
    def position(self) -> Tensor:
        """The particles (n, d)."""
        return self.flow.position

    @property
    def elbo(self) -> float:
        """Mean of log p - log q over the particles."""
        return float((self.log_joint - self.log_cloud).mean())


def init(position: Tensor, density: LogProbAndScore, *, condition: Condition) -> State:
    """The state of particles (n, d), where ``density`` is finite."""
    target, cloud = _Recorded(density), _Clouds(condition)
    flow = particle_flow.init(position, target, condition=cloud)
    log_joint, _ = density(position)
    return State(flow, log_joint, cloud.log_prob, DualAveraging.at(_FLOW_STEP), 0)


def step(state: State, density: LogProbAndScore, *, condition: Condition) -> State:
    r"""One step of all three; ten or twenty gradients of the model for each particle, most of them for the last.

    The deterministic flow :math:`\dot x = C(\nabla \log p - \nabla \log q)` brings the cloud to the posterior. Its steps
    shrink like the inverse square of their number, since where it comes to rest it has the error of the estimated score.
    Birth and death move mass between regions that no gradient connects; they set in as the two scores come to agree, and the
    less the log ratio varies. A Metropolis-adjusted Langevin trajectory, which leaves the posterior invariant, parts the twins
    and removes what error the others made.
    """
    target, cloud = _Recorded(density), _Clouds(condition)
    flow, log_joint, log_cloud = state.flow, state.log_joint, state.log_cloud
    length = _FLOW_STEP / (1 + state.steps / _FLOW_STEPS) ** 2
    if length > _SHORTEST:
        flow, info = particle_flow.step(flow, target, condition=cloud, step_size=length)
        log_joint = torch.where(info.diverged, log_joint, target.log_prob)
        log_cloud = cloud.log_prob
    lower = preconditioners.factor(flow.position)
    ratio = log_joint - log_cloud
    apart = ((flow.target - flow.cloud) @ lower).square().sum() / (flow.target @ lower).square().sum()
    strength = _BIRTH_RATE * float((1 - apart).clamp_min(0) / (1 + ratio.var()))
    if strength > 0:
        alive = birth_death.survivors(flow.position, ratio, strength=strength)
        flow = particle_flow.State(*(part[alive] if part.ndim else part for part in flow))
        log_joint = log_joint[alive]
    moved, langevin = malt.step(
        malt.State(flow.position, log_joint, flow.target),
        density,
        step_size=state.averaging.step_size,
        factor=preconditioners.factor(flow.position),
        generator=None,
    )
    averaging = state.averaging.updated(float(langevin.acceptance.mean()), 0.8)
    score = cloud(moved.position)(moved.position)
    flow = flow._replace(position=moved.position, target=moved.score, cloud=score)
    return State(flow, moved.log_prob, cloud.log_prob, averaging, state.steps + 1)


class _Recorded:
    """A score function that keeps the log-density that came with its last answer."""

    log_prob: Tensor

    def __init__(self, evaluate: LogProbAndScore) -> None:
        self._evaluate = evaluate

    def __call__(self, points: Tensor) -> Tensor:
        self.log_prob, score = self._evaluate(points)
        return score


class _Clouds:
    """``condition`` whose score functions keep the log-density, too."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    def __call__(self, particles: Tensor) -> _Recorded:
        self._last = _Recorded(self._condition(particles).log_prob_and_score)
        return self._last

    @property
    def log_prob(self) -> Tensor:
        """Of the last cloud, at the points it was last asked at."""
        return self._last.log_prob
