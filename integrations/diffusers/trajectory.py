"""The end of a probability-flow trajectory: what distilled models learn in place of the denoised mean."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from disco_samplers.reference import OptimalDenoiser


class Noised(Protocol):
    """Data blurred by noise of any level: :class:`~.noised_data.NoisedData` and :class:`~.local_data.LocalData`."""

    data: Tensor
    scale: float
    bounds: tuple[float, float]
    exact: OptimalDenoiser

    def noise(self, y: Tensor, sigma: float) -> Tensor:
        """The noise (m, k) that y (m, k) is predicted to hold at level ``sigma``."""

    def log_prob(self, y: Tensor, sigma: float) -> Tensor:
        """Log-density (m,) of the blurred data at y (m, k)."""

    def encode(self, sigma: float) -> None:
        """Prepares a level ahead of its use."""


def trajectory_noise(noised: Noised, y: Tensor, sigma: float, steps: int) -> Tensor:
    """Noise between y and the end of its probability-flow trajectory, in at most so many steps; with 0 the prediction."""
    noise = noised.noise(y, sigma)
    if not steps or sigma <= 0:
        return noise
    z, level = y, sigma
    # One ladder of levels for every start, so that their contexts are encoded once.
    ladder = noised.scale * torch.logspace(math.log10(4), -2, steps, dtype=torch.float64, device="cpu")
    for lower in [*ladder[ladder < 0.9 * sigma].tolist(), 0.0]:
        z, level = z + (lower - level) * noise, lower
        if lower:
            noise = noised.noise(z, lower)
    return (y - z) / sigma


def bounded_noise(noised: Noised, y: Tensor, sigma: float, steps: int) -> Tensor:
    """:func:`trajectory_noise`, with what it leaves of y brought back to where the data end: the denoised mean is never beyond.

    Its derivative is that of the noise as it was. Else a measurement would not pull at pixels that end.
    """
    noise = trajectory_noise(noised, y, sigma, steps)
    if not sigma > 0:
        return noise
    clean = (y - sigma * noise).detach()
    return noise + (clean - clean.clamp(*noised.bounds)) / sigma
