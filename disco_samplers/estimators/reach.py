"""How far out a density is asked for, and how it goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_SLOWEST = 0.1
"""Least power of the radius by which a log-density falls."""


class Reach(NamedTuple):
    r"""A radius r in whitened coordinates beyond which a log-density T with score S goes on along rays.

    With e the point of the ray at the edge, :math:`z = \beta e`, and its slope there,

    .. math:: \log f(z) = T(e) + \frac{k}{p} (\beta^p - 1), \qquad k = \min(e \cdot S(e), -d), \qquad
        s(z) = \beta^{p-1} \Big(S(e) + \frac{k - e \cdot S(e)}{r^2} e\Big).

    So log f falls along every ray, by no less than any density must that has an integral. With p = 2 a normal law goes on as
    the normal law it is. The edge is at the outermost sample, or where one of n normal draws would hardly be beyond,
    :math:`r_n^2 = d + 2 \sqrt{d \log n} + 2 \log n`; where samples lie farther out their tails are heavier, and
    :math:`p = 2 (r_n / r)^2`: 1 for a law with exponential tails, towards 0 for one with a power of the radius.

    Shapes: both (b, 1, 1).

    References:
        Laurent, Massart, *Adaptive estimation of a quadratic functional by model selection*, 2000, lemma 1, for :math:`r_n`.

    Example:
        >>> z = torch.randn(1, 100, 2, generator=torch.Generator().manual_seed(0)).double()
        >>> reach = Reach.of(z)
        >>> far, _ = reach.continued(torch.full((1, 1, 2), 30.0).double(), lambda z: (-0.5 * z.square().sum(-1), -z))
        >>> far.round()
        tensor([[-900.]], dtype=torch.float64)
    """

    radius: Tensor
    power: Tensor

    @classmethod
    def of(cls, z: Tensor, counts: Tensor | None = None) -> Reach:
        """The reach of whitened samples (b, n, d), each worth so many draws (b, n)."""
        n, d = z.shape[1:]
        r2 = z.square().sum(-1)
        count = r2.new_full((len(r2),), n) if counts is None else counts.sum(1).to(r2)
        most = (r2 if counts is None else torch.where(counts > 0, r2, 0.0)).amax(1)
        log_n = count.clamp_min(2).log()
        normal = d + 2 * (d * log_n).sqrt() + 2 * log_n
        power = 2 * (normal / most.clamp_min(torch.finfo(r2.dtype).tiny)).clamp(_SLOWEST / 2, 1.0)
        return cls(normal.maximum(most).sqrt()[:, None, None], power[:, None, None])

    def continued(self, z: Tensor, asked: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Log-density (b, m) and score (b, m, d) at points (b, m, d), of what gives them within the reach."""
        beyond = (torch.linalg.vector_norm(z, dim=-1, keepdim=True) / self.radius).clamp_min(1.0)
        edge = z / beyond
        log_prob, score = asked(edge)
        slope = (edge * score).sum(-1, keepdim=True)
        outside = beyond > 1
        falling = torch.where(outside, slope.clamp_max(-float(z.shape[-1])), slope)
        fall = falling / self.power * torch.expm1(self.power * beyond.log())
        score = (score + (falling - slope) / self.radius.square() * edge) * beyond ** (self.power - 1)
        return log_prob + fall.squeeze(-1), score
