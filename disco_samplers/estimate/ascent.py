"""The modes of an estimate, by ascent along its score."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.draws import Circle, Support, evenly, rounded_inside
from disco_samplers.estimators import check_single, sparsest

_STARTS = 200
_STEPS = 300

_LONGEST, _SHORTEST = 0.25, 1e-4
"""A step's length at most, for one column, and that at which an ascent is at its end, in standard deviations of the rows.

The former grows as the root of d. Longer steps jump from one mode over a valley into another.
"""

_RISE = 1e-4
"""Share of the rise that a step's slope promises which it must bring."""

_APART = 0.1
"""Distance at which two ends are two modes, in standard deviations of the rows, for one column; it grows as the root of d."""

_DIP = 0.2
"""Nats by which the density dips between two modes; an estimate of hundreds of rows has shallower dips that are noise."""

_BETWEEN, _NEIGHBOURS = 15, 8
"""Places looked at between two ends, and higher modes that an end may belong to."""


_SURE = 12
"""Columns up to which a normal law has one mode; of 1000 rows in 15 columns it has ten, and they are nats apart in height."""


class ManyModesWarning(UserWarning):
    """Modes in many columns, where most may be bumps of the estimate."""


class Mode(NamedTuple):
    """A place (d,) of locally highest density, the log-density there in nats, and the share of the rows that climb to it."""

    location: Any
    log_prob: float
    mass: float


def find_modes(estimate: Any, *, numpy: bool = False) -> list[Mode]:
    r"""The modes of an estimate; see :meth:`DensityEstimate.modes`.

    From rows x, with A a root of their covariance, steps :math:`\delta = t A A^\top s(x)` are taken, the score being in hand.
    Their length t is that of Barzilai and Borwein, by the curvature met last. A step that does not bring what its slope
    promises is shortened. What it brings is told by the score at both of its ends, not by the density: those two are estimated
    each for itself, and would have an ascent end wherever they part.

    References:
        Barzilai, Borwein, *Two-point step size gradient methods*, IMA Journal of Numerical Analysis 1988; Fukunaga, Hostetler,
        *The estimation of the gradient of a density function*, 1975, for modes by ascent from the rows.
    """
    check_single(estimate.samples, "modes")
    supports = estimate.support or [Support()] * estimate.dim
    rows = _unrolled(evenly(estimate.samples.double(), estimate.counts), supports)
    starts = rows[torch.linspace(0, len(rows) - 1, min(_STARTS, len(rows)), device=rows.device).round().long()]
    root = _root(rows)
    ends = rounded_inside(_climb(estimate, starts, root), torch.float64, supports)
    found = _merged(estimate, ends, _Ways(ends, root, supports))
    if len(found) > 1 and estimate.dim > _SURE:
        warnings.warn(
            f"{len(found)} modes in {estimate.dim} columns: in more than {_SURE} most may be bumps around a few "
            "rows; take the modes of marginals of a few columns",
            ManyModesWarning,
            stacklevel=3,
        )
    locations = [rounded_inside(location[None], estimate.samples.dtype, supports)[0] for location, _, _ in found]
    places = [location.cpu().numpy() if numpy else location for location in locations]
    modes = [Mode(place, log_prob, mass) for place, (_, log_prob, mass) in zip(places, found, strict=True)]
    return sorted(modes, key=lambda mode: -mode.mass)


class _Ways:
    """The straight ways between ends (s, d), of angles the shorter ones; lengths are those of whitened coordinates."""

    def __init__(self, ends: Tensor, root: Tensor, supports: Sequence[Support]) -> None:
        self._ends, self._root = ends, root
        self._circles = {i: one.period for i, one in enumerate(supports) if isinstance(one, Circle)}

    def between(self, end: int, others: Any) -> tuple[Tensor, Tensor]:
        """The ways (k, d) from an end to others, and their lengths (k,)."""
        ways = self._ends[others] - self._ends[end]
        for i, period in self._circles.items():
            ways[:, i] = torch.remainder(ways[:, i] + period / 2, period) - period / 2
        return ways, torch.linalg.solve(self._root, ways.T).norm(dim=0)


def _unrolled(rows: Tensor, supports: Sequence[Support]) -> Tensor:
    """Rows (n, d) with angles on the turns that begin where they are sparsest."""
    columns = list(rows.unbind(1))
    for i, one in enumerate(supports):
        if isinstance(one, Circle):
            cut = sparsest(columns[i] * (2 * math.pi / one.period), None) * one.period / (2 * math.pi)
            columns[i] = cut + torch.remainder(columns[i] - cut, one.period)
    return torch.stack(columns, 1)


def _merged(estimate: Any, ends: Tensor, ways: _Ways) -> list[tuple[Tensor, float, float]]:
    """Place, log-density and mass of the modes that ends (s, d) are of; the highest first.

    An end is that of a higher mode if it is close to it, or if the density hardly dips on the straight way there.
    """
    log_prob = estimate.log_prob(ends)
    tops: list[int] = []
    mass: dict[int, int] = {}
    left = torch.ones(len(ends), dtype=torch.bool, device=ends.device)
    for end in log_prob.argsort(descending=True).tolist():
        if not left[end]:
            continue
        near = left & (ways.between(end, slice(None))[1] < _APART * ends.shape[1] ** 0.5)
        left &= ~near
        top = _reached(estimate, ends, ways, float(log_prob[end]), end, tops)
        if top == end:
            tops.append(end)
        mass[top] = mass.get(top, 0) + int(near.sum())
    return [(ends[top], float(log_prob[top]), mass[top] / len(ends)) for top in tops]


def _reached(estimate: Any, ends: Tensor, ways: _Ways, height: float, end: int, tops: list[int]) -> int:
    """The nearest of the tops to which there is a straight way from an end without a dip, or else the end itself."""
    if not tops:
        return end
    there, lengths = ways.between(end, tops)
    nearest = lengths.argsort()[:_NEIGHBOURS]
    part = torch.linspace(0, 1, _BETWEEN + 2, dtype=ends.dtype, device=ends.device)[1:-1, None, None]
    points = ends[end] + part * there[nearest]
    lowest = estimate.log_prob(points.flatten(0, 1)).view(points.shape[:2]).amin(0)
    free = nearest[lowest > height - _DIP]
    return tops[int(free[0])] if len(free) else end


def _root(rows: Tensor) -> Tensor:
    """A root (d, d) of the rows' covariance, with a little of width in every direction."""
    spread = rows.std(0, correction=0)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    unit = (rows - rows.mean(0)) / spread
    values, vectors = torch.linalg.eigh(unit.T @ unit / len(unit))
    root: Tensor = spread[:, None] * vectors * values.clamp_min(1e-6).sqrt()
    return root


def _climb(estimate: Any, starts: Tensor, root: Tensor) -> Tensor:
    """Where ascents from starts (s, d) end."""

    def slope(points: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, score = estimate.log_prob_and_score(points)
        return log_prob, score @ root

    ends, (_, gradient) = starts.clone(), slope(starts)
    length, longest = starts.new_ones(len(starts)), _LONGEST * starts.shape[1] ** 0.5
    climbing = torch.arange(len(starts), device=starts.device)
    for _ in range(_STEPS):
        g, t = gradient[climbing], length[climbing]
        move = t[:, None] * g
        move = move * (longest / move.norm(dim=1, keepdim=True).clamp_min(longest))
        points = ends[climbing] + move @ root.T
        log_prob, after = slope(points)
        promised = (g * move).sum(1)
        good = log_prob.isfinite() & (0.5 * ((g + after) * move).sum(1) >= _RISE * promised)
        bend = ((g - after) * move).sum(1)
        ahead = torch.where(bend > 0, move.square().sum(1) / bend, 2 * t)
        length[climbing] = torch.where(good, ahead, t / 4)
        taken = climbing[good]
        ends[taken], gradient[taken] = points[good], after[good]
        climbing = climbing[move.norm(dim=1) > _SHORTEST]
        if not len(climbing):
            break
    return ends
