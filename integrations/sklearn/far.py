"""Features far from those that were fitted."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from disco_samplers.arrays import first

_FAR = 1.5
"""Of the whitened distance of the farthest fitted row from the mean, beyond which features are far from what was fitted."""


class FarFeaturesWarning(UserWarning):
    """Laws are asked for far from the features that were fitted, where nothing tells them."""


class Reach:
    """How far the fitted rows (n, d) of features reach, in the coordinates in which they have no correlation."""

    def __init__(self, rows: np.ndarray, names: Any) -> None:
        self._names = [str(i) for i in range(rows.shape[1])] if names is None else [str(name) for name in names]
        self._mean, self._spread = rows.mean(0), rows.std(0)
        self._spread[self._spread == 0] = 1.0
        unit = (rows - self._mean) / self._spread
        n, d = rows.shape
        # Of few rows a direction may have no width: it has that of d further rows without correlation.
        covariance = (unit.T @ unit + d * np.eye(d)) / (n + d)
        self._root = np.linalg.cholesky(covariance)
        # Rows that a covariance was fitted to are nearer by it than others are.
        self._most = _FAR * (1 + d / n) * float(self._distance(unit).max())

    def warn(self, rows: np.ndarray) -> None:
        """Warns of rows that lie far outside, and says how far."""
        unit = (rows - self._mean) / self._spread
        far = np.flatnonzero(self._distance(unit) > self._most)
        if len(far):
            i = far[0]
            k = int(np.abs(unit[i]).argmax())
            warnings.warn(
                f"{len(far)} of {len(rows)} rows lie far from all that were fitted, where nothing tells the law of the target: "
                f"{first(far.tolist())}, the first with feature {self._names[k]} = {rows[i, k]:.6g}, {abs(unit[i, k]):.1f} "
                f"standard deviations from its mean {self._mean[k]:.6g}",
                FarFeaturesWarning,
                stacklevel=4,
            )

    def _distance(self, unit: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.sqrt(np.square(np.linalg.solve(self._root, unit.T)).sum(0))
        return found
