"""The table of algorithms: what the front offers and the driver drives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from disco_samplers.samplers.steps import annealed, baoab, independence, mala, malt, particle_flow, ula

Method = Literal["mala", "ula", "baoab", "malt", "annealed", "flow", "exact", "jumps"]


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """A transition kernel and what a run has to know of it.

    Arguments:
        init: (position, target) -> state.
        step: (state, target, step_size=, factor=, generator=, **options) -> (state, info).
        adjusted: whether it asks its target for log-density and score; the others ask for the score.
        acceptance: the acceptance that dual averaging aims at, of the adjusted ones.
        order: of the weak error in the step size.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    adjusted: bool = False
    acceptance: float = 0.0
    order: int = 1


def _flow_step(state: Any, score: Any, *, step_size: float, factor: Any, generator: Any, condition: Any) -> Any:
    # Deterministic, and preconditioned by the cloud itself.
    return particle_flow.step(state, score, condition=condition, step_size=step_size)


ALGORITHMS: dict[str, Algorithm] = {
    "jumps": Algorithm(independence.init, independence.step, adjusted=True, acceptance=0.8),
    "mala": Algorithm(mala.init, mala.step, adjusted=True, acceptance=0.574),
    "ula": Algorithm(ula.init, ula.step),
    "baoab": Algorithm(baoab.init, baoab.step, order=2),
    "malt": Algorithm(malt.init, malt.step, adjusted=True, acceptance=0.8),
    "annealed": Algorithm(annealed.init, annealed.step),
    "flow": Algorithm(particle_flow.init, _flow_step),
    "exact": Algorithm(mala.init, mala.step, adjusted=True, acceptance=0.4),
}
