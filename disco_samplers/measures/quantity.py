"""A quantity estimated as a mean over rows, with its standard error, and the rows it takes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from disco_samplers.arrays import as_points, as_tensor, placed
from disco_samplers.draws import Draws, Support
from disco_samplers.pictures import plot_distribution
from disco_samplers.types import ArrayLike


@dataclasses.dataclass(frozen=True)
class Information:
    """A quantity, its standard error, and what each row contributes to it; ``float()`` gives the value.

    Arguments:
        name: of the quantity.
        value: in ``unit``.
        standard_error: of the mean over rows.
        contributions: of each distinct row, (n,); their mean, by what rows are worth, is the value.
        unit: nats, or an inverse squared length for Fisher information.
        effective_size: how many independent draws the rows are worth.

    Example:
        >>> Information("entropy", 1.25, 0.02, np.zeros(3))
        entropy = 1.250 ± 0.020 nats
    """

    name: str
    value: float
    standard_error: float
    contributions: np.ndarray
    unit: str = "nats"
    effective_size: float = math.nan

    def __float__(self) -> float:
        return self.value

    def plot(self, path: str | None = None) -> Any:
        """Draws the rows' contributions with the value and two standard errors to either side. Needs matplotlib."""
        ends = (self.value - 2 * self.standard_error, self.value + 2 * self.standard_error)
        label = f"contribution of a row ({self.unit})"
        return plot_distribution(self.contributions, label, {str(self): self.value}, band=ends, title=self.name, path=path)

    def __repr__(self) -> str:
        return f"{self.name} = {self.value:.3f} ± {self.standard_error:.3f} {self.unit}"


def row_mean(
    name: str,
    rows: Tensor,
    *,
    counts: Tensor | None = None,
    unit: str = "nats",
    factor: float = 1.0,
    variance: float = 0.0,
) -> Information:
    """The quantity whose rows' contributions are (n,); ``variance`` is that of what is common to all of them.

    With ``counts`` (n,) a row is worth so many independent draws, and the mean is weighted by them.
    """
    values = rows.detach().double().cpu().numpy()
    worth = float(len(values)) if counts is None else float(counts.sum())
    if counts is None:
        mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    else:
        share = (counts / counts.sum()).double().cpu().numpy()
        mean = float((share * values).sum())
        error = math.sqrt(float((share * (values - mean) ** 2).sum()) / worth)
    return Information(name, mean, math.hypot(factor * error, math.sqrt(variance)), values, unit, worth)


class Rows(NamedTuple):
    """Rows (n, d) in float64, how many independent draws each is worth, which block of successive draws it is in, supports."""

    values: Tensor
    counts: Tensor | None = None
    blocks: Tensor | None = None
    supports: list[Support] | None = None

    def columns(self, first: int, last: int) -> Rows:
        """Some of the columns."""
        return self._replace(values=self.values[:, first:last])


def as_draws(samples: ArrayLike | Draws, name: str, dim: int | None = None, device: torch.device | None = None) -> Rows:
    """Samples as :func:`as_rows` has them, or the distinct rows of draws with what is known of them.

    Raises:
        TypeError, ValueError: as :func:`as_rows`.
    """
    return known_rows(all_rows(samples, name, dim, device), samples, name)


def all_rows(samples: ArrayLike | Draws, name: str, dim: int | None = None, device: torch.device | None = None) -> Tensor:
    """Samples as :func:`as_rows` has them, of draws every row, whatever it weighs.

    Raises:
        TypeError, ValueError: as :func:`as_rows`.
    """
    if isinstance(samples, Draws):
        samples = samples.values if samples.is_tensor else samples.values.numpy()
    return as_rows(samples, name, dim, device)


def known_rows(values: Tensor, samples: ArrayLike | Draws | None, name: str) -> Rows:
    """Values (n, d) for the rows of samples, with what is known of these.

    Raises:
        ValueError: as :func:`as_rows`.
    """
    if not isinstance(samples, Draws):
        return Rows(values)
    draws = samples.replaced(values.to(samples.values.device))
    rows, counts = draws.counts()
    return Rows(as_rows(rows.to(values.device), name), None if counts is None else counts.to(values.device), draws.blocks())


def as_pairs(
    x: ArrayLike | Draws, y: ArrayLike | Draws, device: torch.device | None, names: tuple[str, str] = ("x", "y")
) -> tuple[Tensor, Tensor, Draws | None]:
    """Two sets of columns of the same draws, and the one that knows of weights and chains.

    Raises:
        TypeError, ValueError: as :func:`as_rows`, or if rows differ in number or in weights and chains, or are all the same.
    """
    known = next((part for part in (x, y) if isinstance(part, Draws)), None)
    where = device if known is None else known.values.device
    a, b = (
        part.values.double() if isinstance(part, Draws) else as_rows(part, name, device=where)
        for part, name in zip((x, y), names, strict=True)
    )
    if len(a) != len(b):
        raise ValueError(f"{names[0]} and {names[1]} must have the same rows, got {len(a)} and {len(b)}")
    if isinstance(x, Draws) and isinstance(y, Draws) and not _alike(x, y):
        raise ValueError(f"{names[0]} and {names[1]} must be columns of the same draws: their weights or chains differ")
    for values, name in zip((a, b), names, strict=True):
        check_varies(values, name)
    return a, b, known


def check_varies(values: Tensor, name: str) -> None:
    """Raises ValueError if all rows of (n, d) are the same."""
    if not (values != values[0]).any():
        raise ValueError(f"{name} does not vary: it tells nothing of anything")


def _alike(x: Draws, y: Draws) -> bool:
    if x.weights is None or y.weights is None:
        return x.weights is y.weights and x.num_chains == y.num_chains
    return x.num_chains == y.num_chains and torch.equal(x.weights, y.weights)


def as_rows(samples: ArrayLike, name: str, dim: int | None = None, device: torch.device | None = None) -> Tensor:
    """Samples (n, d) in float64, on a device if one is given; a vector (n,) is one column.

    Raises:
        TypeError: if the values are not real numbers.
        ValueError: if there are fewer than three rows, another number of columns than ``dim``, a value is not finite, or a
            tensor is on another device.
    """
    x = as_tensor(samples, name)
    x = as_points(x[:, None] if x.ndim == 1 else x, name, dim).detach().double()
    if x.ndim != 2 or len(x) < 3:
        raise ValueError(f"{name} must have shape (n, d) with n >= 3, got {tuple(x.shape)}")
    return placed(x, name, device, free=not isinstance(samples, Tensor))
