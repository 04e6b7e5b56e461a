"""Start-up checks: the numbers that decide whether a run can be trusted, with what they should be."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

import torch

from .diagnostics import temperatures
from .types import CollisionOperator, Species

if TYPE_CHECKING:
    from .simulation import Simulation

Verdict = Literal["ok", "warn", "refuse"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One number.

    Arguments:
        name: what it is.
        value: of this run.
        verdict: "warn" where results may be wrong, "refuse" where they must be.
        advice: what it should be, and why.
    """

    name: str
    value: float
    verdict: Verdict
    advice: str

    def __str__(self) -> str:
        line = f"{self.name:<34} {self.value:<10.4g} {self.verdict}"
        return line if self.verdict == "ok" else f"{line}: {self.advice}"


def startup_checks(simulation: Simulation) -> list[Check]:
    r"""Looks at a simulation before it runs.

    Checked are :math:`\omega_p\Delta t`, :math:`\max|v_x|\Delta t/\Delta x`, :math:`c\,\Delta t/\Delta x` (electromagnetic),
    :math:`\Delta x/\lambda_D`, :math:`\nu\Delta t` of the species or pairs of species that collide, and particles per cell.

    References:
        Birdsall and Langdon, Plasma Physics via Computer Simulation (1991), sections 4-2 and 8-7.

    Example:
        >>> from disco_samplers.integrations.plasma import Beam, Grid, Simulation, load
        >>> grid = Grid(12.566, 64)
        >>> print(startup_checks(Simulation(grid, [load(grid, [Beam()], 10_000)], dt=0.25))[0])
        omega_p dt                         0.25       warn: should be at most 0.1, for accuracy, and must be below 2
    """
    grid, dt, species = simulation.grid, simulation.dt, simulation.state.species
    checks = []
    if simulation.fields.solver != "none":
        plasma = math.sqrt(sum(s.charge**2 * _density(s, grid.length) / s.mass for s in species))
        checks.append(_judged("omega_p dt", plasma * dt, 0.1, 2.0, "for accuracy, and must be below 2"))
        debye = math.sqrt(sum(s.charge**2 * _density(s, grid.length) / max(float(temperatures(s)[0]), 1e-300) for s in species))
        checks.append(_judged("dx / Debye length", grid.dx * debye, math.pi, math.inf, "or the grid heats the plasma"))
    fastest = max(float(s.v[:, 0].abs().max()) for s in species)
    checks.append(_judged("max |v_x| dt / dx", fastest * dt / grid.dx, 4.0, grid.cells, "or the fastest skip cells"))
    if simulation.fields.solver == "electromagnetic":
        checks.append(_judged("c dt / dx", simulation.fields.light_speed * dt / grid.dx, 0.999, 1.0, "and must be below 1"))
    often = simulation.collisions_in_a_step()
    for s in species:
        if s.name in simulation.collisions and s.name not in often:
            often[s.name] = _rate(simulation.collisions[s.name], s, simulation) * dt * simulation.collide_every
    for names, value in often.items():
        why = f"and must be below 1: the collision time is {1 / max(value, 1e-300):.3g} of their step"
        checks.append(_judged(f"nu dt ({names})", value, 0.1, 1.0, why))
    for s in species:
        collides = simulation.between is not None or s.name in simulation.collisions
        cells = simulation.collision_cells if collides else grid.cells
        fewest = float(torch.bincount(grid.cell(s.x, cells), minlength=cells).min())
        least = 100 if collides else 10
        checks.append(
            Check(
                f"fewest particles/cell ({s.name})",
                fewest,
                "ok" if fewest >= least else "warn",
                f"should be at least {least}" + (": a cell's score is read off its particles" if collides else ""),
            )
        )
    return checks


def _judged(name: str, value: float, good: float, most: float, why: str) -> Check:
    within = value <= good * (1 + 1e-9)
    verdict: Verdict = "ok" if within else ("warn" if value < most else "refuse")
    return Check(name, value, verdict, f"should be at most {good:.3g}, {why}")


def _density(s: Species, length: float) -> float:
    return float(s.w.sum(dtype=torch.float64)) / length


def _rate(operator: CollisionOperator, s: Species, simulation: Simulation) -> float:
    """The root mean square rate of change that another operator gives, in units of the thermal speed."""
    thermal = float(temperatures(s).mean()) / s.mass
    rate = operator(*simulation.collision_view(s), simulation.generator(purpose=1))
    return float(rate.square().sum(1).mean().sqrt()) / math.sqrt(max(thermal, 1e-300))
