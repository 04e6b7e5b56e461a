"""Tables of Apache Arrow: Parquet and Feather."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np

from disco_samplers.extras import optional
from disco_samplers.files.columns import from_arrays
from disco_samplers.files.table import Table


def read_parquet(file: IO[bytes], index: Sequence[str]) -> Table:
    """Reads .parquet; the index that pandas keeps in it is index here, too."""
    return _table(optional("pyarrow.parquet", "files").read_table(file), index)


def read_feather(file: IO[bytes], index: Sequence[str]) -> Table:
    """Reads .feather, as of .parquet."""
    return _table(optional("pyarrow.feather", "files").read_table(file), index)


def write_parquet(file: IO[bytes], columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,)."""
    _write(columns, optional("pyarrow.parquet", "files").write_table, file)


def write_feather(file: IO[bytes], columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,)."""
    _write(columns, optional("pyarrow.feather", "files").write_feather, file)


def _write(columns: dict[str, np.ndarray], write: Callable[[Any, IO[bytes]], None], file: IO[bytes]) -> None:
    write(optional("pyarrow", "files").table(columns), file)


def _table(table: Any, index: Sequence[str]) -> Table:
    pyarrow = optional("pyarrow", "files")
    repeated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if repeated:
        raise ValueError(f"column name(s) {', '.join(repeated)} occur more than once")
    labels = [name for name in table.column_names if name in index or name.startswith("__index_level")]
    columns = {}
    for name in table.column_names:
        column = table[name]
        if name not in labels and (pyarrow.types.is_decimal(column.type) or column.null_count):
            column = _as_double(column, pyarrow)  # what is missing becomes NaN
        columns[name] = column.to_numpy()
    body = {name: column for name, column in columns.items() if name not in labels}
    return from_arrays(body, {name: columns[name] for name in labels})


def _as_double(column: Any, pyarrow: Any) -> Any:
    try:
        return column.cast(pyarrow.float64())
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        return column
