"""Where columns end, and how an estimate that is read on the real line is brought to go on there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.draws import ROUNDING, Support
from disco_samplers.estimators.edge_shapes import TERMS, Shape, fit_shape, slopes, terms
from disco_samplers.estimators.judge import mean
from disco_samplers.estimators.transforms import SupportTransform, quantile
from disco_samplers.estimators.wrapper import Wrapper

_SHARE, _ALL, _FEWEST = 0.25, 1000, 24
"""Of few rows, by which a shape is told at first, or next to which it begins if there are other columns; how many are taken
whole; so few are not halved."""

_SMOOTH, _POWER, _LOG = 0.4, 0.08, 0.02
"""Share of these rows that lie before e: a power changes much over it, and by logarithms the density is well read there."""

_ERRORS = 3.0
"""Standard errors by which distances from an edge must be correlated with another column not to be independent of it."""

_NEAREST = (1e-12, 1e-3)
"""Where a shape ends, as a share of the distance where it begins, or of the fifth nearest row's if it diverges."""


class Edges(NamedTuple):
    r"""Where columns end, and how the estimate goes on next to their ends, where there are few rows to tell the density by.

    With p the distance from the edge, from the point e on it goes as :math:`f(p) = f(e)\, g(p) / g(e)`, in all places along the
    edge alike. The shape is level, exponential, a power, or a product of these, :func:`.edge_shapes.fit_shape`, by the
    likelihood of all rows, or, of fewer than 1000, of the nearest quarter or 24 at least; of half as many, and again, until it
    fits them, their distances do not depend on other columns, and the nearer half agrees that there is a power, if there is
    one.

    Arguments:
        low, high: of each column, (d,), infinite where there is no bound.
        slack: by which rounded points may lie outside, (d,).
        first, last: the points e of each column, (d,).
        units: of the distances in the shapes at either end, (2, d).
        shapes: their terms' coefficients, (2, d, 5).
        nearest: the distances where they end, (2, d).
    """

    low: Tensor
    high: Tensor
    slack: Tensor
    first: Tensor
    last: Tensor
    units: Tensor
    shapes: Tensor
    nearest: Tensor

    @classmethod
    def of(
        cls,
        samples: Tensor,
        supports: Sequence[Support],
        transform: SupportTransform,
        counts: Tensor | None = None,
        natural: Sequence[float] = (),
    ) -> Edges:
        """The edges of samples (n, d), each worth so many draws (n,), or one, that are read by a transform.

        ``natural``, (d,), are the powers with which densities go at the upper ends where nothing else is seen.
        """
        x = samples.detach().double()
        worth = x.new_ones(len(x)) if counts is None else counts.double()
        logs = [form is not None and form.log for form in transform.forms]
        ranks = (x.argsort(0).argsort(0) + 0.5) / len(x) - 0.5
        low = x.new_tensor([-math.inf if support.low is None else support.low for support in supports])
        high = x.new_tensor([math.inf if support.high is None else support.high for support in supports])
        ends = torch.stack([low, high])
        inner, units, nearest = ends.clone(), torch.ones_like(ends), torch.ones_like(ends)
        shapes = x.new_zeros(*ends.shape, TERMS)
        chances = int(ends.isfinite().sum())
        for side, i in ends.isfinite().nonzero().tolist():
            sign, edge = 1 - 2 * side, float(ends[side, i])
            power = natural[i] if side and natural else 0.0
            others = ranks[:, [j for j in range(len(supports)) if j != i]]
            width = float(high[i] - low[i])
            start, unit, least, shape = _nearby(sign * (x[:, i] - edge), others, worth, width, power, logs[i], chances)
            inner[side, i] = edge + sign * start
            units[side, i], nearest[side, i], shapes[side, i] = unit, least, shape
        widths = torch.where(
            (high - low).isfinite(), high - low, (x - torch.where(low.isfinite(), low, high)).abs().median(0).values
        )
        return cls(low, high, ROUNDING * widths, inner[0], inner[1], units, shapes, nearest)

    def outside(self, points: Tensor) -> Tensor:
        """Whether points (..., d) are, by more than rounding, (...)."""
        return ((points < self.low - self.slack) | (points > self.high + self.slack)).any(-1)

    def inner(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (..., d) no nearer to the ends than e, and what goes on from there: log-density (...,) and score (..., d)."""
        kept, rise, score = torch.minimum(torch.maximum(points, self.first), self.last), [], []
        ends = ((points < self.first, self.low, self.first, 1.0), (points > self.last, self.high, self.last, -1.0))
        of = zip(ends, self.units, self.shapes, self.nearest, strict=True)
        for (near, edge, start, sign), unit, shape, least in of:
            whole = torch.where(near, sign * (start - edge), unit) / unit
            p = torch.maximum(torch.where(near, sign * (points - edge), unit), least) / unit
            width = (self.high - self.low) / unit
            rise.append(torch.where(near, ((terms(p, width) - terms(whole, width)) * shape).sum(-1), 0.0).sum(-1))
            score.append(torch.where(near, sign / unit * (slopes(p, width) * shape).sum(-1), 0.0))
        return kept, rise[0] + rise[1], score[0] + score[1]

    def to(self, device: torch.device) -> Edges:
        """The same on another device."""
        return Edges(*(ends.to(device) for ends in self))


class EdgedEstimator(Wrapper):
    r"""An estimate read on the real line, z, that goes on next to the edges of columns x as :class:`Edges` say.

    Beyond z(e) it is the density at z(e), times the shape, times :math:`|dx/dz|` over what that is at e: its integral and its
    draws are those of the columns themselves.

    Arguments:
        base: of z, (m, d).
        transform: from x to z.
        edges: of the columns x.
    """

    def __init__(self, base: Any, transform: SupportTransform, edges: Edges) -> None:
        super().__init__(base)
        self.transform, self.edges = transform, edges

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, d) at points z (m, d)."""
        x = self.transform.inv(points)
        kept, rise, own = self.edges.inner(x)
        near = kept != x
        z = torch.where(near, self.transform(kept), points.double())
        log_prob, score = self.base.log_prob_and_score(z)
        columns = list(score.unbind(-1))
        for i, form in enumerate(self.transform.forms):
            if form is not None:
                _, first, of_log = form.slopes(x[..., i])
                columns[i] = torch.where(near[..., i], (own[..., i] - of_log) / first, columns[i])
        return log_prob + rise + self._volume(kept) - self._volume(x), torch.stack(columns, -1)

    def log_prob(self, points: Tensor) -> Tensor:
        """The log-density alone."""
        z, added = self._kept(points)
        log_prob: Tensor = self.base.log_prob(z)
        return log_prob + added

    def score(self, points: Tensor) -> Tensor:
        """The score alone."""
        return self.log_prob_and_score(points)[1]

    def white_log_prob(self, z: Tensor) -> Tensor:
        """Log-density in the core's whitened coordinates."""
        points = self.base.from_core(self.unwhitened(z))
        kept, added = self._kept(points)
        found: Tensor = self.base.white_log_prob(z)
        near = (kept != points).any(-1)
        if near.any():
            found = found.clone()
            with torch.no_grad():
                found[0, near] += self.base.log_prob(kept[near]) - self.base.log_prob(points[near])
        return found + added

    def with_base(self, base: Any) -> EdgedEstimator:
        """The same edges of another estimator."""
        return EdgedEstimator(base, self.transform, self.edges.to(base.core.samples.device))

    def _kept(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points no nearer to the ends than e, and what is added to their log-density."""
        x = self.transform.inv(points)
        kept, rise, _ = self.edges.inner(x)
        z = torch.where(kept != x, self.transform(kept), points.double())
        return z, rise + self._volume(kept) - self._volume(x)

    def _volume(self, x: Tensor) -> Tensor:
        return self.transform.log_abs_det_jacobian(x, x)


def _nearby(
    distance: Tensor, others: Tensor, worth: Tensor, width: float, power: float, log: bool, ends: int
) -> tuple[float, float, float, Tensor]:
    """Where a shape begins, the unit of its distances, where it ends, and its terms (5,), by distances (n,) from an edge.

    Arguments:
        distance: of the rows.
        others: ranks of the rows in other columns, (n, d - 1), from -1/2 to 1/2.
        worth: of the rows.
        width: the distance of the other end.
        power: of the distance, where nothing else is seen.
        log: whether the column is read by logarithms of the distance, and well known close to the edge.
        ends: of all columns together.
    """
    n = float(worth.sum())
    zone = max(_SHARE, min(1.0, n / _ALL))
    share = min(1.0, max(zone, _FEWEST / n))

    def before(shares: float) -> float:
        whole = shares >= 1 and math.isfinite(width)
        return width if whole else float(quantile(distance[:, None], worth, distance.new_tensor([min(1.0, shares)])))

    def told(inner: Tensor, far: float) -> Shape:
        # Rows that stay far from the other end do not tell how the density goes there.
        other = width / far if width < 2 * far else math.inf
        return fit_shape(distance[inner] / far, worth[inner], width=other, power=power, ends=ends)

    known = power * distance.new_tensor([1.0, *[0.0] * (TERMS - 1)])
    while True:
        far = before(share)
        inner = distance < far
        if not bool(inner.any()):  # many rows at one distance
            return far, far, _NEAREST[0] * far, known
        shape, fits, singular, _ = told(inner, far)
        fits = fits and not _depends(distance[inner], others[inner], worth[inner])
        if fits and singular and share * n >= 2 * _FEWEST:  # a heavy tail, too, would be told as one
            half = before(share / 2)
            nearer = distance < half
            fits = bool(nearer.any()) and told(nearer, half).leads
        if fits or share * n < _FEWEST:
            break
        share /= 2
    # Along an edge densities may differ in more than correlations tell.
    share = min(share, _SHARE if others.shape[1] else zone)
    fifth = before(min(5 / n, _SHARE))
    start = max(before((_LOG if log else _POWER) * share), fifth) if log or singular else before(_SMOOTH * share)
    shape = shape + known
    diverges = bool(shape[0] < 0) and not bool(shape[2] > 0)
    return min(start, far), far, _NEAREST[1] * min(fifth, far) if diverges else _NEAREST[0] * far, shape


def _depends(p: Tensor, others: Tensor, worth: Tensor) -> bool:
    """Whether distances p (m,) are correlated with others (m, d - 1), or with their squares."""
    if not others.shape[1]:
        return False
    p = p.argsort().argsort().double()[:, None]
    p, others = ((x - mean(x, worth)) for x in (p, torch.cat([others, others.square()], 1)))
    sizes = mean(p.square(), worth) * mean(others.square(), worth)
    share = mean(p * others, worth).square() / sizes.clamp_min(1e-12)
    return bool((worth.sum() * share > _ERRORS**2).any())
