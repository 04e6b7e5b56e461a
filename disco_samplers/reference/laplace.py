"""Products of one-dimensional Laplace laws with exact density, score and draws."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.arrays import check_tensors
from disco_samplers.reference.base import ReferenceDensity


class Laplace(ReferenceDensity):
    r"""Independent Laplace coordinates.

    .. math:: \log f(y) = -\sum_k \Big(\frac{|y_k - \mu_k|}{b_k} + \log 2 b_k\Big), \quad
        \partial_k \log f(y) = -\operatorname{sign}(y_k - \mu_k) / b_k

    Arguments:
        mean: (..., d).
        scale: b, (..., d), positive.

    Raises:
        ValueError: if a scale is not positive or the shapes differ.

    Example:
        >>> Laplace(torch.zeros(1), torch.ones(1)).score(torch.tensor([[2.0]]))
        tensor([[-1.]])
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        check_tensors(mean=mean, scale=scale)
        if mean.shape != scale.shape or not (scale > 0).all():
            raise ValueError(f"scale must be positive with the shape of mean {tuple(mean.shape)}, got {tuple(scale.shape)}")
        self.dim, self.dtype, self.device = mean.shape[-1], mean.dtype, mean.device
        self.mean, self.scale = mean, scale

    def evaluate(self, y: Tensor) -> Tensor:
        mean, scale = self.mean.unsqueeze(-2), self.scale.unsqueeze(-2)
        return -((y - mean).abs() / scale + (2 * scale).log()).sum(-1)

    def evaluate_score(self, y: Tensor) -> Tensor:
        return -(y - self.mean.unsqueeze(-2)).sign() / self.scale.unsqueeze(-2)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        shape = (*self.mean.shape[:-1], num_samples, self.dim)
        u = torch.rand(shape, dtype=self.dtype, device=self.device, generator=generator) - 0.5
        # 1 - 2|u| is never 0 in (0, 1] up to the open end that rand may return.
        tail = torch.log1p(-2 * u.abs()).clamp_min(torch.finfo(self.dtype).min)
        return self.mean.unsqueeze(-2) - self.scale.unsqueeze(-2) * u.sign() * tail
