"""The summary of a table: what estimates of tables larger than memory are made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disco_samplers.arrays import as_tensor, check_count, column_names
from disco_samplers.draws import Draws
from disco_samplers.files import replacing
from disco_samplers.frames import frame_names, is_frame
from disco_samplers.summaries.moments import Moments
from disco_samplers.summaries.quantiles import QuantileSketch
from disco_samplers.summaries.reservoir import RESERVOIR, Reservoir


class TableSummary:
    r"""What is kept of a table that is read once: number of rows, moments, extremes, quantiles, and a weighted sample of rows.

    It grows by :meth:`partial_fit` and adds up by :meth:`merge`, so that any number of processes may read any parts of a table
    in any order: rows kept and quantiles are the same to the last bit, moments up to rounding. ``DiScoFormer.condition``,
    ``DiscoDensity.fit`` and ``DiscoOutlierDetector.fit`` take it in place of a table, and make their estimate of the rows kept.

    Arguments:
        size: most rows kept.
        seed: which rows are kept depends on it, and on nothing else.

    Attributes:
        num_rows: rows taken in.
        weight: their weights' sum.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(1000, 2))
        >>> parts = [TableSummary(size=100).partial_fit(part, part=i) for i, part in enumerate(np.split(x, 4))]
        >>> summary = parts[0].merge(parts[1]).merge(parts[3]).merge(parts[2])
        >>> summary.num_rows, summary.rows.shape, bool(abs(summary.mean - x.mean(0)).max() < 1e-12)
        (1000, (100, 2), True)
    """

    def __init__(self, *, size: int = RESERVOIR, seed: int = 0) -> None:
        check_count("size", size, 2)
        check_count("seed", seed, 0)
        self.size, self.seed = size, seed
        self.names: list[str] | None = None
        self.num_rows, self.weight, self._squared_weight = 0, 0.0, 0.0
        self._reservoir = Reservoir(size, seed)
        self._moments, self._sketches = Moments(0), list[QuantileSketch]()

    def partial_fit(
        self,
        rows: Any,
        weights: Any = None,
        *,
        part: int = 0,
        first: int | np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> TableSummary:
        """Takes in more rows; returns itself.

        Arguments:
            rows: (n, d), an array or data frame; NaN where a cell is missing.
            weights: (n,), not negative; 1 if not given.
            part: number of the part of the table that they are of. Summaries that are to be merged are of different parts.
            first: number of the first of them within its part, or numbers (n,) of all of them; by default they follow the rows
                taken in before.
            names: of the columns; a data frame has its own.

        Raises:
            TypeError: if rows or weights are not numbers.
            ValueError: if rows hold infinite values, their columns are not those of before, weights do not fit or are negative,
                or the rows were taken in before.
        """
        check_count("part", part, 0)
        first = self.num_rows if first is None else first
        values = as_tensor(rows, "rows").double().numpy()
        if values.ndim != 2 or not values.shape[1]:
            raise ValueError(f"rows must have shape (n, d), one row a record, got {values.shape}")
        known = frame_names(rows, "rows") if is_frame(rows) else None
        known = known if names is None else column_names(names, values.shape[1])
        if np.ndim(first):
            first = np.asarray(first)
            if first.shape != (len(values),) or first.dtype.kind not in "iu" or (first < 0).any():
                raise ValueError(f"first must be a number, or {len(values)} whole numbers, one a row, none negative")
        else:
            check_count("first", first, 0)
        values = self._aligned(values, known)
        if (wrong := np.isinf(values)).any():
            bad = ", ".join(str(self.names[k] if self.names else k) for k in np.flatnonzero(wrong.any(0)))
            raise ValueError(f"rows hold infinite values in column(s) {bad}: {int(wrong.any(1).sum())} of {len(values)} rows")
        w = np.ones(len(values)) if weights is None else as_tensor(weights, "weights").double().numpy()
        if w.shape != (len(values),) or not (np.isfinite(w).all() and (w >= 0).all()):
            raise ValueError(f"weights must be {len(values)} numbers, one a row, none negative or NaN, got shape {w.shape}")
        self._reservoir.add(values, w, part=part, first=first)
        self._moments.add(values, w)
        for sketch, column in zip(self._sketches, values.T, strict=True):
            there = ~np.isnan(column)
            sketch.add(column[there], w[there])
        self.num_rows += len(values)
        self.weight, self._squared_weight = self.weight + float(w.sum()), self._squared_weight + float(np.square(w).sum())
        return self

    def merge(self, other: TableSummary) -> TableSummary:
        """Takes in the summary of other rows; returns itself.

        Raises:
            TypeError: if it is none.
            ValueError: if its size, seed or columns are other ones, or some of its rows were taken in before.
        """
        if not isinstance(other, TableSummary):
            raise TypeError(f"other must be a TableSummary, got {type(other).__name__}")
        if (other.size, other.seed) != (self.size, self.seed):
            raise ValueError(
                f"summaries of size {self.size}, seed {self.seed} and size {other.size}, seed {other.seed} do not merge: "
                "make them with the same size and seed"
            )
        if not other.num_rows:
            return self
        if not self._sketches:
            self._start(other.dim, other.names)
        if (other.dim, other.names) != (self.dim, self.names):
            raise ValueError(
                f"summaries of other columns do not merge: {_told(self.names, self.dim)} and {_told(other.names, other.dim)}"
            )
        self._reservoir.merge(other._reservoir)
        self._moments.merge(other._moments)
        for sketch, theirs in zip(self._sketches, other._sketches, strict=True):
            sketch.merge(theirs)
        self.num_rows += other.num_rows
        self.weight, self._squared_weight = self.weight + other.weight, self._squared_weight + other._squared_weight
        return self

    @property
    def dim(self) -> int:
        """Number of columns d; 0 before any row."""
        return len(self._sketches)

    @property
    def effective_size(self) -> float:
        """Kish's effective number of all rows taken in."""
        return self.weight**2 / self._squared_weight if self._squared_weight else 0.0

    @property
    def rows(self) -> np.ndarray:
        """The rows kept, (k, d), by part and number; NaN where a cell is missing."""
        return self._reservoir.rows

    @property
    def weights(self) -> np.ndarray | None:
        """Weights of the rows kept, (k,), such that they stand for all rows; None where they are equal."""
        return self._reservoir.weights

    @property
    def mean(self) -> np.ndarray:
        """Weighted mean of each column, (d,)."""
        return np.where(self._moments.weight > 0, self._moments.mean, np.nan)

    @property
    def variance(self) -> np.ndarray:
        """Weighted variance of each column, (d,)."""
        return self._moments.variance

    @property
    def low(self) -> np.ndarray:
        """Least value of each column, (d,)."""
        return self._moments.low

    @property
    def high(self) -> np.ndarray:
        """Largest value of each column, (d,)."""
        return self._moments.high

    @property
    def missing(self) -> np.ndarray:
        """How many cells of each column are missing, (d,)."""
        return self._moments.missing

    def quantile(self, levels: Sequence[float] | np.ndarray | float) -> np.ndarray:
        """Weighted quantiles of all rows taken in: (d,) for a level, (l, d) for l of them. See :class:`QuantileSketch`."""
        wanted = np.asarray(levels, np.float64)
        if not ((wanted >= 0) & (wanted <= 1)).all():
            raise ValueError(f"levels must lie between 0 and 1, got {levels}")
        return np.stack([sketch.quantile(wanted) for sketch in self._sketches], -1)

    def draws(self) -> Draws:
        """The rows kept as draws, with their weights and names.

        Raises:
            ValueError: if they have missing cells, or are fewer than two.
        """
        return Draws(self.rows, weights=self.weights, names=self.names)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as .npz, whole or not at all."""
        states = {"reservoir": self._reservoir, "moments": self._moments}
        states |= {f"sketch.{k}": sketch for k, sketch in enumerate(self._sketches)}
        found: dict[str, Any] = {f"{key}.{name}": value for key, state in states.items() for name, value in vars(state).items()}
        found |= {"num_rows": self.num_rows, "weight": self.weight, "squared_weight": self._squared_weight, "dim": self.dim}
        found |= {} if self.names is None else {"names": np.array(self.names)}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **found)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TableSummary:
        """Reads what :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is none.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no summary at {path}")
        try:
            with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            summary = cls(size=int(found["reservoir.size"]), seed=int(found["reservoir.seed"]))
            summary._start(int(found["dim"]), found["names"].tolist() if "names" in found else None)
            summary.num_rows, summary.weight = int(found["num_rows"]), float(found["weight"])
            summary._squared_weight = float(found["squared_weight"])
            for prefix, state in (("reservoir", summary._reservoir), ("moments", summary._moments)):
                _restore(state, found, prefix)
            for k, sketch in enumerate(summary._sketches):
                _restore(sketch, found, f"sketch.{k}")
        except Exception as error:  # numpy raises a different class for each way a file can be broken
            raise ValueError(f"{path} is not a whole summary of a table: {error}") from error
        return summary

    def _start(self, d: int, names: list[str] | None) -> None:
        self.names, self._moments = names, Moments(d)
        self._sketches = [QuantileSketch() for _ in range(d)]

    def _aligned(self, values: np.ndarray, names: list[str] | None) -> np.ndarray:
        """Rows with their columns in the order of those before."""
        if not self._sketches:
            self._start(values.shape[1], names)
        if names is not None and self.names is not None and set(names) == set(self.names):
            return values[:, [names.index(name) for name in self.names]]
        if values.shape[1] != self.dim or (names and self.names):
            raise ValueError(f"rows have {_told(names, values.shape[1])}, those before had {_told(self.names, self.dim)}")
        return values


def _told(names: list[str] | None, d: int) -> str:
    return f"columns {', '.join(names)}" if names else f"{d} columns"


def _restore(state: Any, found: dict[str, np.ndarray], prefix: str) -> None:
    for name, value in vars(state).items():
        read = found[f"{prefix}.{name}"]
        setattr(state, name, read if isinstance(value, np.ndarray) else type(value)(read))
