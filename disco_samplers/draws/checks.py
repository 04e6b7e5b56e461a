"""What users say of draws, checked: weights, names and sizes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor, check_finite
from disco_samplers.types import ArrayLike


def stacked(chains: Sequence[Any]) -> Any:
    """Chains of a list as one array, or what else it is as it is."""
    shapes = [tuple(getattr(chain, "shape", ())) for chain in chains]
    if not all(len(shape) == 2 for shape in shapes):
        return chains
    if len(set(shapes)) > 1:
        lengths = [shape[0] for shape in shapes]
        raise ValueError(
            f"chains differ in shape: {', '.join(map(str, shapes))}; cut them to the shortest, "
            f"[chain[:{min(lengths)}] for chain in chains]"
        )
    return torch.stack(list(chains)) if all(isinstance(chain, Tensor) for chain in chains) else np.stack(chains)


def column_of(values: ArrayLike, name: str, shape: Sequence[int]) -> Tensor:
    """One number for each row of draws of a shape, (n, d) or (chain, draw, d)."""
    tensor, rows = as_tensor(values, name).double(), tuple(shape[:-1])
    n = math.prod(rows)
    if tuple(tensor.shape) not in ((n,), (n, 1), rows):
        chains = f", of shape {rows} or ({n},)" if len(rows) == 2 else ""
        turned = ": transpose it" if tuple(tensor.shape) == rows[::-1] else ""
        raise ValueError(f"{name} must have one value for each of the {n} rows{chains}, got {_said(tensor)}{turned}")
    return tensor.flatten()


def _said(tensor: Tensor) -> str:
    return f"{len(tensor)}" if tensor.ndim == 1 else f"shape {tuple(tensor.shape)}"


def weights_of(values: ArrayLike, shape: Sequence[int], rows: Tensor) -> Tensor:
    """Weights that sum to one."""
    weights = column_of(values, "weights", shape)
    if torch.isinf(weights).any():
        raise ValueError("weights holds infinite values: exponentiate log-weights as (w - w.max()).exp()")
    check_finite(weights[:, None], "weights")
    low, high = float(weights.min()), float(weights.max())
    if low < 0:
        hint = "exponentiate log-weights first, as (w - w.max()).exp()" if high <= 0 or low < -5 else "leave such rows out"
        raise ValueError(f"weights must not be negative, got {low:.4g} in row {int(weights.argmin())}: {hint}")
    if high == 0:
        raise ValueError("weights are all zero: nothing is left")
    weights = weights / high
    return (weights / weights.sum()).to(rows.device)


def size_of(value: float, distinct: int) -> float:
    """An effective size that so many distinct rows may have."""
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 1):
        raise ValueError(f"effective_size must be a number of at least 1, got {value!r}")
    if value > distinct:
        raise ValueError(f"effective_size must not exceed the number of distinct rows, {distinct}, got {value}")
    return float(value)


def index_of(column: Any, names: Sequence[str]) -> int:
    """The number of a column.

    Raises:
        TypeError: if it is neither a name nor a number.
        ValueError: if there is no such column.
    """
    if isinstance(column, str):
        if column not in names:
            raise ValueError(f"there is no column {column!r}: there are {', '.join(names)}")
        return list(names).index(column)
    if isinstance(column, bool) or not isinstance(column, numbers.Integral):
        raise TypeError(f"a column must be given by its name or number, got {column!r}")
    number = int(column)
    if not 0 <= number < len(names):
        raise ValueError(f"there is no column {number}: there are {len(names)}, numbered from 0")
    return number
