"""Moments, extremes and gaps of columns, added up."""

from __future__ import annotations

import numpy as np


class Moments:
    r"""Of each of d columns: the weight of its values, how many are missing, mean, variance and extremes.

    Means and sums of squares about them are merged as

    .. math:: M = M_1 + M_2 + \frac{w_1 w_2}{w_1 + w_2} (m_2 - m_1)^2,

    so that a large mean costs the variance no digits.

    References:
        Chan, Golub, LeVeque, *Algorithms for computing the sample variance*, Am. Stat. 1983.

    Example:
        >>> x = np.random.default_rng(0).normal(1e6, 1.0, size=(100, 2))
        >>> moments = Moments(2).add(x[:30], np.ones(30)).merge(Moments(2).add(x[30:], np.ones(70)))
        >>> np.allclose(moments.variance, x.var(0))
        True
    """

    def __init__(self, d: int) -> None:
        self.weight, self.mean, self.squares = np.zeros(d), np.zeros(d), np.zeros(d)
        self.missing = np.zeros(d, np.int64)
        self.low, self.high = np.full(d, np.inf), np.full(d, -np.inf)

    @property
    def variance(self) -> np.ndarray:
        """Weighted variance (d,); NaN of a column without a value."""
        with np.errstate(invalid="ignore"):
            found: np.ndarray = self.squares / self.weight
        return found

    def add(self, rows: np.ndarray, weights: np.ndarray) -> Moments:
        """Takes in rows (n, d), NaN where a cell is missing, with weights (n,); returns itself."""
        missing = np.isnan(rows)
        found, w = Moments(rows.shape[1]), np.where(missing, 0.0, weights[:, None])
        found.weight, found.missing = w.sum(0), missing.sum(0)
        values, some = np.where(missing, 0.0, rows), found.weight > 0
        np.divide((w * values).sum(0), found.weight, out=found.mean, where=some)
        found.squares = (w * np.square(values - found.mean)).sum(0)
        found.low = np.where(missing, np.inf, rows).min(0, initial=np.inf)
        found.high = np.where(missing, -np.inf, rows).max(0, initial=-np.inf)
        return self.merge(found)

    def merge(self, other: Moments) -> Moments:
        """Takes in those of other rows; returns itself."""
        total = self.weight + other.weight
        share = np.divide(other.weight, total, out=np.zeros_like(total), where=total > 0)
        step = other.mean - self.mean
        self.squares = self.squares + other.squares + self.weight * share * np.square(step)
        self.mean, self.weight, self.missing = self.mean + share * step, total, self.missing + other.missing
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return self
