"""Tables as users have them: validation that names columns, and dequantisation of integers and ties."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils.validation import _check_sample_weight, validate_data

from disco_samplers.arrays import check_unmasked


def checked(estimator: Any, X: Any, *, reset: bool, least: int = 1) -> np.ndarray:
    """A finite float64 table (n, d), checked against the columns seen in fit unless ``reset``.

    Raises:
        ValueError: naming the columns that hold strings, NaN or infinite values; or if rows or columns are not as they must be.
    """
    with _named(X):
        check_unmasked(X, "X")
        table: np.ndarray = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_min_samples=least)
    return table + 0.0  # minus zero becomes zero, so that equal rows have equal bytes


def checked_targets(estimator: Any, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) and targets (n,) or (n, t) of a fit, both finite and in float64.

    Raises:
        ValueError: as :func:`checked`, or if there are no targets, or not as many as rows.
    """
    with _named(X):
        check_unmasked(X, "X")
        check_unmasked(y, "y")
        options = {"dtype": np.float64, "multi_output": True, "y_numeric": True, "ensure_min_samples": 2}
        table, targets = validate_data(estimator, X, y, reset=True, **options)
    return table + 0.0, np.asarray(targets, dtype=np.float64) + 0.0


@contextmanager
def _named(X: Any) -> Iterator[None]:
    """Adds to an error of scikit-learn's about a table the columns that it is about."""
    try:
        yield
    except ValueError as error:
        if columns := _offending(X):
            raise ValueError(f"{error}\nColumns with such values: {', '.join(columns)}; encode, drop or impute them") from None
        raise


def weighed(X: np.ndarray, sample_weight: Any) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The rows that count, their weights if there are some, and which of them each row of X is, -1 for none.

    Copies of a row become one row of their number: with weights, or where a column of other than whole numbers says that they
    are copies, having a value of its own in each distinct row. Else rows that are the same stay what they are, ties.

    Raises:
        ValueError: if weights are not one a row, negative or not finite, or fewer than two distinct rows have one.
    """
    index = np.arange(len(X))
    rows, own = np.unique(X, axis=0, return_inverse=True)
    own = own.ravel()
    alone = len(rows) == len(X) or (X.shape[1] > 1 and len(rows) > 1)
    copies = alone and any(len(np.unique(c)) == len(c) and not np.array_equal(c, np.round(c)) for c in rows.T)
    if sample_weight is None and (len(rows) == len(X) or not copies):
        return X, None, index
    weight = np.ones(len(X)) if sample_weight is None else _check_sample_weight(sample_weight, X, ensure_non_negative=True)
    if copies:
        weight = np.bincount(own, weight)
    else:
        rows, own = X, index
    kept = weight > 0
    if len(np.unique(rows[kept], axis=0)) < 2:
        raise ValueError("sample_weight leaves fewer than two distinct rows: all weights, or all but one, are zero")
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    return rows[kept], weight[kept], place[own]


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
