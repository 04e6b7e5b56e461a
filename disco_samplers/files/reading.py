"""Files of draws as draws: one or several of them, all columns or some."""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disco_samplers.draws import Draws, DrawsWarning
from disco_samplers.files.chains import in_chains, of_one_length, stacked
from disco_samplers.files.columns import OF_ROWS
from disco_samplers.files.formats import read_file
from disco_samplers.files.netcdf import table_of_dataset
from disco_samplers.files.table import Table

_ROOTS = (r"_?dead-birth\.txt", r"[._]\d+\.txt", r"\.txt")
"""What follows the root of a chain's files, the first that there is."""

_LIKE_WEIGHTS = ("weight", "weights", "logwt", "logw", "log_weight", "log_weights")


def read(
    source: Any,
    *,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    index: Sequence[str] = (),
    row_weights: str | None = None,
    burn_in: float | None = None,
    thinning: int = 1,
    axes: Sequence[str] | None = None,
    header: bool | None = None,
    iid: bool = False,
) -> Draws:
    """Draws from files as programs write them, with names, weights, chains, bounds and log-densities where the file has them.

    ==================  ====================================================================================================
    .csv .txt .dat      numbers between commas, semicolons, tabs or blanks, under a header or without; ``#`` comments; decimal
    .tsv                commas; NA, true and false. By what stands in them: CmdStan's output (without warm-up; ``lp__`` is the
                        log-density); chains of getdist, Cobaya and CosmoMC (with ``.paramnames`` and ``.ranges``); dead
                        points of PolyChord, MultiNest, UltraNest. Columns chain, draw and .log_weight are what they say,
                        also as R's posterior (``.chain``) and cmdstanpy (``chain__``) call them.
    .npy                (n,), (n, d), or of three dimensions as ``axes`` says
    .npz                one such array, one array a variable, or ``samples`` with ``weights``, ``logwt``, or ``logl`` and
                        ``logvol`` or ``birth``
    .parquet .feather   tables of Apache Arrow
    .nc .h5 .hdf5       ArviZ; chains of emcee and zeus, walkers being chains
    ==================  ====================================================================================================

    Any of them may be packed, as .gz, .bz2 or .xz.

    Arguments:
        source: path of a file; several paths, or a pattern as ``chain_*.csv``, whose files are chains; the root of a chain's
            files; an xarray dataset with dimensions chain and draw, or ArviZ data.
        columns: the columns to take, by name; ``theta`` stands for theta[0], theta[1] and so on. What is no variable, as a
            sampler's diagnostics, is taken only where it is named.
        exclude: columns to leave out, also those of text.
        index: columns that only say which row is which.
        row_weights: the column of weights; of log-weights if its name begins with log.
        burn_in: rows to leave out at the start of each chain, or their share if below one; 0 leaves out none, and says that
            the rows are a chain.
        thinning: take each chain's every so many-th row.
        axes: of an array of three dimensions.
        header: whether the first row of text is a header; by default it is one unless all of it is numbers.
        iid: take the rows for independent draws, also where they are chains.

    Of chains that are longer than the shortest the last draws are taken, with a warning. A plain table is taken for independent
    draws, unless ``burn_in`` or ``thinning`` say that it is a chain.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file cannot be read, with line and column where that makes sense, a value is missing, or the columns
            chain and draw do not say of every row which it is.
        ImportError: if a format needs a package that is not installed.
        TypeError: if ``source`` is none of these.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "draws.csv"
        >>> _ = path.write_text("mu,tau\\n0.1,1.5\\n0.3,1.2\\n0.2,1.7\\n")
        >>> draws = read(path, columns=["tau"])
        >>> draws
        Draws: 3 draws of 1 columns, worth 3
        >>> draws.names
        ['tau']
    """
    table = read_table(
        source,
        columns=columns,
        exclude=exclude,
        index=index,
        row_weights=row_weights,
        burn_in=burn_in,
        thinning=thinning,
        axes=axes,
        header=header,
        iid=iid,
    ).finite()
    try:
        return table.draws(iid=iid)
    except ValueError as error:
        paths = [source] if isinstance(source, (str, os.PathLike)) else source if isinstance(source, (list, tuple)) else []
        raise ValueError(": ".join(filter(None, [", ".join(map(str, paths)), str(error)]))) from error


def read_table(
    source: Any,
    index: Sequence[str] = (),
    *,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    row_weights: str | None = None,
    burn_in: float | None = None,
    thinning: int = 1,
    axes: Sequence[str] | None = None,
    header: bool | None = None,
    iid: bool = False,
    points: bool = False,
    ignore: Sequence[str] = (),
) -> Table:
    """The table in files, as of :func:`read`; it may have a single row, and missing values as NaN.

    With ``iid`` chains of unequal length keep all their rows. With ``points`` every row stands once and where it stands in the
    file, whatever is said of chains, and columns of text are kept apart. Columns to ``ignore`` need not be there.

    Raises:
        FileNotFoundError, ValueError, ImportError, TypeError: as of :func:`read`.
    """
    for name, given in {"columns": columns, "exclude": exclude, "index": index}.items():
        if isinstance(given, str):
            raise TypeError(f"{name} must be a list of names, got the string {given!r}: write [{given!r}]")

    def taken(table: Table) -> Table:
        kept = _selected(table.without(ignore), index, columns, exclude, row_weights)
        if words := [name for name in OF_ROWS if name in table.texts and not points and name not in exclude]:
            raise ValueError(table.texts[words[0]])
        return kept if points else _chained(kept, index, burn_in, thinning)

    if not isinstance(source, (str, os.PathLike, list, tuple)):
        return taken(table_of_dataset(source))
    paths = [found for path in (source if isinstance(source, (list, tuple)) else [source]) for found in _paths(path)]
    if not paths:
        raise ValueError("no file is given")
    places = [path.resolve() for path in paths]
    if len(set(places)) < len(places):
        twice = next(path for path, place in zip(paths, places, strict=True) if places.count(place) > 1)
        raise ValueError(f"{twice} is given twice: its rows are one chain's")
    tables = []
    for path in paths:
        table = read_file(path, index, axes, header)
        try:
            tables.append(taken(table))
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path} {error}") from error
    table = stacked(tables, [str(path) for path in paths])
    if iid or points:
        return dataclasses.replace(table, lengths=(), chained=False)
    return of_one_length(table)


def _selected(
    table: Table, index: Sequence[str], columns: Sequence[str] | None, exclude: Sequence[str], row_weights: str | None
) -> Table:
    table = table.labelled(index)
    if row_weights is not None:
        table = table.weighted_by(row_weights)
    elif table.weights is None and columns is None and (like := {*_LIKE_WEIGHTS} & {*table.names} - {*exclude}):
        warnings.warn(
            f"the column {min(like)} is read as a variable: say row_weights (--row-weights) if it holds the rows' weights, "
            "or exclude it",
            DrawsWarning,
            stacklevel=4,
        )
    return table.select(columns, exclude)


def _chained(table: Table, index: Sequence[str], burn_in: float | None, thinning: int) -> Table:
    table = in_chains(table.numbers(), index)
    if burn_in is not None or thinning != 1:
        table = dataclasses.replace(table, chained=True).burnt_in(burn_in or 0).thinned(thinning)
    return table


def _paths(source: str | os.PathLike[str]) -> list[Path]:
    """The files of a path, pattern or root of chains."""
    path = Path(source)
    if path.is_file():
        return [path]
    if glob.has_magic(str(path)) and (found := glob.glob(str(path))):
        return _in_order(found)
    texts = glob.glob(glob.escape(str(path)) + "*.txt")
    for end in _ROOTS:
        if found := [name for name in texts if re.fullmatch(end, name[len(str(path)) :])]:
            return _in_order(found)
    return [path]


def _in_order(paths: Sequence[str]) -> list[Path]:
    return [Path(path) for path in sorted(paths, key=lambda path: (len(path), path))]
