"""Rows as chains: by the columns ``chain`` and ``draw`` or by files, repeated where a chain stood, and of one length."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np

from disco_samplers.draws import DrawsWarning
from disco_samplers.files.table import Table

INDEX = ("chain", "draw")
"""Columns by which a table of draws tells its rows apart."""

_SHORT = 0.1
"""Share of the longest chain's length below which a chain is no shorter one but a mistake."""


def in_chains(table: Table, labels: Sequence[str] = ()) -> Table:
    """A file's rows as its chains: each as often as the chain stood there, in the order of ``chain`` and ``draw``.

    Where there is a column ``draw`` alone, and its numbers begin anew, a chain begins. A column that is among ``labels`` only
    names the rows.

    Raises:
        ValueError: if the columns do not say of every row which it is.
    """
    if table.stood:
        assert table.weights is not None
        steps = table.weights.astype(int)
        table = dataclasses.replace(table.take(np.repeat(np.arange(len(steps)), steps), ()), weights=None, stood=False)
    index = {name: table.index[name] for name in INDEX if name in table.index and name not in labels}
    if not index or not len(table.values):
        return table
    for name, column in index.items():
        if (bad := np.flatnonzero(~np.isfinite(column))).size:
            raise ValueError(
                f"{table.place(bad[0])}, column {name}: {'missing' if np.isnan(column[bad[0]]) else 'infinite'}, and with it "
                f"which {name} the row is of; if the column is not that, say --index {name}"
            )
    chain = index["chain"] if "chain" in index else _runs(table, index["draw"])
    draw = index.get("draw", np.arange(len(chain)))
    order = np.lexsort((draw, chain))
    if (twice := np.flatnonzero((np.diff(chain[order]) == 0) & (np.diff(draw[order]) == 0))).size:
        first, second = order[twice[0]], order[twice[0] + 1]
        raise ValueError(
            f"{table.place(second)}: draw {draw[second]:g} of chain {chain[second]:g} again, after {table.place(first)}; give "
            "each chain its own number, or say --index chain draw if these columns are not that"
        )
    return dataclasses.replace(table.take(order, np.unique(chain, return_counts=True)[1].tolist()), chained=True)


def stacked(tables: Sequence[Table], names: Sequence[str]) -> Table:
    """Several files' tables, called ``names``, as chains one after the other; columns are brought into the order of the first.

    Raises:
        ValueError: if they have other columns.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    for name, table in zip(names, tables, strict=True):
        if sorted(table.names) != sorted(first.names):
            raise ValueError(f"{name} has columns {', '.join(table.names)}, {names[0]} has {', '.join(first.names)}")
    parts = [table.select(first.names) for table in tables]
    weighted = any(part.weights is not None for part in parts)
    known = [part.log_prob for part in parts]
    return Table(
        np.concatenate([part.values for part in parts]),
        first.names,
        tuple(length for part in parts for length in part.lengths or (len(part.values),)),
        index=_joined([part.index for part in parts]),
        chained=True,
        weights=np.concatenate([_ones(p) if p.weights is None else p.weights for p in parts]) if weighted else None,
        log_prob=None if any(p is None for p in known) else np.concatenate(known),  # type: ignore[arg-type]
        support=first.support,
        stats=_joined([part.stats for part in parts]),
        where=_joined([part.where for part in parts]),
    )


def of_one_length(table: Table) -> Table:
    """With the last draws only of chains that are longer than the shortest, and a warning.

    Raises:
        ValueError: if one is so short that it can hardly be meant.
    """
    shortest, longest = min(table.lengths, default=0), max(table.lengths, default=0)
    if shortest == longest:
        return table
    if shortest < _SHORT * longest:
        begin = sum(table.lengths[: table.lengths.index(shortest)])
        raise ValueError(
            f"{table.place(begin)}: here begins a chain of {shortest} draws, and another has {longest}: is it one? "
            "Leave it out, or say iid (--iid)"
        )
    warnings.warn(
        f"chains of {shortest} to {longest} draws: of the longer ones the last {shortest} are taken", DrawsWarning, stacklevel=2
    )
    return table.last(shortest)


def _runs(table: Table, draw: np.ndarray) -> np.ndarray:
    """Which run of numbers that grow each row is of: the numbers begin anew where a chain does.

    Raises:
        ValueError: if numbers occur again in another way.
    """
    if len(np.unique(draw)) == len(draw):
        return np.zeros(len(draw))
    begins = np.flatnonzero(np.append(True, np.diff(draw) <= 0))
    lengths = np.diff(np.append(begins, len(draw)))
    run = np.repeat(np.arange(len(begins)), lengths)
    longest = draw[run == lengths.argmax()]
    if lengths.max() > 1 and (draw == longest[np.arange(len(draw)) - begins[run]]).all():
        return run
    again = np.setdiff1d(np.arange(len(draw)), np.unique(draw, return_index=True)[1])[0]
    raise ValueError(
        f"{table.place(again)}: draw {draw[again]:g} again: add a column chain, or say --index draw if the column draw is "
        "no count"
    )


def _joined(columns: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns that all have, one after the other."""
    return {name: np.concatenate([c[name] for c in columns]) for name in columns[0] if all(name in c for c in columns)}


def _ones(table: Table) -> np.ndarray:
    return np.ones(len(table.values))
