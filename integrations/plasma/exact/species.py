"""What collisions between species do to their drifts and temperatures, where it is known exactly."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.arrays import check_count

from ..velocities import speed_moment

SPITZER = 0.506
"""Friction of electrons on ions of charge one in a weak steady field, over that of a drifting Maxwellian."""


def maxwell_species(
    mean: Tensor, covariance: Tensor, time: float, *, density: Tensor, mass: Tensor, strength: Tensor, num_steps: int = 1000
) -> tuple[Tensor, Tensor]:
    r"""Drifts and covariances of species that collide as Maxwell molecules, from any initial distributions.

    For exponent 0 the moments close. With :math:`Z = \Sigma_a + \Sigma_b + (u_a - u_b)(u_a - u_b)^\top` and
    :math:`1/\mu = 1/m_a + 1/m_b`,

    .. math:: \dot u_a = -\sum_b \frac{(d-1)\,c_{ab} n_b}{m_a \mu} (u_a - u_b), \qquad
        \dot \Sigma_a = -\sum_b \frac{2\,c_{ab} n_b}{m_a}
        \Big[\frac{d-1}{\mu} \Sigma_a - \frac1{m_a} (\operatorname{tr} Z\, I - Z)\Big],

    which follow from the Landau equation by two partial integrations. They are integrated by the method of Runge and Kutta.

    Arguments:
        mean: u (k, d) at the start.
        covariance: of the velocities (k, d, d) at the start; temperature is mass times its mean diagonal.
        time: t.
        density: n, (k,).
        mass: m, (k,).
        strength: c, (k, k).
        num_steps: of the integration, of fourth order.

    Returns:
        Means (k, d) and covariances (k, d, d) at the time.

    Example:
        >>> still, unit = torch.zeros(2, 3).double(), torch.eye(3).double().expand(2, 3, 3)
        >>> two, mass = torch.ones(2).double(), torch.tensor([1.0, 4.0]).double()
        >>> _, end = maxwell_species(still, unit, 9.0, density=two, mass=mass, strength=torch.ones(2, 2).double())
        >>> (mass * end[:, 0, 0]).round(decimals=6)  # the temperatures 1 and 4 have become one
        tensor([2.5000, 2.5000], dtype=torch.float64)
    """
    check_count("num_steps", num_steps, 1)
    d = mean.shape[1]
    identity = torch.eye(d, dtype=mean.dtype, device=mean.device)
    reduced = 1 / mass[:, None] + 1 / mass
    rate = strength * density / mass[:, None]

    def change(u: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        apart = u[:, None] - u
        relative = sigma[:, None] + sigma + apart[..., :, None] * apart[..., None, :]
        trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        across = (trace * identity - relative) / mass[:, None, None, None]
        slowed = (d - 1) * reduced[..., None, None] * sigma[:, None] - across
        du = -(d - 1) * ((rate * reduced)[..., None] * apart).sum(1)
        return du, -2 * (rate[..., None, None] * slowed).sum(1)

    h = time / num_steps
    for _ in range(num_steps):
        k1 = change(mean, covariance)
        k2 = change(*(y + 0.5 * h * k for y, k in zip((mean, covariance), k1, strict=True)))
        k3 = change(*(y + 0.5 * h * k for y, k in zip((mean, covariance), k2, strict=True)))
        k4 = change(*(y + h * k for y, k in zip((mean, covariance), k3, strict=True)))
        mean, covariance = (
            y + h / 6 * (a + 2 * b + 2 * c + e) for y, a, b, c, e in zip((mean, covariance), k1, k2, k3, k4, strict=True)
        )
    return mean, covariance


def equilibration_rate(
    temperatures: tuple[float, float],
    masses: tuple[float, float],
    *,
    strength: float,
    density: float,
    exponent: float = -3.0,
    dim: int = 3,
) -> float:
    r"""The frequency nu of :math:`dT_a/dt = -\nu\,(T_a - T_b)` for two Maxwellians without relative drift.

    .. math:: \nu = \frac{2(d-1)}{d} \frac{c\,n_b}{m_a m_b} \frac{\langle |z|^{g+2} \rangle}{\Theta}, \qquad
        \langle |z|^k \rangle = (2 \Theta)^{k/2}\, \frac{\Gamma((d+k)/2)}{\Gamma(d/2)}, \qquad
        \Theta = \frac{T_a}{m_a} + \frac{T_b}{m_b}

    It is Spitzer's :math:`\tfrac43 \sqrt{2/\pi}\, c\,n_b / (m_a m_b \Theta^{3/2})` for Coulomb collisions, d = 3. The
    distributions do not stay Maxwellian: compare at early times; for exponent 0 they do, and it holds at all times.

    Arguments:
        temperatures: T_a and T_b.
        masses: m_a and m_b.
        strength: c of the pair.
        density: n_b.
        exponent: g.
        dim: d.

    References:
        Spitzer, *Physics of Fully Ionized Gases*, 1962, eq. 5-31.

    Example:
        >>> round(equilibration_rate((1.0, 2.0), (1.0, 2.0), strength=1.0, density=1.0), 6)
        0.188063
    """
    spread = temperatures[0] / masses[0] + temperatures[1] / masses[1]
    moment = float(speed_moment(exponent + 2, torch.tensor(spread, dtype=torch.float64), dim))
    return 2 * (dim - 1) / dim * strength * density / (masses[0] * masses[1]) * moment / spread


def friction_rate(
    temperature: float,
    masses: tuple[float, float],
    *,
    strength: float,
    density: float,
    exponent: float = -3.0,
    dim: int = 3,
) -> float:
    r"""The frequency nu of :math:`du_a/dt = -\nu\,(u_a - u_b)` for two Maxwellians of one temperature that drift slowly.

    .. math:: \nu = \frac{d-1}{d} \frac{c\,n_b}{m_a T} \langle |z|^{g+2} \rangle

    with the mean of :func:`equilibration_rate`. Of electrons on heavy ions it is Braginskii's :math:`1/\tau_e`.
    In a steady weak field electrons do not stay Maxwellian, and their friction is ``SPITZER`` times this for ions of charge
    one.

    Arguments:
        temperature: T.
        masses: m_a and m_b.
        strength: c of the pair.
        density: n_b.
        exponent: g.
        dim: d.

    References:
        Braginskii, Reviews of Plasma Physics 1, 1965, eq. 2.5e; Spitzer, Harm, *Transport phenomena in a completely ionized
        gas*, Phys. Rev. 1953.

    Example:
        >>> round(friction_rate(1.0, (1.0, 1836.0), strength=1.0, density=1.0), 4)
        0.5318
    """
    spread = torch.tensor(temperature / masses[0] + temperature / masses[1], dtype=torch.float64)
    moment = float(speed_moment(exponent + 2, spread, dim))
    return (dim - 1) / dim * strength * density / (masses[0] * temperature) * moment


class BeamRates(NamedTuple):
    """Of a particle of speed v: slowing of v, growth of the squares across (both components together) and along, over v^2."""

    slowing: float
    across: float
    along: float


def trubnikov_beam(
    speed: float, masses: tuple[float, float], *, temperature: float, strength: float, density: float
) -> BeamRates:
    r"""What Coulomb collisions with a Maxwellian background do to a beam, in three velocities.

    .. math:: \nu_s = \Big(1 + \frac{m_a}{m_b}\Big) \psi(x)\,\nu_0, \quad
        \nu_\perp = 2 \Big[\Big(1 - \frac1{2x}\Big) \psi(x) + \psi'(x)\Big] \nu_0, \quad
        \nu_\parallel = \frac{\psi(x)}x\,\nu_0, \quad
        \nu_0 = \frac{2\,c\,n_b}{m_a^2 v^3}, \quad x = \frac{m_b v^2}{2 T_b},

    with :math:`\psi(x) = \frac2{\sqrt\pi} \int_0^x \sqrt t\,e^{-t}\,dt`:
    :math:`d\langle v \rangle/dt = -\nu_s v`, :math:`d\langle (v - \bar v)_\perp^2 \rangle/dt = \nu_\perp v^2` and
    :math:`d\langle (v - \bar v)_\parallel^2 \rangle/dt = \nu_\parallel v^2`.

    Arguments:
        speed: v of the beam, in the frame of the background.
        masses: m_a of the beam, m_b of the background.
        temperature: T_b.
        strength: c of the pair.
        density: n_b.

    References:
        Trubnikov, Reviews of Plasma Physics 1, 1965; NRL Plasma Formulary, *relaxation rates*.

    Example:
        >>> rates = trubnikov_beam(5.0, (1.0, 1836.0), temperature=1.0, strength=1.0, density=1.0)
        >>> round(rates.across / rates.slowing, 2)  # off heavy particles: scattering, at twice the rate of slowing
        2.0
    """
    x = masses[1] * speed**2 / (2 * temperature)
    slope = 2 / math.sqrt(math.pi) * math.sqrt(x) * math.exp(-x)
    psi = math.erf(math.sqrt(x)) - slope
    unit = 2 * strength * density / (masses[0] ** 2 * speed**3)
    return BeamRates((1 + masses[0] / masses[1]) * psi * unit, 2 * ((1 - 0.5 / x) * psi + slope) * unit, psi / x * unit)
