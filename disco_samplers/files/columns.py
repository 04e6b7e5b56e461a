"""Tables from columns: index and weights that a table of draws carries are told from its variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from disco_samplers.arrays import default_names
from disco_samplers.files.table import Table, from_logs

INDEX = ("chain", "draw")
"""Columns by which a table of draws tells its rows apart."""

LOG_WEIGHT = ".log_weight"
"""The column of log-weights, as R's package posterior calls it; its .chain, .iteration and .draw are known too."""

LOG_PROB = ".log_prob"
"""The column of the log-density at the rows."""

UNNAMED = "arr_0"
"""What numpy calls an array that was saved without a name."""


def table_of(values: np.ndarray, names: Sequence[str], labels: dict[str, np.ndarray] | None = None) -> Table:
    """Takes out the index columns and weights that a table of draws may carry, and the columns given as ``labels``."""
    names, labels = list(names), labels or {}
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"column name(s) {', '.join(repeated)} occur more than once")
    columns = {name: values[:, i] for i, name in enumerate(names) if name not in labels}
    if ".draw" in columns:  # counts on through all chains, where .iteration begins anew
        columns.pop(".draw")
        columns |= {new: columns.pop(old) for old, new in ((".chain", "chain"), (".iteration", "draw")) if old in columns}
    weights, log_prob = columns.pop(LOG_WEIGHT, None), columns.pop(LOG_PROB, None)
    stats = {} if log_prob is None else {LOG_PROB: log_prob}
    index = labels | {name: columns.pop(name) for name in (*INDEX, "") if name in columns}
    body = np.stack(list(columns.values()), 1) if columns else np.empty((len(values), 0))
    weighted = None if weights is None else from_logs(weights)
    table = Table(body, list(columns), 1, index, weights=weighted, log_prob=log_prob, stats=stats)
    if not {*INDEX} & {*index} - {*labels} or not len(body):
        return table
    chain, draw = (index.get(name, np.zeros(len(values))) for name in INDEX)
    kinds, counts = np.unique(chain, return_counts=True)
    if len(set(counts.tolist())) > 1:
        return dataclasses.replace(table, chained="draw" in index)
    ordered = table.take(np.lexsort((draw, chain)), len(kinds))
    return dataclasses.replace(ordered, chained=len(kinds) > 1 or "draw" in index)


def from_arrays(arrays: dict[str, np.ndarray], labels: dict[str, np.ndarray] | None = None) -> Table:
    """The table of arrays (n,) or (n, k) by name, and of columns given as ``labels``."""
    parts, names = [], []
    for name, array in arrays.items():
        values = numeric(array, name)
        if values.ndim not in (1, 2):
            raise ValueError(
                f"array {name} must have one or two dimensions beside other arrays, got shape {array.shape}: save it alone"
                + (f", np.save({name + '.npy'!r}, {name}), and name its axes" if values.ndim == 3 else "")
            )
        parts.append(values if values.ndim == 2 else values[:, None])
        width = parts[-1].shape[1]
        if name == UNNAMED:
            names += default_names(width)
        else:
            names += [name] if values.ndim == 1 else [f"{name}[{j}]" for j in range(width)]
    if not parts:
        raise ValueError("there are no arrays in it")
    if len({len(part) for part in parts}) > 1:
        raise ValueError("its arrays differ in length: one row of each must belong to one draw")
    return table_of(np.concatenate(parts, 1), names, labels)


def from_chains(draws: np.ndarray, names: Sequence[str], log_prob: np.ndarray | None = None) -> Table:
    """The table of draws (chain, draw, d) and their log-density (chain, draw)."""
    values = np.ascontiguousarray(draws.reshape(-1, draws.shape[2]))
    known = None if log_prob is None else log_prob.reshape(-1)
    stats = {} if known is None else {"log_prob": known}
    return Table(values, list(names), len(draws), chained=True, log_prob=known, stats=stats)


def numeric(array: np.ndarray, name: str) -> np.ndarray:
    """An array in float64; a ValueError names it where it holds no numbers."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"column {name} is not numeric (dtype {array.dtype})")
    return array.astype(np.float64)
