"""Reduced diagnostics: what a run measures of itself, one row a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .entropy import entropy as entropy_of
from .entropy import score_consistency
from .scores import Blob
from .state import State
from .types import CollisionOperator, Species, VelocityDensity

_AXES = "xyz"


def measure(
    state: State,
    *,
    time: float,
    dx: float,
    light_speed: float,
    kinetics: Callable[[Species], Mapping[str, float]] | None = None,
) -> dict[str, float]:
    r"""A row of the history.

    Columns: step, time; field_energy :math:`\tfrac12\int E^2 + c^2B^2`, kinetic_energy :math:`\tfrac12\sum mw|v|^2`,
    total_energy; momentum_x (and _y, _z) of the particles; number, the sum of the weights; of each species its anisotropy_NAME,
    the temperature along x over the mean of the others.

    With ``kinetics`` also what it gives of each species.
    """
    row = {"step": float(state.step), "time": time}
    row["field_energy"] = float(field_energy(state.electric, state.magnetic, dx, light_speed))
    row["kinetic_energy"] = sum(
        0.5 * s.mass * float((s.w * s.v.square().sum(1)).sum(dtype=torch.float64)) for s in state.species
    )
    row["total_energy"] = row["field_energy"] + row["kinetic_energy"]
    momentum = torch.stack([s.mass * (s.w[:, None] * s.v).sum(0, dtype=torch.float64) for s in state.species]).sum(0)
    row |= {f"momentum_{axis}": value for axis, value in zip(_AXES, momentum.tolist(), strict=False)}
    row["number"] = sum(_sum(s.w) for s in state.species)
    for s in state.species:
        if s.v.shape[1] > 1:
            t = temperatures(s)
            row[f"anisotropy_{s.name}"] = float(t[0] / t[1:].mean())
        if kinetics is not None:
            row |= kinetics(s)
    return row


def _sum(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))


def field_energy(electric: Tensor, magnetic: Tensor | None, dx: float, light_speed: float) -> Tensor:
    """Energy of the fields per unit area."""
    energy = electric.square().sum(dtype=torch.float64)
    if magnetic is not None:
        energy = energy + light_speed**2 * magnetic.square().sum(dtype=torch.float64)
    return 0.5 * dx * energy


def temperatures(species: Species) -> Tensor:
    """Mass times the variance of each velocity component, (dv,)."""
    w = species.w.double()[:, None] / species.w.sum(dtype=torch.float64)
    mean = (w * species.v).sum(0)
    return species.mass * (w * (species.v - mean).square()).sum(0)


def kinetics(
    name: str, view: tuple[Tensor, Tensor, Tensor, int], operator: CollisionOperator | None, generator: torch.Generator
) -> dict[str, float]:
    r"""A species' entropy and what collisions do to it.

    Columns: entropy_NAME :math:`-\int f\ln f/\int f`, by the density that its collisions' score
    has (a kernel estimate where it has none); and where collisions have a score entropy_production_NAME
    :math:`-\sum_i w_i\,\dot v_i\cdot s_i/\sum_i w_i`, how fast collisions raise it, and score_consistency_NAME, one for
    the score of any distribution: see :mod:`.entropy`.

    Arguments:
        name: of the species.
        view: what a collision operator is called with.
        operator: of its collisions, if it has any.
        generator: source of randomness of the operator.
    """
    score = getattr(operator, "score", None)
    density = score if isinstance(score, VelocityDensity) else Blob()
    row = {f"entropy_{name}": entropy_of(density, *view)}
    if operator is not None and score is not None:
        rate, scores = operator(*view, generator), score(*view)
        w = view[1]
        row[f"entropy_production_{name}"] = -_sum(w * (rate * scores).sum(1)) / _sum(w)
        row[f"score_consistency_{name}"] = score_consistency(scores, *view)
    return row
