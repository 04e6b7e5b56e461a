"""Particle-in-cell simulation on a periodic line, with collisions."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers._arrays import check_count
from disco_samplers.checkpoint import load_checkpoint, save_checkpoint

from .boris import boris
from .collisions import collide
from .diagnostics import measure
from .grid import Grid
from .maxwell import advance_electric, advance_magnetic
from .poisson import electric_field
from .result import History, PlasmaResult
from .shapes import ORDERS, Shape, Stencil, deposit, gather, stencil
from .types import CollisionOperator, Species

Fields = Literal["electrostatic", "electromagnetic", "none"]


@dataclasses.dataclass(frozen=True)
class State:
    """Everything that changes in a run.

    Arguments:
        step: steps done.
        species: particles, positions and velocities at the same time.
        electric: (cells, 1), or (cells, 3) electromagnetic, at the nodes.
        magnetic: the components (B_z, B_y), (cells, 2), half a cell to the right of the nodes; None unless electromagnetic.
    """

    step: int
    species: tuple[Species, ...]
    electric: Tensor
    magnetic: Tensor | None = None


class Simulation:
    r"""Particles in their own field on a periodic line, with one to three velocity components, and colliding.

    .. math:: \dot x_i = v_{ix}, \qquad \dot v_i = \frac{q}{m}\big(E(x_i) + v_i \times B(x_i)\big) + C_i

    A step is symmetric, so of second order: half a kick (Boris where there is a magnetic field), half a drift, the collisions,
    half a drift, the fields, half a kick. Units are those in which the permittivity of the vacuum is one; the mean charge is
    neutralised by an immobile background. The longitudinal field follows from Gauss's law at every step, so charge is conserved
    to round-off; electrostatic momentum is, too. Particles and fields are in the precision and on the device of ``species``.

    Randomness comes from ``seed`` and the number of the step alone: on a CPU, a run that was saved and continued gives the same
    numbers as one that was not interrupted, bit for bit.

    Arguments:
        grid: of the fields.
        species: the particles at the start.
        dt: time step.
        fields: "electrostatic"; "electromagnetic", with transverse fields on Yee's grid, for two or three velocity components;
            "none" lets particles stream freely.
        shape: of the particles, "cic" or "quadratic".
        light_speed: c.
        magnetic: B_z at the start, (cells,), half a cell to the right of the nodes.
        collisions: of every species with itself, or a dictionary from names of species to operators.
        collision_cells: into how many equal cells the line is cut for collisions; the grid's by default.
        collide_every: collide once in so many steps, for as much time.
        seed: of the collisions' randomness.

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
        >>> bool(abs(result.energy_error) < 1e-5)
        True
    """

    def __init__(
        self,
        grid: Grid,
        species: Sequence[Species],
        dt: float,
        *,
        fields: Fields = "electrostatic",
        shape: Shape = "quadratic",
        light_speed: float = 1.0,
        magnetic: Tensor | None = None,
        collisions: CollisionOperator | Mapping[str, CollisionOperator] | None = None,
        collision_cells: int | None = None,
        collide_every: int = 1,
        seed: int = 0,
    ) -> None:
        for name, value, known in (("fields", fields, get_args(Fields)), ("shape", shape, tuple(ORDERS))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        for name, number in (("dt", dt), ("light_speed", light_speed)):
            if not (number > 0 and math.isfinite(number)):
                raise ValueError(f"{name} must be positive and finite, got {number}")
        check_count("collide_every", collide_every, 1)
        check_count("seed", seed, 0)
        _check_species(species, grid)
        self.grid, self.dt, self.fields, self.shape, self.light_speed = grid, float(dt), fields, shape, light_speed
        self.collide_every, self.seed = collide_every, seed
        self.collision_cells = grid.cells if collision_cells is None else collision_cells
        check_count("collision_cells", self.collision_cells, 1)
        self.collisions = self._operators(collisions, species)
        self.history = History()
        v = species[0].v
        if fields == "electromagnetic":
            if v.shape[1] == 1:
                raise ValueError("electromagnetic fields need two or three velocity components, the particles have one")
            if light_speed * dt >= grid.dx:
                raise ValueError(
                    f"dt = {dt:g} is too long: light crosses {light_speed * dt / grid.dx:.2f} cells in a step, and must cross less "
                    f"than one; take dt below {grid.dx / light_speed:.3g}"
                )
        elif magnetic is not None:
            raise ValueError('a magnetic field needs fields="electromagnetic"')
        transverse = v.new_zeros(grid.cells, 2 if fields == "electromagnetic" else 0)
        start = self._magnetic(magnetic, v) if fields == "electromagnetic" else None
        self._continue(State(0, tuple(species), torch.cat([v.new_zeros(grid.cells, 1), transverse], 1), start))

    @property
    def time(self) -> float:
        """Of the state."""
        return self.state.step * self.dt

    def step(self) -> None:
        """One step. The state is replaced at its end, so an interrupt leaves the one before.

        Raises:
            RuntimeError: if velocities are no longer finite; the state is then that before the step.
        """
        state = self.state
        kicked = [self._kicked(s, *at) for s, at in zip(state.species, self._felt, strict=True)]
        middle = [self._drifted(s) for s in kicked]
        collided = [self._collided(s) for s in middle]
        ends = [self._drifted(s) for s in collided]
        electric, magnetic, stencils = self._advance_fields(state, middle, collided, ends)
        felt = self._gathered(stencils, electric, magnetic, ends)
        ends = [self._kicked(s, *at) for s, at in zip(ends, felt, strict=True)]
        for s in ends:
            if not torch.isfinite(s.v.sum()):
                raise RuntimeError(
                    f"step {state.step + 1}: velocities of {s.name} are no longer finite; the state before it is kept. "
                    "Shorten dt, or look at the collision operator or score"
                )
        self.state, self._felt = State(state.step + 1, tuple(ends), electric, magnetic), felt

    def run(
        self,
        steps: int,
        *,
        every: int = 1,
        entropy_every: int = 0,
        observers: Sequence[Callable[[Simulation], None]] = (),
        progress: bool = True,
    ) -> PlasmaResult:
        """Steps, measuring on the way; an interrupt returns what was done until then.

        Arguments:
            steps: how many.
            every: steps between two rows of the history.
            entropy_every: steps between two rows with entropy, entropy production and score consistency, which cost as much as
                a few steps; 0 for none.
            observers: called with this object at the start of a new simulation and after every step.
            progress: whether to show a bar with step, field energy and energy error.

        Raises:
            TypeError: if a number of steps is not an integer.
            ValueError: if it is out of range.
            RuntimeError: if velocities are no longer finite.
        """
        check_count("steps", steps, 0)
        check_count("every", every, 1)
        check_count("entropy_every", entropy_every, 0)
        complete = False
        with tqdm(total=self.state.step + steps, initial=self.state.step, disable=not progress, unit="step") as bar:
            try:
                if not self.history:
                    self._observe(every, entropy_every, observers)
                for _ in range(steps):
                    self.step()
                    self._observe(every, entropy_every, observers)
                    bar.update()
                    if progress:
                        last = self.history
                        bar.set_postfix_str(
                            f"field energy {last['field_energy'][-1]:.3e}, energy error {last.energy_error:+.1e}"
                        )
                complete = True
            except KeyboardInterrupt:
                pass
        return PlasmaResult(self.history, self.state.species, self.grid, self.state.electric, self.time, complete)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes state and history; :meth:`load` of a simulation made with the same arguments continues from there."""
        state = self.state
        particles = [{"x": s.x, "v": s.v, "w": s.w} for s in state.species]
        changing = {"step": state.step, "species": particles, "electric": state.electric, "magnetic": state.magnetic}
        save_checkpoint(path, {"format": _FORMAT, "setup": self._setup(), "history": self.history.rows, **changing})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Continues from a file of :meth:`save`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not such a file, or of a simulation with other arguments.
        """
        saved = load_checkpoint(path)
        if saved.get("format") != _FORMAT:
            raise ValueError(f"{path} is not a saved plasma simulation")
        setup = self._setup()
        if changed := [
            f"{key} {saved['setup'].get(key)} there, {setup[key]} here"
            for key in setup
            if setup[key] != saved["setup"].get(key)
        ]:
            raise ValueError(f"{path} is of another simulation: " + "; ".join(changed))
        here = self.state.species[0].v.device
        species = tuple(
            dataclasses.replace(s, **{key: value.to(here) for key, value in particles.items()})
            for s, particles in zip(self.state.species, saved["species"], strict=True)
        )
        magnetic = None if saved["magnetic"] is None else saved["magnetic"].to(here)
        self._continue(State(saved["step"], species, saved["electric"].to(here), magnetic))
        self.history = History(saved["history"])

    def collision_cell(self, species: Species) -> Tensor:
        """The cell (n,) that each particle collides in."""
        return self.grid.cell(species.x, self.collision_cells)

    def collision_weights(self, species: Species) -> Tensor:
        """Weights (n,) over the volume of a collision cell."""
        return species.w * (self.collision_cells / self.grid.length)

    def generator(self, *, purpose: int = 0) -> torch.Generator:
        """Source of randomness of this step; of another kind for another purpose."""
        device = self.state.species[0].v.device
        return torch.Generator(device).manual_seed(((self.seed << 34) + (purpose << 33) + self.state.step) % 2**63)

    def charge_density(self, species: Sequence[Species] | None = None) -> Tensor:
        """Charge density of the particles at the nodes (cells,), without the background."""
        species = self.state.species if species is None else species
        return self._charge(species, self._stencils(species))

    def _continue(self, state: State) -> None:
        """Takes a state whose longitudinal field may be out of date."""
        stencils = self._stencils(state.species)
        electric = self._with_longitudinal(state.electric, state.species, stencils)
        self.state = dataclasses.replace(state, electric=electric)
        self._felt = self._gathered(stencils, electric, state.magnetic, state.species)

    def _observe(self, every: int, entropy_every: int, observers: Sequence[Callable[[Simulation], None]]) -> None:
        if self.state.step % every == 0 or (entropy_every and self.state.step % entropy_every == 0):
            self.history.append(measure(self, entropy=bool(entropy_every) and self.state.step % entropy_every == 0))
        for observer in observers:
            observer(self)

    def _kicked(self, s: Species, electric: Tensor, magnetic: Tensor | None) -> Species:
        return dataclasses.replace(s, v=boris(s.v, electric, magnetic, 0.5 * self.dt * s.charge / s.mass))

    def _drifted(self, s: Species) -> Species:
        return dataclasses.replace(s, x=self.grid.wrap(s.x + 0.5 * self.dt * s.v[:, 0]))

    def _collided(self, s: Species) -> Species:
        operator = self.collisions.get(s.name)
        if operator is None or (self.state.step + 1) % self.collide_every:
            return s
        v = collide(
            operator,
            s.v,
            self.collision_weights(s),
            self.collision_cell(s),
            self.collision_cells,
            self.dt * self.collide_every,
            self.generator(),
        )
        return dataclasses.replace(s, v=v)

    def _stencils(self, species: Sequence[Species]) -> list[Stencil]:
        return [stencil(s.x, self.grid, self.shape) for s in species]

    def _charge(self, species: Sequence[Species], stencils: Sequence[Stencil]) -> Tensor:
        return torch.stack([deposit(at, s.charge * s.w, self.grid) for at, s in zip(stencils, species, strict=True)]).sum(0)

    def _with_longitudinal(self, electric: Tensor, species: Sequence[Species], stencils: Sequence[Stencil]) -> Tensor:
        if self.fields == "none":
            return electric
        longitudinal = electric_field(self._charge(species, stencils), self.grid)
        return torch.cat([longitudinal[:, None], electric[:, 1:]], 1)

    def _advance_fields(
        self, state: State, middle: Sequence[Species], collided: Sequence[Species], ends: Sequence[Species]
    ) -> tuple[Tensor, Tensor | None, list[Stencil]]:
        electric, magnetic = state.electric, state.magnetic
        if magnetic is not None:
            current = torch.zeros_like(magnetic)
            for s, after in zip(middle, collided, strict=True):
                across = 0.5 * (s.v + after.v)[:, 1:]
                moving = deposit(stencil(s.x, self.grid, self.shape), (s.charge * s.w)[:, None] * across, self.grid)
                current[:, : across.shape[1]] += moving
            magnetic = advance_magnetic(magnetic, electric[:, 1:], 0.5 * self.dt, self.grid)
            across = advance_electric(electric[:, 1:], magnetic, current, self.dt, self.grid, self.light_speed)
            magnetic = advance_magnetic(magnetic, across, 0.5 * self.dt, self.grid)
            electric = torch.cat([electric[:, :1], across], 1)
        stencils = self._stencils(ends)
        return self._with_longitudinal(electric, ends, stencils), magnetic, stencils

    def _gathered(
        self, stencils: Sequence[Stencil], electric: Tensor, magnetic: Tensor | None, species: Sequence[Species]
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Electric and magnetic field at the particles of each species."""
        felt: list[tuple[Tensor, Tensor | None]] = []
        for at, s in zip(stencils, species, strict=True):
            between = None if magnetic is None else gather(stencil(s.x, self.grid, self.shape, offset=0.5), magnetic)
            felt.append((gather(at, electric[:, : s.v.shape[1]]), between))
        return felt

    def _magnetic(self, magnetic: Tensor | None, v: Tensor) -> Tensor:
        start = v.new_zeros(self.grid.cells, 2)
        if magnetic is not None:
            if magnetic.shape != (self.grid.cells,) or not torch.isfinite(magnetic).all():
                raise ValueError(f"magnetic must hold {self.grid.cells} finite numbers, got shape {tuple(magnetic.shape)}")
            start[:, 0] = magnetic
        return start

    def _operators(
        self, collisions: CollisionOperator | Mapping[str, CollisionOperator] | None, species: Sequence[Species]
    ) -> dict[str, CollisionOperator]:
        names = [s.name for s in species]
        if collisions is None:
            return {}
        if not isinstance(collisions, Mapping):
            return dict.fromkeys(names, collisions)
        if unknown := set(collisions) - set(names):
            raise ValueError(f"collisions names no species: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        return dict(collisions)

    def _setup(self) -> dict[str, Any]:
        """What must be the same in a continued run."""
        kept = ("dt", "fields", "shape", "light_speed", "collision_cells", "collide_every", "seed")
        species = [[s.name, s.charge, s.mass, len(s.x), s.v.shape[1], str(s.v.dtype)] for s in self.state.species]
        return {"length": self.grid.length, "cells": self.grid.cells, "species": species} | {
            key: getattr(self, key) for key in kept
        }


_FORMAT = "disco-samplers plasma/1"


def _check_species(species: Sequence[Species], grid: Grid) -> None:
    names = [s.name for s in species]
    if not species or len(set(names)) < len(names):
        raise ValueError(f"species must hold at least one, each with a name of its own, got {names}")
    first = species[0].v
    for s in species:
        n = len(s.x)
        if s.x.shape != (n,) or s.w.shape != (n,) or s.v.ndim != 2 or len(s.v) != n or not 1 <= s.v.shape[1] <= 3 or n == 0:
            raise ValueError(
                f"{s.name}: x, v and w must have shapes (n,), (n, 1 to 3) and (n,) with n > 0, "
                f"got {tuple(s.x.shape)}, {tuple(s.v.shape)} and {tuple(s.w.shape)}"
            )
        kinds = {(t.dtype, t.device) for t in (s.x, s.v, s.w, first)}
        if len(kinds) > 1 or first.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{s.name}: x, v and w of all species must be float32 or all float64, on one device, got {kinds}")
        if s.v.shape[1] != first.shape[1]:
            raise ValueError("all species must have as many velocity components")
        if not s.mass > 0:
            raise ValueError(f"{s.name}: mass must be positive, got {s.mass}")
        for what, values in (("x", s.x[:, None]), ("v", s.v), ("w", s.w[:, None])):
            bad = ~torch.isfinite(values).all(1)
            if bad.any():
                raise ValueError(
                    f"{s.name}: {what} of {int(bad.sum())} particles is not finite, first at {int(bad.nonzero()[0])}"
                )
        outside = (s.x < 0) | (s.x >= grid.length)
        if outside.any():
            raise ValueError(
                f"{s.name}: {int(outside.sum())} particles are outside [0, {grid.length:g}), first at index "
                f"{int(outside.nonzero()[0])}; bring them back with grid.wrap(x)"
            )
        if (s.w <= 0).any():
            raise ValueError(f"{s.name}: weights must be positive, {int((s.w <= 0).sum())} are not")
