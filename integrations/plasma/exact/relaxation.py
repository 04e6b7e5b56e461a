"""Rates at which collisions relax means and temperatures, where they are known exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def maxwell_pressure(initial: Tensor, time: float, *, strength: float, density: float = 1.0) -> Tensor:
    r"""The pressure tensor under Landau collisions of Maxwell molecules, from any initial distribution.

    .. math:: P(t) = P_\infty + (P_0 - P_\infty)\, e^{-4 d C n t}, \qquad P_\infty = \tfrac1d \operatorname{tr} P_0\, I

    Arguments:
        initial: P_0, the covariance of the velocities (d, d).
        time: t.
        strength: C.
        density: n.

    Returns:
        P(t), (d, d).

    Example:
        >>> maxwell_pressure(torch.diag(torch.tensor([1.5, 0.5])), 1e9, strength=1.0)
        tensor([[1., 0.],
                [0., 1.]])
    """
    d = initial.shape[0]
    final = initial.trace() / d * torch.eye(d, dtype=initial.dtype, device=initial.device)
    return final + (initial - final) * math.exp(-4 * d * strength * density * time)


def trubnikov_rate(parallel: float, perpendicular: float, *, strength: float = 1.0, density: float = 1.0) -> float:
    r"""The rate of the parallel temperature of a bi-Maxwellian under Coulomb collisions in three velocities.

    .. math:: \frac{dT_\parallel}{dt} = 2 \nu (T_\perp - T_\parallel), \qquad
        \nu = \frac{C n}{\sqrt\pi\, T_\parallel^{3/2} A^2} \Big[(A + 3) \frac{\arctan\sqrt A}{\sqrt A} - 3\Big], \qquad
        A = \frac{T_\perp}{T_\parallel} - 1

    The distribution does not stay bi-Maxwellian: compare at early times.

    Arguments:
        parallel: temperature along the axis.
        perpendicular: temperature of each of the other two components.
        strength: C.
        density: n.

    Raises:
        ValueError: if a temperature is not positive.

    References:
        Trubnikov, Reviews of Plasma Physics 1, 1965; NRL Plasma Formulary, *isotropization*.

    Example:
        >>> round(trubnikov_rate(1.0, 2.0), 6)
        0.15977
    """
    if not (parallel > 0 and perpendicular > 0):
        raise ValueError(f"temperatures must be positive, got {parallel} and {perpendicular}")
    a = perpendicular / parallel - 1
    if abs(a) < 1e-3:
        bracket = 4 / 15 - 8 * a / 35  # the formula cancels here; its series over A^2
    elif a > 0:
        bracket = ((a + 3) * math.atan(math.sqrt(a)) / math.sqrt(a) - 3) / a**2
    else:
        bracket = ((a + 3) * math.atanh(math.sqrt(-a)) / math.sqrt(-a) - 3) / a**2
    frequency = strength * density / math.sqrt(math.pi) * parallel**-1.5 * bracket
    return float(2 * frequency * (perpendicular - parallel))


def coulomb_2v_rate(first: float, second: float, *, strength: float = 1.0, density: float = 1.0) -> float:
    r"""The rate of the first temperature of a Gaussian under Landau collisions of exponent -2 in two velocities.

    .. math:: \frac{dT_1}{dt} = 2 C n \frac{\sqrt{T_2} - \sqrt{T_1}}{\sqrt{T_1} + \sqrt{T_2}}

    Arguments:
        first: T_1.
        second: T_2.
        strength: C.
        density: n.

    Raises:
        ValueError: if a temperature is not positive.

    Example:
        >>> coulomb_2v_rate(1.0, 1.0)
        0.0
    """
    if not (first > 0 and second > 0):
        raise ValueError(f"temperatures must be positive, got {first} and {second}")
    a, b = math.sqrt(first), math.sqrt(second)
    return 2 * strength * density * (b - a) / (a + b)


def ornstein_uhlenbeck(
    mean: Tensor, covariance: Tensor, time: float, *, frequency: float, target: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    r"""Mean and covariance of :math:`dx = -\nu (x - u)\,dt + \sqrt{2 \nu T}\,dW` at a time.

    .. math:: m = u + (m_0 - u) e^{-\nu t}, \qquad \Sigma = T I + (\Sigma_0 - T I) e^{-2 \nu t}

    Arguments:
        mean: m_0, (d,).
        covariance: Sigma_0, (d, d).
        time: t.
        frequency: nu.
        target: u, (d,).
        temperature: T.

    Returns:
        Mean (d,) and covariance (d, d).

    Example:
        >>> m, c = ornstein_uhlenbeck(torch.ones(1), torch.eye(1), 50.0, frequency=1.0, target=torch.zeros(1), temperature=2.0)
        >>> round(float(c), 6)
        2.0
    """
    final = temperature * torch.eye(len(mean), dtype=covariance.dtype, device=covariance.device)
    decay = math.exp(-frequency * time)
    return target + (mean - target) * decay, final + (covariance - final) * decay**2
