"""Draws as xarray and ArviZ keep them: variables with the dimensions chain and draw."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from disco_samplers.extras import optional


def is_labelled(values: Any) -> bool:
    """Whether it is an array or data set of xarray, or the data of ArviZ."""
    array = hasattr(values, "dims") and hasattr(values, "coords")
    return array or hasattr(values, "data_vars") or hasattr(values, "posterior")


def from_labelled(values: Any) -> tuple[np.ndarray, list[str]]:
    """Draws (chain, draw, d), or (draw, d) where there is no dimension "chain", and their columns' names.

    A variable with more dimensions becomes a column for each of its entries, named by their coordinates: ``theta[Choate]``,
    or by their numbers where coordinates are missing or repeated.

    Raises:
        ValueError: if a variable has no dimension "draw" or no chains where others have, is not numeric, or there is none.
    """
    data = getattr(values, "posterior", values)
    data = data.data_vars if hasattr(data, "data_vars") else {str(values.name or "x"): values}
    parts, names = [], []
    for name, variable in data.items():
        if "draw" not in variable.dims:
            raise ValueError(
                f'variable {name} has the dimensions {", ".join(map(str, variable.dims))}, and no "draw" among them'
            )
        lead = [dim for dim in ("chain", "draw") if dim in variable.dims]
        rest = [dim for dim in variable.dims if dim not in lead]
        array = np.asarray(variable.transpose(*lead, *rest).values)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"variable {name} is not numeric (dtype {array.dtype})")
        names += [f"{name}[{','.join(at)}]" if at else str(name) for at in product(*(_labels(variable, dim) for dim in rest))]
        parts.append(array.reshape(*array.shape[: len(lead)], -1))
    if not parts:
        raise ValueError("there are no variables")
    if len({part.ndim for part in parts}) > 1:
        raise ValueError('some variables have a dimension "chain" and others have not')
    return np.concatenate(parts, -1), names


def _labels(variable: Any, dim: str) -> list[str]:
    size = variable.sizes[dim]
    own = [str(label) for label in variable.coords[dim].values] if dim in variable.coords else []
    return own if len(set(own)) == size else [str(i) for i in range(size)]


def inference_data(draws: np.ndarray, names: Sequence[str], stats: Mapping[str, np.ndarray]) -> Any:
    """ArviZ data of draws (chain, draw, d), with sampler statistics (chain, draw); theta[0], theta[1], ... become one variable.

    Raises:
        ImportError: if ArviZ is not installed.
    """
    arviz = optional("arviz", "files")
    groups = {"posterior": dict(_grouped(draws, list(names)))} | ({"sample_stats": dict(stats)} if stats else {})
    return arviz.from_dict(groups) if int(arviz.__version__.split(".")[0]) >= 1 else arviz.from_dict(**groups)


def _grouped(draws: np.ndarray, names: list[str]) -> list[tuple[str, np.ndarray]]:
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        match = re.fullmatch(r"(.+)\[(\d+)\]", name)
        base = match[1] if match and match[1] not in names else name
        if match and int(match[2]) != len(groups.get(base, [])):
            base = name  # indices with gaps, or not in order: a name of its own
        groups.setdefault(base, []).append(i)
    return [(base, draws[..., at] if f"{base}[0]" == names[at[0]] else draws[..., at[0]]) for base, at in groups.items()]
