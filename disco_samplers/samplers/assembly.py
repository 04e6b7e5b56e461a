"""Puts a run together: the algorithm with its options, what it is given as target, its step size, and what warm-up learns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from disco_samplers.samplers import preconditioner
from disco_samplers.samplers.algorithms import Algorithm
from disco_samplers.samplers.exact import Guided
from disco_samplers.samplers.step_size import ByAcceptance, ByBias, Fixed, Policy, init
from disco_samplers.samplers.target import Target

if TYPE_CHECKING:
    from disco_samplers.samplers.driver import Driver, Learn
    from disco_samplers.samplers.langevin import LangevinSampler

_MOST_CONTEXT = 1000
"""Rows of history on which exact mode conditions."""

_LEVELS = 10
"""Noise levels of annealing where none are given."""


def target_of(sampler: LangevinSampler, estimate: Any, levels: Sequence[Any], x: Tensor, rng: torch.Generator | None) -> Any:
    """What the algorithm is given: log-density and score, the score alone, or a ladder of scores; tried at the start (c, d).

    Raises:
        ValueError: if a function returns the wrong shape or what is not finite at the starting points.
    """
    if sampler.method == "exact":
        target = _guided(sampler, estimate)
    else:
        target = Target(estimate, sampler.log_prob, needs_log_prob=sampler.algorithm.adjusted)
    target.check(x)
    if sampler.method == "annealed":
        if not all(callable(level) for level in levels):
            from disco_samplers.scores import ladder

            levels = ladder(estimate, levels, generator=rng)
        return [Target(level, None, needs_log_prob=False).score for level in levels]
    return target if sampler.algorithm.adjusted else target.score


def levels_of(sampler: LangevinSampler, draws: Tensor | None) -> Sequence[Any]:
    """The levels of annealing: those given, or from the draws' standard deviations down to a twentieth of them.

    Raises:
        ValueError: if there are neither levels nor draws.
    """
    if sampler.method != "annealed":
        return []
    if sampler.levels is not None:
        return list(sampler.levels)
    if draws is None:
        raise ValueError('method "annealed" needs levels=, noise levels or scores ever less smoothed')
    return [draws.std(0) * 20 ** (-i / (_LEVELS - 1)) for i in range(_LEVELS)]


def algorithm_of(sampler: LangevinSampler, target: Any, num_warmup: int, device: torch.device) -> Algorithm:
    """The table's algorithm with this sampler's options."""
    algorithm = sampler.algorithm
    options: dict[str, Any] = {}
    if sampler.method in ("baoab", "malt") and sampler.friction is not None:
        options["friction"] = sampler.friction
    if sampler.method == "malt":
        options["trajectory"] = sampler.trajectory
    if sampler.method == "annealed":
        options["steps_per_level"] = max(1, num_warmup // len(target))
    if sampler.method == "flow":
        condition = sampler.condition or _shipped(device).condition
        algorithm = dataclasses.replace(algorithm, init=partial(algorithm.init, condition=condition))
        options["condition"] = condition
    return dataclasses.replace(algorithm, step=partial(algorithm.step, **options))


def policy_of(sampler: LangevinSampler, step_size: float | None, d: int) -> Policy:
    """How the step size is chosen."""
    if step_size is not None:
        return Fixed(step_size)
    if sampler.algorithm.adjusted:
        return ByAcceptance(init(min(0.5, d ** (-1 / 3))), sampler.target_acceptance)
    if sampler.method == "annealed":
        return Fixed(2 * sampler.bias)
    if sampler.method == "flow":
        return Fixed(0.3)
    return ByBias(sampler.bias, sampler.algorithm.order)


def learn_of(sampler: LangevinSampler, driver: Driver, draws: Tensor | None, adapt: int) -> Learn | None:
    """What a window of warm-up teaches: the preconditioner where no context gave it, and exact mode's estimate."""
    exact = sampler.method == "exact"
    condition = getattr(sampler.score, "condition", None) or getattr(getattr(sampler.score, "model", None), "condition", None)
    known = draws is not None or sampler.preconditioner == "identity"
    if sampler.method in ("annealed", "flow") or (known and not exact):
        return None

    def learn(history: Tensor) -> tuple[Any, Tensor]:
        if bool((history == history[0]).all()):  # nothing moved
            return driver.target, driver.factor
        factor = preconditioner.factor(history, sampler.preconditioner)
        if not exact or condition is None:
            return driver.target, factor
        order = torch.randperm(len(history), generator=driver.generator, device=history.device)
        estimate = condition(history[order[:_MOST_CONTEXT]])
        return _guided(sampler, estimate.adapt(adapt) if adapt else estimate), factor

    return learn


def _guided(sampler: LangevinSampler, estimate: Any) -> Target:
    assert sampler.log_prob is not None
    return Target(Guided(sampler.log_prob, estimate), None, needs_log_prob=True)


def _shipped(device: torch.device) -> Any:
    from disco_samplers.model.discoformer import DiScoFormer

    return DiScoFormer.from_pretrained(map_location=str(device))
