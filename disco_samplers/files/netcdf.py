"""Draws as ArviZ keeps them: its data, xarray's, and its netCDF files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from disco_samplers.draws import described_of, from_labelled, inference_data
from disco_samplers.extras import optional
from disco_samplers.files.columns import from_chains, numeric
from disco_samplers.files.table import Table, from_logs

_LOG_PROB, _LOG_WEIGHT, _INDEPENDENT, _SUPPORT = "lp", "log_weight", "independent", "support"
"""What ArviZ calls the log-density of a draw; and what we call the rest, for which it has no name."""


def read_netcdf(file: IO[bytes], path: Path) -> Table:
    """Reads the posterior of .nc, one column a number, with what its statistics say of weights and log-densities."""
    h5py, xarray = optional("h5py", "files"), optional("xarray", "files")
    optional("h5netcdf", "files")  # which xarray imports only when it opens a file
    try:
        with h5py.File(file, "r") as opened:
            names = [name for name in ("posterior", "sample_stats") if name in opened]
    except OSError as error:
        raise ValueError(f"{path} is not a netCDF file: {error}") from error
    if "posterior" not in names:
        raise ValueError(f"{path} is not an ArviZ file with a posterior group")
    groups = {}
    for name in names:
        file.seek(0)
        with xarray.open_dataset(file, group=name, engine="h5netcdf") as data:
            groups[name] = data.load()
    return _table(groups["posterior"], groups.get("sample_stats"), str(path))


def table_of_dataset(data: Any) -> Table:
    """The table of an xarray dataset whose variables have the dimensions chain and draw, or of ArviZ data with a posterior.

    Raises:
        TypeError: if it is neither.
        ValueError: if a variable has not, or there are none.
    """
    if hasattr(data, "posterior") and hasattr(data.posterior, "data_vars"):
        return _table(data.posterior, getattr(data, "sample_stats", None), "the posterior")
    if not hasattr(data, "data_vars"):
        raise TypeError(f"draws are read from paths, or from xarray's or ArviZ data, not from {type(data).__name__}")
    return _table(data, None, "the dataset")


def write_netcdf(path: Path, data: Any) -> None:
    """Writes ArviZ data."""
    optional("h5py", "files")
    data.to_netcdf(path, engine="h5netcdf")


def to_arviz(
    draws: np.ndarray,
    names: Sequence[str],
    divergences: np.ndarray | None = None,
    *,
    log_weight: np.ndarray | None = None,
    log_prob: np.ndarray | None = None,
    support: Mapping[Any, Any] | None = None,
    independent: bool = False,
) -> Any:
    """ArviZ data of draws (chain, draw, d), (chain, draw) of them divergent; theta[0], theta[1], ... become one variable theta.

    Raises:
        ImportError: if ArviZ is not installed.
    """
    given = {"diverging": divergences, _LOG_WEIGHT: log_weight, _LOG_PROB: log_prob}
    data = inference_data(draws, names, {name: column for name, column in given.items() if column is not None})
    if independent:
        data["posterior"].attrs[_INDEPENDENT] = 1
    if support:
        data["posterior"].attrs[_SUPPORT] = json.dumps(
            {
                " ".join(key) if isinstance(key, tuple) else key: (where, key) if isinstance(key, tuple) else where
                for key, where in support.items()
            }
        )
    return data


def _table(data: Any, stats: Any, where: str) -> Table:
    words = {str(name): one for name, one in data.data_vars.items() if one.dtype.kind not in "fiub"}
    texts = {name: f"{where}: variable {name} is not numeric (dtype {one.dtype})" for name, one in words.items()}
    if words and len(words) == len(data.data_vars):
        raise ValueError(next(iter(texts.values())))
    try:
        values, names = from_labelled(data.drop_vars(list(words)))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{where}: column name(s) {', '.join(repeated)} occur more than once")
    chains = values.astype(np.float64) if values.ndim == 3 else values.astype(np.float64)[None]
    columns = dict(_statistics(stats, chains.shape[:2])) if stats is not None else {}
    log_weight = columns.pop(_LOG_WEIGHT, None)
    return dataclasses.replace(
        from_chains(chains, names),
        chained=not data.attrs.get(_INDEPENDENT, False),
        weights=None if log_weight is None else from_logs(log_weight),
        log_prob=columns.get(_LOG_PROB),
        support=_support(data.attrs.get(_SUPPORT), names, where),
        stats=columns,
        texts=texts,
    )


def _support(text: Any, names: list[str], where: str) -> dict[Any, Any]:
    """The supports of columns, as :func:`to_arviz` writes them: (low, high), "circular:PERIOD", or a group with its columns."""
    if text is None:
        return {}
    try:
        found = {}
        for name, given in json.loads(text).items():
            if isinstance(given, str):
                found[name] = given
            else:
                first, second = given
                found |= {tuple(second): first} if isinstance(first, str) else {name: (first, second)}
        return described_of(found, names)
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f'{where}: its attribute "{_SUPPORT}" is not (low, high) of columns by name, in JSON') from None


def _statistics(stats: Any, shape: tuple[int, int]) -> Iterator[tuple[str, np.ndarray]]:
    for name in stats.data_vars:
        variable = stats[name]
        if set(variable.dims) == {"chain", "draw"} and variable.dtype.kind in "fiub":
            values = variable.transpose("chain", "draw").values
            if values.shape == shape:
                yield str(name), numeric(values, str(name)).reshape(-1)
