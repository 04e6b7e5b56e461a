"""What is answered of a row of a streamed table; as these objects are, workers get them."""

from __future__ import annotations

from typing import Any

import numpy as np

from disco_samplers.summaries import TableSummary


class DensityScorer:
    """Log-densities by an estimate of a summary; of the rows that it is made of, by an estimate without them, if ``own``."""

    def __init__(self, density: Any, summary: TableSummary, *, own: bool) -> None:
        self.density, self.known = density.fit(summary), dict[bytes, float]()
        if own:
            scores = self.density.score_training_samples()
            self.known = {row.tobytes(): float(score) for row, score in zip(_same(summary.rows), scores, strict=True)}

    def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Columns (n,) for rows (n, d)."""
        found = np.asarray([self.known.get(row.tobytes(), np.nan) for row in _same(rows)])
        if (new := np.isnan(found)).any():
            found[new] = self.density.score_samples(rows[new])
        return {"log_prob": found}


class AnomalyScorer:
    """Anomaly scores and flags by a detector fitted to a summary; with ``p_values`` these, too."""

    def __init__(self, detector: Any, summary: TableSummary, *, p_values: bool) -> None:
        self.detector, self.p_values = detector.fit(summary), p_values

    def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Columns (n,) for rows (n, d)."""
        scores = -self.detector.decision_function(rows)
        found = {"anomaly_score": scores, "outlier": (scores > 0).astype(int)}
        return found | {"p_value": self.detector.p_values(rows)} if self.p_values else found


def _same(rows: np.ndarray) -> np.ndarray:
    """Rows such that equal ones have equal bytes."""
    return np.ascontiguousarray(np.where(np.isnan(rows), np.nan, rows + 0.0))
