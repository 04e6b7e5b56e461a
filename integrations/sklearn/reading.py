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

_HELD = 0.9
"""Of the mass in the middle, whose share of held-out targets tells how wide laws should be."""


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
    """Of some ways to read rows (n, d) that in which the last column is likeliest given the others, and a power for it.

    Every row is held out, in one of five folds, and 64 of each fold are judged. A later one must be better by a standard error
    of the paired differences. The power is :func:`calibrated`.
    """
    best, judged, power = readings[0], None, 1.0
    for reading in readings:
        if reading == "parts" and not _has_parts(rows, counts):
            continue

        def fit(part: Tensor, worth: Tensor | None = None, reading: str = reading) -> Any:
            return part, worth, _estimator(reading, network, part, worth, None)

        generator = torch.Generator().manual_seed(seed)
        found = crossfit(rows, fit, _judge, counts=counts, generator=generator)
        asked = torch.isfinite(found[:, 0, 0])
        worth = None if counts is None else counts[asked]
        tried = found[asked, 0]
        highest = int(mean(tried, worth).argmax())
        # The first one stays unless another is clearly better.
        if judged is None or float(fall(-tried[:, [highest]], -judged, worth)) > 1:
            best, judged, power = reading, tried[:, [highest]], _POWERS[calibrated(tried, found[asked, 1], worth)]
    return best, power


def calibrated(log_prob: Tensor, below: Tensor, counts: Tensor | None) -> int:
    """Of powers of laws, which makes targets likely and holds the share of them that it says.

    Two standardised deviations are squared and added: by how much targets are less likely than under the likeliest power, in
    standard errors of the paired differences, and by how much the share of them in the middle 90 % of their laws is off, in its
    standard errors. Likelihood alone makes a law of not quite the right form too narrow or too wide; the share alone is noise
    where laws are right.

    Arguments:
        log_prob: log-density of held-out targets to each power, (m, p).
        below: mass of these laws below the targets, (m, p).
        counts: what each is worth, (m,), or one.
    """
    likeliest = log_prob[:, [int(mean(log_prob, counts).argmax())]]
    less = fall(-likeliest, -log_prob, counts).nan_to_num(nan=0.0)  # none of the likeliest itself
    inside = ((below - 0.5).abs() < _HELD / 2).double()
    worth = len(log_prob) if counts is None else float(counts.sum())
    off = (mean(inside, counts) - _HELD) / (_HELD * (1 - _HELD) / worth) ** 0.5
    return int((less.square() + off.square()).argmin())


def _judge(fitted: tuple[Tensor, Tensor | None, Any], queries: Tensor) -> Tensor:
    """Of the last column of queries (m, d) given the others, to each power, log-density and mass below, (m, 2, p).

    NaN but for the first few.
    """
    rows, worth, estimator = fitted
    unasked = queries.new_full((len(queries[_ASKED:]), 2, len(_POWERS)), torch.nan)
    queries = queries[:_ASKED]
    d = rows.shape[1]
    slices = Slices(estimator, list(range(d - 1)), queries[:, :-1], d)
    found = Quadrature(slices, Places.of(slices, rows, worth, SupportTransform([None] * d)), refine=False)
    powers = torch.tensor(_POWERS, dtype=queries.dtype, device=queries.device)
    log_prob = powers * slices.log_prob(queries[:, None, -1:]).detach() - found.tempered(powers)
    return torch.cat([torch.stack([log_prob, found.below(queries[:, -1].double(), powers).to(log_prob)], 1), unasked])


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
