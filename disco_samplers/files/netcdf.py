"""Draws as ArviZ keeps them: its data, and its netCDF files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
    arviz = optional("arviz", "files")
    posterior = dict(_grouped(draws, list(names)))
    stats = {"diverging": divergences}
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
