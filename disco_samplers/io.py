"""Tables of draws: reads and writes .csv, .npy, .npz, .parquet and ArviZ .nc by extension."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disco_samplers._extras import optional
from disco_samplers.checkpoint import write
from disco_samplers.samplers.result import default_names

if TYPE_CHECKING:
    from disco_samplers.samplers.result import SamplerResult

_INDEX = ("chain", "draw")
_UNNAMED = "arr_0"
"""What numpy calls an array that was saved without a name."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Named columns of numbers: values (n, d) in float64, how many chains of equal length are stacked in the rows, and the
    columns (n,) that only say which row is which."""

    values: np.ndarray
    names: list[str]
    chains: int = 1
    index: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def by_chain(self) -> np.ndarray:
        """The values as (chain, draw, d)."""
        return self.values.reshape(self.chains, -1, self.values.shape[1])


def read(path: str | Path, index: Sequence[str] = ()) -> Table:
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


def write_draws(path: str | Path, result: SamplerResult) -> None:
    """Writes draws by extension: .nc keeps chains as ArviZ has them, a table has columns chain and draw.

    Raises:
        ValueError: if the extension is unknown.
    """
    path = Path(path)
    if path.suffix == ".nc":
        optional("h5py", "files")
        data = to_arviz(result)
        write(path, lambda temporary: data.to_netcdf(temporary, engine="h5netcdf"))
        return
    chains, draws, d = result.draws.shape
    values = result.numpy()
    if path.suffix == ".npy":
        write(path, lambda temporary: np.save(temporary, values))
        return
    if taken := sorted(set(_INDEX) & set(result.names)):
        raise ValueError(f"a variable cannot be called {' or '.join(taken)}: a table of draws has a column of that name")
    index = {"chain": np.repeat(np.arange(chains), draws), "draw": np.tile(np.arange(draws), chains)}
    flat = values.reshape(-1, d)
    write_table(path, index | {name: flat[:, i] for i, name in enumerate(result.names)})


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


def to_arviz(result: SamplerResult) -> Any:
    """ArviZ data of a result; columns theta[0], theta[1], ... become one variable theta."""
    arviz = optional("arviz", "files")
    posterior = dict(_grouped(result.numpy(), list(result.names)))
    stats = {"diverging": result.divergences.cpu().numpy()}
    if int(arviz.__version__.split(".")[0]) >= 1:
        return arviz.from_dict({"posterior": posterior, "sample_stats": stats})
    return arviz.from_dict(posterior=posterior, sample_stats=stats)


def _grouped(draws: np.ndarray, names: list[str]) -> list[tuple[str, np.ndarray]]:
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        match = re.fullmatch(r"(.+)\[(\d+)\]", name)
        base = match[1] if match and match[1] not in names else name
        if match and int(match[2]) != len(groups.get(base, [])):
            base = name  # indices with gaps, or not in order: a name of its own
        groups.setdefault(base, []).append(i)
    return [(base, draws[..., at] if f"{base}[0]" == names[at[0]] else draws[..., at[0]]) for base, at in groups.items()]


def _read_csv(path: Path, index: Sequence[str]) -> Table:
    with open(path, newline="", encoding="utf-8-sig") as file:
        text = file.read()
    if not text.strip():
        raise ValueError(f"{path} is empty")
    delimiter = max(",;\t", key=text.lstrip("\r\n").partition("\n")[0].count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    rows = [(reader.line_num, row) for row in reader if len(row) > 1 or "".join(row).strip()]
    first = rows[0][1]
    header = None if all(_number(cell) is not None for cell in first) else [cell.strip() for cell in first]
    body = rows if header is None else rows[1:]
    width = len(first)
    values = np.zeros((len(body), width))
    labels = [j for j in range(width) if header and header[j] in ("", *index)]
    for i, (line, row) in enumerate(body):
        if len(row) != width:
            raise ValueError(f"{path}, line {line}: {len(row)} cells where the first line has {width}")
        for j, cell in enumerate(row):
            number = 0.0 if j in labels else _number(cell)
            if number is None:
                raise ValueError(f"{path}, line {line}, column {header[j] if header else j + 1}: {cell!r} is not a number")
            values[i, j] = number
    names = header or default_names(width)
    return _table(values, names, {names[j]: _label([row[j].strip() for _, row in body]) for j in labels})


def _label(cells: list[str]) -> np.ndarray:
    """A column of labels: whole numbers where all of them are, else text."""
    try:
        return np.asarray([int(cell) for cell in cells])
    except ValueError:
        return np.asarray(cells)


def _number(cell: str) -> float | None:
    """A cell's number; an empty cell is a missing value, NaN."""
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError:
        return None


def _read_npy(path: Path, index: Sequence[str]) -> Table:
    with open(path, "rb") as file:
        return _from_arrays({_UNNAMED: np.load(file, allow_pickle=False)}, single=True)


def _read_npz(path: Path, index: Sequence[str]) -> Table:
    # numpy leaves a file open that turns out to be broken, unless it is opened for it.
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return _from_arrays(arrays, single=len(arrays) == 1)


def _read_parquet(path: Path, index: Sequence[str]) -> Table:
    table = optional("pyarrow.parquet", "files").read_table(path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    labels = {name: columns.pop(name) for name in table.column_names if name in index or name.startswith("__index_level")}
    read = _from_arrays(columns)
    return dataclasses.replace(read, index=read.index | labels)


def _read_netcdf(path: Path, index: Sequence[str]) -> Table:
    for module in ("h5netcdf", "h5py"):  # which the first imports only when it opens a file
        optional(module, "files")
    xarray = optional("xarray", "files")
    try:
        opened = xarray.open_dataset(path, group="posterior", engine="h5netcdf")
    except OSError as error:
        raise ValueError(f"{path} is not an ArviZ file with a posterior group") from error
    with opened as data:
        parts, names = [], []
        for name in data.data_vars:
            variable = data[name]
            if "chain" not in variable.dims or "draw" not in variable.dims:
                raise ValueError(f"{path}: variable {name} has no chain and draw")
            values = _numeric(variable.transpose("chain", "draw", ...).values, str(name))
            chains, draws = values.shape[:2]
            indices = ["[" + ",".join(map(str, at)) + "]" for at in np.ndindex(values.shape[2:])]
            names += [f"{name}{index if values.ndim > 2 else ''}" for index in indices]
            parts.append(values.reshape(chains * draws, len(indices)))
    if not parts:
        raise ValueError(f"{path} holds no variables in its posterior")
    return Table(np.concatenate(parts, 1), names, chains)


def _from_arrays(arrays: dict[str, np.ndarray], *, single: bool = False) -> Table:
    parts, names, chains = [], [], 1
    for name, array in arrays.items():
        values = _numeric(array, name)
        if values.ndim == 3 and single:
            chains = values.shape[0]
            values = values.reshape(chains * values.shape[1], values.shape[2])
        if values.ndim not in (1, 2):
            raise ValueError(f"array {name} must have one or two dimensions, got shape {array.shape}")
        parts.append(values if values.ndim == 2 else values[:, None])
        width = parts[-1].shape[1]
        if name == _UNNAMED:
            names += default_names(width)
        else:
            names += [name] if values.ndim == 1 else [f"{name}[{j}]" for j in range(width)]
    if not parts:
        raise ValueError("there are no arrays in it")
    if len({len(part) for part in parts}) > 1:
        raise ValueError("its arrays differ in length: one row of each must belong to one draw")
    table = _table(np.concatenate(parts, 1), names)
    return table if chains == 1 else dataclasses.replace(table, chains=chains)


def _numeric(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"column {name} is not numeric (dtype {array.dtype})")
    return array.astype(np.float64)


def _table(values: np.ndarray, names: Sequence[str], labels: dict[str, np.ndarray] | None = None) -> Table:
    """Takes out the index columns that a table of draws may carry, and those given as ``labels``."""
    names, labels = list(names), labels or {}
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"column name(s) {', '.join(repeated)} occur more than once")
    chains = 1
    index = labels | {name: values[:, names.index(name)] for name in (*_INDEX, "") if name in names and name not in labels}
    keep = [i for i, name in enumerate(names) if name not in index]
    if len(keep) < len(names):
        chain, draw = (index.get(name, np.zeros(len(values))) for name in _INDEX)
        kinds, counts = np.unique(chain, return_counts=True)
        if len(set(counts.tolist())) == 1:
            order, chains = np.lexsort((draw, chain)), len(kinds)
            values, index = values[order], {name: column[order] for name, column in index.items()}
        values, names = values[:, keep], [names[i] for i in keep]
    return Table(np.ascontiguousarray(values), names, chains, index)


def _write_csv(path: Path, columns: dict[str, np.ndarray]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _write_npz(path: Path, columns: dict[str, np.ndarray]) -> None:
    np.savez(path, **columns)  # type: ignore[arg-type]


def _write_parquet(path: Path, columns: dict[str, np.ndarray]) -> None:
    table = optional("pyarrow", "files").table(columns)
    optional("pyarrow.parquet", "files").write_table(table, path)


_NEEDED = {".parquet": ("pyarrow",), ".nc": ("arviz", "h5netcdf", "h5py")}
_READERS: dict[str, Callable[[Path, Sequence[str]], Table]] = {
    ".csv": _read_csv,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".nc": _read_netcdf,
}
_WRITERS: dict[str, Callable[[Path, dict[str, np.ndarray]], None]] = {
    ".csv": _write_csv,
    ".npy": lambda path, columns: np.save(path, np.stack(list(columns.values()), 1)),
    ".npz": _write_npz,
    ".parquet": _write_parquet,
}
