"""The score of the Maxwellian with each cell's mean velocity and temperature."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..cells import moments


class Maxwellian:
    r"""Every cell's distribution taken for a Maxwellian.

    .. math:: s(v) = -(v - u)/T

    The cheapest closure: Landau collisions with it do nothing, Dougherty collisions neither. A cell of no temperature
    has score zero.

    Example:
        >>> Maxwellian()(torch.tensor([[1.0], [3.0]]), torch.ones(2), torch.zeros(2, dtype=torch.int64), 1)
        tensor([[ 1.],
                [-1.]])
    """

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """The score (n, dv); see :class:`~disco_samplers.integrations.plasma.types.VelocityScore`."""
        _, mean, temperature = moments(v, w, cell, num_cells)
        inverse = torch.where(temperature > 0, 1 / temperature, 0.0)
        return -inverse[cell, None] * (v - mean[cell])

    def log_prob(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """Log-density of the velocity (n,); in a cell of no temperature that of the smallest one there is."""
        _, mean, temperature = moments(v, w, cell, num_cells)
        t = temperature.clamp_min(torch.finfo(v.dtype).tiny)[cell]
        return -0.5 * ((v - mean[cell]).square().sum(-1) / t + v.shape[1] * (2 * math.pi * t).log())
