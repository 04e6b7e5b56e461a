"""Annealed Langevin dynamics: down a ladder of noise levels, so that chains find modes that are far apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.samplers.steps import ula
from disco_samplers.samplers.steps.kernel import Info
from disco_samplers.types import ScoreFunction


class State(NamedTuple):
    """Positions (c, d) of c chains, the score of their level there, its mean square over so many steps, and all steps taken."""

    position: Tensor
    score: Tensor
    roughness: float
    averaged: int
    steps: int


def init(position: Tensor, ladder: Sequence[ScoreFunction]) -> State:
    """The state at starting positions (c, d), which should be spread as the first level is."""
    return State(position, ladder[0](position), 1.0, 0, 0)


def step(
    state: State,
    ladder: Sequence[ScoreFunction],
    *,
    step_size: float,
    factor: Tensor,
    generator: torch.Generator | None = None,
    steps_per_level: int,
) -> tuple[State, Info]:
    r"""One Langevin step at the present noise level, of weak order one; the last level is kept for good.

    .. math::
        x' = x + e_k P\, \nabla \log f_{\sigma_k}(x) + \sqrt{2 e_k}\, L \xi, \qquad
        e_k = \frac{e}{E\, |L^\top \nabla \log f_{\sigma_k}|^2 / d}

    The step of a level is the given one over the mean square of its whitened score over chains and recent steps, so that it
    grows with the level's width and the relative inflation of a Gaussian's variance is e/2 at every level. From one step to
    the next it may double, no more: chains that stand at a mode have no score there.

    Arguments:
        state: of c chains.
        ladder: scores of the target smoothed by ever less noise, the target's own last.
        step_size: e, without unit.
        factor: L, (d, d), with P = L L'.
        generator: source of randomness.
        steps_per_level: steps before the next level.

    References:
        Song, Ermon, *Generative modeling by estimating gradients of the data distribution*, NeurIPS 2019, algorithm 1.

    Example:
        >>> ladder = [lambda x: -x / 2, lambda x: -x]
        >>> state = init(torch.ones(8, 1), ladder)
        >>> state, _ = step(state, ladder, step_size=0.1, factor=torch.eye(1), steps_per_level=1)
        >>> bool((state.score == -state.position).all())
        True
    """
    size = float((state.score @ factor).square().mean())
    averaged = 0 if state.steps % steps_per_level == 0 else state.averaged
    weight = 1 / min(averaged + 1, 10)
    roughness, averaged = (1 - weight) * state.roughness + weight * size, averaged + 1
    if roughness < 0.5 * state.roughness:
        roughness, averaged = 0.5 * state.roughness, 0
    here = ladder[min(state.steps // steps_per_level, len(ladder) - 1)]
    moved, info = ula.step(
        ula.State(state.position, state.score),
        here,
        step_size=step_size / max(roughness, 1e-12),
        factor=factor,
        generator=generator,
    )
    steps = state.steps + 1
    there = ladder[min(steps // steps_per_level, len(ladder) - 1)]
    score = moved.score if there is here else there(moved.position)
    return State(moved.position, score, roughness, averaged, steps), info
