"""Particle-in-cell simulation on a line, periodic or between walls, with collisions."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.arrays import check_callable, check_count, check_positive

from .boris import boris
from .collisions import MultispeciesLandau, collide, collide_species
from .collisions.frequency import check_step, frequency
from .diagnostics import kinetics, measure, species_kinetics
from .fields import Felt, FieldSolver, Solver
from .grid import Grid
from .mixture import Mixture
from .processes import Team, sharing
from .result import History, PlasmaResult
from .shapes import Shape
from .state import State, check_species, load_state, save_state
from .types import CollisionOperator, Species
from .walls import Walls, meet, replenish

Collisions = CollisionOperator | Mapping[str, CollisionOperator] | MultispeciesLandau


class Simulation:
    r"""Particles in their own field on a line, with one to three velocity components, and colliding.

    .. math:: \dot x_i = v_{ix}, \qquad \dot v_i = \frac{q}{m}\big(E(x_i) + v_i \times B(x_i)\big) + C_i

    A step is symmetric, so of second order: half a kick (Boris where there is a magnetic field), half a drift, the collisions,
    half a drift, the fields, half a kick; only the step of the collisions is in itself of first order. The permittivity of the
    vacuum is one, and an immobile background neutralises the mean charge, between walls that of the start. On a periodic line
    electrostatic momentum is kept to round-off. Everything is in the precision and on the device of ``species``.

    Randomness comes from ``seed`` and the number of the step alone, so on a CPU a run that was saved and continued gives the
    same numbers as one that was not interrupted, bit for bit.

    Arguments:
        grid: of the fields.
        species: the particles at the start.
        dt: time step.
        fields: "electrostatic"; "electromagnetic", with transverse fields on Yee's grid, for two or three velocity components;
            "none" lets particles stream freely.
        shape: of the particles, "cic" or "quadratic".
        light_speed: c.
        magnetic: B_z at the start, (cells,), half a cell to the right of the nodes.
        applied: a uniform electric field along the line that is there besides that of the particles; its work is not in the
            energy.
        walls: at the ends of the line, which is periodic without.
        collisions: of every species with itself; or a dictionary from names of species to operators; or
            :class:`MultispeciesLandau`, of all species with one another.
        collision_cells: into how many equal cells the line is cut for collisions; the grid's by default.
        collide_every: collide once in so many steps, for as much time.
        seed: of the collisions' randomness.
        distributed: share the work among the processes of ``torch.distributed``, started by torchrun, which all make and run
            the same simulation: each lets the particles of its cells collide and deposits its share of the charge. All hold
            the same state, that of one process to round-off.

    Attributes:
        state: particles and fields now; it is replaced, never changed, by a step.
        origin: the run file that this was made from, key by key, if any: saved, and compared by :meth:`load`.
        history: what :meth:`run` measured.
        seconds: wall time by what it went into: "push", "fields", "collisions", "measuring"; of several processes those of
            this one, with what it waited for the others.

    Raises:
        TypeError: if a number is of the wrong kind.
        ValueError: if particles are outside the grid or not finite, if light would cross more than a cell in a step, or if
            arguments do not fit one another.

    References:
        Birdsall and Langdon, Plasma Physics via Computer Simulation (1991), chapters 2 to 4 and 6.

    Example:
        >>> from disco_samplers.integrations.plasma.loading import Beam, load
        >>> grid = Grid(length=12.566, cells=32)
        >>> electrons = load(grid, [Beam()], 4000, amplitude=0.01)
        >>> result = Simulation(grid, [electrons], dt=0.1).run(20, progress=False)
        >>> bool(abs(result.energy_error) < 1e-4)
        True
    """

    state: State
    _felt: list[Felt]

    def __init__(
        self,
        grid: Grid,
        species: Sequence[Species],
        dt: float,
        *,
        fields: Solver = "electrostatic",
        shape: Shape = "quadratic",
        light_speed: float = 1.0,
        magnetic: Tensor | None = None,
        applied: float = 0.0,
        walls: Walls | None = None,
        collisions: Collisions | None = None,
        collision_cells: int | None = None,
        collide_every: int = 1,
        seed: int = 0,
        distributed: bool = False,
    ) -> None:
        check_positive("dt", dt)
        check_count("collide_every", collide_every, 1)
        check_count("seed", seed, 0)
        check_species(species, grid)
        if walls is not None:
            if not isinstance(walls, Walls):
                raise TypeError(f"walls must be Walls(...), such as Walls(left='reflecting'), got {walls!r}")
            walls.check(species, grid.length)
        self.team = Team(distributed)
        self.seconds = dict.fromkeys(("push", "fields", "collisions", "measuring"), 0.0)
        self.fields = FieldSolver(grid, fields, shape, light_speed, applied, walls, self.team)
        self.grid, self.dt, self.collide_every, self.seed = self.fields.grid, float(dt), collide_every, seed
        if fields == "electromagnetic" and light_speed * dt >= grid.dx:
            raise ValueError(
                f"dt = {dt:g} is too long: light crosses {light_speed * dt / grid.dx:.2f} cells in a step, and must cross "
                f"less than one; take dt below {grid.dx / light_speed:.3g}"
            )
        self.collision_cells = grid.cells if collision_cells is None else collision_cells
        check_count("collision_cells", self.collision_cells, 1)
        self.between = collisions if isinstance(collisions, MultispeciesLandau) else None
        self.collisions = _operators(collisions, [s.name for s in species])
        # Chosen at the start and kept: a change on the way would leave some time out or count it twice.
        alone = torch.ones(len(species), len(species), dtype=torch.int64, device=species[0].v.device)
        self.cycles = self.between.cycles(self.mixture(species), self.dt * collide_every) if self.between else alone
        self._loaded = [[s.name, s.charge, s.mass, len(s.x), s.v.shape[1], str(s.v.dtype)] for s in species]
        self.origin: dict[str, Any] | None = None
        self.history = History()
        self._continue(self.fields.start(species, magnetic))

    @property
    def time(self) -> float:
        """Of the state."""
        return self.state.step * self.dt

    def step(self) -> None:
        """One step. An interrupt leaves the state as it was before.

        Raises:
            RuntimeError: if fields or velocities are no longer finite, or walls took the last particle of a species; the state
                is then that before the step.
            ValueError: if ``dt`` is too long for the collisions.
        """
        with self._timed("push"):
            kicked = dataclasses.replace(self.state, species=self._kicked(self.state.species, self._felt))
            by_walls = self.generator(purpose=2)
            half = self._drifted(kicked, by_walls)
        with self._timed("collisions"):
            after = dataclasses.replace(half, step=half.step + 1, species=self._collided(half.species))
        with self._timed("push"):
            drifted = self._replenished(self._drifted(after, by_walls), by_walls)
        with self._timed("fields"):
            state = self.fields.advance(drifted, half.species, after.species, self.dt)
            felt = self.fields.felt(state)
        if bad := int((~torch.isfinite(state.electric).all(1)).sum()):
            raise RuntimeError(
                f"step {state.step}: the electric field is no longer finite at {bad} of {self.grid.nodes} nodes; the state "
                "before it is kept. Shorten dt, or look at the particles"
            )
        with self._timed("push"):
            state = dataclasses.replace(state, species=self._kicked(state.species, felt))
        for s in state.species:
            if not torch.isfinite(s.v.sum()):
                raise RuntimeError(
                    f"step {state.step}: velocities of {s.name} are no longer finite; the state before it is kept. "
                    "Shorten dt, or look at the collision operator or score"
                )
        self.state, self._felt = state, felt

    def run(
        self,
        num_steps: int,
        *,
        every: int = 1,
        entropy_every: int = 0,
        observers: Sequence[Callable[[Simulation], None]] = (),
        progress: bool = True,
    ) -> PlasmaResult:
        """Steps, measuring on the way; an interrupt returns what was done until then.

        Arguments:
            num_steps: how many.
            every: steps between two rows of the history.
            entropy_every: steps between two rows with entropy, entropy production and score consistency, which cost as much as
                a few steps; 0 for none.
            observers: called with this object at the start of a new simulation and after every step.
            progress: whether to show a bar with step, field energy and energy error.

        Raises:
            TypeError: if a number of steps is not an integer.
            ValueError: if one is out of range, or ``dt`` is too long for the collisions.
            RuntimeError: if fields or velocities are no longer finite.
        """
        check_step(self.collisions_in_a_step(), self.dt)
        check_count("num_steps", num_steps, 0)
        check_count("every", every, 1)
        check_count("entropy_every", entropy_every, 0)

        def observe() -> None:
            entropy = entropy_every > 0 and self.state.step % entropy_every == 0
            if entropy or self.state.step % every == 0:
                with self._timed("measuring"):
                    self.history.append(self._measured(entropy))
            for observer in observers:
                observer(self)

        complete = False
        with tqdm(total=self.state.step + num_steps, initial=self.state.step, disable=not progress, unit="step") as bar:
            try:
                if not self.history:
                    observe()
                for _ in range(num_steps):
                    self.step()
                    observe()
                    bar.set_postfix_str(self.history.summary(), refresh=False)
                    bar.update()
                complete = True
            except KeyboardInterrupt:
                if not self.history:
                    raise
        return PlasmaResult(self.history, self.state.species, self.grid, self.state.electric[:, 0], self.time, complete)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes state and history; :meth:`load` of a simulation made with the same arguments continues from there."""
        save_state(path, self.state, self.history.rows, self._setup(), self.origin)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Continues from a file of :meth:`save`, with the collisions of this simulation: they are compared in run files alone.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not such a file, or of a simulation with other arguments or from a run file that has changed.
        """
        state, rows = load_state(path, self.state, self._setup(), self.origin)
        self._continue(state)
        self.history = History(rows)

    def collision_view(self, species: Species) -> tuple[Tensor, Tensor, Tensor, int]:
        """What a collision operator is called with: velocities, weights over the volume of a cell, cells and their number."""
        cell = self.grid.cell(species.x, self.collision_cells)
        return species.v, species.w * (self.collision_cells / self.grid.length), cell, self.collision_cells

    def mixture(self, species: Sequence[Species]) -> Mixture:
        """What an operator between species is called with: all of them, with weights over the volume of a cell, and cells."""
        views = [self.collision_view(s) for s in species]
        weighted = [dataclasses.replace(s, w=w) for s, (_, w, _, _) in zip(species, views, strict=True)]
        return Mixture.of(weighted, [cell for _, _, cell, _ in views], self.collision_cells)

    def collisions_in_a_step(self) -> dict[str, float]:
        """How often each species or pair of species collides between two of its collision steps, where that is known."""
        dt = self.dt * self.collide_every
        if self.between is None:
            known = {
                s.name: frequency(self.collisions[s.name], self.mixture([s]))
                for s in self.state.species
                if s.name in self.collisions
            }
            return {name: nu * dt for name, nu in known.items() if nu is not None}
        mixture = self.mixture(self.state.species)
        each, names = (self.between.frequencies(mixture) * self.cycles * dt).tolist(), mixture.names
        collide = self.between.matrix(mixture) > 0
        pairs = [(i, j) for i in range(len(names)) for j in range(i, len(names)) if collide[i, j]]
        return {f"{names[i]}, {names[j]}": each[i][j] for i, j in pairs}

    def generator(self, *, purpose: int = 0) -> torch.Generator:
        """Source of randomness of this step; another one for another purpose, 0 to 3."""
        seed = (self.seed << 34) + ((purpose & 1) << 33) + ((purpose >> 1) << 62) + self.state.step
        return torch.Generator(self.state.electric.device).manual_seed(seed % 2**63)

    def _measured(self, entropy: bool) -> dict[str, float]:
        """A row of the history."""
        row = measure(self.state, self.fields, time=self.time)
        if entropy and self.between:
            between = sharing(self.between, self.team)
            row |= species_kinetics(self.mixture(self.state.species), between, self.generator(purpose=1))
        elif entropy:
            for s in self.state.species:
                operator = sharing(self.collisions.get(s.name), self.team)
                row |= kinetics(s.name, self.collision_view(s), operator, self.generator(purpose=1))
        return row

    def _continue(self, state: State) -> None:
        self.state, self._felt = state, self.fields.felt(state)

    def _kicked(self, species: Sequence[Species], felt: Sequence[Felt]) -> tuple[Species, ...]:
        half = 0.5 * self.dt
        return tuple(
            dataclasses.replace(s, v=boris(s.v, *at, half * s.charge / s.mass)) for s, at in zip(species, felt, strict=True)
        )

    def _drifted(self, state: State, generator: torch.Generator) -> State:
        """Half a step on, where walls have done their part."""
        moved = [dataclasses.replace(s, x=s.x + 0.5 * self.dt * s.v[:, 0]) for s in state.species]
        walls, ledger = self.fields.walls, state.ledger
        if walls is None or ledger is None:
            return dataclasses.replace(state, species=tuple(dataclasses.replace(s, x=self.grid.wrap(s.x)) for s in moved))
        left, ledger = meet(walls, moved, ledger, self.grid, generator)
        for s in left:
            if len(s.x) == 0:
                raise RuntimeError(
                    f"step {self.state.step + 1}: the walls have taken the last particle of {s.name}; the state before it is "
                    "kept. End the run before that, or give the walls a source"
                )
        return dataclasses.replace(state, species=left, ledger=ledger)

    def _replenished(self, state: State, generator: torch.Generator) -> State:
        """With the pairs of the walls' source for what they took since the last step."""
        walls, ledger = self.fields.walls, state.ledger
        if walls is None or ledger is None or self.state.ledger is None or not walls.source:
            return state
        species, ledger = replenish(walls, state.species, ledger, self.state.ledger, self.grid, generator)
        return dataclasses.replace(state, species=species, ledger=ledger)

    def _collided(self, species: Sequence[Species]) -> tuple[Species, ...]:
        turn, rest = divmod(self.state.step + 1, self.collide_every)
        if rest:
            return tuple(species)
        dt = self.dt * self.collide_every
        if self.between:
            due = torch.where(turn % self.cycles == 0, self.cycles, 0)
            between, mixture = self.between, self.mixture(species)
            part = self.team.part(mixture.cell, mixture.num_cells)

            def moved() -> Tensor:
                return collide_species(between, mixture.part(part), dt, factor=due, generator=self.generator())

            v = mixture.split(self.team.together(mixture.v, part, moved))
            return tuple(dataclasses.replace(s, v=new) for s, new in zip(species, v, strict=True))
        return tuple(self._collided_alone(s, dt) for s in species)

    def _collided_alone(self, s: Species, dt: float) -> Species:
        operator = self.collisions.get(s.name)
        if operator is None:
            return s
        v, w, cell, cells = self.collision_view(s)
        part = self.team.part(cell, cells)

        def moved() -> Tensor:
            return collide(operator, v[part], w[part], cell[part], cells, dt, generator=self.generator())

        return dataclasses.replace(s, v=self.team.together(v, part, moved))

    @contextlib.contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        """Adds the time of a block to that of its part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if self.state.electric.is_cuda and torch.cuda.is_available():
                torch.cuda.synchronize(self.state.electric.device)
            self.seconds[what] += time.perf_counter() - start

    def _setup(self) -> dict[str, Any]:
        """What must be the same in a run that continues another."""
        fields, grid = self.fields, self.grid
        setup = {"length": grid.length, "cells": grid.cells, "dt": self.dt, "species": self._loaded, "seed": self.seed}
        setup |= {"fields": fields.solver, "shape": fields.shape, "light_speed": fields.light_speed}
        setup |= {"applied": fields.applied}
        if fields.walls:
            setup |= {f"{name} of the walls": value for name, value in dataclasses.asdict(fields.walls).items()}
        return setup | {"collision_cells": self.collision_cells, "collide_every": self.collide_every}


def _operators(collisions: Collisions | None, names: Sequence[str]) -> dict[str, CollisionOperator]:
    if isinstance(collisions, MultispeciesLandau):
        collisions.check(names)
    if collisions is None or isinstance(collisions, MultispeciesLandau):
        return {}
    if not isinstance(collisions, Mapping):
        _check_operator("collisions", collisions)
        return dict.fromkeys(names, collisions)
    if unknown := set(collisions) - set(names):
        raise ValueError(f"collisions names no species: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for name, operator in collisions.items():
        _check_operator(f"collisions of {name}", operator)
    return dict(collisions)


def _check_operator(name: str, operator: object) -> None:
    if isinstance(operator, MultispeciesLandau):
        raise TypeError(
            f"{name} must be of this species alone: give collisions=MultispeciesLandau(...), which is of all species"
        )
    check_callable(name, operator, "a CollisionOperator, or MultispeciesLandau of all species")
