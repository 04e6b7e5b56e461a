"""Linear theory of waves in a plasma: the growth or damping that pictures and tests compare with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from disco_samplers.arrays import check_count
from disco_samplers.extras import optional

from .loading import Beam

Array = Any
"""Complex numpy array."""


class Population(NamedTuple):
    """A beam with the charge and mass of its particles."""

    beam: Beam
    charge: float = -1.0
    mass: float = 1.0

    @property
    def frequency_squared(self) -> float:
        """Square of the plasma frequency."""
        return self.beam.density * self.charge**2 / self.mass

    def spread(self, component: int) -> float:
        """Thermal speed along a component."""
        return math.sqrt(self.beam.temperature[component] / self.mass)


def electrostatic_mode(k: float, populations: Sequence[Population], *, near: complex | None = None) -> complex:
    r"""The frequency of the fastest growing, or least damped, electrostatic wave: real part omega, imaginary part the rate.

    .. math:: 1 + \sum_b \frac{\omega_b^2}{k^2 v_b^2}\,[1 + \zeta_b Z(\zeta_b)] = 0, \qquad
              \zeta_b = \frac{\omega - k u_b}{\sqrt 2\,k v_b}

    with Z the plasma dispersion function. The energy of the field changes at twice the rate.

    Arguments:
        k: wavenumber.
        populations: beams; only the first velocity component counts.
        near: a guess; the wave nearest to it is meant instead, such as :func:`ion_acoustic_guess` of a sound wave.

    Raises:
        ImportError: if scipy is not installed.
        RuntimeError: if no wave is found.

    References:
        Fried and Conte, The Plasma Dispersion Function (1961).

    Example:
        >>> omega = electrostatic_mode(0.5, [Population(Beam())])  # Landau damping
        >>> round(omega.real, 5), round(omega.imag, 5)
        (1.41566, -0.15336)
    """

    def dispersion(omega: Array) -> Array:
        total = np.ones_like(omega)
        for p in populations:
            v = p.spread(0)
            zeta = (omega - k * p.beam.drift[0]) / (math.sqrt(2) * k * v)
            total = total + p.frequency_squared / (k * v) ** 2 * _response(zeta)
        return total

    if near is not None:
        return complex(_roots(dispersion, np.array([near]), abs(near))[0])
    return _fastest(dispersion, populations)


def ion_acoustic_guess(k: float, populations: Sequence[Population]) -> float:
    r"""The frequency of a sound wave of electrons and colder ions in fluid theory, for :func:`electrostatic_mode`.

    .. math:: \omega^2 = \frac{\sum_i \omega_i^2}{1 + 1/k^2\lambda_e^2} + 3 k^2 v_i^2

    with the lightest population the electrons and the largest thermal speed of the others.

    Example:
        >>> plasma = [Population(Beam()), Population(Beam(temperature=(0.1,)), 1.0, 25.0)]
        >>> round(ion_acoustic_guess(0.5, plasma), 3)
        0.105
    """
    electrons = min(populations, key=lambda p: p.mass)
    ions = [p for p in populations if p.mass > electrons.mass]
    screening = electrons.frequency_squared / (k * electrons.spread(0)) ** 2
    heat = 3 * k**2 * max((p.spread(0) for p in ions), default=0.0) ** 2
    return math.sqrt(sum(p.frequency_squared for p in ions) / (1 + screening) + heat)


def transverse_mode(k: float, populations: Sequence[Population], light_speed: float = 1.0) -> complex:
    r"""The frequency of the fastest growing wave with its magnetic field along z, of beams that do not drift along x.

    .. math:: \omega^2 = c^2k^2 + \sum_b \omega_b^2\Big(1 - \frac{v_{by}^2 + u_{by}^2}{v_{bx}^2}\,[1 + \zeta_b Z(\zeta_b)]\Big)

    Growing solutions are the Weibel instability.

    Arguments:
        k: wavenumber.
        populations: beams of at least two velocity components.
        light_speed: c.

    Raises:
        ImportError: if scipy is not installed.
        RuntimeError: if no wave is found.

    References:
        Weibel, Physical Review Letters 2 (1959) 83.

    Example:
        >>> streams = [Population(Beam((0.0, u), (0.005, 0.005), 0.5)) for u in (-0.3, 0.3)]
        >>> round(transverse_mode(1.0, streams).imag, 5)
        0.18466
    """

    def dispersion(omega: Array) -> Array:
        total = omega**2 - (light_speed * k) ** 2
        for p in populations:
            v = p.spread(0)
            across = (p.spread(1) ** 2 + p.beam.drift[1] ** 2) / v**2
            total = total + p.frequency_squared * (across * _response(omega / (math.sqrt(2) * k * v)) - 1)
        return total

    return _fastest(dispersion, populations)


def dougherty_mode(k: float, frequency: float, *, dim: int = 1, terms: int = 200) -> complex:
    r"""The least damped wave of electrons with Dougherty collisions: real part omega, imaginary part the rate.

    An eigenvalue of :func:`dougherty_system`; its arguments are those.

    Arguments:
        k: wavenumber.
        frequency: of the collisions, nu; below about k/60 they damp the last of the terms too little, and more are needed.
        dim: velocity components d.
        terms: Hermite functions.

    Raises:
        ValueError: if ``k`` or ``frequency`` is not positive, or ``dim`` or ``terms`` too small.

    References:
        Anderson, O'Neil, *Collisional damping of plasma waves with the Dougherty operator*, Phys. Plasmas 2007.

    Example:
        >>> round(dougherty_mode(0.5, 0.1).imag, 5), round(dougherty_mode(0.5, 0.1, dim=3).imag, 5)
        (-0.10537, -0.13664)
    """
    modes = 1j * np.linalg.eigvals(dougherty_system(k, frequency, dim=dim, terms=terms))
    modes = modes[modes.real > 0.5]  # the others are heat, which decays without a wave
    return complex(modes[np.argmax(modes.imag)])


def dougherty_system(k: float, frequency: float, *, dim: int = 1, terms: int = 200) -> Array:
    r"""The matrix (2 terms, 2 terms) of the linearised equation of electrons with Dougherty collisions.

    In units of plasma frequency and Debye length. First come :math:`a_n`, the coefficients of the density in Hermite functions
    of :math:`v_x`, then :math:`b_n`, those of the energy across, :math:`\tfrac12 |v_\perp|^2 - \tfrac12 (d-1)`,

    .. math:: \dot a_n = -ik\big(\sqrt n\,a_{n-1} + \sqrt{n+1}\,a_{n+1}\big) - \tfrac ik a_0 \delta_{n1}
              - \nu\big(n\,a_n - a_1 \delta_{n1} - \sqrt2\,\tau\,\delta_{n2}\big), \\
              \dot b_n = -ik\big(\sqrt n\,b_{n-1} + \sqrt{n+1}\,b_{n+1}\big)
              - \nu\big((n+2)\,b_n - (d-1)\,\tau\,\delta_{n0}\big),

    coupled by the temperature :math:`\tau = (\sqrt2\,a_2 + 2\,b_0)/d`.

    Arguments:
        k: wavenumber.
        frequency: of the collisions, nu.
        dim: velocity components d.
        terms: Hermite functions.

    Raises:
        ValueError: if ``k`` or ``frequency`` is not positive, or ``dim`` or ``terms`` too small.

    References:
        Dougherty, *Model Fokker-Planck equation for a plasma and its solution*, Phys. Fluids 1964.

    Example:
        >>> dougherty_system(0.5, 0.1, terms=3).shape
        (6, 6)
    """
    check_count("dim", dim, 1)
    check_count("terms", terms, 3)
    if not (k > 0 and frequency > 0):
        raise ValueError(f"k and frequency must be positive, got {k} and {frequency}")
    n = np.arange(terms)
    streaming = k * (np.diag(np.sqrt(n[1:]), -1) + np.diag(np.sqrt(n[1:]), 1))
    system = np.kron(np.eye(2), streaming).astype(complex)
    system[1, 0] += 1 / k
    damping = np.diag(np.concatenate([n, n + 2.0]))
    damping[1, 1] = 0
    for row, gain in ((2, math.sqrt(2)), (terms, dim - 1)):
        damping[row, [2, terms]] -= gain / dim * np.array([math.sqrt(2), 2])
    return -1j * system - frequency * damping


def _response(zeta: Array) -> Array:
    """1 + zeta Z(zeta)."""
    return 1 + zeta * 1j * math.sqrt(math.pi) * optional("scipy.special", "plasma").wofz(zeta)


def _fastest(dispersion: Callable[[Array], Array], populations: Sequence[Population]) -> complex:
    """The root with the largest imaginary part, by Newton's method from many places at once."""
    scale = math.sqrt(sum(p.frequency_squared for p in populations))
    real, imaginary = np.meshgrid(np.linspace(0, 3, 16), np.linspace(-1.2, 1, 12))
    found = _roots(dispersion, scale * (real + 1j * imaginary).ravel(), scale)
    best = complex(found[np.argmax(found.imag)])
    return complex(max(best.real, 0.0), best.imag)


def _roots(dispersion: Callable[[Array], Array], omega: Array, scale: float) -> Array:
    """Where Newton's method arrives from each guess, of those from which it does."""
    h = 1e-5 * scale
    with np.errstate(all="ignore"):
        for _ in range(60):
            step = 2 * h * dispersion(omega) / (dispersion(omega + h) - dispersion(omega - h))
            omega = omega - step
        found = omega[(np.abs(step) < 1e-9 * scale) & (omega.imag > -2 * scale) & (omega.real > -1e-9 * scale)]
    if found.size == 0:
        raise RuntimeError("no wave found: the plasma has none of a frequency near the guess, or near the plasma frequency")
    return found
