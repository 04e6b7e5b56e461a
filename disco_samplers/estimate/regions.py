"""The regions of highest density of an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor
from disco_samplers.draws import Circle, Support
from disco_samplers.estimate.places import off_edges, within
from disco_samplers.estimators import check_single
from disco_samplers.pictures import closed_lines, widened
from disco_samplers.types import ArrayLike

_DRAWS, _OWN = 4096, 2048
"""Draws of the proposal, and of the estimate itself where the proposal will not do."""

_WORTH = 400
"""Independent draws that weighted ones must be worth to tell a level."""

_SIDE = 128
"""Places of a side of the plane in which contours are looked for."""

_NODES, _HALVINGS = 1001, 24
"""Evenly spaced places besides the draws at which a density of one column is looked at, and halvings of a crossing's cell."""


class HighestDensity:
    r"""The smallest region that holds a given share of an estimate's mass; made by ``DensityEstimate.highest_density``.

    .. math:: R = \{x : \log f(x) \ge \ell\}, \qquad \int_R f\,dx = \text{mass}

    References:
        Hyndman, *Computing and graphing highest density regions*, The American Statistician 1996, for the level as a quantile
        of the log-density of draws.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
        >>> region = DiScoFormer.from_pretrained().condition(x).highest_density(0.9)
        >>> region.contains(torch.tensor([[0.0], [3.0]]))
        tensor([ True, False])
        >>> region.intervals.shape  # from about -1.6 to about 1.6
        torch.Size([1, 2])
    """

    def __init__(self, estimate: Any, mass: float, level: float, places: Tensor, *, numpy: bool) -> None:
        self.estimate, self.mass, self.level = estimate, mass, level
        self._places, self._numpy = places, numpy

    def contains(self, points: ArrayLike) -> Any:
        """Whether points (m, d) lie in the region, as (m,). Raises as ``DensityEstimate.log_prob`` does."""
        return self.estimate.log_prob(points) >= self.level

    @property
    def fraction(self) -> float:
        """Share of the context's rows in the region, by their weights; of a good estimate about :attr:`mass`."""
        inside, counts = self.contains(self.estimate.samples), self.estimate.counts
        return float(inside.double().mean() if counts is None else counts.double()[inside].sum() / counts.double().sum())

    @property
    def intervals(self) -> Any:
        """Ends (k, 2) of the intervals that the region of one column is made of: several where it has several modes.

        Of angles one may end beyond the turn in which they are given, as (350, 370) does.

        Raises:
            ValueError: if the estimate is of more columns than one.
        """
        if self.estimate.dim > 1:
            raise ValueError(
                f"intervals are of one column, and the estimate has {self.estimate.dim}: take those of its marginal, as "
                "estimate.marginal([0]).highest_density(0.9).intervals"
            )
        found = self._intervals.to(self.estimate.samples.dtype)
        return found.cpu().numpy() if self._numpy else found

    @property
    def contours(self) -> list[Any]:
        """Closed lines, each (k, 2), around the parts of the region of two columns; needs matplotlib.

        Where the region ends with the support, they go along its edge.

        Raises:
            ValueError: if the estimate is not of two columns.
            ImportError: if matplotlib is not installed.
        """
        if self.estimate.dim != 2:
            raise ValueError(
                f"contours are of two columns, and the estimate has {self.estimate.dim}: "
                + ("see intervals" if self.estimate.dim == 1 else "take those of its marginal, as estimate.marginal([0, 1])")
            )
        supports = self.estimate.support or [Support()] * 2
        ranges = [widened((float(c.min()), float(c.max())), 0.1) for c in self._places.unbind(1)]
        axes = [np.linspace(*within(ends, one), _SIDE) for ends, one in zip(ranges, supports, strict=True)]
        off = [off_edges(axis, one) for axis, one in zip(axes, supports, strict=True)]
        points = torch.from_numpy(np.stack(np.meshgrid(*off), -1).reshape(-1, 2)).to(self._places.device)
        log_prob = self.estimate.log_prob(points).cpu().numpy().reshape(_SIDE, _SIDE)
        lines = closed_lines(axes[0], axes[1], log_prob, self.level)
        samples = self.estimate.samples
        return lines if self._numpy else [torch.from_numpy(line).to(samples) for line in lines]

    def __repr__(self) -> str:
        return f"HighestDensity(mass={self.mass:g}, level={self.level:.4g}, d={self.estimate.dim})"

    @cached_property
    def _intervals(self) -> Tensor:
        """Looked for between the places where draws lie, and up to as far beyond them as they reach."""
        low, high = float(self._places.min()), float(self._places.max())
        bounds = Support() if self.estimate.support is None else self.estimate.support[0]
        reach = high - low
        ends = (
            low - reach if bounds.low is None else max(bounds.low, low - reach),
            high + reach if bounds.high is None else min(bounds.high, high + reach),
        )
        even = torch.linspace(*ends, _NODES, dtype=torch.float64, device=self._places.device)
        nodes = torch.cat([even, self._places[:, 0]]).unique()
        inside = self.contains(nodes[:, None])
        turns = torch.nonzero(inside[1:] != inside[:-1])[:, 0]
        left, right, was_in = nodes[turns], nodes[turns + 1], inside[turns]
        for _ in range(_HALVINGS if len(turns) else 0):
            middle = (left + right) / 2
            same = self.contains(middle[:, None]) == was_in
            left, right = torch.where(same, middle, left), torch.where(same, right, middle)
        # What begins or ends within the region does so at the edge of the support.
        edges = [nodes[:1][inside[:1]], (left + right) / 2, nodes[-1:][inside[-1:]]]
        found = torch.cat(edges).view(-1, 2)
        if isinstance(bounds, Circle) and len(found) > 1 and bool(inside[0] & inside[-1]):
            # The last interval goes on as the first one, a turn later.
            found = torch.cat([found[1:-1], torch.stack([found[-1, :1], found[0, 1:] + bounds.period], 1)])
        return found


def highest_density(estimate: Any, mass: float, generator: torch.Generator | None, *, numpy: bool = False) -> HighestDensity:
    """The region of highest density; see :meth:`DensityEstimate.highest_density`, whose errors these are."""
    check_single(estimate.samples, "highest_density")
    if isinstance(mass, bool) or not isinstance(mass, (int, float)):
        raise TypeError(f"mass must be a number in (0, 1), such as 0.9, got {mass!r}")
    if not 0 < mass < 1:
        raise ValueError(f"mass must be in (0, 1), such as 0.9, got {mass}")
    points, log_prob, share = _drawn(estimate, generator)
    return HighestDensity(estimate, float(mass), _levels(log_prob, share, [mass])[0], points, numpy=numpy)


def density_levels(estimate: Any, masses: Sequence[float], generator: torch.Generator | None) -> list[float]:
    """The log-densities above which lie shares of an estimate's mass, all told by the same draws."""
    _, log_prob, share = _drawn(estimate, generator)
    return _levels(log_prob, share, masses)


def _levels(log_prob: Tensor, share: Tensor, masses: Sequence[float]) -> list[float]:
    order = log_prob.argsort()
    below = share[order].cumsum(0)
    wanted = 1 - torch.tensor(masses, dtype=below.dtype, device=below.device)
    found = torch.searchsorted(below, wanted).clamp_max(len(below) - 1)
    levels: list[float] = log_prob[order][found].tolist()
    return levels


def _drawn(estimate: Any, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """Draws (m, d) of an estimate, their log-density (m,) and shares (m,) of its mass.

    Those of its proposal, weighted, cost a tenth; in many columns few of them have all the weight, and its own are taken.
    """
    proposal = estimate.proposal(generator=generator)
    points = as_tensor(proposal.sample(_DRAWS, generator=generator), "draws").to(estimate.samples.device).double()
    log_prob = estimate.log_prob(points)
    share = torch.softmax(log_prob - proposal.log_prob(points), 0)
    if 1 / float(share.square().sum()) >= _WORTH:
        return points, log_prob, share
    own = as_tensor(estimate.sample(_OWN, generator=generator), "draws").to(points)
    return own, estimate.log_prob(own), own.new_full((_OWN,), 1 / _OWN)
