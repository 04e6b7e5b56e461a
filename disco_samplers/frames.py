"""Data frames and their columns as arrays of numbers: the one place that reads them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def is_frame(values: Any) -> bool:
    """Whether it is a data frame, of pandas or polars."""
    return hasattr(values, "columns") and hasattr(values, "to_numpy")


def is_series(values: Any) -> bool:
    """Whether it is a column of a data frame."""
    return hasattr(values, "to_numpy") and hasattr(values, "to_list") and not is_frame(values)


def frame_names(frame: Any, name: str) -> list[str]:
    """The names of a data frame's columns.

    Raises:
        ValueError: if one occurs twice.
    """
    found = [str(label) for label in frame.columns]
    if repeated := sorted({label for label in found if found.count(label) > 1}):
        raise ValueError(f"{name} has more than one column {', '.join(repeated)}: names of columns must differ")
    return found


def frame_values(frame: Any, name: str) -> np.ndarray:
    """A data frame's rows (n, d) in float64; a missing value is NaN.

    Raises:
        TypeError: if a column holds something else than real numbers.
        ValueError: if two columns have one name.
    """
    names = frame_names(frame, name)
    columns = [
        series_values(frame[label], f"{name}: column {found}").astype(np.float64)
        for label, found in zip(frame.columns, names, strict=True)
    ]
    return np.stack(columns, 1) if columns else np.empty((len(frame), 0))


def series_values(column: Any, name: str) -> np.ndarray:
    """A column's numbers (n,); a missing value is NaN.

    Raises:
        TypeError: if it holds something else than real numbers.
    """
    # Asked before numpy is, which would read dates as nanoseconds.
    values: np.ndarray | None = None
    if getattr(column.dtype, "kind", "O") not in "Mm":
        values = column.to_numpy()
        if values.dtype.kind == "O":  # as nullable and arrow columns come
            values = _numbers(column)
    if values is None or values.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {column.dtype}")
    return values


def _numbers(column: Any) -> np.ndarray | None:
    """An object column in float64; None where it holds what is no number, words that look like numbers among it."""
    if any(isinstance(value, str) for value in column):
        return None
    try:
        values: np.ndarray = column.to_numpy(dtype="float64", na_value=math.nan)
    except (TypeError, ValueError):
        return None
    return values
