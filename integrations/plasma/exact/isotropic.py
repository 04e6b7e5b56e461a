"""Coulomb collisions of species without drift, solved on a grid of speeds: what relaxes when Maxwellians do not stay so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from disco_samplers.arrays import check_count, check_positive
from disco_samplers.extras import optional

Array = Any
"""numpy array."""

_REACH = 7.0
"""Largest speed, in thermal ones of the hottest species."""


class IsotropicRelaxation(NamedTuple):
    """At each of the times, of each species (t, k): temperature, and mean fourth power of the speed over a Maxwellian's."""

    temperature: Array
    fourth: Array


def isotropic_coulomb(
    times: Sequence[float],
    *,
    temperature: Sequence[float],
    mass: Sequence[float],
    density: Sequence[float],
    strength: Array,
    points: int = 400,
    dt: float = 0.02,
) -> IsotropicRelaxation:
    r"""Relaxation of isotropic species from Maxwellians of different temperatures by Coulomb collisions in three velocities.

    The Landau equation is then one of the speed,

    .. math:: \partial_t f_a = \frac1{v^2} \partial_v\, v^2 \sum_b \frac{c_{ab}}{m_a}
        \Big[ \frac{D_b}{m_a} \partial_v f_a + \frac{F_b}{m_b} f_a \Big], \\
        D_b = \frac{8\pi}3 \Big[ \frac1{v^3} \int_0^v u^4 f_b\,du + \int_v^\infty u f_b\,du \Big], \qquad
        F_b = \frac{8\pi}{v^2} \int_0^v u^2 f_b\,du,

    solved by implicit steps on finite volumes that keep numbers to round-off and energy to the order of grid and step. The slow
    among the light come to the temperature of the heavy first, so temperatures approach each other more slowly than those of
    Maxwellians would.

    Arguments:
        times: when to report, increasing, in multiples of ``dt``.
        temperature: of each species at the start.
        mass: of each species.
        density: of each species.
        strength: c (k, k).
        points: speeds of each species.
        dt: time step.

    Raises:
        ValueError: if ``points`` or ``dt`` is out of range.
        ImportError: if scipy is not installed.

    References:
        Rosenbluth, MacDonald, Judd, *Fokker-Planck equation for an inverse-square force*, Phys. Rev. 1957; Chang, Cooper, *A
        practical difference scheme for Fokker-Planck equations*, J. Comput. Phys. 1970.

    Example:
        >>> plasma = {"temperature": [2.0, 1.0], "mass": [1.0, 10.0], "density": [1.0, 1.0], "strength": np.ones((2, 2))}
        >>> isotropic_coulomb([20.0], **plasma).temperature.round(2)
        array([[1.65, 1.35]])
    """
    check_count("points", points, 10)
    check_positive("dt", dt)
    species = [_Species(t, m, n, max(temperature), points) for t, m, n in zip(temperature, mass, density, strict=True)]
    matrix, found, step = np.asarray(strength, dtype=float), [], 0
    for time in times:
        while (step + 0.5) * dt < time:
            # All from the state at the start of the step.
            moved = [a.stepped(dt, list(zip(matrix[i], species, strict=True))) for i, a in enumerate(species)]
            for a, f in zip(species, moved, strict=True):
                a.f = f
            step += 1
        found.append([a.moments() for a in species])
    temperatures, fourths = np.moveaxis(np.array(found), -1, 0)
    return IsotropicRelaxation(temperatures, fourths)


class _Species:
    """A distribution of speeds: densities f (n,) in cells between edges (n + 1,)."""

    def __init__(self, temperature: float, mass: float, density: float, hottest: float, points: int) -> None:
        self.mass, self.edge = mass, np.linspace(0, _REACH * np.sqrt(hottest / mass), points + 1)
        self.middle = 0.5 * (self.edge[1:] + self.edge[:-1])
        f = np.exp(-0.5 * mass * self.middle**2 / temperature)
        self.f = density * f / (f * self.shell(0)).sum()

    def shell(self, power: int) -> Array:
        """Integral of 4 pi v^(2 + power) over each cell."""
        return 4 * np.pi * np.diff(self.edge ** (3 + power)) / (3 + power)

    def moments(self) -> tuple[float, float]:
        number, second, fourth = ((self.f * self.shell(power)).sum() for power in (0, 2, 4))
        return self.mass * second / (3 * number), fourth * number / second**2 * 3 / 5

    def felt(self, v: Array) -> tuple[Array, Array]:
        """Diffusion D and drag F at speeds v."""

        def below(power: int) -> Array:
            return np.interp(v, self.edge, np.concatenate([[0], np.cumsum(self.f * self.shell(power))]))

        beyond = (self.f * self.shell(-1)).sum() - below(-1)
        return 2 / 3 * (below(2) / v**3 + beyond), 2 * below(0) / v**2

    def stepped(self, dt: float, others: list[tuple[float, _Species]]) -> Array:
        """The density after an implicit step of the flux A f' + B f between cells, weighted as Chang and Cooper do."""
        v, h = self.edge[1:-1], np.diff(self.middle)
        a, b = np.zeros_like(v), np.zeros_like(v)
        for c, other in others:
            diffusion, drag = other.felt(v)
            a += c / self.mass**2 * diffusion
            b += c / (self.mass * other.mass) * drag
        w = np.maximum(b * h / a, 1e-8)
        share = 1 / w - 1 / np.expm1(w)
        area = 4 * np.pi * v**2 * dt
        upper, lower = area * (a / h + b * (1 - share)), area * (-a / h + b * share)
        volume, bands = self.shell(0), np.zeros((3, len(self.f)))
        bands[1] = volume
        bands[1, :-1] -= lower
        bands[1, 1:] += upper
        bands[0, 1:], bands[2, :-1] = -upper, lower
        density: Array = optional("scipy.linalg", "plasma").solve_banded((1, 1), bands, volume * self.f)
        return density
