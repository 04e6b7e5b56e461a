"""Tables from columns: index and weights that a table of draws carries are told from its variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from disco_samplers.arrays import default_names
from disco_samplers.files.chains import INDEX
from disco_samplers.files.table import Table, from_logs

_INDICES = ((".chain", ".iteration", ".draw"), ("chain__", "iter__", "draw__"))
"""What R's package posterior and cmdstanpy call the chain, the draw of it, and the draw counted on through all chains."""

LOG_WEIGHT = ".log_weight"
"""The column of log-weights, as posterior calls it."""

LOG_PROB = ".log_prob"
"""The column of the log-density at the rows."""

UNNAMED = "arr_0"
"""What numpy calls an array that was saved without a name."""


OF_ROWS = (*INDEX, *(name for own in _INDICES for name in own), LOG_WEIGHT, LOG_PROB)
"""All columns that say something of the rows."""


def table_of(values: np.ndarray, names: Sequence[str], labels: dict[str, np.ndarray] | None = None) -> Table:
    """Takes out the index columns and weights that a table of draws may carry, and the columns given as ``labels``.

    The rows stay as they are: what the index makes of them, :func:`~disco_samplers.files.chains.in_chains` says.
    """
    names, labels = list(names), labels or {}
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"column name(s) {', '.join(repeated)} occur more than once")
    columns = {name: values[:, i] for i, name in enumerate(names) if name not in labels}
    if "" in names[1:]:
        raise ValueError(f"column {names.index('', 1) + 1} has no name, as only the first one may, an index")
    for own in _INDICES:
        chain, step, through = (columns.pop(name, None) for name in own)
        draw = through if step is None else step
        told = {name: column for name, column in zip(INDEX, (chain, draw), strict=True) if column is not None}
        if twice := sorted(told.keys() & columns.keys()):
            raise ValueError(f"it has a column {twice[0]} besides {', '.join(own)}: leave one of them out")
        columns |= told
    weights, log_prob = columns.pop(LOG_WEIGHT, None), columns.pop(LOG_PROB, None)
    stats = {} if log_prob is None else {LOG_PROB: log_prob}
    index = labels | {name: columns.pop(name) for name in (*INDEX, "") if name in columns}
    body = np.stack(list(columns.values()), 1) if columns else np.empty((len(values), 0))
    weighted = None if weights is None else from_logs(weights)
    return Table(body, list(columns), index=index, weights=weighted, log_prob=log_prob, stats=stats)


def from_arrays(arrays: dict[str, np.ndarray], labels: dict[str, np.ndarray] | None = None) -> Table:
    """The table of arrays (n,) or (n, k) by name, and of columns given as ``labels``."""
    parts: list[np.ndarray] = []
    names: list[str] = []
    texts: dict[str, str] = {}
    for name, array in arrays.items():
        try:
            values = numeric(array, name)
        except ValueError as error:
            texts[name] = str(error)
            continue
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
        raise ValueError(next(iter(texts.values()), "there are no arrays in it"))
    if len({len(part) for part in parts}) > 1:
        raise ValueError("its arrays differ in length: one row of each must belong to one draw")
    return dataclasses.replace(table_of(np.concatenate(parts, 1), names, labels), texts=texts)


def from_chains(draws: np.ndarray, names: Sequence[str], log_prob: np.ndarray | None = None) -> Table:
    """The table of draws (chain, draw, d) and their log-density (chain, draw)."""
    values = np.ascontiguousarray(draws.reshape(-1, draws.shape[2]))
    known = None if log_prob is None else log_prob.reshape(-1)
    stats = {} if known is None else {"log_prob": known}
    chains, count = draws.shape[:2]
    where = {"chain": np.repeat(np.arange(chains), count), "draw": np.tile(np.arange(count), chains)}
    return Table(values, list(names), (count,) * chains, chained=True, log_prob=known, stats=stats, where=where)


def numeric(array: np.ndarray, name: str) -> np.ndarray:
    """An array in float64; a ValueError names it where it holds no numbers."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"column {name} is not numeric (dtype {array.dtype})")
    return array.astype(np.float64)
