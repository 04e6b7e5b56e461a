"""A table: named columns of numbers, with what a file says of its rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from disco_samplers.draws import Draws, described_of

Bound = tuple[float | None, float | None]


@dataclasses.dataclass(frozen=True)
class Table:
    """Named columns of numbers in float64, and what is known of the rows.

    Arguments:
        values: (n, d).
        names: of the d columns.
        lengths: of the chains that are stacked in the rows; none where all rows are one.
        index: columns (n,) that only say which row is which.
        chained: whether the rows of a chain are in the order in which they were drawn.
        weights: (n,), where rows weigh differently.
        log_prob: (n,), the log-density at the rows up to a constant, where it is known.
        support: of columns by name, and of groups by tuples of names, as :class:`~disco_samplers.Draws` takes it.
        stats: further columns (n,) that are no variables: a sampler's diagnostics, derived quantities.
        stood: whether the weights are the steps for which a chain stood at a row.
        where: where each row stands in its file, as columns (n,): file, line, row, chain, draw.
        texts: columns that hold no numbers, with what is to be said where one of them is taken.
    """

    values: np.ndarray
    names: list[str]
    lengths: tuple[int, ...] = ()
    index: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    chained: bool = False
    weights: np.ndarray | None = None
    log_prob: np.ndarray | None = None
    support: dict[Any, Any] = dataclasses.field(default_factory=dict)
    stats: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    stood: bool = False
    where: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    texts: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def num_chains(self) -> int:
        """How many chains are stacked in the rows."""
        return len(self.lengths) or 1

    @property
    def by_chain(self) -> np.ndarray:
        """The values as (chain, draw, d)."""
        return self.values.reshape(self.num_chains, -1, self.values.shape[1])

    def draws(self, *, iid: bool = False) -> Draws:
        """The rows as draws; ``iid`` takes them for independent ones, also where they are chains.

        Raises:
            ValueError: if they are none: fewer than two rows, missing values, all rows the same.
        """
        self.finite()
        chains = self.chained and not iid
        shape = self.by_chain.shape[:2] if chains else (len(self.values),)
        return Draws(
            self.by_chain if chains else self.values,
            weights=None if self.weights is None else self.weights.reshape(shape),
            names=self.names,
            support=described_of(self.support, self.names) if self.support else None,
            log_prob=self.log_prob,
        )

    def take(self, rows: np.ndarray, lengths: Sequence[int]) -> Table:
        """Some of the rows, by number, which are chains of these lengths."""
        return self._each(lambda column: column[rows], tuple(map(int, lengths)))

    def place(self, row: int) -> str:
        """Where a row stands, as ``draws.csv, line 7``."""
        found = [str(column[row]) if name == "file" else f"{name} {column[row]}" for name, column in self.where.items()]
        return ", ".join(found or [f"row {row}"])

    def numbers(self) -> Table:
        """Itself.

        Raises:
            ValueError: with line and column, if one of its columns holds no numbers.
        """
        if self.texts:
            raise ValueError(next(iter(self.texts.values())))
        return self

    def finite(self) -> Table:
        """Itself.

        Raises:
            ValueError: with place and column, if a value is missing or infinite.
        """
        wrong = ~np.isfinite(self.values)
        if bad := [name for name, some in zip(self.names, wrong.any(0), strict=True) if some]:
            rows = np.flatnonzero(wrong.any(1))
            first = self.names[int(wrong[rows[0]].argmax())]
            kind = "missing" if np.isnan(self.values[rows[0], self.names.index(first)]) else "infinite"
            raise ValueError(
                f"{self.place(rows[0])}, column {first}: {kind}; {len(rows)} of {len(wrong)} rows hold missing or infinite "
                f"values, in column(s) {', '.join(bad)}: drop or impute them"
            )
        return self

    def burnt_in(self, burn_in: float) -> Table:
        """Without the first rows of each chain: so many, or a share below one.

        Raises:
            ValueError: if nothing is left.
        """
        shortest = min(self.lengths, default=len(self.values))
        if not (0 <= burn_in < shortest and (burn_in < 1 or burn_in == int(burn_in))):
            raise ValueError(
                f"burn-in must be a share below 1, or a whole number below the {shortest} draws of a chain, got {burn_in:g}"
            )
        return self._of_each_chain(lambda length: slice(int(burn_in * length if burn_in < 1 else burn_in), None))

    def last(self, count: int) -> Table:
        """The last so many rows of each chain."""
        return self._of_each_chain(lambda length: slice(length - count, None))

    def thinned(self, thinning: int) -> Table:
        """Every ``thinning``-th row of each chain.

        Raises:
            ValueError: if it is below 1, or the rows are weighted and in no order.
        """
        if thinning < 1:
            raise ValueError(f"thinning must be at least 1, got {thinning}")
        if thinning > 1 and self.weights is not None and not self.chained:
            raise ValueError("weighted rows cannot be thinned")
        return self._of_each_chain(lambda length: slice(None, None, thinning))

    def labelled(self, index: Sequence[str]) -> Table:
        """With columns moved to the index.

        Raises:
            ValueError: if there is no such column.
        """
        wanted = [name for name in index if name not in self.index]
        if missing := [name for name in wanted if name not in self.names]:
            raise ValueError(f"has no column {', '.join(missing)} to take as index")
        own = {name: self.values[:, self.names.index(name)] for name in wanted}
        return dataclasses.replace(self._keep([n for n in self.names if n not in own]), index=self.index | own)

    def weighted_by(self, name: str) -> Table:
        """With a column as the rows' weights; one whose name begins with log holds their logarithms.

        Raises:
            ValueError: if there is no such column, or the rows have weights already.
        """
        if name not in self.names and name not in self.stats:
            raise ValueError(f"has no column {name} to take as weights: there are {', '.join([*self.names, *self.stats])}")
        if self.weights is not None:
            raise ValueError(f"has weights of its own, besides the column {name}")
        column = self.stats[name] if name in self.stats else self.values[:, self.names.index(name)]
        weights = from_logs(column) if name.lower().startswith("log") else column
        return dataclasses.replace(self._keep([n for n in self.names if n != name]), weights=weights)

    def select(self, columns: Sequence[str] | None, exclude: Sequence[str] = ()) -> Table:
        """Some of the columns, or all but some; ``theta`` stands for theta[0], theta[1] and so on.

        Columns that are no variables are taken where they are named; those of the index and of text may be excluded. The
        log-density, that of all columns, does not stay.

        Raises:
            ValueError: if there is no such column, it holds no numbers, or none is left.
        """
        known = [*self.names, *self.stats]
        wanted = (
            [n for column in columns for n in _matching(column, [*known, *self.texts])] if columns is not None else self.names
        )
        dropped = [n for column in exclude for n in _matching(column, [*known, *self.texts, *self.index])]
        left = list(dict.fromkeys(name for name in wanted if name not in dropped))
        if words := [name for name in left if name in self.texts]:
            raise ValueError(self.texts[words[0]])
        if not left:
            raise ValueError("no column is left")
        kept = dataclasses.replace(
            self._keep(left),
            index={name: column for name, column in self.index.items() if name not in dropped},
            texts={} if columns is not None else {name: said for name, said in self.texts.items() if name not in dropped},
        )
        return kept if sorted(left) == sorted(self.names) else dataclasses.replace(kept, log_prob=None)

    def holds(self, name: str) -> bool:
        """Whether there is such a column, of whatever kind, or ``name[0]`` and so on."""
        return bool(_matching(name, [*self.names, *self.stats, *self.texts, *self.index], strict=False))

    def without(self, names: Sequence[str]) -> Table:
        """Without these columns, where they are there."""
        known = [*self.names, *self.texts]
        dropped = [name for column in names for name in _matching(column, known, strict=False)]
        kept = self._keep([name for name in self.names if name not in dropped])
        return dataclasses.replace(kept, texts={name: said for name, said in self.texts.items() if name not in dropped})

    def _keep(self, names: list[str]) -> Table:
        parts = [self.stats[n] if n in self.stats else self.values[:, self.names.index(n)] for n in names]
        values = np.stack(parts, 1) if parts else np.empty((len(self.values), 0))
        stats = {name: column for name, column in self.stats.items() if name not in names}
        return dataclasses.replace(self, values=np.ascontiguousarray(values), names=names, stats=stats)

    def _of_each_chain(self, which: Callable[[int], slice]) -> Table:
        lengths = self.lengths or (len(self.values),)
        ends = np.cumsum(lengths)
        rows = [np.arange(end - length, end)[which(length)] for end, length in zip(ends, lengths, strict=True)]
        return self.take(np.concatenate(rows), [len(part) for part in rows])

    def _each(self, change: Callable[[np.ndarray], np.ndarray], lengths: tuple[int, ...]) -> Table:
        return dataclasses.replace(
            self,
            values=np.ascontiguousarray(change(self.values)),
            lengths=lengths,
            index={name: change(column) for name, column in self.index.items()},
            weights=None if self.weights is None else change(self.weights),
            log_prob=None if self.log_prob is None else change(self.log_prob),
            stats={name: change(column) for name, column in self.stats.items()},
            where={name: change(column) for name, column in self.where.items()},
        )


def _matching(column: str, known: Sequence[str], *, strict: bool = True) -> list[str]:
    found = [column] if column in known else [name for name in known if name.startswith(f"{column}[")]
    if strict and not found:
        raise ValueError(f"has no column {column}: there are {', '.join(known)}")
    return found


def from_logs(log_weights: np.ndarray) -> np.ndarray:
    """Weights of log-weights, the largest one.

    Raises:
        ValueError: if one is not a number, or none is finite.
    """
    top = float(log_weights.max()) if len(log_weights) else 0.0
    if not math.isfinite(top):
        raise ValueError(f"log-weights must be numbers, and not all of them -inf, got {top}")
    with np.errstate(under="ignore"):
        found: np.ndarray = np.exp(log_weights - top)
    return found
