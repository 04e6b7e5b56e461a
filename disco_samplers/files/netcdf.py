"""Draws as ArviZ keeps them: its data, and its netCDF files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disco_samplers.draws import inference_data
from disco_samplers.extras import optional
from disco_samplers.files.table import Table, numeric


def read_netcdf(path: Path, index: Sequence[str]) -> Table:
    """Reads the posterior of .nc, one column a number."""
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
            values = numeric(variable.transpose("chain", "draw", ...).values, str(name))
            chains, draws = values.shape[:2]
            indices = ["[" + ",".join(map(str, at)) + "]" for at in np.ndindex(values.shape[2:])]
            names += [f"{name}{index if values.ndim > 2 else ''}" for index in indices]
            parts.append(values.reshape(chains * draws, len(indices)))
    if not parts:
        raise ValueError(f"{path} holds no variables in its posterior")
    return Table(np.concatenate(parts, 1), names, chains)


def write_netcdf(path: Path, data: Any) -> None:
    """Writes ArviZ data."""
    optional("h5py", "files")
    data.to_netcdf(path, engine="h5netcdf")


def to_arviz(draws: np.ndarray, names: Sequence[str], divergences: np.ndarray) -> Any:
    """ArviZ data of draws (chain, draw, d), (chain, draw) of them divergent; theta[0], theta[1], ... become one variable theta.

    Raises:
        ImportError: if ArviZ is not installed.
    """
    return inference_data(draws, names, {"diverging": divergences})
