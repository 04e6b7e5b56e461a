"""Tables as users have them: validation that names columns, and dequantisation of integers and ties."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data


def checked(estimator: Any, X: Any, *, reset: bool, least: int = 1) -> np.ndarray:
    """A finite float64 table (n, d), checked against the columns seen in fit unless ``reset``.

    Raises:
        ValueError: naming the columns that hold strings, NaN or infinite values; or if rows or columns are not as they must be.
    """
    try:
        table: np.ndarray = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_min_samples=least)
    except ValueError as error:
        if columns := _offending(X):
            raise ValueError(f"{error}\nColumns with such values: {', '.join(columns)}; encode, drop or impute them") from None
        raise
    return table + 0.0  # minus zero becomes zero, so that equal rows have equal bytes


def resolutions(X: np.ndarray) -> np.ndarray:
    """The step (d,) in which each column was recorded: its smallest gap where values tie, 1 for integers, else 0."""
    found = np.zeros(X.shape[1])
    for k, column in enumerate(X.T):
        values = np.unique(column)
        gaps = np.diff(values)
        # Of numbers such as 0.3 and 0.1 + 0.2 the gap is a rounding error.
        gaps = gaps[gaps > 1e-9 * np.abs(values).max()]
        if len(values) < len(column) and len(gaps):
            found[k] = gaps.min()
        elif np.array_equal(values, np.round(values)):
            found[k] = 1.0
    return found


def dequantized(X: np.ndarray, steps: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """The table with a uniform draw in each value's cell, plus or minus half a step."""
    return np.asarray(X + steps * rng.uniform(-0.5, 0.5, X.shape))


def _offending(X: Any) -> list[str]:
    """Names, or numbers, of the columns that are not finite numbers."""
    names = [str(name) for name in X.columns] if hasattr(X, "columns") else None
    rows = np.asarray(X, dtype=object)
    if rows.ndim != 2:
        return []
    return [names[k] if names else str(k) for k in range(rows.shape[1]) if not _finite(rows[:, k])]


def _finite(column: np.ndarray) -> bool:
    try:
        return bool(np.isfinite(column.astype(np.float64)).all())
    except (TypeError, ValueError):
        return False
