"""Tables of draws by extension: .csv, .npy, .npz, .parquet and ArviZ .nc. A new format is a file of its own and a line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from disco_samplers.extras import optional
from disco_samplers.files.netcdf import read_netcdf, to_arviz, write_netcdf
from disco_samplers.files.npy import read_npy, read_npz, write_npy, write_npz
from disco_samplers.files.parquet import read_parquet, write_parquet
from disco_samplers.files.table import INDEX, Table
from disco_samplers.files.text import read_csv, write_csv
from disco_samplers.files.whole import write

_READERS: dict[str, Callable[[Path, Sequence[str]], Table]] = {
    ".csv": read_csv,
    ".npy": read_npy,
    ".npz": read_npz,
    ".parquet": read_parquet,
    ".nc": read_netcdf,
}
_WRITERS: dict[str, Callable[[Path, dict[str, np.ndarray]], None]] = {
    ".csv": write_csv,
    ".npy": write_npy,
    ".npz": write_npz,
    ".parquet": write_parquet,
}
_NEEDED = {".parquet": ("pyarrow",), ".nc": ("arviz", "h5netcdf", "h5py")}


def read_table(path: str | Path, index: Sequence[str] = ()) -> Table:
    """Reads a table; nothing in the file is ever executed.

    .csv with or without a header; .npy (n,), (n, d) or (chain, draw, d); .npz with one such array or one array a variable;
    .parquet; .nc with an ArviZ posterior. Columns called chain or draw are taken as the index they are;
    a column without a name, such as a data frame's index or what follows a trailing comma, is kept as index too.

    Arguments:
        path: of the file.
        index: further columns of a .csv or .parquet that say which row is which; they may hold text.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, not numeric, or not of its extension's kind.
        ImportError: if its format needs a package that is not installed.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise ValueError(f"{path}: the extension must be one of {', '.join(_READERS)}")
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        table = _READERS[path.suffix](path, index)
    except (ImportError, FileNotFoundError):
        raise
    except Exception as error:  # each format's reader has its own exceptions for a broken file
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(message if message.startswith(str(path)) else f"{path} cannot be read: {message}") from error
    if table.values.size == 0:
        raise ValueError(f"{path} holds no rows")
    if missing := [name for name in index if name not in table.index]:
        raise ValueError(f"{path} has no column {', '.join(missing)} to take as index")
    return table


def write_table(path: str | Path, columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,) to .csv, .npy, .npz or .parquet, whole or not at all.

    Raises:
        ValueError: if the extension is none of them.
    """
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise ValueError(f"{path}: the extension must be one of {', '.join(_WRITERS)}")
    write(path, lambda temporary: _WRITERS[path.suffix](temporary, columns))


def write_draws(path: str | Path, draws: np.ndarray, names: Sequence[str], divergences: np.ndarray) -> None:
    """Writes draws (chain, draw, d) by extension: .nc keeps chains as ArviZ has them, a table has columns chain and draw.

    Raises:
        ValueError: if the extension is unknown.
    """
    path = Path(path)
    if path.suffix == ".nc":
        data = to_arviz(draws, names, divergences)
        write(path, lambda temporary: write_netcdf(temporary, data))
        return
    if path.suffix == ".npy":
        write(path, lambda temporary: np.save(temporary, draws))
        return
    if taken := sorted(set(INDEX) & set(names)):
        raise ValueError(f"a variable cannot be called {' or '.join(taken)}: a table of draws has a column of that name")
    chains, count, d = draws.shape
    index = {"chain": np.repeat(np.arange(chains), count), "draw": np.tile(np.arange(count), chains)}
    flat = draws.reshape(-1, d)
    write_table(path, index | {name: flat[:, i] for i, name in enumerate(names)})


def writable(path: str | Path, *, draws: bool) -> None:
    """Says before any work is done whether a result could be written there.

    Raises:
        ValueError: if the extension is unknown.
        ImportError: if its format needs a package that is not installed.
    """
    known = [*_WRITERS, ".nc"] if draws else list(_WRITERS)
    if Path(path).suffix not in known:
        raise ValueError(f"{path}: the extension must be one of {', '.join(known)}")
    for module in _NEEDED.get(Path(path).suffix, ()):
        optional(module, "files")
