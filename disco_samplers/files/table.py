"""A table: named columns of numbers, with what says which row is which."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from disco_samplers.arrays import default_names

INDEX = ("chain", "draw")
"""Columns by which a table of draws tells its rows apart."""

UNNAMED = "arr_0"
"""What numpy calls an array that was saved without a name."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Named columns of numbers: values (n, d) in float64, how many chains of equal length are stacked in the rows, and the
    columns (n,) that only say which row is which."""

    values: np.ndarray
    names: list[str]
    num_chains: int = 1
    index: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def by_chain(self) -> np.ndarray:
        """The values as (chain, draw, d)."""
        return self.values.reshape(self.num_chains, -1, self.values.shape[1])


def table_of(values: np.ndarray, names: Sequence[str], labels: dict[str, np.ndarray] | None = None) -> Table:
    """Takes out the index columns that a table of draws may carry, and those given as ``labels``."""
    names, labels = list(names), labels or {}
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"column name(s) {', '.join(repeated)} occur more than once")
    chains = 1
    index = labels | {name: values[:, names.index(name)] for name in (*INDEX, "") if name in names and name not in labels}
    keep = [i for i, name in enumerate(names) if name not in index]
    if len(keep) < len(names):
        chain, draw = (index.get(name, np.zeros(len(values))) for name in INDEX)
        kinds, counts = np.unique(chain, return_counts=True)
        if len(set(counts.tolist())) == 1:
            order, chains = np.lexsort((draw, chain)), len(kinds)
            values, index = values[order], {name: column[order] for name, column in index.items()}
        values, names = values[:, keep], [names[i] for i in keep]
    return Table(np.ascontiguousarray(values), names, chains, index)


def from_arrays(arrays: dict[str, np.ndarray], *, single: bool = False) -> Table:
    """The table of arrays by name; a ``single`` one may be (chain, draw, d)."""
    parts, names, chains = [], [], 1
    for name, array in arrays.items():
        values = numeric(array, name)
        if values.ndim == 3 and single:
            chains = values.shape[0]
            values = values.reshape(chains * values.shape[1], values.shape[2])
        if values.ndim not in (1, 2):
            raise ValueError(f"array {name} must have one or two dimensions, got shape {array.shape}")
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
    table = table_of(np.concatenate(parts, 1), names)
    return table if chains == 1 else dataclasses.replace(table, num_chains=chains)


def numeric(array: np.ndarray, name: str) -> np.ndarray:
    """An array in float64; a ValueError names it where it holds no numbers."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"column {name} is not numeric (dtype {array.dtype})")
    return array.astype(np.float64)
