"""Tables read as the options say, and their columns and rows as commands need them."""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from disco_samplers import files, pictures
from disco_samplers.arrays import default_names
from disco_samplers.commands.shared.output import told
from disco_samplers.draws import GROUPS, Draws, Support, blocks_of, described_of, inside, supports_of


def table_from(options: argparse.Namespace, paths: str | Sequence[str], **others: Any) -> files.Table:
    """The table in files, read as the options say, but for ``others``; where chains do not matter rows are as they stand."""
    reading: dict[str, Any] = {
        "index": options.index,
        "columns": options.columns,
        "exclude": options.exclude,
        "row_weights": options.row_weights,
        "burn_in": options.burn_in,
        "thinning": options.every,
        "axes": _axes(options),
        "header": _header(options),
        "iid": getattr(options, "iid", False),
        "points": not options.reads_chains,
    }
    return files.read_table(paths, **(reading | others)).numbers()


def tables_from(options: argparse.Namespace, paths: Sequence[str], **others: Any) -> list[files.Table]:
    """The tables in several files; the columns of --exclude and --row-weights are those of the files which have them.

    Raises:
        ValueError: as of :func:`table_from`; if no file has such a column.
    """
    asked = [*options.exclude, *([options.row_weights] if options.row_weights else [])]
    absent = _absent(options, paths, asked) if asked and len(paths) > 1 else [set()] * len(paths)
    tables = []
    for path, lacking in zip(paths, absent, strict=True):
        exclude = [name for name in options.exclude if name not in lacking]
        row_weights = None if options.row_weights in lacking else options.row_weights
        tables.append(table_from(options, path, **({"exclude": exclude, "row_weights": row_weights} | others)))
    return tables


def supported(table: files.Table, given: Sequence[str]) -> files.Table:
    """A table with the supports of --support, each written as COLUMN=WHERE, besides those that its file says.

    Raises:
        ValueError: if one is no support, or of no column.
    """
    found, said = dict(table.support), set[str]()
    for text in given:
        if text == "auto":  # what columns look like is told in any case
            continue
        name, equals, where = text.rpartition("=")
        columns = _columns_of(name, table.names)
        if not equals or not columns:
            raise ValueError(f"--support {text}: write COLUMN=WHERE with a column of {', '.join(table.names)}")
        if twice := sorted(said & set(columns)):
            raise ValueError(f"--support {text}: {', '.join(twice)} has a support already")
        said |= set(columns)
        found = described_of(found, [name for name in table.names if name not in columns])
        bounds: Any = [edge.strip() or None for edge in where.split(",")] if "," in where else where
        try:
            if where in GROUPS:
                supports_of({tuple(columns): where}, table.names)
                found[tuple(columns)] = where
            else:
                found |= {column: Support.of(bounds, column) for column in columns}
        except (TypeError, ValueError) as error:
            known = where.startswith("circular:") or where in GROUPS
            raise ValueError(
                f"--support {text}: {error}"
                if known
                else f"--support {text}: write positive, unit, real, or LOW,HIGH with either left out; circular:PERIOD of "
                "angles; A,B,C=simplex, subsimplex or ordered"
            ) from error
    return dataclasses.replace(table, support=found)


def _columns_of(name: str, names: Sequence[str]) -> list[str]:
    """The columns that a text names: one, several with commas between, or theta for theta[0], theta[1] and so on."""
    if name in names:
        return [name]
    found = []
    for part in name.split(","):
        found += [part] if part in names else [one for one in names if part and one.startswith(f"{part}[")] or [""]
    return found if all(found) else []


def warned(draws: Draws, path: str) -> Draws:
    """The draws, after what is to be warned of in them, with the file's name; for what is not conditioned on, which warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draws.warn()
    for warning in caught:
        warnings.warn(f"{path}: {warning.message}", warning.category, stacklevel=2)
    return draws


def given_values(options: argparse.Namespace, table: files.Table, option: str = "given") -> dict[str, float]:
    """The values of --given, or of another option, each written as COLUMN=VALUE, for columns of a table that was read.

    Raises:
        ValueError: if one is no number, of no column, or of one that has a value already.
    """
    found: dict[str, float] = {}
    known = ", ".join(table.names) + " (--columns and --exclude leave no others)" * bool(options.columns or options.exclude)
    for text in getattr(options, option):
        name, equals, value = text.rpartition("=")
        if not equals or name not in table.names:
            raise ValueError(f"--{option} {text}: write COLUMN=VALUE with a column of {known}")
        if name in found:
            raise ValueError(f"--{option} {text}: {name} has the value {found[name]:.6g} already")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise ValueError(f"--{option} {text}: the value must be a number") from error
    return found


def points_from(options: argparse.Namespace, path: str) -> files.Table:
    """A table of points as they stand in their file, with all columns but those that the options say are no variables."""
    return _rows(options, path, ignore=[*options.index, *_left_out(options)])


def aligned(points: files.Table, points_path: str, names: list[str], names_path: str, *, some: bool = False) -> np.ndarray:
    """The values of a table with its columns in the order of ``names``, or ``some`` of its columns.

    Of unnamed columns the number must fit.
    """
    if some and set(names) < {*points.names, *points.texts}:
        points = points.select(names)
    points.numbers()
    if len(points.names) != len(names):
        missing = [name for name in names if name not in points.names]
        which = f": {', '.join(missing)} is missing" if missing and set(points.names) & set(names) else ""
        raise ValueError(f"{points_path} has {len(points.names)} columns, {names_path} has {len(names)}{which}")
    if set(points.names) == set(names):
        return points.values[:, [points.names.index(name) for name in names]]
    if default_names(len(names)) in (points.names, names):
        return points.values
    raise ValueError(f"{points_path} has columns {', '.join(points.names)}, {names_path} has {', '.join(names)}")


def by_place(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether columns are matched by their place: as many on either side, and those of one side have no names."""
    return set(a) != set(b) and len(a) == len(b) and default_names(len(a)) in (list(a), list(b))


def indexed(table: files.Table, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A table's index and columns with further ones.

    Raises:
        ValueError: if the table has a column of such a name already.
    """
    own = {name or "index": column for name, column in table.index.items()}
    own |= {name: table.values[:, i] for i, name in enumerate(table.names)}
    if taken := sorted(set(own) & set(columns)):
        raise ValueError(f"the table has a column called {', '.join(taken)} already: rename it")
    return own | columns


def equal_rows(table: files.Table, seed: int) -> np.ndarray:
    """The rows (n, d) of a table, or where they have weights as many of equal weight as they are worth."""
    if table.weights is None:
        return table.values
    found: np.ndarray = table.draws().resample(generator=torch.Generator().manual_seed(seed)).values.numpy()
    return found


def runs_of(draws: Draws, count: int) -> torch.Tensor:
    """The run (count,) of successive draws that each of :func:`equal_rows` is of: one of its own, but in chains."""
    if draws.num_chains is None or draws.weights is not None:
        return torch.arange(count)
    return blocks_of(draws.num_chains, count // draws.num_chains, draws.effective_size)


def scored_tables(options: argparse.Namespace) -> tuple[files.Table, np.ndarray, files.Table]:
    """The table to score, its values in the order of the training table's columns, and the training table."""
    if str(options.out).endswith(".npy"):
        raise ValueError(f"{options.out}: the extension must be .csv, .npz, .parquet or .feather, for the columns have names")
    files.writable(options.out, draws=False)
    if options.plot:
        pictures.writable(options.plot)
    if not options.train:
        table = table_from(options, options.table)
        check_finite(table, options.table, missing=True, train=True)
        return table, table.values, table
    table = _rows(options, options.table, index=options.index, ignore=_left_out(options))
    known = table_from(options, options.train, index=[], ignore=options.index)
    rows = aligned(table, options.table, known.names, options.train, some=bool(options.columns or options.exclude))
    check_finite(table, options.table, missing=True)
    check_finite(known, options.train, missing=True, train=True)
    return table, rows, known


def described(train: files.Table) -> tuple[str, dict[str, Any]]:
    """What is said of training rows, and what --json says: of whole ones as of draws."""
    if not (lacking := count_lacking(train.values)):
        draws = train.draws(iid=True)
        return str(draws), told(draws)
    n, d = train.values.shape
    return f"Table: {n:,} rows of {d} columns, {lacking:,} with missing cells", {
        "draws": n,
        "variables": train.names,
        "lacking": lacking,
    }


def count_lacking(rows: np.ndarray) -> int:
    """How many of rows (n, d) have missing cells."""
    return int(np.isnan(rows).any(1).sum())


def supports_given(table: files.Table, given: Sequence[str]) -> dict[str, list[Support]]:
    """A training table's supports, by its file and by --support, as an argument of an estimator, if it has any.

    Raises:
        ValueError: if one is none, or of no column, or rows lie outside.
    """
    if not (found := supported(table, given).support):
        return {}
    values = torch.from_numpy(table.values)
    supports = supports_of(found, table.names, values)
    inside(values, supports, table.names)
    return {"support": supports}


def weights_of(table: files.Table) -> dict[str, np.ndarray]:
    """A training table's weights as an argument of ``fit``, if it has any."""
    return {} if table.weights is None else {"sample_weight": table.weights}


def check_finite(table: files.Table, path: str, *, missing: bool = False, train: bool = False) -> None:
    """Raises ValueError naming the columns that hold infinite values, or missing ones.

    With ``missing`` these may be, but in rows to ``train`` on no column may be empty.
    """
    wrong = np.isinf(table.values) if missing else ~np.isfinite(table.values)
    if bad := [name for name, some in zip(table.names, wrong.any(0), strict=True) if some]:
        rows = np.flatnonzero(wrong.any(1))
        raise ValueError(
            f"{path} holds {'' if missing else 'missing or '}infinite values in column(s) {', '.join(bad)}: {len(rows)} of "
            f"{len(wrong)} rows, first at row {rows[0]} (of 0 to {len(wrong) - 1}); drop or impute them"
        )
    empty = [name for name, none in zip(table.names, np.isnan(table.values).all(0), strict=True) if none]
    if train and empty:
        raise ValueError(f"{path} has no value in column(s) {', '.join(empty)}: leave them out with --exclude")


def _rows(options: argparse.Namespace, path: str, **others: Any) -> files.Table:
    return files.read_table(path, header=_header(options), points=True, **others)


def _left_out(options: argparse.Namespace) -> list[str]:
    """Columns that are no variables of a second table, either."""
    return [*options.exclude, *([options.row_weights] if options.row_weights else [])]


def _absent(options: argparse.Namespace, paths: Sequence[str], asked: Sequence[str]) -> list[set[str]]:
    """Of each file those of the names ``asked`` for that it lacks and another has."""
    held = []
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is read again
            held.append(set(filter(_rows(options, path, axes=_axes(options)).holds, asked)))
    return [set().union(*held) - own for own in held]


def _axes(options: argparse.Namespace) -> list[str] | None:
    return options.axes.split(",") if options.axes else None


def _header(options: argparse.Namespace) -> bool | None:
    return None if options.header is None else bool(options.header == "yes")
