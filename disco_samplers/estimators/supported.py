"""An estimator of columns with supports: none of the density outside, and its level at their edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.draws import Circle, Support
from disco_samplers.estimators.circular import CircularEstimator, Layout
from disco_samplers.estimators.edges import EdgedEstimator, Edges
from disco_samplers.estimators.network import NetworkEstimator
from disco_samplers.estimators.transformed import TransformedEstimator
from disco_samplers.estimators.transforms import GroupTransform, Interval, JohnsonTransform, SupportTransform
from disco_samplers.model import Network


class SupportedEstimator(TransformedEstimator):
    r"""The density of columns with a support, read on the real line.

    Outside the log-density is :math:`-\infty` and the score zero, as the derivative of what is constant: an adjusted sampler
    rejects steps that lead there.

    Arguments:
        base: of z, (m, d): an :class:`EdgedEstimator`, which any other estimator is made.
        transform: to the real line.
        edges: of the columns.
    """

    def __init__(self, base: Any, transform: SupportTransform, edges: Edges) -> None:
        super().__init__(base if isinstance(base, EdgedEstimator) else EdgedEstimator(base, transform, edges), transform)
        self.edges = edges

    @classmethod
    def of(
        cls,
        network: Network,
        samples: Tensor,
        supports: Sequence[Support],
        counts: Tensor | None = None,
        keys: int | None = None,
        *,
        others: JohnsonTransform | None = None,
        natural: Sequence[float] = (),
        progress: bool = False,
    ) -> SupportedEstimator:
        """A network's reading of samples (n, d) inside the supports; the others as of :class:`NetworkEstimator`.

        With ``others`` columns without a bound are read by it; ``natural`` is as of :meth:`Edges.of`.
        """
        transform = SupportTransform.fit(samples, supports, counts, others)
        inner = NetworkEstimator(network, transform(samples), counts, keys, progress=progress)
        return cls(inner, transform, Edges.of(samples, supports, transform, counts, natural))

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        kept, rise, own, outside = self._kept(points)
        log_prob, score = super().log_prob_and_score(kept)
        return torch.where(outside, -math.inf, log_prob + rise), self._pieced(score, own, kept != points, outside)

    def log_prob(self, points: Tensor) -> Tensor:
        kept, rise, _, outside = self._kept(points)
        return torch.where(outside, -math.inf, super().log_prob(kept) + rise)

    def score(self, points: Tensor) -> Tensor:
        kept, _, own, outside = self._kept(points)
        return self._pieced(super().score(kept), own, kept != points, outside)

    def with_base(self, base: Any) -> SupportedEstimator:
        return SupportedEstimator(base, self.transform, self.edges.to(base.core.samples.device))

    def _kept(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = points.double()
        return *self.edges.inner(x), self.edges.outside(x)

    @staticmethod
    def _pieced(score: Tensor, own: Tensor, near: Tensor, outside: Tensor) -> Tensor:
        return torch.where(outside[..., None], 0.0, torch.where(near, own, score))


class GroupedEstimator(TransformedEstimator):
    """The density of groups of columns that bound one another, read in coordinates that do not.

    Arguments:
        base: of these coordinates.
        transform: to them.
    """

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, score = super().log_prob_and_score(points)
        return log_prob, torch.where(torch.isneginf(log_prob)[..., None], 0.0, score)

    def score(self, points: Tensor) -> Tensor:
        return self.log_prob_and_score(points)[1]

    def with_base(self, base: Any) -> GroupedEstimator:
        return GroupedEstimator(base, self.transform)


def read_supported(
    network: Network,
    samples: Tensor,
    supports: Sequence[Support],
    counts: Tensor | None = None,
    keys: int | None = None,
    *,
    others: JohnsonTransform | None = None,
    progress: bool = False,
) -> Any:
    """A network's reading of samples (n, d) inside the supports; the others as of :class:`NetworkEstimator`.

    Groups of columns first, then circles, then edges, and columns of the real numbers by ``others``, which is of all d columns.

    Raises:
        ValueError: if more than three columns are circular.
    """
    groups = GroupTransform(supports)
    rows = groups(samples) if groups else samples
    layout = Layout.of(rows, groups.supports, counts)
    ends = [Support() if isinstance(support, Circle) else support for support in groups.supports]
    lines = layout.dealt(rows) if layout else rows
    if others is not None:
        width = others.width[groups.kept].clone()
        width[layout.columns] = math.inf
        others = JohnsonTransform(others.location[groups.kept], width)
    found: Any = SupportedEstimator.of(
        network, lines, ends, counts, keys, others=others, natural=groups.powers, progress=progress
    )
    found = CircularEstimator(found, layout) if layout else found
    return GroupedEstimator(found, groups) if groups else found


def straightened(estimator: Any, supports: Sequence[Support]) -> SupportTransform | None:
    """The change of columns that takes each to a real line, angles from the turn they are given in; None for groups."""
    while not isinstance(estimator, SupportedEstimator):
        if isinstance(estimator, GroupedEstimator):
            return None
        estimator = estimator.base
    return _turned(estimator.transform, supports)


def straight(samples: Tensor, supports: Sequence[Support], counts: Tensor | None = None) -> SupportTransform:
    """The same for samples (n, d) alone, each worth so many draws (n,), or one, whose supports are of no groups."""
    ends = [Support() if isinstance(one, Circle) else one for one in supports]
    return _turned(SupportTransform.fit(samples, ends, counts), supports)


def _turned(transform: SupportTransform, supports: Sequence[Support]) -> SupportTransform:
    """A change of columns with that of angles, from the turn they are given in."""
    turns = [Interval(one.start, one.start + one.period, 1.0, False) if isinstance(one, Circle) else None for one in supports]
    return SupportTransform([form or turn for form, turn in zip(transform.forms, turns, strict=True)])


def unbounded(estimator: Any, samples: Tensor) -> Tensor:
    """Samples (n, d) in the coordinates in which the estimator within a transform, or within supports, reads them."""
    if isinstance(estimator, CircularEstimator):
        return unbounded(estimator.base, estimator.layout.dealt(samples))
    rows: Tensor = estimator.transform(samples)
    return unbounded(estimator.base, rows) if isinstance(estimator, GroupedEstimator) else rows


def bounded(estimator: Any, inner: Any) -> Any:
    """Another estimator of those coordinates in the place of that within."""
    outer = isinstance(estimator, (CircularEstimator, GroupedEstimator))
    return estimator.with_base(bounded(estimator.base, inner) if outer else inner)
