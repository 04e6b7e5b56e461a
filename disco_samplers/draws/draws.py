"""Draws: rows of numbers, and what is known of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor, check_count, check_finite, column_names
from disco_samplers.draws.frames import as_table
from disco_samplers.draws.worth import (
    DrawsWarning,
    HeavyWeightWarning,
    RepeatedRowsWarning,
    chains_effective_size,
    distinct_rows,
    kish_effective_size,
)
from disco_samplers.randomness import generator_on
from disco_samplers.types import ArrayLike

_FEW = 10
"""Effective size below which a warning is due."""

_LIKE_A_CHAIN, _LONG = 0.05, 50
"""Share of rows equal to the row before, and rows, from which on an array looks like a chain that stood still."""

Bounds = Sequence[tuple[float | None, float | None]]


class Draws:
    r"""Draws of a distribution with their weights, chains and names: everything that takes samples takes these.

    They are worth :attr:`effective_size` independent draws. For weights that is Kish's :math:`1 / \sum_i w_i^2`; for chains the
    smallest bulk effective sample size of the columns; for a table with repeated rows the number of distinct ones, which also
    bounds the others; where several apply the smallest.

    Arguments:
        values: (n, d), or (chain, draw, d) for chains of equal length; numpy, torch, or a pandas or polars data frame, whose
            column names are kept.
        weights: (n,), or (chain, draw): not negative, of any sum. Weights of zero leave a row out.
        names: of the d columns.
        support: for each column (low, high), None where there is no bound.
        log_prob: (n,), the log-density at the draws where it is known, up to a constant.

    Raises:
        TypeError: if values or weights are not numeric.
        ValueError: if the shapes do not fit, a value is not finite, a weight is negative or all are zero, names are repeated, a
            row lies outside the support, or all rows are the same.

    References:
        Kish, *Survey sampling*, 1965; Vehtari et al., *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021 (https://arxiv.org/abs/1903.08008).

    Example:
        >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> Draws(x, weights=(0.5 * x[:, 0]).exp())
        Draws: 1,000 draws of 2 columns, weighted, worth 754
        >>> Draws(x.view(4, 250, 2)).num_chains
        4
    """

    def __init__(
        self,
        values: Any,
        *,
        weights: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        support: Bounds | None = None,
        log_prob: ArrayLike | None = None,
    ) -> None:
        tensor, found = as_table(values, "values")
        if tensor.ndim not in (2, 3):
            raise ValueError(
                f"values must have shape (n, d) or (chain, draw, d), got {tuple(tensor.shape)}"
                + (" (for one column use x[:, None])" if tensor.ndim == 1 else "")
            )
        if tensor.shape[-1] < 1 or tensor[..., 0].numel() < 2:
            raise ValueError(f"values must have at least 2 rows and 1 column, got shape {tuple(tensor.shape)}")
        check_finite(tensor, "values")
        self.is_tensor = isinstance(values, Tensor)
        self.num_chains = len(tensor) if tensor.ndim == 3 else None
        self.values: Tensor = tensor.flatten(0, 1) if tensor.ndim == 3 else tensor
        n, d = self.values.shape
        self.names = column_names(names if names is not None else found, d)
        self.has_names = names is not None or found is not None
        self.weights = None if weights is None else _weights(weights, n, self.values)
        self.log_prob = None if log_prob is None else _column(log_prob, "log_prob", n).to(self.values.device)
        self.support = None if support is None else _support(support, self.values, self.names)
        if (self.values == self.values[:1]).all():
            raise ValueError("values has no variance: all its rows are the same; at least two distinct rows are needed")
        self._reduced: tuple[Tensor, Tensor | None] | None = None
        self._effective_size: float | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dim(self) -> int:
        """Number of columns d."""
        return self.values.shape[1]

    @property
    def num_distinct(self) -> int:
        """Number of distinct rows of positive weight."""
        return len(self._distinct()[0])

    @property
    def effective_size(self) -> float:
        """How many independent draws these are worth."""
        if self._effective_size is None:
            rows, share = self._distinct()
            sizes = [float(len(rows))]
            if self.weights is not None:
                sizes.append(kish_effective_size(share))
            if self.num_chains is not None:
                chains = chains_effective_size(self.values.view(self.num_chains, -1, self.dim))
                sizes += [] if math.isnan(chains) else [chains]
            self._effective_size = max(1.0, min(sizes))
        return self._effective_size

    def counts(self, effective_size: float | None = None) -> tuple[Tensor, Tensor | None]:
        r"""The distinct rows (m, d), and how many independent draws each is worth, :math:`w_i \operatorname{ESS}`.

        None stands for one draw a row. Warns where rows are worth few, look like a chain, or one outweighs all others.

        Raises:
            ValueError: if ``effective_size`` is not positive or exceeds the number of distinct rows.
        """
        rows, share = self._distinct()
        size = self.effective_size if effective_size is None else _size(effective_size, len(rows))
        if self.num_chains is None and self.weights is None and effective_size is None and self._looks_like_a_chain():
            warnings.warn(
                f"{len(self):,} rows, of which {len(rows):,} are distinct: many repeat the row before, as a Markov chain's do. "
                f"They are read as {len(rows):,} draws; pass Draws(x) with x (chain, draw, d), or effective_size=, to say what "
                "they are worth",
                RepeatedRowsWarning,
                stacklevel=3,
            )
        if self.weights is not None and float(share.max()) > 0.5:
            warnings.warn(
                f"row {int(share.argmax())} carries {float(share.max()):.0%} of all weight: the draws tell of little else",
                HeavyWeightWarning,
                stacklevel=3,
            )
        elif size < min(_FEW, len(rows)):
            warnings.warn(f"the draws are worth {size:.1f} independent ones: expect little", DrawsWarning, stacklevel=3)
        if self.weights is None and len(rows) == len(self) and size >= len(self):
            return self.values, None
        return rows, share * size

    def thin(self) -> Draws:
        """Every k-th draw of each chain, k being what one independent draw takes; of a table the distinct rows.

        Raises:
            ValueError: if the draws are weighted: :meth:`resample` them.
        """
        if self.weights is not None:
            raise ValueError("weighted draws cannot be thinned: use resample")
        if self.num_chains is None:
            return self._of(self._distinct()[0])
        step = max(1, math.ceil(len(self) / self.effective_size))
        return self._of(self.values.view(self.num_chains, -1, self.dim)[:, ::step])

    def resample(self, num_samples: int | None = None, *, generator: torch.Generator | None = None) -> Draws:
        """Draws of equal weight, by systematic resampling; as many as these are worth if no number is given.

        Raises:
            ValueError: if ``num_samples`` is not positive or the generator is on another device.

        References:
            Kitagawa, *Monte Carlo filter and smoother for non-Gaussian nonlinear state space models*, 1996.
        """
        count = round(self.effective_size) if num_samples is None else num_samples
        check_count("num_samples", count, 1)
        device = self.values.device
        generator = generator_on(device, generator=generator)
        share = self._shares().cumsum(0)
        offset = torch.rand((), generator=generator, device=device, dtype=share.dtype)
        points = (torch.arange(count, device=device) + offset) / count * share[-1]
        index = torch.searchsorted(share, points).clamp_max(len(self) - 1)
        order = torch.randperm(count, generator=generator, device=device)
        return self._of(self.values[index[order]])

    def columns(self, which: Sequence[str | int]) -> Draws:
        """The same draws of some of the columns, by name or number.

        Raises:
            ValueError: if there is no such column.
        """
        index = [_index(column, self.names) for column in which]
        values = self.values[:, index]
        if self.num_chains is not None:
            values = values.view(self.num_chains, -1, len(index))
        weights = None if self.weights is None else self.weights.view(values.shape[:-1])
        bounds = None if self.support is None else [self.support[i] for i in index]
        return Draws(
            values if self.is_tensor else values.numpy(),
            weights=weights,
            names=[self.names[i] for i in index] if self.has_names else None,
            support=bounds,
        )

    def __repr__(self) -> str:
        chains = f" of {self.num_chains} chain{'s' * (self.num_chains > 1)}" if self.num_chains else ""
        distinct = f", {self.num_distinct:,} distinct" if self.num_distinct < len(self) else ""
        weighted = ", weighted" if self.weights is not None else ""
        worth = f"{self.effective_size:,.0f}"
        return f"Draws: {len(self):,} draws{chains} of {self.dim} columns{distinct}{weighted}, worth {worth}"

    def _of(self, values: Tensor) -> Draws:
        names = self.names if self.has_names else None
        return Draws(values if self.is_tensor else values.numpy(), names=names, support=self.support)

    def _shares(self) -> Tensor:
        if self.weights is not None:
            return self.weights
        return torch.full((len(self),), 1 / len(self), dtype=torch.float64, device=self.values.device)

    def _distinct(self) -> tuple[Tensor, Tensor]:
        """Distinct rows of positive weight, and their shares of all weight."""
        if self._reduced is None:
            shares = self._shares()
            kept = shares > 0
            rows, own = distinct_rows(self.values[kept])
            found = torch.zeros(len(rows), dtype=torch.float64, device=rows.device).index_add_(0, own, shares[kept])
            self._reduced = rows, found
        rows, share = self._reduced
        assert share is not None
        return rows, share

    def _looks_like_a_chain(self) -> bool:
        stood = (self.values[1:] == self.values[:-1]).all(1).double().mean()
        return len(self) >= _LONG and bool(stood > _LIKE_A_CHAIN)


def _column(values: ArrayLike, name: str, n: int) -> Tensor:
    tensor = as_tensor(values, name).double().flatten()
    if len(tensor) != n:
        raise ValueError(f"{name} must have one value for each of the {n} rows, got {len(tensor)}")
    return tensor


def _weights(values: ArrayLike, n: int, rows: Tensor) -> Tensor:
    """Weights that sum to one."""
    weights = _column(values, "weights", n)
    check_finite(weights[:, None], "weights")
    low, high = float(weights.min()), float(weights.max())
    if low < 0:
        hint = "exponentiate log-weights first, as (w - w.max()).exp()" if high <= 0 or low < -5 else "leave such rows out"
        raise ValueError(f"weights must not be negative, got {low:.4g} in row {int(weights.argmin())}: {hint}")
    if high == 0:
        raise ValueError("weights are all zero: nothing is left")
    weights = weights / high
    return (weights / weights.sum()).to(rows.device)


def _support(support: Bounds, values: Tensor, names: list[str]) -> list[tuple[float | None, float | None]]:
    bounds = [(low, high) for low, high in support]
    if len(bounds) != len(names):
        raise ValueError(f"support must give (low, high) for each of the {len(names)} columns, got {len(bounds)}")
    for column, name, (low, high) in zip(values.unbind(1), names, bounds, strict=True):
        outside = torch.zeros_like(column, dtype=torch.bool)
        if low is not None:
            outside |= column < low
        if high is not None:
            outside |= column > high
        if outside.any():
            rows = outside.nonzero()[:, 0].tolist()
            raise ValueError(
                f"{len(rows)} rows lie outside the support ({low}, {high}) of column {name}, the first at row {rows[0]} with "
                f"{float(column[rows[0]]):.6g}"
            )
    return bounds


def _size(value: float, distinct: int) -> float:
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 1):
        raise ValueError(f"effective_size must be a number of at least 1, got {value!r}")
    if value > distinct:
        raise ValueError(f"effective_size must not exceed the number of distinct rows, {distinct}, got {value}")
    return float(value)


def _index(column: str | int, names: list[str]) -> int:
    if isinstance(column, str):
        if column not in names:
            raise ValueError(f"there is no column {column!r}: there are {', '.join(names)}")
        return names.index(column)
    if not 0 <= column < len(names):
        raise ValueError(f"there is no column {column}: there are {len(names)}")
    return column
