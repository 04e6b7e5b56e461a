"""Which file is read by what: by extension, and of text by what is in it. A new format is a file of its own and a line here."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from disco_samplers.arrays import default_names
from disco_samplers.draws import DrawsWarning
from disco_samplers.files.arrow import read_feather, read_parquet, write_feather, write_parquet
from disco_samplers.files.columns import table_of
from disco_samplers.files.getdist import getdist_table, is_getdist
from disco_samplers.files.hdf5 import read_hdf5
from disco_samplers.files.nested import is_nested, nested_table
from disco_samplers.files.netcdf import read_netcdf
from disco_samplers.files.npy import read_npy, read_npz, write_npy, write_npz
from disco_samplers.files.packed import kind, open_binary
from disco_samplers.files.stan import is_stan, stan_table
from disco_samplers.files.table import Table
from disco_samplers.files.text import Sheet, read_sheet, write_csv

_TEXT = (".csv", ".txt", ".tsv", ".dat")
_SHEETS: list[tuple[Callable[[Sheet], bool], Callable[[Sheet], Table]]] = [
    (is_stan, stan_table),
    (is_nested, nested_table),
    (is_getdist, getdist_table),
]
"""The programs that are known by what their text files hold."""

_BINARY: dict[str, Callable[[IO[bytes], Path, Sequence[str], Sequence[str] | None], Table]] = {
    ".npy": lambda file, path, index, axes: read_npy(file, axes),
    ".npz": lambda file, path, index, axes: read_npz(file, index, axes),
    ".parquet": lambda file, path, index, axes: read_parquet(file, index),
    ".feather": lambda file, path, index, axes: read_feather(file, index),
    ".nc": lambda file, path, index, axes: read_netcdf(file, path),
    ".h5": lambda file, path, index, axes: read_hdf5(file, path),
    ".hdf5": lambda file, path, index, axes: read_hdf5(file, path),
}
READABLE = (*_TEXT, *_BINARY)

WRITERS: dict[str, Callable[[IO[bytes], dict[str, np.ndarray]], None]] = {
    ".csv": write_csv,
    ".npy": write_npy,
    ".npz": write_npz,
    ".parquet": write_parquet,
    ".feather": write_feather,
}
NEEDED = {
    ".parquet": ("pyarrow",),
    ".feather": ("pyarrow",),
    ".nc": ("arviz", "h5netcdf", "h5py"),
}
"""Packages by extension."""


def read_file(path: Path, index: Sequence[str] = (), axes: Sequence[str] | None = None, header: bool | None = None) -> Table:
    """Reads one file; nothing in it is ever executed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty, not numeric, or not of its extension's kind.
        ImportError: if its format needs a package that is not installed.
    """
    if kind(path) not in READABLE:
        raise ValueError(f"{path}: the extension must be one of {', '.join(READABLE)}")
    if axes is not None and kind(path) not in (".npy", ".npz"):
        raise ValueError(f"axes are of a .npy or .npz of three dimensions, not of {path}: leave them out")
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        with open_binary(path) as file:
            table = _text(file, path, index, header) if kind(path) in _TEXT else _BINARY[kind(path)](file, path, index, axes)
    except (ImportError, FileNotFoundError, Warning):
        raise
    except Exception as error:  # each format's reader has its own exceptions for a broken file
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "field limit" in message:
            message = "a cell has more than 131,072 characters: a column is text, or a quotation mark lacks its other one"
        raise ValueError(message if message.startswith(str(path)) else f"{path} cannot be read: {message}") from error
    if table.values.size == 0:
        table.numbers()
        raise ValueError(f"{path} holds no rows")
    where = table.where or {"row": np.arange(len(table.values))}
    return dataclasses.replace(table, where={"file": np.full(len(table.values), str(path), dtype=object), **where})


def names_read(names: Sequence[str], path: Path) -> list[str]:
    """What columns of these names would be called that were read from text."""
    file = io.BytesIO()
    write_csv(file, {name: np.array([0.5, 1.5]) for name in names})
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DrawsWarning)
        try:
            return _text(file, path, (), None).names
        except ValueError:
            return []


def _text(file: IO[bytes], path: Path, index: Sequence[str], header: bool | None) -> Table:
    sheet = read_sheet(file, path, index, header)
    own = next((table for known, table in _SHEETS if known(sheet)), _plain)(sheet)
    return dataclasses.replace(own, texts=sheet.texts, where=own.where or {"line": sheet.lines})


def _plain(sheet: Sheet) -> Table:
    names = sheet.names or default_names(sheet.values.shape[1])
    kept = [name not in sheet.texts for name in names]
    return table_of(sheet.values[:, kept], [name for name in names if name not in sheet.texts], sheet.labels)
