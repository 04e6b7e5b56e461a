"""Tables in many files, or in large ones, read a block of rows at a time by pyarrow's dataset reader."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disco_samplers.arrays import default_names
from disco_samplers.extras import optional
from disco_samplers.files.packed import kind, open_binary

BLOCK = 2**17
"""Rows read, answered and written at a time."""

_FORMATS = {".parquet": "parquet", ".feather": "ipc", ".arrow": "ipc", ".csv": "csv", ".tsv": "csv", ".txt": "csv"}


class PartError(ValueError):
    """A part of a table that cannot be read as the others are; its message begins with the part's path."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A file of a table: its number among them, and the data set's folder, whose ``key=value`` folders are columns.

    With ``blocks`` some of its blocks of rows only, from one on and up to another.
    """

    path: Path
    number: int
    root: Path | None = None
    blocks: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Columns:
    """What is taken of each part: variables in this order, columns that are carried along, and the column of weights."""

    names: tuple[str, ...]
    index: tuple[str, ...] = ()
    weights: str | None = None


@dataclasses.dataclass(frozen=True)
class Block:
    """Rows of a part, from number ``first`` on: variables (n, d), NaN where missing, weights (n,), the table carried along."""

    number: int
    first: int
    values: np.ndarray
    weights: np.ndarray | None
    carried: Any


def find_parts(source: str | Path | Sequence[str | Path]) -> list[Part]:
    """The files of a table: of a path, a pattern, the folder of a data set, or several of these.

    Raises:
        FileNotFoundError: if one of them names none.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for k in (10, 9):
        ...     _ = (folder / f"part-{k}.csv").write_text("a,b\\n1,2\\n")
        >>> [part.path.name for part in find_parts(folder / "part-*.csv")]
        ['part-9.csv', 'part-10.csv']
    """
    found: list[tuple[Path, Path | None]] = []
    for one in [source] if isinstance(source, (str, Path)) else source:
        path = Path(one)
        if path.is_dir():
            inside = [file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path))]
            files: list[tuple[Path, Path | None]] = [(file, path) for file in _in_order(inside)]
        elif path.exists():
            files = [(path, None)]
        else:
            files = [(Path(name), None) for name in _in_order(map(Path, glob.glob(str(path), recursive=True)))]
        if not files:
            raise FileNotFoundError(f"no file at {one}" + " in the folder" * path.is_dir())
        found += files
    return [Part(path, number, root) for number, (path, root) in enumerate(dict(found).items())]


def columns_of(
    part: Part,
    *,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    index: Sequence[str] = (),
    row_weights: str | None = None,
    header: bool | None = None,
) -> Columns:
    """What is to be taken of a table, by the columns of one of its parts.

    Raises:
        PartError: if the part cannot be read, lacks a column, or holds text or dates where numbers are wanted.
    """
    schema = _opened(part, header).schema
    named = [*(columns or ()), *exclude, *index, *([row_weights] if row_weights else [])]
    if lacking := [name for name in named if name not in schema.names]:
        raise PartError(f"{part.path} has no column {', '.join(lacking)}: there are {', '.join(schema.names)}")
    left = [name for name in schema.names if name not in (*exclude, *index, row_weights)]
    names = left if columns is None else [name for name in columns if name in left]
    if other := [name for name in names if columns is None and not _numeric(schema.field(name).type)]:
        said = ", ".join(f"{name} ({schema.field(name).type})" for name in other)
        cure = (
            "write its cells between commas, or name its delimiter's extension"
            if len(schema) == 1 and _FORMATS[kind(part.path)] == "csv"
            else ("--exclude them, or --index what only names the rows")
        )
        raise PartError(f"{part.path} holds no numbers in column(s) {said}: {cure}")
    if not names:
        raise PartError(f"{part.path}: no column is left")
    return Columns(tuple(names), tuple(index), row_weights)


def column_names(part: Part, header: bool | None) -> list[str]:
    """The names of a part's columns; none of a part that cannot be read."""
    try:
        return list(_opened(part, header).schema.names)
    except PartError:
        return []


def count_rows(part: Part) -> int | None:
    """How many rows a part has, where its file says so without being read."""
    if kind(part.path) != ".parquet":
        return None
    try:
        return int(_opened(part, None).count_rows())
    except PartError:
        return None


def split_part(part: Part, blocks: int) -> list[Part]:
    """A part as several of at most so many blocks, where its file can be read from any row on."""
    rows = count_rows(part)
    if rows is None or rows <= blocks * BLOCK:
        return [part]
    return [dataclasses.replace(part, blocks=(k, k + blocks)) for k in range(0, -(-rows // BLOCK), blocks)]


def read_blocks(
    part: Part, columns: Columns, *, header: bool | None = None, done: Callable[[int], bool] = lambda number: False
) -> Iterator[Block]:
    """The rows of a part, a block of at most 131,072 at a time, but for blocks that are ``done``, by their number.

    Columns are found by name, in whatever order; what the part has besides is left. Numbers that were written as text, or as
    other types than in other parts, are numbers.

    Raises:
        PartError: naming the part, if it is broken, lacks a column, or holds something else than numbers in one.
    """
    pyarrow = optional("pyarrow", "files")
    dataset = _opened(part, header, columns)
    wanted = [*columns.index, *columns.names, *([columns.weights] if columns.weights else [])]
    if lacking := [name for name in wanted if name not in dataset.schema.names]:
        raise PartError(f"{part.path} lacks column(s) {', '.join(lacking)}: it has {', '.join(dataset.schema.names)}")
    start, stop = (0, 2**62) if part.blocks is None else part.blocks
    number = next((number for number in range(start, stop) if not done(number)), stop)
    at, batches = _batches(dataset, wanted, number * BLOCK)
    held: list[Any] = []
    try:
        for batch in batches:
            held.append(batch.slice(min(max(number * BLOCK - at, 0), batch.num_rows)))
            at += batch.num_rows
            while sum(rows.num_rows for rows in held) >= BLOCK:
                table = pyarrow.Table.from_batches(held)
                if not done(number):
                    yield _block(part, columns, number, table.slice(0, BLOCK))
                held, number = table.slice(BLOCK).to_batches(), number + 1
                if number == stop:
                    return
    except (pyarrow.ArrowException, OSError) as error:
        raise PartError(f"{part.path} cannot be read: {_first_line(error)}") from error
    if number < stop and any(rows.num_rows for rows in held) and not done(number):
        yield _block(part, columns, number, pyarrow.Table.from_batches(held))


def _block(part: Part, columns: Columns, number: int, table: Any) -> Block:
    first = number * BLOCK
    values = np.stack([_numbers(part, table, name) for name in columns.names], 1)
    if (wrong := np.isinf(values)).any():
        bad = ", ".join(columns.names[k] for k in np.flatnonzero(wrong.any(0)))
        row = first + int(np.flatnonzero(wrong.any(1))[0])
        raise PartError(f"{part.path} holds infinite values in column(s) {bad}, first at row {row}")
    weights = None if columns.weights is None else _numbers(part, table, columns.weights)
    if weights is not None and not (np.isfinite(weights) & (weights >= 0)).all():
        raise PartError(f"{part.path} holds weights that are negative or missing, in column {columns.weights}")
    return Block(number, first, values, weights, table.select([*columns.index]))


def _numbers(part: Part, table: Any, name: str) -> np.ndarray:
    """A column in float64, NaN where it is missing."""
    pyarrow = optional("pyarrow", "files")
    column = table[name]
    if not _numeric(column.type) and not _text(column.type):
        raise PartError(f"{part.path} holds {column.type} in column {name}, where other parts have numbers")
    try:
        if _text(column.type):
            column = column.cast(pyarrow.string())
        found: np.ndarray = column.cast(pyarrow.float64()).to_numpy()
    except pyarrow.ArrowInvalid as error:
        raise PartError(f"{part.path} holds text in column {name}: {_first_line(error)}") from error
    # Pandas writes NaN, others null.
    return found + 0.0


def _batches(dataset: Any, names: Sequence[str], first: int) -> tuple[int, Iterator[Any]]:
    """Record batches from a row on, or from a little before it, and the row that they begin with."""
    fragment, start = next(iter(dataset.get_fragments())), 0
    if first and hasattr(fragment, "row_groups"):
        sizes = [group.num_rows for group in fragment.row_groups]
        reached = np.cumsum([0, *sizes])
        kept = [k for k in range(len(sizes)) if reached[k + 1] > first]
        start = int(reached[kept[0]]) if kept else int(reached[-1])
        fragment = fragment.subset(row_group_ids=kept)
    # One batch at a time, in this thread: memory stays that of a block.
    limits = {"batch_size": BLOCK, "batch_readahead": 0, "fragment_readahead": 0, "use_threads": False}
    return start, fragment.to_batches(schema=dataset.schema, columns=list(names), **limits)


def _opened(part: Part, header: bool | None, columns: Columns | None = None) -> Any:
    """The data set of a part alone."""
    pyarrow, dataset = optional("pyarrow", "files"), optional("pyarrow.dataset", "files")
    form = _FORMATS.get(kind(part.path))
    if form is None:
        raise PartError(f"{part.path}: the extension must be one of {', '.join(_FORMATS)}")
    if not part.path.is_file():
        raise PartError(f"{part.path}: there is no such file")
    if not part.path.stat().st_size:
        raise PartError(f"{part.path} is empty, without even a header")
    where: dict[str, Any] = {} if part.root is None else {"partitioning": "hive", "partition_base_dir": str(part.root)}
    try:
        read = _csv(part.path, header) if form == "csv" else form
        found = dataset.dataset(str(part.path), format=read, **where)
        repeated = {name for name in found.schema.names if found.schema.names.count(name) > 1}
        if repeated:
            raise PartError(f"{part.path}: column name(s) {', '.join(sorted(repeated))} occur more than once")
        if form == "csv" and columns is not None:
            # Types are guessed by the first rows: what looks whole there need not be so later.
            taken = {*columns.names, columns.weights}
            fields = [pyarrow.field(f.name, pyarrow.float64()) if f.name in taken else f for f in found.schema]
            found = dataset.dataset(str(part.path), format=read, schema=pyarrow.schema(fields), **where)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise PartError(f"{part.path} cannot be read: {_first_line(error)}") from error
    return found


def _csv(path: Path, header: bool | None) -> Any:
    """How a text is read: its delimiter, and its columns' names where it has no header."""
    csv, dataset = optional("pyarrow.csv", "files"), optional("pyarrow.dataset", "files")
    with open_binary(path) as file:
        line = file.readline(2**20).decode("utf-8-sig").rstrip("\r\n")
    delimiter = max(",;\t", key=line.count)
    cells = line.split(delimiter)
    bare = all(map(_is_number, cells)) if header is None else not header
    reading = csv.ReadOptions(column_names=default_names(len(cells)) if bare else None, block_size=2**22)
    return dataset.CsvFileFormat(
        parse_options=csv.ParseOptions(delimiter=delimiter),
        read_options=reading,
        convert_options=csv.ConvertOptions(strings_can_be_null=True),
    )


def _numeric(kind: Any) -> bool:
    types = optional("pyarrow.types", "files")
    return any(f(kind) for f in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null))


def _text(kind: Any) -> bool:
    types = optional("pyarrow.types", "files")
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind))


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip('"'))
    except ValueError:
        return False
    return True


def _hidden(path: Path) -> bool:
    """Whether a file of a data set, or a folder it is in, is none of its parts by its name."""
    return any(name.startswith((".", "_")) for name in path.parts)


def _in_order(paths: Any) -> list[Path]:
    return sorted(paths, key=lambda path: (len(str(path)), str(path)))


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
