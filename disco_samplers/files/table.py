"""A table: named columns of numbers, with what a file says of its rows."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from disco_samplers.draws import Draws, DrawsWarning, described_of

Bound = tuple[float | None, float | None]


@dataclasses.dataclass(frozen=True)
class Table:
    """Named columns of numbers in float64, and what is known of the rows.

    Arguments:
        values: (n, d).
        names: of the d columns.
        num_chains: how many chains of equal length are stacked in the rows.
        index: columns (n,) that only say which row is which.
        chained: whether the rows of a chain are in the order in which they were drawn.
        weights: (n,), where rows weigh differently.
        log_prob: (n,), the log-density at the rows up to a constant, where it is known.
        support: of columns by name, and of groups by tuples of names, as :class:`~disco_samplers.Draws` takes it.
        stats: further columns (n,) that are no variables: a sampler's diagnostics, derived quantities.
    """

    values: np.ndarray
    names: list[str]
    num_chains: int = 1
    index: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    chained: bool = False
    weights: np.ndarray | None = None
    log_prob: np.ndarray | None = None
    support: dict[Any, Any] = dataclasses.field(default_factory=dict)
    stats: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def by_chain(self) -> np.ndarray:
        """The values as (chain, draw, d)."""
        return self.values.reshape(self.num_chains, -1, self.values.shape[1])

    def draws(self, *, iid: bool = False) -> Draws:
        """The rows as draws; ``iid`` takes them for independent ones, also where they are chains.

        Raises:
            ValueError: if they are none: fewer than two rows, missing values, all rows the same.
        """
        chains = self.chained and not iid
        shape = self.by_chain.shape[:2] if chains else (len(self.values),)
        return Draws(
            self.by_chain if chains else self.values,
            weights=None if self.weights is None else self.weights.reshape(shape),
            names=self.names,
            support=described_of(self.support, self.names) if self.support else None,
            log_prob=self.log_prob,
        )

    def take(self, rows: np.ndarray, num_chains: int | None = None) -> Table:
        """Some of the rows, by number."""
        return self._each(lambda column: column[rows], num_chains or self.num_chains)

    def burnt_in(self, burn_in: float) -> Table:
        """Without the first rows of each chain: so many, or a share below one.

        Raises:
            ValueError: if nothing is left.
        """
        length = len(self.values) // self.num_chains
        skip = int(burn_in * length) if burn_in < 1 else int(burn_in)
        if not 0 <= skip < length or (burn_in >= 1 and burn_in != skip):
            raise ValueError(
                f"burn-in must be a share below 1, or a whole number below the {length} draws of a chain, got {burn_in:g}"
            )
        return self._of_each_chain(slice(skip, None))

    def thinned(self, thinning: int) -> Table:
        """Every ``thinning``-th row of each chain.

        Raises:
            ValueError: if it is below 1, or the rows are weighted and in no order.
        """
        if thinning < 1:
            raise ValueError(f"thinning must be at least 1, got {thinning}")
        if thinning > 1 and self.weights is not None and not self.chained:
            raise ValueError("weighted rows cannot be thinned")
        return self._of_each_chain(slice(None, None, thinning))

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

        Columns that are no variables are taken where they are named. The log-density, that of all columns, does not stay.

        Raises:
            ValueError: if there is no such column, or none is left.
        """
        known = [*self.names, *self.stats]
        wanted = [name for column in columns for name in _matching(column, known)] if columns is not None else self.names
        dropped = [name for column in exclude for name in _matching(column, known)]
        left = list(dict.fromkeys(name for name in wanted if name not in dropped))
        if not left:
            raise ValueError("no column is left")
        return self._keep(left) if sorted(left) == sorted(self.names) else dataclasses.replace(self._keep(left), log_prob=None)

    def _keep(self, names: list[str]) -> Table:
        parts = [self.stats[n] if n in self.stats else self.values[:, self.names.index(n)] for n in names]
        values = np.stack(parts, 1) if parts else np.empty((len(self.values), 0))
        stats = {name: column for name, column in self.stats.items() if name not in names}
        return dataclasses.replace(self, values=np.ascontiguousarray(values), names=names, stats=stats)

    def _of_each_chain(self, which: slice) -> Table:
        return self.take(np.arange(len(self.values)).reshape(self.num_chains, -1)[:, which].ravel())

    def _each(self, change: Callable[[np.ndarray], np.ndarray], num_chains: int) -> Table:
        return dataclasses.replace(
            self,
            values=np.ascontiguousarray(change(self.values)),
            num_chains=num_chains,
            index={name: change(column) for name, column in self.index.items()},
            weights=None if self.weights is None else change(self.weights),
            log_prob=None if self.log_prob is None else change(self.log_prob),
            stats={name: change(column) for name, column in self.stats.items()},
        )


def _matching(column: str, known: Sequence[str]) -> list[str]:
    found = [column] if column in known else [name for name in known if name.startswith(f"{column}[")]
    if not found:
        raise ValueError(f"has no column {column}: there are {', '.join(known)}")
    return found


def stacked(tables: Sequence[Table], names: Sequence[str]) -> Table:
    """Several files' tables, called ``names``, as chains one after the other; columns are brought into the order of the first.

    Of longer chains the first rows are left out, with a warning.

    Raises:
        ValueError: if they have other columns.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    for name, table in zip(names, tables, strict=True):
        if sorted(table.names) != sorted(first.names):
            raise ValueError(f"{name} has columns {', '.join(table.names)}, {names[0]} has {', '.join(first.names)}")
    lengths = [len(table.values) // table.num_chains for table in tables]
    if len(set(lengths)) > 1:
        warnings.warn(
            f"chains of {min(lengths)} to {max(lengths)} draws: of the longer ones the last {min(lengths)} are taken",
            DrawsWarning,
            stacklevel=2,
        )
    parts = [t.select(first.names).burnt_in(n - min(lengths)) for t, n in zip(tables, lengths, strict=True)]
    weighted = any(part.weights is not None for part in parts)
    shared = {name for name in first.stats if all(name in part.stats for part in parts)}
    known = [part.log_prob for part in parts]
    return Table(
        np.concatenate([part.values for part in parts]),
        first.names,
        sum(part.num_chains for part in parts),
        chained=True,
        weights=np.concatenate([_ones(p) if p.weights is None else p.weights for p in parts]) if weighted else None,
        log_prob=None if any(p is None for p in known) else np.concatenate(known),  # type: ignore[arg-type]
        support=first.support,
        stats={name: np.concatenate([part.stats[name] for part in parts]) for name in first.stats if name in shared},
    )


def _ones(table: Table) -> np.ndarray:
    return np.ones(len(table.values))


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
