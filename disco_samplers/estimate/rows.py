"""What may be conditioned on, and asked at: the checks of rows, masks, weights and points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from disco_samplers.arrays import as_points, as_tensor, check_finite
from disco_samplers.draws import distinct_rows
from disco_samplers.types import ArrayLike

MAX_DIM = 1024
MAX_SAMPLES = 2**20


def check_samples(samples: ArrayLike, mask: ArrayLike | None, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Validates what is to be conditioned on: (n, d) or (batch, n, d), and an optional mask (batch, n)."""
    x = as_points(samples if mask is None else _filled(samples, mask), "samples", device=device)
    if x.ndim > 3:
        raise ValueError(f"samples must have shape (n, d) or (batch, n, d), got {tuple(x.shape)}")
    n, d = x.shape[-2:]
    if d < 1 or (x.ndim == 3 and x.shape[0] < 1):
        raise ValueError(f"samples is empty: its shape is {tuple(x.shape)}")
    if n < 2:
        raise ValueError(f"samples must have at least 2 rows to estimate a density from, got {n}")
    if d > MAX_DIM:
        cure = "reduce the dimension first (e.g. PCA)" if n > d else f"did you mean x.T, {d} rows of {n} columns?"
        raise ValueError(f"samples has {d} columns; at most {MAX_DIM} are supported: {cure}")
    if n > MAX_SAMPLES:
        raise ValueError(f"samples has {n} rows; at most {MAX_SAMPLES} are supported: condition on a random subset")
    if x.ndim == 2 and (x == x[:1]).all():
        raise ValueError("samples has no variance: all its rows are the same; at least two distinct rows are needed")
    if mask is None:
        return x, None
    if x.ndim == 2:
        raise ValueError("mask has the shape (batch, n) of a batch of data sets; of one, leave rows out")
    rows = as_tensor(mask, "mask").to(x.device) != 0
    if rows.shape != x.shape[:2]:
        raise ValueError(f"mask must have shape (batch, n) = {tuple(x.shape[:-1])}, got {tuple(rows.shape)}")
    if (rows.sum(1) < 2).any():
        raise ValueError("mask must keep at least 2 rows of every data set")
    return x, rows


def _filled(samples: ArrayLike, mask: ArrayLike) -> ArrayLike:
    """Samples with zeros in masked rows: what these hold, NaN too, is never looked at."""
    x = as_tensor(samples, "samples")
    rows = as_tensor(mask, "mask").to(x.device) != 0
    filled = torch.where(rows[..., None], x, 0.0) if rows.shape == x.shape[:-1] else x
    return filled if isinstance(samples, Tensor) else filled.numpy()


def batch_counts(
    x: Tensor, rows: Tensor | None, weights: ArrayLike | None, effective_size: ArrayLike | float | None
) -> Tensor | None:
    """How many draws each row (b, n) of a batch is worth, by mask or by weights, with Kish's effective size of each set.

    Without weights a set is worth as many draws as it has distinct rows. ``effective_size``, (b,) or one for all, says
    otherwise, and may exceed the number of rows: points that lie more evenly than draws are worth more.
    """
    if weights is None:
        worth = _shared(x, rows)
        if effective_size is None:
            return worth
        share = x.new_ones(x.shape[:2], dtype=torch.float64) if worth is None else worth.double()
    else:
        share = _weights(x, rows, weights)
    share = share / share.sum(1, keepdim=True)
    if effective_size is None:
        return share / share.square().sum(1, keepdim=True)
    given = effective_size if isinstance(effective_size, Tensor) else np.atleast_1d(effective_size)
    size = as_tensor(given, "effective_size").to(x.device).double().reshape(-1)
    if len(size) not in (1, len(x)) or not bool((size >= 1).all() and torch.isfinite(size).all()):
        raise ValueError(
            f"effective_size of a batch must be one number from 1 on, or one for each of the {len(x)} data sets, "
            f"got {size.tolist()}"
        )
    return share * size[:, None]


def _weights(x: Tensor, rows: Tensor | None, weights: ArrayLike) -> Tensor:
    """Weights (b, n) of a batch, checked."""
    if rows is not None:
        raise ValueError("give mask or weights, not both: a weight of zero leaves a row out")
    found = as_tensor(weights, "weights").to(x.device).double()
    if found.shape != x.shape[:2]:
        raise ValueError(f"weights must have shape (batch, n) = {tuple(x.shape[:2])}, got {tuple(found.shape)}")
    check_finite(found, "weights")
    if (found < 0).any() or ((found > 0).sum(1) < 2).any():
        raise ValueError("weights must not be negative, and at least 2 rows of every data set must have one above zero")
    return found


def _shared(x: Tensor, rows: Tensor | None) -> Tensor | None:
    """What rows (b, n), of a mask if there is one, are worth if a set is worth its distinct ones; None for one each."""
    worth = None
    # Equal rows have equal sums: most batches have none.
    sums = (x * torch.linspace(1.0, 2.0, x.shape[-1], dtype=x.dtype, device=x.device)).sum(-1)
    sums = (sums if rows is None else sums.where(rows, torch.nan)).sort(1).values
    for i in (sums[:, 1:] == sums[:, :-1]).any(1).nonzero()[:, 0].tolist():
        kept = x[i] if rows is None else x[i][rows[i]]
        found = len(distinct_rows(kept)[0])
        if found < len(kept):
            worth = x.new_ones(x.shape[:2], dtype=torch.float64) if worth is None else worth
            worth[i] *= found / len(kept)
    if worth is None or rows is None:
        return rows if worth is None else worth
    return worth * rows


def check_points(points: ArrayLike, samples: Tensor) -> Tensor:
    """Points (m, d) at which an estimate of samples (n, d) is asked; of a batch (b, n, d), (b, m, d)."""
    y = as_points(points, "points", samples.shape[-1], samples.device)
    if y.ndim != samples.ndim or (y.ndim == 3 and y.shape[0] != samples.shape[0]):
        expected = "(m, d)" if samples.ndim == 2 else f"({samples.shape[0]}, m, d)"
        batch = "" if samples.ndim == 2 else " (of a batch of data sets; the chains of one are given as Draws(x))"
        raise ValueError(f"points must have shape {expected} for this estimate{batch}, got {tuple(y.shape)}")
    return y
