"""Arrays as numpy saves them."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Sequence
from typing import IO

import numpy as np

from disco_samplers.arrays import default_names
from disco_samplers.draws import DrawsWarning
from disco_samplers.files.columns import UNNAMED, from_arrays, from_chains, numeric
from disco_samplers.files.nested import LOG_LIKELIHOOD, LOG_WEIGHT, WEIGHT, weights_of
from disco_samplers.files.table import Table

AXES = ("chain", "draw", "variable")
"""What the axes of an array of three dimensions are."""

_MANY = 50
"""Chains, if there are more of them than draws, from which on the axes look confused."""


def read_npy(file: IO[bytes], axes: Sequence[str] | None = None) -> Table:
    """Reads .npy: (n,), (n, d), or of three dimensions, which are what ``axes`` says."""
    return _table({UNNAMED: np.load(file, allow_pickle=False)}, axes)


def read_npz(file: IO[bytes], index: Sequence[str], axes: Sequence[str] | None = None) -> Table:
    """Reads .npz: one array as of .npy, one array a variable, or ``samples`` (n, d) with their weights.

    The weights, which dynesty, ultranest and others call ``weights`` or ``logwt``, may also follow from ``logl`` with
    ``logvol`` or ``birth``.
    """
    with np.load(file, allow_pickle=False) as opened:
        arrays = {name: opened[name] for name in opened.files}
    return (None if axes else _weighted(arrays)) or _table(arrays, axes, index)


def write_npy(file: IO[bytes], columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,) side by side, without their names."""
    np.save(file, np.stack(list(columns.values()), 1))


def write_npz(file: IO[bytes], columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,), one array each, of any name, where ``np.savez`` has names of its own; objects become text."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, column in columns.items():
            plain = column.astype(str) if column.dtype == object else column
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, plain, allow_pickle=False)


def _table(arrays: dict[str, np.ndarray], said: Sequence[str] | None, index: Sequence[str] = ()) -> Table:
    name, array = next(iter(arrays.items()), ("", np.empty(0)))
    if len(arrays) > 1 or array.ndim != 3:
        if said is not None:
            raise ValueError("axes are of a single array of three dimensions, which is not there: leave them out")
        labels = {name: array for name, array in arrays.items() if name in index}
        return from_arrays({name: array for name, array in arrays.items() if name not in labels}, labels)
    axes = AXES if said is None else said
    if sorted(axes) != sorted(AXES):
        raise ValueError(f"axes must be {', '.join(AXES)} in some order, got {', '.join(axes)}")
    values = numeric(array, name).transpose([list(axes).index(axis) for axis in AXES])
    chains, draws, d = values.shape
    if chains > max(draws, _MANY) and said is None:
        warnings.warn(
            f"an array of shape {array.shape} is read as {chains} chains of {draws} draws of {d} variables; if its draws are "
            "first, as emcee's are, say axes draw, chain, variable",
            DrawsWarning,
            stacklevel=2,
        )
    return from_chains(values, default_names(d) if name == UNNAMED else [f"{name}[{j}]" for j in range(d)])


def _weighted(arrays: dict[str, np.ndarray]) -> Table | None:
    """The table of ``samples``, or of the only array of two dimensions, that come with weights; None for other arrays."""
    tables = [name for name, array in arrays.items() if array.ndim == 2]
    key = next((name for name in tables if name.lower() == "samples"), tables[0] if len(tables) == 1 else None)
    if key is None:
        return None
    n, d = arrays[key].shape
    stats = {k: numeric(v, k) for k, v in arrays.items() if k != key and v.shape == (n,) and v.dtype.kind in "fiub"}
    said = [k for k, v in arrays.items() if k.lower() in {*LOG_WEIGHT, *WEIGHT} and v.shape != (n,)]
    if said:
        raise ValueError(f"array {said[0]} must have one value for each of the {n} samples, got shape {arrays[said[0]].shape}")
    weights = weights_of(stats)
    if weights is None and key.lower() == "samples" and (alone := [name for name in stats if name.lower() in LOG_LIKELIHOOD]):
        raise ValueError(
            f"array {alone[0]} says that samples are of nested sampling, but not what they weigh: save logwt, weights, logvol "
            f"or birth too; of samples of equal weight leave {alone[0]} out"
        )
    if weights is None:
        return None
    names = next((v for k, v in arrays.items() if re.fullmatch("(param|parameter|column)?_?names", k.lower())), None)
    if names is not None and (names.shape != (d,) or names.dtype.kind != "U"):
        raise ValueError(f"names must be {d} strings, one a column of samples, got shape {names.shape}")
    own = default_names(d) if key.lower() == "samples" else [f"{key}[{j}]" for j in range(d)]
    labels = own if names is None else [str(name) for name in names]
    return Table(np.ascontiguousarray(numeric(arrays[key], key)), labels, weights=weights, stats=stats)
