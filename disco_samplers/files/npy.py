"""Tables as numpy saves arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from disco_samplers.files.table import UNNAMED, Table, from_arrays


def read_npy(path: Path, index: Sequence[str]) -> Table:
    """Reads .npy: (n,), (n, d) or (chain, draw, d)."""
    with open(path, "rb") as file:
        return from_arrays({UNNAMED: np.load(file, allow_pickle=False)}, single=True)


def read_npz(path: Path, index: Sequence[str]) -> Table:
    """Reads .npz: one array as of .npy, or one array a variable."""
    # numpy leaves a file open that turns out to be broken, unless it is opened for it.
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return from_arrays(arrays, single=len(arrays) == 1)


def write_npy(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,) side by side, without their names."""
    np.save(path, np.stack(list(columns.values()), 1))


def write_npz(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,), one array each."""
    np.savez(path, **columns)  # type: ignore[arg-type]
