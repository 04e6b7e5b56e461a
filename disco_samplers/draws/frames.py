"""Data frames as tensors with names, and points brought into the order of the columns they are asked of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor


def as_table(values: Any, name: str) -> tuple[Tensor, list[str] | None]:
    """An array as a tensor and None, or a pandas or polars data frame as a tensor and the names of its columns.

    Raises:
        TypeError: if the values, or those of a column, are not real numbers.
    """
    if not is_frame(values):
        return as_tensor(values, name), None
    columns = [_column(values[label], label) for label in values.columns]
    tensor = torch.stack(columns, 1) if columns else torch.empty(len(values), 0, device="cpu")
    return tensor, [str(label) for label in values.columns]


def align(points: Any, name: str, names: Sequence[str] | None) -> Any:
    """Points as they are, or those of a data frame as an array with its columns in the order of ``names``, if there are any.

    Raises:
        ValueError: if a data frame has other columns.
    """
    if not is_frame(points):
        return points
    tensor, found = as_table(points, name)
    assert found is not None
    if names is None:
        return tensor.numpy()
    if sorted(found) != sorted(names):
        raise ValueError(f"{name} has the columns {', '.join(found)}; the samples have {', '.join(names)}")
    return tensor[:, [found.index(column) for column in names]].numpy()


def is_frame(values: Any) -> bool:
    """Whether it is a data frame."""
    return hasattr(values, "columns") and hasattr(values, "to_numpy")


def _column(column: Any, label: Any) -> Tensor:
    try:
        return as_tensor(column.to_numpy(), f"column {label}").double()
    except TypeError:
        pass
    # Nullable and arrow columns come as objects; what is missing in them is refused later, as NaN is.
    try:
        return as_tensor(column.to_numpy(dtype="float64", na_value=math.nan), f"column {label}")
    except (TypeError, ValueError) as error:
        raise TypeError(f"column {label} must hold real numbers, got dtype {column.dtype}") from error
