"""An estimator of columns with edges: none of the density outside, and its level at them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.draws import Support
from disco_samplers.estimators.judge import mean
from disco_samplers.estimators.transformed import TransformedEstimator
from disco_samplers.estimators.transforms import SupportTransform, quantile
from disco_samplers.model import Network

_SHARE = 0.01
"""Of the rows nearest to an edge, among which a density that does not vanish there is taken as level."""

_FEWEST = 5
"""Rows that this is at least."""

_ERRORS = 2.0
"""Standard errors by which a density must rise or fall towards an edge not to be level."""


class Edges(NamedTuple):
    r"""Where columns end, and how near to their ends the estimate is asked.

    Next to an edge there are no rows to tell the density by. Where it neither vanishes nor diverges there, it is the same from
    the nearest hundredth of the rows on. A density that goes as :math:`p^\alpha` with the distance p from the edge makes the
    mean of :math:`\log(p_{(k)} / p_{(i)})` over the k nearest rows :math:`1 / (1 + \alpha)`, give or take :math:`1/\sqrt k`
    of it; it is level where that is one within two standard errors, of :math:`k = n^{2/3}`.

    Arguments:
        low, high: of each column, (d,), infinite where there is no bound.
        first, last: the points of each column, (d,), beyond which the estimate is that at them.

    References:
        Hill, *A simple general approach to inference about the tail of a distribution*, Annals of Statistics 1975.
    """

    low: Tensor
    high: Tensor
    first: Tensor
    last: Tensor

    @classmethod
    def of(cls, samples: Tensor, supports: Sequence[Support], counts: Tensor | None = None) -> Edges:
        """The edges of samples (n, d), each worth so many draws (n,), or one."""
        x = samples.detach().double()
        low = [-math.inf if support.low is None else support.low for support in supports]
        high = [math.inf if support.high is None else support.high for support in supports]
        first = [a if math.isinf(a) else a + _level(c - a, counts) for c, a in zip(x.unbind(1), low, strict=True)]
        last = [b if math.isinf(b) else b - _level(b - c, counts) for c, b in zip(x.unbind(1), high, strict=True)]
        return cls(*(x.new_tensor(ends) for ends in (low, high, first, last)))

    def outside(self, points: Tensor) -> Tensor:
        """Whether points (..., d) are, (...)."""
        return ((points < self.low) | (points > self.high)).any(-1)

    def to(self, device: torch.device) -> Edges:
        """The same on another device."""
        return Edges(*(ends.to(device) for ends in self))


class SupportedEstimator(TransformedEstimator):
    r"""The density of columns with a support, read on the real line.

    Outside the log-density is :math:`-\infty` and the score zero, as the derivative of what is constant: an adjusted sampler
    rejects steps that lead there.

    Arguments:
        base: of z, (m, d), as for :class:`TransformedEstimator`.
        transform: to the real line.
        edges: of the columns.
    """

    def __init__(self, base: Any, transform: SupportTransform, edges: Edges) -> None:
        super().__init__(base, transform)
        self.edges = edges

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved, outside = self._kept(points)
        log_prob, score = super().log_prob_and_score(kept)
        return torch.where(outside, -math.inf, log_prob), torch.where(moved | outside[..., None], 0.0, score)

    def log_prob(self, points: Tensor) -> Tensor:
        kept, _, outside = self._kept(points)
        return torch.where(outside, -math.inf, super().log_prob(kept))

    def score(self, points: Tensor) -> Tensor:
        kept, moved, outside = self._kept(points)
        return torch.where(moved | outside[..., None], 0.0, super().score(kept))

    def reading(self, base: Any) -> SupportedEstimator:
        return SupportedEstimator(base, self.transform, self.edges)

    def with_network(self, network: Network) -> SupportedEstimator:
        moved = super().with_network(network)
        return SupportedEstimator(moved.base, moved.transform, self.edges.to(moved.core.samples.device))

    def _kept(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = points.double()
        kept = torch.minimum(torch.maximum(x, self.edges.first), self.edges.last)
        return kept, kept != x, self.edges.outside(x)


def _level(distance: Tensor, counts: Tensor | None) -> float:
    """How far from an edge the density of rows at these distances (n,) is level; zero where it is not at the edge."""
    worth = torch.ones_like(distance) if counts is None else counts.double()
    n = float(worth.sum())
    shares = distance.new_tensor([n ** (-1 / 3), max(_SHARE, _FEWEST / n)]).clamp_max(1)
    far, near = (float(value) for value in quantile(distance[:, None], worth, shares)[:, 0])
    inner = distance < far
    if not bool(inner.any()):
        return 0.0
    slope = float(mean((far / distance[inner]).log()[:, None], worth[inner]))
    return near if abs(slope - 1) < _ERRORS / math.sqrt(float(worth[inner].sum())) else 0.0
