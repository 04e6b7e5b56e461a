"""Reduced diagnostics: what a run measures of itself, one row a time."""

from __future__ import annotations

import torch
from torch import Tensor

from .collisions import MultispeciesLandau
from .entropy import entropy as entropy_of
from .entropy import score_consistency
from .fields import FieldSolver
from .mixture import Mixture
from .scores import Blob
from .state import State
from .types import CollisionOperator, Species, VelocityDensity, VelocityScore

View = tuple[Tensor, Tensor, Tensor, int]
"""What a collision operator is called with: velocities, weights over the volume of a cell, cells and their number."""

_AXES = "xyz"


def measure(state: State, fields: FieldSolver, *, time: float) -> dict[str, float]:
    r"""A row of the history.

    Columns: step, time; field_energy :math:`\tfrac12\int E^2 + c^2B^2`, kinetic_energy :math:`\tfrac12\sum mw|v|^2`,
    total_energy; momentum_x (and _y, _z) of the particles; number, the sum of the weights; of each species its mean
    velocity along x drift_NAME, its temperature_NAME, the mean over components of mass times variance, and its
    anisotropy_NAME, the temperature along x over the mean of the others. Between walls also wall_energy, what walls and
    circuit took of energy less what they and the source gave, a part of total_energy; potential_drop, from the left wall to the
    right; the charges wall_charge_left and wall_charge_right; and the numbers absorbed_left_NAME and absorbed_right_NAME.
    """
    row = {"step": float(state.step), "time": time}
    row["field_energy"] = float(field_energy(state, fields))
    row["kinetic_energy"] = sum(
        0.5 * s.mass * float((s.w * s.v.square().sum(1)).sum(dtype=torch.float64)) for s in state.species
    )
    account = _walls(state, fields) if fields.walls else {}
    row["total_energy"] = row["field_energy"] + row["kinetic_energy"] + account.get("wall_energy", 0.0)
    momentum = torch.stack([s.mass * (s.w[:, None] * s.v).sum(0, dtype=torch.float64) for s in state.species]).sum(0)
    row |= {f"momentum_{axis}": value for axis, value in zip(_AXES, momentum.tolist(), strict=False)}
    row["number"] = sum(_sum(s.w) for s in state.species)
    for s in state.species:
        t = temperatures(s)
        row[f"drift_{s.name}"] = _sum(s.w * s.v[:, 0]) / _sum(s.w)
        row[f"temperature_{s.name}"] = float(t.mean())
        if len(t) > 1:
            row[f"anisotropy_{s.name}"] = float(t[0] / t[1:].mean())
    return row | account


def _walls(state: State, fields: FieldSolver) -> dict[str, float]:
    """What walls took and what they hold."""
    ledger, bias = state.ledger, fields.walls.bias if fields.walls else None
    assert ledger is not None
    took = charge = ledger.charge(state.species)
    row = {"wall_energy": float(ledger.energy), "potential_drop": -float(fields.potential(state)[-1])}
    if bias is not None and fields.solver != "none":
        charge = state.electric[[0, -1], 0].double() * took.new_tensor([1.0, -1.0])
        row["wall_energy"] -= bias * float(charge[1] - took[1])  # the circuit brought the rest of the charge
    for side, name in enumerate(("left", "right")):
        row[f"wall_charge_{name}"] = float(charge[side])
        row |= {f"absorbed_{name}_{s.name}": float(ledger.number[k, side]) for k, s in enumerate(state.species)}
    return row


def _sum(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))


def field_energy(state: State, fields: FieldSolver) -> Tensor:
    """Energy of the fields per unit area."""
    grid, electric, magnetic = fields.grid, state.electric.double(), state.magnetic
    energy = grid.widths(electric) @ electric.square().sum(1)
    if magnetic is not None:
        energy = energy + grid.dx * fields.light_speed**2 * magnetic.square().sum(dtype=torch.float64)
    return 0.5 * energy


def temperatures(species: Species) -> Tensor:
    """Mass times the variance of each velocity component, (dv,)."""
    w = species.w.double()[:, None] / species.w.sum(dtype=torch.float64)
    mean = (w * species.v).sum(0)
    return species.mass * (w * (species.v - mean).square()).sum(0)


def kinetics(name: str, view: View, operator: CollisionOperator | None, generator: torch.Generator) -> dict[str, float]:
    r"""A species' entropy and what collisions with itself do to it.

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
    rate = None if operator is None or score is None else operator(*view, generator)
    return _of_species(name, view, score, rate)


def species_kinetics(mixture: Mixture, operator: MultispeciesLandau, generator: torch.Generator) -> dict[str, float]:
    """The columns of :func:`kinetics` of every species, and entropy and entropy_production of all together, a particle."""
    rates, v, w, cell = (mixture.split(x) for x in (operator.rates(mixture, generator), mixture.v, mixture.w, mixture.cell))
    row: dict[str, float] = {}
    for k, name in enumerate(mixture.names):
        row |= _of_species(name, (v[k], w[k], cell[k], mixture.num_cells), operator.score_of(name), rates[k])
    number = _sum(mixture.w)
    for column in ("entropy", "entropy_production"):
        row[column] = sum(_sum(w[k]) * row[f"{column}_{name}"] for k, name in enumerate(mixture.names)) / number
    return row


def _of_species(name: str, view: View, score: VelocityScore | None, rate: Tensor | None) -> dict[str, float]:
    density = score if isinstance(score, VelocityDensity) else Blob()
    row = {f"entropy_{name}": entropy_of(density, *view)}
    if score is not None and rate is not None:
        scores, w = score(*view), view[1]
        row[f"entropy_production_{name}"] = -_sum(w * (rate * scores).sum(1)) / _sum(w)
        row[f"score_consistency_{name}"] = score_consistency(scores, *view)
    return row
