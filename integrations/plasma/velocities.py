"""Starting velocities of a Gaussian in any dimension, by chance or evenly placed."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from disco_samplers.arrays import as_device, as_tensor, check_count
from disco_samplers.randomness import seed_of
from disco_samplers.types import ArrayLike

Start = Literal["random", "quiet"]


def gaussian_velocities(
    num: int,
    temperature: ArrayLike,
    *,
    mean: ArrayLike | None = None,
    start: Start = "quiet",
    seed: int | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Tensor:
    r"""Velocities of :math:`N(u, \operatorname{diag}(T_1, \dots, T_d))`.

    Arguments:
        num: how many.
        temperature: T, one a component, (d,).
        mean: u, (d,); zero by default.
        start: "random" for independent draws; "quiet" for a scrambled Sobol sequence, shifted and scaled to have exactly
            this mean and covariance.
        seed: of either, 0 if neither is given; give this or ``generator``.
        generator: source of randomness.
        dtype: of the answer.
        device: of the answer; the values do not depend on it.

    Returns:
        Velocities (num, d).

    Raises:
        ValueError: if a temperature is not positive, shapes do not fit, a quiet start has no more particles than components,
            or ``start`` is unknown.

    Example:
        >>> v = gaussian_velocities(100, [2.0, 1.0])
        >>> v.square().mean(0)
        tensor([2.0000, 1.0000], dtype=torch.float64)
    """
    check_count("num", num, 1)
    device = as_device(device, "device")
    seed = seed_of(seed=seed, generator=generator)
    t = as_tensor(temperature, "temperature").double()
    if t.ndim != 1 or len(t) == 0 or not (torch.isfinite(t).all() and (t > 0).all()):
        raise ValueError(f"temperature must hold one positive number a component, got {temperature}")
    u = torch.zeros_like(t) if mean is None else as_tensor(mean, "mean").double()
    if u.shape != t.shape or not torch.isfinite(u).all():
        raise ValueError(f"mean must hold one number a component, {len(t)} in all, got {mean}")
    if start == "random":
        z = torch.randn(num, len(t), generator=torch.Generator().manual_seed(seed), dtype=torch.float64, device="cpu")
    elif start == "quiet":
        if num <= len(t):
            raise ValueError(f"a quiet start needs more particles than components, got num = {num} for {len(t)}")
        with torch.device("cpu"):
            points = torch.quasirandom.SobolEngine(len(t), scramble=True, seed=seed).draw(num, dtype=torch.float64)
        z = torch.special.ndtri(points.clamp(2.0**-31, 1 - 2.0**-31))  # the sequence has thirty binary digits
        z = standardised(z)
    else:
        raise ValueError(f'start must be "random" or "quiet", got {start!r}')
    return (u + t.sqrt() * z).to(device, dtype)


def standardised(z: Tensor) -> Tensor:
    """Points (n, d) shifted and scaled to mean zero and covariance one."""
    z = z - z.mean(0)
    factor = torch.linalg.cholesky(z.T @ z / len(z))
    standard: Tensor = torch.linalg.solve_triangular(factor, z.T, upper=False).T
    return standard


def speed_moment(power: float, variance: Tensor, dim: int) -> Tensor:
    r"""The mean of :math:`|z|^k` over :math:`z \sim N(0, \Theta I)`, :math:`(2\Theta)^{k/2}\, \Gamma((d+k)/2) / \Gamma(d/2)`.

    Arguments:
        power: k; the mean is infinite from -d down.
        variance: Theta, of any shape.
        dim: d.

    Example:
        >>> float(speed_moment(2.0, torch.tensor(0.5), 3))  # d Theta
        1.5
    """
    if power <= -dim:
        return torch.full_like(variance, math.inf)
    return (2 * variance) ** (0.5 * power) * math.exp(math.lgamma(0.5 * (dim + power)) - math.lgamma(0.5 * dim))
