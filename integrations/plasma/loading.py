"""Initial particles: Maxwellian beams with a sinusoidal density, by chance or evenly placed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from disco_samplers.arrays import as_device, check_count, check_number, check_positive
from disco_samplers.draws import Draws
from disco_samplers.randomness import seed_of
from disco_samplers.types import ArrayLike

from .grid import Grid
from .types import Species

Start = Literal["random", "quiet", "lattice"]

_EXTENT = 6.0
"""Half the width of a lattice of velocities, in thermal speeds: it leaves out 2e-9 of the particles."""


@dataclasses.dataclass(frozen=True)
class Beam:
    """A Maxwellian part of a species.

    Arguments:
        drift: mean velocity, one number a component.
        temperature: one number a component; the variance of a component is its temperature over the mass.
        density: particles per length.

    Raises:
        ValueError: if lengths differ, are not 1 to 3, or a temperature or the density is not positive.

    Example:
        >>> Beam(drift=(2.0, 0.0), temperature=(1.0, 4.0), density=0.5).drift
        (2.0, 0.0)
    """

    drift: tuple[float, ...] = (0.0,)
    temperature: tuple[float, ...] = (1.0,)
    density: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.drift) == len(self.temperature) <= 3:
            raise ValueError(
                "drift and temperature of a beam must both have one to three components, "
                f"got {len(self.drift)} and {len(self.temperature)}"
            )
        for value in (*self.drift, *self.temperature, self.density):
            check_number("each number of a beam", value)
        if not all(0 < value < math.inf for value in (*self.temperature, self.density)):
            raise ValueError(f"temperature and density of a beam must be positive, got {self.temperature}, {self.density}")
        if not all(map(math.isfinite, self.drift)):
            raise ValueError(f"drift of a beam must be finite, got {self.drift}")


def check_charge(charge: float, mass: float) -> None:
    """Raises TypeError or ValueError unless a particle may have them."""
    check_positive("mass", mass)
    check_number("charge", charge)
    if not math.isfinite(charge):
        raise ValueError(f"charge must be finite, got {charge}")


def load(
    grid: Grid,
    beams: Sequence[Beam],
    count: int,
    *,
    start: Start = "quiet",
    seed: int | None = None,
    generator: torch.Generator | None = None,
    name: str = "electrons",
    charge: float = -1.0,
    mass: float = 1.0,
    amplitude: float = 0.0,
    mode: int = 1,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Species:
    r"""Particles of :math:`f(x, v) = (1 + a\cos k x)\sum_b n_b\,N(v; u_b, T_b/m)`, :math:`k = 2\pi\,\mathrm{mode}/L`.

    Three starts. "random": independent draws. "quiet": a scrambled Sobol sequence in (x, v), particles of equal weight, noise
    far below that of chance; the one to take with collisions. "lattice": every velocity of an even lattice at even places,
    with weights that follow the density of the velocity, so that an unperturbed plasma stays uniform to round-off; for growth
    and damping rates, until :math:`k\,\Delta v\,t = 2\pi`.

    Arguments:
        grid: periodic grid.
        beams: what the species consists of.
        count: particles in all; a lattice takes the nearest number that fits, cells times a power.
        start: "random", "quiet" or "lattice".
        seed: of the random numbers, 0 if neither is given; give this or ``generator``.
        generator: source of randomness.
        name: of the species.
        charge: of one particle.
        mass: of one particle.
        amplitude: of the density perturbation, below one in size.
        mode: waves per length of the grid.
        dtype: precision.
        device: where the particles go; the same seed gives the same particles everywhere.

    Raises:
        TypeError: if a count is not an integer.
        ValueError: if an argument is out of range or there are fewer particles than beams.

    References:
        Birdsall and Langdon, Plasma Physics via Computer Simulation (1991), sections 16-3 and 16-4.

    Example:
        >>> electrons = load(Grid(12.0, 32), [Beam((0.0, 0.0), (1.0, 1.0))], 1000, amplitude=0.1)
        >>> electrons.v.shape, round(float(electrons.w.sum()), 6)
        (torch.Size([1000, 2]), 12.0)
    """
    check_count("count", count, max(1, len(beams)))
    check_count("mode", mode, 1)
    if start not in ("random", "quiet", "lattice"):
        raise ValueError(f'start must be "random", "quiet" or "lattice", got {start!r}')
    if not beams or len({len(beam.drift) for beam in beams}) > 1:
        raise ValueError("beams must hold at least one beam, and all must have as many velocity components")
    check_charge(charge, mass)
    check_number("amplitude", amplitude)
    device = as_device(device, "device")
    if not -1 < amplitude < 1:
        raise ValueError(f"amplitude must lie between -1 and 1, got {amplitude}")
    seed = seed_of(seed=seed, generator=generator)
    total = sum(beam.density for beam in beams)
    ends = [round(count * sum(beam.density for beam in beams[:i]) / total) for i in range(len(beams) + 1)]
    parts = []
    for i, beam in enumerate(beams):
        share = max(1, ends[i + 1] - ends[i])
        place, z, w = _PLACERS[start](grid, share, len(beam.drift), seed * len(beams) + i)
        spread = z.new_tensor([math.sqrt(t / mass) for t in beam.temperature])
        v = z.new_tensor(beam.drift) + spread * z
        parts.append((_displaced(place * grid.length, amplitude, 2 * math.pi * mode / grid.length), v, w * beam.density))
    x, v, w = (torch.cat(column) for column in zip(*parts, strict=True))
    w *= grid.length
    return Species(name, grid.wrap(x.to(dtype)).to(device), v.to(device, dtype), w.to(device, dtype), charge, mass)


def load_draws(
    grid: Grid,
    velocities: ArrayLike | Draws,
    *,
    density: float = 1.0,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    name: str = "electrons",
    charge: float = -1.0,
    mass: float = 1.0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Species:
    """Particles that have the velocities of some draws, with their weights, at random places of a uniform plasma.

    Arguments:
        grid: periodic grid.
        velocities: (n, dv), one to three components; draws of equal or of other weight. Repeated draws stay particles of their
            own: what moves them apart are the fields.
        density: particles per length.
        seed: of the places, 0 if neither is given; give this or ``generator``.
        generator: source of randomness.
        name: of the species.
        charge: of one particle.
        mass: of one particle.
        dtype: precision.
        device: where the particles go.

    Raises:
        TypeError: if velocities are not numeric.
        ValueError: if they are not (n, dv) with one to three components, or the density is not positive.

    Example:
        >>> v = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> ions = load_draws(Grid(12.0, 32), Draws(v, weights=torch.arange(1.0, 101.0)), density=0.5)
        >>> ions.v.shape, round(float(ions.w.sum()), 6), round(float(ions.w[99] / ions.w[0]))
        (torch.Size([100, 2]), 6.0, 100)
    """
    check_positive("density", density)
    check_charge(charge, mass)
    device = as_device(device, "device")
    draws = velocities if isinstance(velocities, Draws) else Draws(velocities)
    if draws.dim > 3:
        raise ValueError(f"velocities must have one to three components, got {draws.dim}")
    seeded = torch.Generator().manual_seed(seed_of(seed=seed, generator=generator))
    n = len(draws)
    place = torch.rand(n, generator=seeded, dtype=torch.float64, device=seeded.device)
    share = torch.full((n,), 1 / n, dtype=torch.float64, device="cpu") if draws.weights is None else draws.weights
    kept = share > 0
    w = share * density * grid.length
    x = grid.wrap((place * grid.length).to(dtype))
    return Species(
        name, x[kept.cpu()].to(device), draws.values[kept].to(device, dtype), w[kept].to(device, dtype), charge, mass
    )


def _random(_grid: Grid, count: int, dim: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Places in [0, 1), standard normal velocities and weights of sum one."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)
    z = torch.randn(count, dim, generator=generator, dtype=torch.float64, device=generator.device)
    return place, z, torch.full_like(place, 1 / count)


def _quiet(_grid: Grid, count: int, dim: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    with torch.device("cpu"):
        points = torch.quasirandom.SobolEngine(1 + dim, scramble=True, seed=seed).draw(count, dtype=torch.float64)
    inside = points[:, 1:].clamp(2.0**-31, 1 - 2.0**-31)  # the sequence has thirty binary digits, and may hold a zero
    return points[:, 0], torch.special.ndtri(inside), torch.full_like(points[:, 0], 1 / count)


def _lattice(grid: Grid, count: int, dim: int, _seed: int) -> tuple[Tensor, Tensor, Tensor]:
    levels = max(2, round((count / grid.cells) ** (1 / dim)))
    line = _EXTENT * ((2 * torch.arange(levels, dtype=torch.float64, device="cpu") + 1) / levels - 1)
    z = torch.cartesian_prod(*[line] * dim).reshape(-1, dim)
    w = torch.softmax(-0.5 * z.square().sum(1), 0)
    place = (torch.arange(grid.cells, dtype=torch.float64, device="cpu") + 0.5) / grid.cells
    return place.repeat(len(z)), z.repeat_interleave(grid.cells, 0), w.repeat_interleave(grid.cells) / grid.cells


_PLACERS = {"random": _random, "quiet": _quiet, "lattice": _lattice}


def _displaced(x0: Tensor, amplitude: float, k: float) -> Tensor:
    """Solves x + a sin(kx)/k = x0 by bisection: uniform places become places of density 1 + a cos(kx)."""
    if amplitude == 0:
        return x0
    reach = abs(amplitude) / k
    low, high = x0 - reach, x0 + reach
    for _ in range(52):
        x = 0.5 * (low + high)
        below = x + amplitude / k * torch.sin(k * x) < x0
        low, high = torch.where(below, x, low), torch.where(below, high, x)
    return 0.5 * (low + high)
