"""An estimator of columns with supports: none of the density outside, and its level at their edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.draws import Circle, Support
from disco_samplers.estimators.circular import CircularEstimator, Layout
from disco_samplers.estimators.judge import mean
from disco_samplers.estimators.network import NetworkEstimator
from disco_samplers.estimators.transformed import TransformedEstimator
from disco_samplers.estimators.transforms import GroupTransform, Interval, SupportTransform, quantile
from disco_samplers.model import Network

_FEWEST = 5
"""The nearest rows, among which a density that vanishes or diverges follows its power."""

_ERRORS = 3.0
"""Standard errors by which a density must rise or fall towards an edge not to be level."""

_NEAREST = (1e-12, 1e-3)
"""Where a power ends, as a share of where it begins: one that vanishes at the edge, and one that diverges."""


class Edges(NamedTuple):
    r"""Where columns end, and how the estimate goes on next to their ends, where there are no rows to tell the density by.

    It goes as a power of the distance p from the edge, from the point e on beyond which few rows lie:
    :math:`f(p) = f(e) (p / e)^\alpha`. Where f goes so, the mean of :math:`\log(p_{(k)} / p_{(i)})` over the k nearest rows
    is :math:`1 / (1 + \alpha)`, give or take :math:`1/\sqrt k` of it. With :math:`k = n^{2/3}`, alpha is zero where that mean
    is one within three standard errors, unless a column is read by logarithms: the density neither vanishes nor diverges, and
    is level over the nearer half of these rows. (Over all of them it would have fallen or risen, and over fewer these are too
    few to tell its level by.)

    Arguments:
        low, high: of each column, (d,), infinite where there is no bound.
        first, last: the points e of each column, (d,).
        powers: alpha at either end, (2, d).

    References:
        Hill, *A simple general approach to inference about the tail of a distribution*, Annals of Statistics 1975.
    """

    low: Tensor
    high: Tensor
    first: Tensor
    last: Tensor
    powers: Tensor

    @classmethod
    def of(
        cls, samples: Tensor, supports: Sequence[Support], transform: SupportTransform, counts: Tensor | None = None
    ) -> Edges:
        """The edges of samples (n, d), each worth so many draws (n,), or one, that are read by a transform."""
        x = samples.detach().double()
        low = [-math.inf if support.low is None else support.low for support in supports]
        high = [math.inf if support.high is None else support.high for support in supports]
        logs = [form is not None and form.log for form in transform.forms]
        lower = [_nearby(c - a, log, counts) for c, a, log in zip(x.unbind(1), low, logs, strict=True)]
        upper = [_nearby(b - c, log, counts) for c, b, log in zip(x.unbind(1), high, logs, strict=True)]
        first = [a + near for a, (near, _) in zip(low, lower, strict=True)]
        last = [b - near for b, (near, _) in zip(high, upper, strict=True)]
        powers = [[power for _, power in ends] for ends in (lower, upper)]
        return cls(*(x.new_tensor(ends) for ends in (low, high, first, last, powers)))

    def outside(self, points: Tensor) -> Tensor:
        """Whether points (..., d) are, (...)."""
        return ((points < self.low) | (points > self.high)).any(-1)

    def inner(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (..., d) no nearer to the ends than e, and what goes on from there: log-density (...,) and score (..., d)."""
        kept, rise, score = torch.minimum(torch.maximum(points, self.first), self.last), [], []
        ends = ((points < self.first, self.low, self.first, 1.0), (points > self.last, self.high, self.last, -1.0))
        for (near, edge, start, sign), power in zip(ends, self.powers, strict=True):
            whole = torch.where(near, sign * (start - edge), 1.0)
            least = torch.where(power < 0, _NEAREST[1], _NEAREST[0]) * whole
            distance = torch.maximum(torch.where(near, sign * (points - edge), 1.0), least)
            rise.append((power * (distance / whole).log()).sum(-1))
            score.append(torch.where(near, sign * power / distance, 0.0))
        return kept, rise[0] + rise[1], score[0] + score[1]

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

    @classmethod
    def of(
        cls,
        network: Network,
        samples: Tensor,
        supports: Sequence[Support],
        counts: Tensor | None = None,
        keys: int | None = None,
        *,
        progress: bool = False,
    ) -> SupportedEstimator:
        """A network's reading of samples (n, d) inside the supports; the others as of :class:`NetworkEstimator`."""
        transform = SupportTransform.fit(samples, supports, counts)
        inner = NetworkEstimator(network, transform(samples), counts, keys, progress=progress)
        return cls(inner, transform, Edges.of(samples, supports, transform, counts))

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
    progress: bool = False,
) -> Any:
    """A network's reading of samples (n, d) inside the supports; the others as of :class:`NetworkEstimator`.

    Groups of columns first, then circles, then edges.

    Raises:
        ValueError: if more than three columns are circular.
    """
    groups = GroupTransform(supports)
    rows = groups(samples) if groups else samples
    layout = Layout.of(rows, groups.supports, counts)
    ends = [Support() if isinstance(support, Circle) else support for support in groups.supports]
    lines = layout.dealt(rows) if layout else rows
    found: Any = SupportedEstimator.of(network, lines, ends, counts, keys, progress=progress)
    found = CircularEstimator(found, layout) if layout else found
    return GroupedEstimator(found, groups) if groups else found


def layout_of(estimator: Any) -> Layout:
    """How the circular columns of an estimator are laid out; of one without any a layout of none."""
    while not isinstance(estimator, CircularEstimator):
        if not hasattr(estimator, "base"):
            return Layout([], [], [], [])
        estimator = estimator.base
    return estimator.layout


def straightened(estimator: Any) -> SupportTransform | None:
    """The change of columns that takes each to a real line, angles in the turn around their centres; None for groups."""
    layout = layout_of(estimator)
    while not isinstance(estimator, SupportedEstimator):
        if isinstance(estimator, GroupedEstimator):
            return None
        estimator = estimator.base
    forms = list(estimator.transform.forms)
    for i, circle, centre in zip(layout.columns, layout.circles, layout.centres, strict=True):
        forms[i] = Interval(centre - circle.period / 2, centre + circle.period / 2, 1.0, False)
    return SupportTransform(forms)


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


def _nearby(distance: Tensor, log: bool, counts: Tensor | None) -> tuple[float, float]:
    """How near to an edge rows at these distances (n,) tell the density, and the power with which it goes on from there."""
    if not bool(torch.isfinite(distance[0])):
        return 0.0, 0.0
    worth = torch.ones_like(distance) if counts is None else counts.double()
    n = float(worth.sum())
    shares = distance.new_tensor([n ** (-1 / 3), n ** (-1 / 3) / 2, _FEWEST / n]).clamp_max(1)
    far, half, nearest = (float(value) for value in quantile(distance[:, None], worth, shares)[:, 0])
    inner = distance < far
    if not bool(inner.any()):  # many rows at one distance
        return half, 0.0
    slope = float(mean((far / distance[inner]).log()[:, None], worth[inner]))
    if not log and abs(slope - 1) < _ERRORS / math.sqrt(float(worth[inner].sum())):
        return half, 0.0
    return nearest, 1 / slope - 1
