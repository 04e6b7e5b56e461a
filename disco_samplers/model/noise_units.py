"""Units of the noise: the coordinates in which the network that is told the noise works."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class NoiseUnits(NamedTuple):
    r"""The map :math:`y \mapsto (y - m) U / \sigma` of contexts, and the variances :math:`\lambda / \sigma^2` in it.

    U and :math:`\lambda` are the principal directions and variances of the samples, shrunk towards equal ones by as much as is
    best for a normal law, so that few rows in many columns do not pretend to know a direction without variance.

    Shapes, with b a batch of contexts: ``center`` (b, 1, d), ``directions`` (b, d, d), one a column, ``variances`` (b, d),
    falling, and ``noise`` (b, 1, 1).
    """

    center: Tensor
    directions: Tensor
    variances: Tensor
    noise: Tensor

    @classmethod
    def of(cls, samples: Tensor, noise: Tensor, counts: Tensor | None = None) -> NoiseUnits:
        """Of samples (b, n, d), each row worth so many (b, n), and noise (b,), in float64.

        References:
            Chen, Wiesel, Eldar, Hero, *Shrinkage algorithms for MMSE covariance estimation*, IEEE Trans. Signal Process. 2010,
            eq. 23 (OAS).
        """
        x, d = samples.double(), samples.shape[-1]
        rows = torch.ones_like(x[..., 0]) if counts is None else counts.double()
        count = rows.sum(1)[:, None, None]
        center = (rows[..., None] * x).sum(1, keepdim=True) / count
        x = x - center
        covariance = (rows[..., None] * x).mT @ x / count
        trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
        squares = covariance.square().sum((-2, -1), keepdim=True)
        spread = (squares - trace.square() / d).clamp_min(torch.finfo(x.dtype).tiny)
        weight = (((1 - 2 / d) * squares + trace.square()) / ((count + 1 - 2 / d) * spread)).clamp(0.0, 1.0)
        equal = trace / d * torch.eye(d, dtype=x.dtype, device=x.device)
        values, vectors = torch.linalg.eigh((1 - weight) * covariance + weight * equal)
        level = noise.double()[:, None]
        return cls(center, vectors.flip(-1), values.flip(-1).clamp_min(0.0) / level.square(), level[..., None])

    def __call__(self, points: Tensor) -> Tensor:
        """Coordinates (b, m, d) of points (b, m, d)."""
        return (points.to(self.center.dtype) - self.center) @ self.directions / self.noise

    def back(self, vectors: Tensor) -> Tensor:
        """Vectors (b, m, d), in the data's directions, of those in coordinates."""
        return vectors.to(self.center.dtype) @ self.directions.mT
