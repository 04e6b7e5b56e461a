"""Puts a run together: the algorithm with its options, what it is given as target, its step size, and what warm-up learns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.convergence import pareto_k
from disco_samplers.draws import Circle, groups_of
from disco_samplers.estimators import DEFAULTS, NetworkEstimator, proposal, shipped_network
from disco_samplers.samplers.algorithms import Algorithm
from disco_samplers.samplers.driver import Driver, Learn
from disco_samplers.samplers.options import BIAS, TRAJECTORY, Options
from disco_samplers.samplers.step_size import ByAcceptance, ByBias, Fixed, Policy
from disco_samplers.samplers.steps import Condition, Guided, Proposal
from disco_samplers.samplers.target import Target
from disco_samplers.scores import ladder
from disco_samplers.types import LogDensity

_MOST_CONTEXT = 1000
"""Rows of history on which exact mode conditions."""

_LEVELS = 10
"""Noise levels of annealing where none are given."""

_PILOTS = 1000
_MOST_CANDIDATES = 16
_FEW_CANDIDATES = 4
_TOGETHER = 256
"""Proposals of all chains in a step, where that leaves each chain one."""

_PERIOD = 4
"""Steps between two local moves where jumps alone mix: a batch of proposals costs less than one move of a few chains."""


def target_of(
    options: Options,
    estimate: Any,
    log_prob: LogDensity | None,
    levels: Sequence[Any],
    x: Tensor,
    rng: torch.Generator | None,
) -> Any:
    """What the algorithm is given: log-density and score, the score alone, or a ladder of scores; tried at the start (c, d).

    Raises:
        ValueError: if a function returns the wrong shape or what is not finite at the starting points, or the method would
            leave the estimate's support.
    """
    supports = getattr(estimate, "support", None)
    if supports is not None and any(group.kind == "simplex" for group in groups_of(supports)):
        raise ValueError("chains would leave the simplex of the estimate's columns: draw by estimate.sample(n), which does not")
    if supports is not None and any(one and not isinstance(one, Circle) for one in supports) and not options.algorithm.adjusted:
        raise ValueError(f'method "{options.method}" rejects no step, and would leave the support: use mala, malt or jumps')
    if options.method == "exact":
        target = guided(log_prob, estimate)
    else:
        target = Target(estimate, log_prob, needs_log_prob=options.algorithm.adjusted)
    target.check(x)
    if options.method == "annealed":
        if not all(callable(level) for level in levels):
            levels = ladder(estimate, levels, generator=rng)
        elif levels[-1] not in (estimate, getattr(estimate, "score", None)):
            raise ValueError("levels must end with score=, the target itself: append it, or give noise levels")
        return [Target(level, None, needs_log_prob=False).score for level in levels]
    return target if options.algorithm.adjusted else target.score


def levels_of(options: Options, draws: Tensor | None, num_warmup: int) -> Sequence[Any]:
    """The levels of annealing: those given, or from the draws' standard deviations down to a twentieth of them.

    Raises:
        ValueError: if there are neither levels nor draws, or fewer steps of warm-up than levels, which it is to go through.
    """
    if options.method != "annealed":
        return []
    number = _LEVELS if options.levels is None else len(options.levels)
    if not number:
        raise ValueError("levels must not be empty")
    if num_warmup < number:
        raise ValueError(f"num_warmup must be at least the number of levels, {number}, got {num_warmup}")
    if options.levels is not None:
        return list(options.levels)
    if draws is None:
        raise ValueError('method "annealed" needs levels=, noise levels or scores ever less smoothed')
    return [draws.std(0) * 20 ** (-i / (_LEVELS - 1)) for i in range(_LEVELS)]


class Jumps(NamedTuple):
    r"""How the method "jumps" jumps.

    Arguments:
        proposal: what is proposed.
        candidates: proposals a step.
        period: steps between two local moves.
        pareto_k: of the proposals' importance weights; above 0.7 some regions have too few proposals.
    """

    proposal: Proposal
    candidates: int
    period: int
    pareto_k: float


def jumps_of(options: Options, estimate: Any, target: Target, num_chains: int, rng: torch.Generator | None) -> Jumps | None:
    r"""Proposals from an estimate's rows, tried before the run: as many a step as make two effective, :math:`k = 2 / e`.

    With e the effective share of the proposals by Kish's formula. Where one effective takes more than 16 there are four, for
    what no local move reaches, and a local move at every step. Of many chains each has fewer, 256 among them or one each.

    References:
        Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance sampling*, JMLR 2024
        (https://arxiv.org/abs/1507.02646), for k.
    """
    if options.method != "jumps":
        return None
    proposed = options.proposal or proposal(estimate.estimator, generator=rng)
    points = proposed.sample(_PILOTS, generator=rng)
    log_weight = target(points)[0].double() - proposed.log_prob(points)
    log_weight = torch.where(torch.isfinite(log_weight), log_weight, -torch.inf)
    share = torch.softmax(log_weight, 0)
    needed = math.ceil(_PILOTS * float(share.square().sum())) if bool(torch.isfinite(share).all()) else _PILOTS
    few = needed > _MOST_CANDIDATES
    candidates, period = (_FEW_CANDIDATES, 1) if few else (max(_FEW_CANDIDATES, 2 * needed), _PERIOD)
    candidates = min(candidates, max(1, _TOGETHER // num_chains))
    return Jumps(proposed, candidates, period, pareto_k(log_weight[torch.isfinite(log_weight)].cpu().numpy()))


def algorithm_of(options: Options, target: Any, num_warmup: int, device: torch.device, jumps: Jumps | None = None) -> Algorithm:
    """The table's algorithm with these options."""
    algorithm = options.algorithm
    told: dict[str, Any] = {}
    if jumps is not None:
        algorithm = dataclasses.replace(algorithm, init=partial(algorithm.init, proposal=jumps.proposal))
        told |= {"proposal": jumps.proposal, "candidates": jumps.candidates, "period": jumps.period, "local": num_warmup}
    if options.friction is not None:
        told["friction"] = options.friction
    if options.method == "malt":
        told["trajectory"] = options.trajectory or TRAJECTORY
    if options.method == "annealed":
        told["steps_per_level"] = max(1, num_warmup // len(target))
    if options.method == "flow":
        condition = options.condition or _shipped(device)
        algorithm = dataclasses.replace(algorithm, init=partial(algorithm.init, condition=condition))
        told["condition"] = condition
    return dataclasses.replace(algorithm, step=partial(algorithm.step, **told))


def policy_of(options: Options, target_acceptance: float, step_size: float | None, d: int) -> Policy:
    """How the step size is chosen."""
    if step_size is not None:
        return Fixed(step_size)
    if options.algorithm.adjusted:
        return ByAcceptance.of(target_acceptance, d)
    if options.method == "annealed":
        return Fixed(2 * (options.bias or BIAS))
    if options.method == "flow":
        return Fixed(0.3)
    return ByBias(options.bias or BIAS, options.algorithm.order)


def learn_of(options: Options, driver: Driver, *, known: bool, refresh: Callable[[Tensor], Any] | None = None) -> Learn | None:
    """What a window of warm-up teaches: the preconditioner where none is known, and a new target where one can be made.

    Arguments:
        options: of the sampler.
        driver: of the run.
        known: whether the preconditioner is known already.
        refresh: gives a new target from a history (n, d), for exact mode.
    """
    known = known or options.preconditioner == "identity"
    if options.method in ("annealed", "flow") or (known and options.method != "exact"):
        return None

    def learn(history: Tensor) -> tuple[Any, Tensor]:
        if bool((history == history[0]).all()):  # nothing moved
            return driver.target, driver.factor
        factor = preconditioners.factor(history, options.preconditioner or "dense")
        if refresh is None:
            return driver.target, factor
        order = torch.randperm(len(history), generator=driver.generator, device=history.device)
        return refresh(history[order[:_MOST_CONTEXT]]), factor

    return learn


def guided(log_prob: LogDensity | None, estimate: Any) -> Target:
    """Exact mode's target: the log-density decides, the estimate proposes."""
    assert log_prob is not None
    return Target(Guided(log_prob, estimate), None, needs_log_prob=True)


def _shipped(device: torch.device) -> Condition:
    network = shipped_network(DEFAULTS["cloud"], device)

    def condition(particles: Tensor) -> Callable[[Tensor], Tensor]:
        estimator = NetworkEstimator(network, particles)
        return lambda points: estimator.score(points).to(points.dtype)

    return condition
