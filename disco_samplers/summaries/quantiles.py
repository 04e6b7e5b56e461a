"""A sketch of one column's quantiles whose merging is exact: it does not matter in which parts, or in which turn, rows came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SIGN = np.uint64(1 << 63)


class QuantileSketch:
    r"""A histogram of numbers whose cells are floating-point numbers with their last bits left out.

    The bits of a number, read as an integer u in the numbers' order, are cut by the least shift s that leaves no more than
    ``size`` different cells :math:`\lfloor u / 2^s \rfloor`. Cells are narrow where numbers are close to one another or to
    zero. As fewer numbers never need a larger shift, the sketch of a union is the same whatever parts it was merged from.

    Quantiles are interpolated within a cell: the error in rank is below the share of one cell, some 1 / ``size`` where the
    density is smooth.

    Arguments:
        size: most cells; 16 bytes each.

    References:
        Shrivastava, Buragohain, Agrawal, Suri, *Medians and beyond: new aggregation techniques for sensor networks*, SenSys
        2004, for merging histograms of binary prefixes; Masson, Rim, Lee, *DDSketch*, VLDB 2019 (https://arxiv.org/abs/1908.10693),
        for cells of relative width.

    Example:
        >>> x = np.random.default_rng(0).normal(size=100_000)
        >>> sketch = QuantileSketch().add(x[:70_000]).merge(QuantileSketch().add(x[70_000:]))
        >>> bool(np.abs(sketch.quantile([0.01, 0.5, 0.99]) - np.quantile(x, [0.01, 0.5, 0.99])).max() < 1e-2)
        True
    """

    def __init__(self, size: int = 4096) -> None:
        self.size, self.shift = size, 0
        self.cells, self.weights = np.empty(0, np.uint64), np.empty(0)
        self.low, self.high = np.inf, -np.inf

    def add(self, values: np.ndarray, weights: np.ndarray | None = None) -> QuantileSketch:
        """Takes in finite values (n,), with weights (n,); returns itself."""
        if len(values):
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
            self._take(_order(values) >> np.uint64(self.shift), np.ones(len(values)) if weights is None else weights)
        return self

    def merge(self, other: QuantileSketch) -> QuantileSketch:
        """Takes in another sketch of the same size; returns itself."""
        shift = max(self.shift, other.shift)
        self.cells, self.shift = self.cells >> np.uint64(shift - self.shift), shift
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._take(other.cells >> np.uint64(shift - other.shift), other.weights)
        return self

    def quantile(self, levels: Sequence[float] | np.ndarray | float) -> np.ndarray:
        """Quantiles at levels between 0 and 1, of their shape; NaN where nothing was taken in."""
        wanted = np.asarray(levels, np.float64)
        if not len(self.cells):
            return np.full(wanted.shape, np.nan)
        reached = np.r_[0.0, self.weights.cumsum()]
        cell = (np.searchsorted(reached, wanted * reached[-1], side="right") - 1).clip(0, len(self.cells) - 1)
        within = (wanted * reached[-1] - reached[cell]) / self.weights[cell]
        left = self._edge(self.cells[cell])
        # Of numbers that kept all their bits a cell is one number.
        right = left if not self.shift else self._edge(self.cells[cell] + np.uint64(1))
        found: np.ndarray = left + within * (right - left)
        return found.clip(self.low, self.high)

    def _edge(self, cells: np.ndarray) -> np.ndarray:
        """Least number of each cell, within those that were taken in."""
        ends = _order(np.array([self.low, self.high]))
        found: np.ndarray = _number((cells << np.uint64(self.shift)).clip(*ends))
        return found

    def _take(self, cells: np.ndarray, weights: np.ndarray) -> None:
        cells, weights = np.concatenate([self.cells, cells]), np.concatenate([self.weights, weights])
        self.cells, self.weights = _summed(cells, weights)
        if len(self.cells) > self.size:
            different = self.cells[1:] ^ self.cells[:-1]
            extra = next(s for s in range(1, 65) if 1 + np.count_nonzero(different >> np.uint64(s)) <= self.size)
            self.shift += extra
            self.cells, self.weights = _summed(self.cells >> np.uint64(extra), self.weights)


def _summed(cells: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different cells in order, and the weight in each."""
    found, own = np.unique(cells, return_inverse=True)
    return found, np.bincount(own, weights, len(found))


def _order(values: np.ndarray) -> np.ndarray:
    """Numbers in float64 as integers in the same order."""
    bits = (np.asarray(values, np.float64) + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _number(order: np.ndarray) -> np.ndarray:
    """The numbers whose integers these are."""
    return np.where(order & _SIGN, order & ~_SIGN, ~order).view(np.float64)
