"""A quantity estimated as a mean over rows, with its standard error, and the rows it takes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disco_samplers.arrays import as_points, as_tensor, placed
from disco_samplers.draws import Draws
from disco_samplers.pictures import plot_distribution
from disco_samplers.types import ArrayLike


@dataclasses.dataclass(frozen=True)
class Information:
    """A quantity, its standard error, and what each row contributes to it; ``float()`` gives the value.

    Arguments:
        name: of the quantity.
        value: in ``unit``.
        standard_error: of the mean over rows.
        contributions: (n,), their mean is the value.
        unit: nats, or an inverse squared length for Fisher information.

    Example:
        >>> Information("entropy", 1.25, 0.02, np.zeros(3))
        entropy = 1.250 ± 0.020 nats
    """

    name: str
    value: float
    standard_error: float
    contributions: np.ndarray
    unit: str = "nats"

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
    if counts is None:
        mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    else:
        share = (counts / counts.sum()).double().cpu().numpy()
        mean = float((share * values).sum())
        error = math.sqrt(float((share * (values - mean) ** 2).sum()) / float(counts.sum()))
    return Information(name, mean, math.hypot(factor * error, math.sqrt(variance)), values, unit)


def as_draws(
    samples: ArrayLike | Draws, name: str, dim: int | None = None, device: torch.device | None = None
) -> tuple[Tensor, Tensor | None]:
    """Samples as :func:`as_rows` has them, or the distinct rows of draws, and how many independent draws each is worth.

    Raises:
        TypeError, ValueError: as :func:`as_rows`.
    """
    if not isinstance(samples, Draws):
        return as_rows(samples, name, dim, device), None
    rows, counts = samples.counts()
    x = as_rows(rows if samples.is_tensor else rows.numpy(), name, dim, device)
    return x, None if counts is None else counts.to(x.device)


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
