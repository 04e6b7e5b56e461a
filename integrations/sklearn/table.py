"""Tables as users have them: validation that names columns, and dequantisation of integers and ties."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import _check_sample_weight, validate_data

from disco_samplers.arrays import check_unmasked, default_names
from disco_samplers.draws import Draws, Support, inside, supports_of, warn_of_supports
from disco_samplers.summaries import TableSummary


def checked(estimator: Any, X: Any, *, reset: bool, least: int = 1, missing: bool = False) -> np.ndarray:
    """A finite float64 table (n, d), checked against the columns seen in fit unless ``reset``; cells may be NaN if ``missing``.

    Raises:
        ValueError: naming the columns that hold strings, infinite values or, unless ``missing``, NaN; or if rows or columns are
            not as they must be.
    """
    finite: Any = "allow-nan" if missing else True
    with _named(X, missing=missing):
        check_unmasked(X, "X")
        options = {"dtype": np.float64, "ensure_min_samples": least, "ensure_all_finite": finite}
        table: np.ndarray = validate_data(estimator, X, reset=reset, **options)
    # Minus zero becomes zero, and every NaN the same, so that equal rows have equal bytes.
    return np.where(np.isnan(table), np.nan, table + 0.0)


def unsummarised(X: Any, sample_weight: Any) -> tuple[Any, Any]:
    """A table and its weights, or of the summary of a larger one the rows that it kept, and theirs.

    Raises:
        ValueError: if there are weights besides a summary, which has its own.
    """
    if not isinstance(X, TableSummary):
        return X, sample_weight
    if sample_weight is not None:
        raise ValueError("sample_weight is given twice: the summary of a table has the weights of its rows")
    return X.rows, X.weights


def check_filled(estimator: Any, X: np.ndarray) -> None:
    """Raises ValueError if fewer than two rows of a training table have a value, or naming the columns in which none has."""
    if (count := int((~np.isnan(X).all(1)).sum())) < 2:
        raise ValueError(f"X must have at least 2 rows with values, got {count}")
    if (empty := np.isnan(X).all(0)).any():
        names = getattr(estimator, "feature_names_in_", np.arange(X.shape[1]))
        raise ValueError(f"X has no value in column(s) {', '.join(str(name) for name in names[empty])}: drop them")


def ends_of(estimator: Any, X: np.ndarray) -> list[Support] | None:
    """The supports of an estimator's columns (n, d), by its parameter ``support``; "auto" only warns of what they look like.

    Raises:
        ValueError: if a cell lies outside, or as ``supports_of`` does.
    """
    given = estimator.support
    names = [str(name) for name in getattr(estimator, "feature_names_in_", default_names(X.shape[1]))]
    if isinstance(given, str):
        whole = ~np.isnan(X).any(1)
        if whole.sum() > 1:
            warn_of_supports(Draws(X[whole], names=names), stacklevel=5)
        return None
    if given is None:
        return None
    found = supports_of(given, names, torch.from_numpy(X))
    inside(torch.from_numpy(X), found, names)
    return found


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
def _named(X: Any, *, missing: bool = False) -> Iterator[None]:
    """Adds to an error of scikit-learn's about a table the columns that it is about."""
    try:
        yield
    except ValueError as error:
        if columns := _offending(X, missing=missing):
            raise ValueError(f"{error}\nColumns with such values: {', '.join(columns)}; encode, drop or impute them") from None
        raise


def weighed(X: np.ndarray, sample_weight: Any) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The rows that count, their weights if there are some, and which of them each row of X is, -1 for none.

    Copies of a row become one row of their number: with weights, or where a column of other than whole numbers says that they
    are copies, having a value of its own in each distinct row. Else rows that are the same stay what they are, ties. Missing
    cells are the same as one another. A row without any cell does not count.

    Raises:
        ValueError: if weights are not one a row, negative or not finite, or fewer than two distinct rows have one.
    """
    index, bare = np.arange(len(X)), np.isnan(X).all(1)
    rows, own = distinct(X)
    alone = len(rows) == len(X) or (X.shape[1] > 1 and len(rows) > 1)
    copies = alone and any(len(np.unique(c)) == len(c) and not np.array_equal(c, np.round(c), equal_nan=True) for c in rows.T)
    if sample_weight is None and (len(rows) == len(X) or not copies):
        return X[~bare], None, np.where(bare, -1, np.cumsum(~bare) - 1)
    weight = np.ones(len(X)) if sample_weight is None else _check_sample_weight(sample_weight, X, ensure_non_negative=True)
    weight = np.where(bare, 0.0, weight)
    if copies:
        weight = np.bincount(own, weight)
    else:
        rows, own = X, index
    kept = weight > 0
    if len(distinct(rows[kept])[0]) < 2:
        raise ValueError("sample_weight leaves fewer than two distinct rows: all weights, or all but one, are zero")
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    return rows[kept], weight[kept], place[own]


def distinct(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of a table (n, d), and which of them each row is, (n,); missing cells are the same."""
    # No NaN equals another, and no cell is infinite.
    rows, own = np.unique(np.where(np.isnan(X), np.inf, X), axis=0, return_inverse=True)
    return np.where(np.isinf(rows), np.nan, rows), own.ravel()


def resolutions(X: np.ndarray) -> np.ndarray:
    """The step (d,) in which each column was recorded: its smallest gap where values tie, 1 for integers, else 0."""
    found = np.zeros(X.shape[1])
    for k, column in enumerate(c[~np.isnan(c)] for c in X.T):
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


def _offending(X: Any, *, missing: bool) -> list[str]:
    """Names, or numbers, of the columns that are not finite numbers, nor missing ones where these may be."""
    names = [str(name) for name in X.columns] if hasattr(X, "columns") else None
    rows = np.asarray(X, dtype=object)
    if rows.ndim != 2:
        return []
    return [names[k] if names else str(k) for k in range(rows.shape[1]) if not _finite(rows[:, k], missing)]


def _finite(column: np.ndarray, missing: bool) -> bool:
    try:
        values = column.astype(np.float64)
        return bool((np.isfinite(values) | (missing & np.isnan(values))).all())
    except (TypeError, ValueError):
        return False
