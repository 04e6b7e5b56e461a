"""Walls at both ends of the line: what becomes of the particles that reach them, and the account of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from disco_samplers.arrays import check_not_negative, check_number, check_positive

from .grid import Grid
from .schema import nearest
from .types import Species

Wall = Literal["absorbing", "reflecting", "thermal"]

_TURNS = 100
"""How often a particle may reach a wall in a step."""


@dataclasses.dataclass(frozen=True)
class Walls:
    """The ends of a line that is not periodic.

    An absorbing wall takes the particles that reach it, and keeps their charge. A reflecting one turns them back as a mirror
    does: the middle of a symmetric plasma. A thermal one sends them back with the velocities of a Maxwellian's flux: a plasma
    of that temperature beyond; species without a temperature it reflects.

    Arguments:
        left: "absorbing", "reflecting" or "thermal".
        right: the same.
        bias: potential of the right wall less that of the left, both conductors joined by a circuit. By default the walls
            float: each has the charge that it took, and nothing else.
        temperature: of what a thermal wall sends back, by name of the species.
        source: temperatures of one species of positive and one of negative charge, by name. For every positive particle that a
            wall takes, a neutral pair with Maxwellian velocities starts at a random place of the line, and so the plasma stays.
        source_length: how far from the left wall pairs start; the whole line by default.

    Raises:
        TypeError: if a number is of the wrong kind.
        ValueError: if a wall is none of the known ones, a temperature is negative, or a thermal wall has none.

    References:
        Birdsall and Langdon, Plasma Physics via Computer Simulation (1991), section 16-9; Procassini, Birdsall, Morse, Phys.
        Fluids B 1990, for the source.

    Example:
        >>> Walls(left="reflecting").right
        'absorbing'
    """

    left: Wall = "absorbing"
    right: Wall = "absorbing"
    bias: float | None = None
    temperature: Mapping[str, float] = dataclasses.field(default_factory=dict)
    source: Mapping[str, float] = dataclasses.field(default_factory=dict)
    source_length: float | None = None

    def __post_init__(self) -> None:
        known = get_args(Wall)
        for side, wall in (("left", self.left), ("right", self.right)):
            if wall not in known:
                raise ValueError(f"{side} wall must be one of {', '.join(known)}, got {wall!r}{nearest(str(wall), known)}")
        if self.bias is not None:
            check_number("bias", self.bias)
            if not math.isfinite(self.bias):
                raise ValueError(f"bias must be finite, got {self.bias}")
        if self.source_length is not None:
            check_positive("source_length", self.source_length)
            if not self.source:
                raise ValueError("source_length of the walls would have no effect without a source")
        for what in ("temperature", "source"):
            if not isinstance(given := getattr(self, what), Mapping):
                raise TypeError(f"{what} of the walls must be a mapping from species to temperatures, got {given!r}")
            for name, value in given.items():
                check_not_negative(f"{what} of {name} at the walls", value)
        if ("thermal" in (self.left, self.right)) != bool(self.temperature):
            raise ValueError(
                "a thermal wall needs temperature, such as {'electrons': 1.0}, and no other wall has one; got walls "
                f"{self.left!r} and {self.right!r} and temperature {dict(self.temperature)}"
            )

    def check(self, species: Sequence[Species], length: float) -> None:
        """Raises ValueError if a species is named that is not there, or the source does not fit species or line."""
        if self.source_length is not None and self.source_length > length:
            raise ValueError(f"source_length must be at most that of the line, {length:g}, got {self.source_length:g}")
        names = [s.name for s in species]
        for what, given in (("temperature", self.temperature), ("source", self.source)):
            for name in given:
                if name not in names:
                    raise ValueError(f"{what} of the walls names no species: {name!r}{nearest(name, names)}")
        charges = sorted(s.charge for s in species if s.name in self.source)
        if self.source and not (len(charges) == 2 and charges[0] < 0 < charges[1]):
            raise ValueError(
                f"source of the walls must name one species of positive and one of negative charge, got {dict(self.source)}"
            )


@dataclasses.dataclass(frozen=True)
class Ledger:
    """What walls have taken and given until now.

    Arguments:
        background: charge density of the immobile background, chosen at the start.
        number: weights that the left and the right wall took of each species (k, 2), float64.
        taken: particles that they took (k, 2), int64.
        given: particles that the source gave (k,), int64.
        energy: kinetic energy that the walls took, less what thermal walls and the source gave, (), float64.
    """

    background: float
    number: Tensor
    taken: Tensor
    given: Tensor
    energy: Tensor

    @classmethod
    def open(cls, species: Sequence[Species], grid: Grid) -> Ledger:
        """Of a plasma that has touched no wall; the background makes it neutral."""
        k, device = len(species), species[0].x.device
        charge = sum(s.charge * float(s.w.sum(dtype=torch.float64)) for s in species)
        scale = sum(abs(s.charge) * float(s.w.sum(dtype=torch.float64)) for s in species)
        counts = torch.zeros(k, 2, dtype=torch.int64, device=device)
        number, energy = counts.double(), torch.zeros((), dtype=torch.float64, device=device)
        # Of a neutral plasma round-off is all that is left.
        background = 0.0 if abs(charge) <= 1e-6 * scale else -charge / grid.length
        return cls(background, number, counts, counts[:, 0].clone(), energy)

    @classmethod
    def restored(cls, saved: Mapping[str, Any], device: torch.device) -> Ledger:
        """Of a saved state."""
        tensors = {name: value.to(device) for name, value in saved.items() if isinstance(value, Tensor)}
        return cls(background=saved["background"], **tensors)

    def charge(self, species: Sequence[Species]) -> Tensor:
        """Charge that the left and the right wall took, per area (2,)."""
        return self.number.new_tensor([s.charge for s in species]) @ self.number


def meet(
    walls: Walls, species: Sequence[Species], ledger: Ledger, grid: Grid, generator: torch.Generator
) -> tuple[tuple[Species, ...], Ledger]:
    """What walls do with particles that have drifted beyond them.

    Arguments:
        walls: at both ends.
        species: after a drift.
        ledger: before it.
        grid: the line between the walls.
        generator: source of randomness of thermal walls.

    Returns:
        The particles that are left, all between the walls, and the ledger.

    Raises:
        RuntimeError: if a particle reaches the walls a hundred times.
    """
    number, taken, before = ledger.number.clone(), ledger.taken.clone(), _energy(species)
    left = []
    for k, s in enumerate(species):
        now = s
        # A fast particle may reach the other wall with what is left of its drift.
        for turn in itertools.count():
            if not ((now.x < 0) | (now.x >= grid.length)).any():
                break
            if turn == _TURNS:
                raise RuntimeError(f"{s.name} cross the line more than {_TURNS} times in a step: shorten dt")
            for side, kind in enumerate((walls.left, walls.right)):
                out = now.x >= grid.length if side else now.x < 0
                if kind == "absorbing":
                    number[k, side] += now.w[out].sum(dtype=torch.float64)
                    taken[k, side] += out.sum()
                    now = dataclasses.replace(now, x=now.x[~out], v=now.v[~out], w=now.w[~out])
                else:
                    temperature = walls.temperature.get(s.name) if kind == "thermal" else None
                    now = _returned(now, out, side, grid, temperature, generator)
        left.append(now)
    energy = ledger.energy + before - _energy(left)
    return tuple(left), dataclasses.replace(ledger, number=number, taken=taken, energy=energy)


def replenish(
    walls: Walls, species: Sequence[Species], ledger: Ledger, since: Ledger, grid: Grid, generator: torch.Generator
) -> tuple[tuple[Species, ...], Ledger]:
    """Starts a neutral pair for every positive particle that the walls took.

    Arguments:
        walls: with a source or without.
        species: the particles.
        ledger: now.
        since: the ledger when pairs were last started.
        grid: the line between the walls.
        generator: source of randomness.

    Returns:
        All particles, and the ledger.
    """
    positive = [k for k, s in enumerate(species) if s.name in walls.source and s.charge > 0]
    count = int((ledger.taken - since.taken)[positive].sum())
    if count == 0:
        return tuple(species), ledger
    weight = float((ledger.number - since.number)[positive].sum()) / count
    all_species, given = list(species), ledger.given.clone()
    like, charge = species[0].v, species[positive[0]].charge
    x = grid.wrap(
        (walls.source_length or grid.length) * torch.rand(count, generator=generator, dtype=like.dtype, device=like.device)
    )
    started = []
    for k, s in enumerate(species):
        if s.name in walls.source:
            z = torch.randn(count, like.shape[1], generator=generator, dtype=like.dtype, device=like.device)
            v = math.sqrt(walls.source[s.name] / s.mass) * z
            new = dataclasses.replace(s, x=x, v=v, w=torch.full_like(x, weight * charge / abs(s.charge)))
            started.append(new)
            x_all, v_all, w_all = (torch.cat(pair) for pair in ((s.x, new.x), (s.v, new.v), (s.w, new.w)))
            all_species[k] = dataclasses.replace(s, x=x_all, v=v_all, w=w_all)
            given[k] += count
    return tuple(all_species), dataclasses.replace(ledger, given=given, energy=ledger.energy - _energy(started))


def _returned(s: Species, out: Tensor, side: int, grid: Grid, temperature: float | None, generator: torch.Generator) -> Species:
    """Particles with those that are out sent back from a wall, where they go on for the time that they were beyond it."""
    v, end = s.v[out], grid.length if side else 0.0
    beyond, speed = (s.x[out] - end).abs(), v[:, 0].abs()
    if temperature is not None:
        thermal = math.sqrt(temperature / s.mass)
        v = thermal * torch.randn(v.shape, generator=generator, dtype=v.dtype, device=v.device)
        # The flux of a Maxwellian has speeds towards the wall of density v exp(-v^2 m / 2 T).
        uniform = torch.rand(len(v), generator=generator, dtype=v.dtype, device=v.device)
        back = thermal * (-2 * torch.log1p(-uniform)).sqrt()
        beyond, speed = beyond * back / speed, back
    x, moved = s.x.clone(), s.v.clone()
    inside = torch.nextafter(x.new_tensor(grid.length), x.new_zeros(()))
    x[out] = torch.minimum(end - beyond, inside) if side else beyond
    v[:, 0] = -speed if side else speed
    moved[out] = v
    return dataclasses.replace(s, x=x, v=moved)


def _energy(species: Sequence[Species]) -> Tensor:
    """Kinetic energy of all, in float64."""
    each = [0.5 * s.mass * (s.w * s.v.square().sum(1)).sum(dtype=torch.float64) for s in species]
    return torch.stack(each).sum()
