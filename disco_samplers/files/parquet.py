"""Tables of Apache Parquet."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from disco_samplers.extras import optional
from disco_samplers.files.table import Table, from_arrays


def read_parquet(path: Path, index: Sequence[str]) -> Table:
    """Reads .parquet; the index that pandas keeps in it is index here, too."""
    table = optional("pyarrow.parquet", "files").read_table(path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    labels = {name: columns.pop(name) for name in table.column_names if name in index or name.startswith("__index_level")}
    read = from_arrays(columns)
    return dataclasses.replace(read, index=read.index | labels)


def write_parquet(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,)."""
    table = optional("pyarrow", "files").table(columns)
    optional("pyarrow.parquet", "files").write_table(table, path)
