"""The fields of a simulation: from particles to fields, and back to the particles."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from disco_samplers.arrays import check_number, check_positive

from .grid import Grid
from .maxwell import advance_electric, advance_magnetic
from .poisson import electric_field, field_between_walls
from .processes import Team
from .shapes import ORDERS, Shape, deposit, gather, stencil, volumes
from .state import State
from .types import Species
from .walls import Ledger, Walls

Solver = Literal["electrostatic", "electromagnetic", "none"]

Felt = tuple[Tensor, "Tensor | None"]
"""Electric and magnetic field at the particles of a species."""


class FieldSolver:
    """Fields of particles on a periodic line, or between walls.

    The longitudinal electric field follows from the charge at every step by Gauss's law, so charge is conserved to round-off;
    transverse fields are advanced on Yee's grid by the current.

    Arguments:
        grid: where the fields live.
        solver: "electrostatic", "electromagnetic" or "none".
        shape: of the particles, "cic" or "quadratic".
        light_speed: c.
        applied: uniform electric field along the line, besides that of the particles.
        walls: at the ends of the line; its grid is then not periodic.
        team: processes that share the deposits, if there are several.

    Raises:
        ValueError: if an argument is none of the known ones, not positive or not finite.

    Example:
        >>> from disco_samplers.integrations.plasma.loading import Beam, load
        >>> grid = Grid(6.0, 8)
        >>> electrons = load(grid, [Beam()], 800, amplitude=0.1)
        >>> state = FieldSolver(grid).start([electrons], magnetic=None)
        >>> state.electric.shape, round(float(state.electric.max()), 2)
        (torch.Size([8, 1]), 0.09)
    """

    def __init__(
        self,
        grid: Grid,
        solver: Solver = "electrostatic",
        shape: Shape = "quadratic",
        light_speed: float = 1.0,
        applied: float = 0.0,
        walls: Walls | None = None,
        team: Team | None = None,
    ) -> None:
        for name, value, known in (("fields", solver, get_args(Solver)), ("shape", shape, tuple(ORDERS))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        check_positive("light_speed", light_speed)
        check_number("applied", applied)
        if not math.isfinite(applied):
            raise ValueError(f"applied must be finite, got {applied}")
        if walls and solver == "electromagnetic":
            raise ValueError('walls need fields="electrostatic" or "none": electromagnetic ones are there on a periodic line')
        self.grid = dataclasses.replace(grid, periodic=walls is None)
        self.solver, self.shape, self.light_speed, self.applied, self.walls = solver, shape, light_speed, applied, walls
        self.team = team or Team()

    def start(self, species: Sequence[Species], magnetic: Tensor | None) -> State:
        """The state at the start, from the particles and B_z (cells,).

        Raises:
            ValueError: if there is a magnetic field that does not fit, or transverse fields for one velocity component.
        """
        v, cells = species[0].v, self.grid.cells
        electromagnetic = self.solver == "electromagnetic"
        if magnetic is not None and not electromagnetic:
            raise ValueError('a magnetic field needs fields="electromagnetic"')
        if electromagnetic and v.shape[1] == 1:
            raise ValueError("electromagnetic fields need two or three velocity components, the particles have one")
        state = State(0, tuple(species), v.new_zeros(self.grid.nodes, 3 if electromagnetic else 1))
        if self.walls:
            state = dataclasses.replace(state, ledger=Ledger.open(species, self.grid))
        if not electromagnetic:
            return self.solved(state)
        seeded = v.new_zeros(cells, 2)
        if magnetic is not None:
            if magnetic.shape != (cells,):
                raise ValueError(f"magnetic must hold {cells} numbers, one a cell, got shape {tuple(magnetic.shape)}")
            if bad := int((~torch.isfinite(magnetic)).sum()):
                raise ValueError(f"magnetic must hold finite numbers, got {bad} of {cells} that are not")
            seeded[:, 0] = magnetic
        return self.solved(dataclasses.replace(state, magnetic=seeded))

    def charge_density(self, species: Sequence[Species]) -> Tensor:
        """Charge density of the particles at the nodes (nodes,), without the neutralising background."""
        return torch.stack([self._deposited(s.x, s.charge * s.w) for s in species]).sum(0)

    def advance(self, state: State, before: Sequence[Species], after: Sequence[Species], dt: float) -> State:
        """Fields a step later.

        Arguments:
            state: at the end of the step in its particles, at the start in its fields.
            before: particles in the middle of the step, before they collide.
            after: the same after they collided; the current has the mean of both velocities.
            dt: time step.
        """
        electric, magnetic = state.electric, state.magnetic
        if magnetic is not None:
            current = torch.zeros_like(magnetic)
            for s, then in zip(before, after, strict=True):
                across = (s.charge * s.w)[:, None] * 0.5 * (s.v + then.v)[:, 1:]
                current[:, : across.shape[1]] += self._deposited(*map(self.team.share, (s.x, across)))
            current = self.team.total(current)
            halfway = advance_magnetic(magnetic, electric[:, 1:], 0.5 * dt, self.grid)
            transverse = advance_electric(electric[:, 1:], halfway, current, dt, self.grid, self.light_speed)
            magnetic = advance_magnetic(halfway, transverse, 0.5 * dt, self.grid)
            electric = torch.cat([electric[:, :1], transverse], 1)
        return self.solved(dataclasses.replace(state, electric=electric, magnetic=magnetic))

    def solved(self, state: State) -> State:
        """The state with the longitudinal field of its particles and walls."""
        if self.solver == "none":
            return state
        parts = [self._deposited(*map(self.team.share, (s.x, s.charge * s.w))) for s in state.species]
        density = self.team.total(torch.stack(parts).sum(0))
        along = self._between_walls(state, density)[0] if self.walls else electric_field(density, self.grid)
        return dataclasses.replace(state, electric=torch.cat([along[:, None], state.electric[:, 1:]], 1))

    def potential(self, state: State) -> Tensor:
        """The potential at the nodes (nodes,), less that of the left wall; of a line between walls."""
        if self.solver == "none":
            return torch.zeros_like(state.electric[:, 0])
        return self._between_walls(state, self.charge_density(state.species))[1]

    def felt(self, state: State) -> list[Felt]:
        """The fields at the particles of each species: (n, k) electric, k <= dv, and (n, 2) magnetic or None."""
        found: list[Felt] = []
        for s in state.species:
            electric = gather(stencil(s.x, self.grid, self.shape), state.electric[:, : s.v.shape[1]])
            electric[:, 0] += self.applied
            between = None
            if state.magnetic is not None:
                between = gather(stencil(s.x, self.grid, self.shape, offset=0.5), state.magnetic)
            found.append((electric, between))
        return found

    def _deposited(self, x: Tensor, amount: Tensor) -> Tensor:
        return deposit(stencil(x, self.grid, self.shape), amount, self.grid)

    def _between_walls(self, state: State, density: Tensor) -> tuple[Tensor, Tensor]:
        """Field and potential at the nodes."""
        assert self.walls is not None
        assert state.ledger is not None
        amount = (density + state.ledger.background) * volumes(self.grid, ORDERS[self.shape], density)
        left = state.ledger.charge(state.species)[0].to(density.dtype)
        return field_between_walls(amount, self.grid, left, self.walls.bias)
