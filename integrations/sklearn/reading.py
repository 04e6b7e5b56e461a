"""How the rows of a regression are read: which way makes held-out targets likeliest given their features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.estimate import DensityEstimate, frozen
from disco_samplers.estimators import (
    JohnsonTransform,
    NetworkEstimator,
    PartsEstimator,
    Places,
    Quadrature,
    Slices,
    SupportTransform,
    TemperedEstimator,
    TransformedEstimator,
    crossfit,
    fall,
    fit_mixture,
    mean,
)
from disco_samplers.model import Network, whiten

READINGS = ("johnson", "linear", "parts")
_ASKED = 64
"""Rows of a fold, in random order, that are judged."""

_POWERS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6)


def read_as(
    reading: str, model: Any, rows: Tensor, counts: Tensor | None, keys: int | None, power: float = 1.0
) -> DensityEstimate:
    """The estimate of rows (n, d), each worth so many draws (n,), or one, read in one of the ways, to a power."""
    kept = frozen(model)
    estimator = _estimator(reading, kept.network, rows, counts, keys)
    transform = estimator.transform if isinstance(estimator, TransformedEstimator) else None
    return DensityEstimate(kept, rows, TemperedEstimator(estimator, power), transform=transform)


def best_reading(
    network: Network, rows: Tensor, counts: Tensor | None, readings: Sequence[str], seed: int
) -> tuple[str, float]:
    """Of some ways to read rows (n, d), and of powers, those in which the last column is likeliest given the others.

    Every row is held out, in one of five folds, and 64 of each fold are judged. A later one must be better by a standard error
    of the paired differences.
    """
    best, power, judged = readings[0], 1.0, None
    for reading in readings:
        if reading == "parts" and not _has_parts(rows, counts):
            continue

        def fit(part: Tensor, worth: Tensor | None = None, reading: str = reading) -> Any:
            return part, worth, _estimator(reading, network, part, worth, None)

        generator = torch.Generator().manual_seed(seed)
        found = crossfit(rows, fit, _log_probs, counts=counts, generator=generator)
        asked = torch.isfinite(found[:, 0])
        worth = None if counts is None else counts[asked]
        tried = found[asked]
        highest = int(mean(tried, worth).argmax())
        # The first one stays unless another is clearly better.
        if judged is None or float(fall(-tried[:, [highest]], -judged, worth)) > 1:
            best, power, judged = reading, _POWERS[highest], tried[:, [highest]]
    return best, power


def _log_probs(fitted: tuple[Tensor, Tensor | None, Any], queries: Tensor) -> Tensor:
    """Log-densities (m, p) of the last column of queries (m, d) given the others, to each power; NaN but for the first few."""
    rows, worth, estimator = fitted
    unasked = queries.new_full((len(queries[_ASKED:]), len(_POWERS)), torch.nan)
    queries = queries[:_ASKED]
    d = rows.shape[1]
    slices = Slices(estimator, list(range(d - 1)), queries[:, :-1], d)
    found = Quadrature(slices, Places.of(slices, rows, worth, SupportTransform([None] * d)), refine=False)
    powers = torch.tensor(_POWERS, dtype=queries.dtype, device=queries.device)
    return torch.cat([powers * slices.log_prob(queries[:, None, -1:]).detach() - found.tempered(powers), unasked])


def _has_parts(rows: Tensor, counts: Tensor | None) -> bool:
    """Whether rows (n, d) may be taken in parts: no column is constant or dependent, and a mixture has several components."""
    full = whiten(rows[None], None if counts is None else counts[None]).rank == rows.shape[1]
    return full and len(fit_mixture(rows, counts=counts).weights) > 1


def _estimator(reading: str, network: Network, rows: Tensor, counts: Tensor | None, keys: int | None) -> Any:
    if reading == "parts":
        return PartsEstimator(network, rows, keys, counts)
    if reading == "linear":
        return NetworkEstimator(network, rows, counts, keys)
    johnson = JohnsonTransform.fit(rows, counts)
    return TransformedEstimator(NetworkEstimator(network, johnson(rows), counts, keys), johnson)
