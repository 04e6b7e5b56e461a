"""How far out a density is asked for, and how it goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_JUST = 1 + 1e-5
"""The edge lies just beyond the outermost sample, or rounding would say on which side of it that is."""

_FEW = 200.0
"""Draws of which the slope at the edge tells half as much of the tail's power as it says."""


class Reach(NamedTuple):
    r"""The whitened radius r just beyond the outermost sample, from which a log-density T with score S goes on along rays.

    With e the point of the ray at the edge, :math:`z = \beta e`, and its slope there,

    .. math:: \log f(z) = T(e) + k \frac{\beta^p - 1}{p}, \qquad k = \min(e \cdot S(e), -d - 1), \qquad
        p = 2 \min(1, -k / r^2)\, \frac{N^2}{N^2 + 200^2}, \qquad
        s(z) = \beta^{p - 1} \Big[ S(e) + \frac{k - e \cdot S(e)}{r^2} e \Big].

    So log f falls along every ray, at the edge by no less than a Cauchy law's, and has an integral. The power p of the tail is
    read off its slope at the edge, as far as N draws can tell: a normal law's slope there is :math:`-r^2`, and p = 2; of
    heavier tails it is less steep, of a Student-t law bounded, and p tends to 0, a power law. Few draws do not reach far enough
    out to show a heavy tail and are taken to have one: where it is light, next to no points are out there.

    Shape: both (b, 1, 1).

    Example:
        >>> z = torch.tensor([[[3.0], [-4.0], [1.0]]])
        >>> reach = Reach.of(z, torch.full((1, 3), 1e6))
        >>> log_prob, score = reach.continued(torch.tensor([[[16.0]]]), lambda z: (-0.5 * z.square().sum(-1), -z))
        >>> log_prob.round(), score.round()  # as this normal law is there
        (tensor([[-128.]]), tensor([[[-16.]]]))
    """

    radius: Tensor
    trust: Tensor

    @classmethod
    def of(cls, z: Tensor, counts: Tensor | None = None) -> Reach:
        """The reach of whitened samples (b, n, d), each worth so many draws (b, n), or none."""
        r2 = z.square().sum(-1)
        worth = torch.ones_like(r2) if counts is None else counts.to(r2)
        radius, size = torch.where(worth > 0, r2, 0.0).amax(1).sqrt() * _JUST, worth.sum(1)
        return cls(radius[:, None, None], (size**2 / (size**2 + _FEW**2))[:, None, None])

    def continued(self, z: Tensor, asked: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Log-density (b, m) and score (b, m, d) at points (b, m, d), of what gives them within the reach."""
        beyond = (torch.linalg.vector_norm(z, dim=-1, keepdim=True) / self.radius).clamp_min(1.0)
        edge = z / beyond
        log_prob, score = asked(edge)
        slope = (edge * score).sum(-1, keepdim=True)
        fall = slope.clamp_max(-float(z.shape[-1]) - 1)
        power = 2 * (-fall / self.radius.square()).clamp_max(1.0) * self.trust
        tail = fall * torch.expm1(power * beyond.log()) / power
        outer = beyond ** (power - 1) * (score + (fall - slope) / self.radius.square() * edge)
        return log_prob + tail.squeeze(-1), torch.where(beyond > 1, outer, score)
