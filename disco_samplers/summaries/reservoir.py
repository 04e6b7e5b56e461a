"""A weighted sample of rows that came one after the other, and whose merging is exact."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

RESERVOIR = 2**15
"""Rows kept where nothing else is said: as many as an estimate of a table is made of."""


class Reservoir:
    r"""A random part of weighted rows, without replacement, that is the same however the rows were dealt to processes.

    Row i of weight w has the key :math:`r_i = E_i / w_i` with :math:`E_i` standard exponential, and the ``size`` rows of lowest
    key are kept. :math:`E_i` depends on the seed and on which row it is alone (its part and its number there), by a
    counter-based generator, so that the rows kept of a union are the lowest of the rows kept of its parts. With
    :math:`\tau` the lowest key that is not kept, the weights

    .. math:: a_i = \frac{w_i}{1 - e^{-w_i \tau}}

    make sums over the rows kept unbiased estimates of sums over all. They are equal if all weights are.

    Arguments:
        size: most rows kept.
        seed: of the keys.

    References:
        Efraimidis, Spirakis, *Weighted random sampling with a reservoir*, Inf. Process. Lett. 2006, for the keys; Cohen,
        Kaplan, *Summarizing data using bottom-k sketches*, PODC 2007, for the weights; Salmon, Moraes, Dror, Shaw, *Parallel
        random numbers: as easy as 1, 2, 3*, SC 2011, for the generator.

    Example:
        >>> rows = np.arange(10.0)[:, None]
        >>> whole = Reservoir(size=4).add(rows, part=0, first=0)
        >>> halves = Reservoir(size=4).add(rows[5:], part=0, first=5).merge(Reservoir(size=4).add(rows[:5], part=0, first=0))
        >>> np.array_equal(whole.rows, halves.rows)
        True
    """

    def __init__(self, size: int = RESERVOIR, seed: int = 0) -> None:
        self.size, self.seed, self.threshold = size, seed, np.inf
        self.rows, self.own = np.empty((0, 0)), np.empty(0)
        self.keys, self.places = np.empty(0), np.empty((0, 2), np.int64)

    def add(self, rows: np.ndarray, weights: np.ndarray | None = None, *, part: int, first: int | np.ndarray) -> Reservoir:
        """Takes in rows (n, d), those from number ``first`` of a part on or of such numbers (n,), with weights (n,).

        Returns itself.
        """
        numbers = first if isinstance(first, np.ndarray) else np.arange(first, first + len(rows))
        own = np.ones(len(rows)) if weights is None else weights
        with np.errstate(divide="ignore"):
            keys = _exponentials(self.seed, part, numbers) / own
        some = np.flatnonzero(keys < self.threshold)
        places = np.stack([np.full(len(some), part, np.int64), numbers[some]], 1)
        return self._take(rows[some], own[some], keys[some], places)

    def merge(self, other: Reservoir) -> Reservoir:
        """Takes in another reservoir, of the same size and seed and of other rows; returns itself."""
        self.threshold = min(self.threshold, other.threshold)
        return self._take(other.rows, other.own, other.keys, other.places)

    @property
    def weights(self) -> np.ndarray | None:
        """The rows' weights a (n,), or None where all are equal."""
        if not len(self.own) or not np.ptp(self.own):
            return None
        found: np.ndarray = self.own / -np.expm1(-self.own * self.threshold)
        return found

    def _take(self, rows: np.ndarray, own: np.ndarray, keys: np.ndarray, places: np.ndarray) -> Reservoir:
        if not len(rows):
            rows = self.rows[:0]
        parts = ((self.rows, rows), (self.own, own), (self.keys, keys), (self.places, places))
        rows, own, keys, places = (np.concatenate([old.reshape(len(old), *new.shape[1:]), new]) for old, new in parts)
        if len(keys) > self.size:
            lowest = np.argpartition(keys, self.size)
            self.threshold = min(self.threshold, float(keys[lowest[self.size]]))
        kept = np.flatnonzero(keys < self.threshold)
        # In one order, whichever was taken in first.
        kept = kept[np.lexsort((places[kept, 1], places[kept, 0]))]
        if len(kept) > 1 and (np.diff(places[kept], axis=0) == 0).all(1).any():
            raise ValueError(
                "rows of the same part and number were taken in twice: give each share of a table a part= of its own"
            )
        self.rows, self.own, self.keys, self.places = rows[kept], own[kept], keys[kept], places[kept]
        return self


def _exponentials(seed: int, part: int, numbers: np.ndarray) -> np.ndarray:
    """Standard exponential numbers of rows (n,), each by the seed, the part and its number alone."""
    key = np.array([seed, part], np.uint64)
    starts = np.r_[0, np.flatnonzero(np.diff(numbers) != 1) + 1, len(numbers)]
    words = [
        np.random.Philox(key=key, counter=int(numbers[start])).random_raw(4 * (stop - start))[::4]
        for start, stop in pairwise(starts)
        if stop > start
    ]
    # In (0, 1), never at an end.
    uniform = ((np.concatenate([np.empty(0, np.uint64), *words]) >> np.uint64(11)) + 0.5) * 2.0**-53
    found: np.ndarray = -np.log(uniform)
    return found
