"""What is wrong with data that a score model is to be made of."""

from __future__ import annotations

from torch import Tensor

from disco_samplers.arrays import as_tensor, check_finite
from disco_samplers.types import ArrayLike

FEW = 16
"""Fewest samples, of a class too."""

_SCALES = 0.05, 10.0
"""Standard deviations of data that the schedulers' noise levels are made for."""


def checked_data(data: ArrayLike) -> Tensor:
    """Data (N, ...) as a float tensor.

    Raises:
        TypeError: if they are not numbers.
        ValueError: if they have no shape of samples, hold NaN, are too few, or not scaled.
    """
    x = as_tensor(data, "data").detach().float()
    if x.ndim < 2:
        raise ValueError(f"data must have shape (N, d), (N, C, L) or (N, C, H, W), got {tuple(x.shape)}")
    check_finite(x.flatten(1), "data")
    if len(x) < FEW:
        raise ValueError(f"data has {len(x)} samples; at least {FEW} are needed to estimate their density")
    spread = float(x.flatten(1).std(0).square().mean().sqrt())
    if not _SCALES[0] <= spread <= _SCALES[1]:
        raise ValueError(
            f"data is not scaled: its standard deviation is {spread:.3g}, while the schedulers' noise levels are made "
            "for about one. Give (data - data.mean()) / data.std(), or images in [-1, 1]"
        )
    return x


def checked_labels(labels: ArrayLike, count: int) -> Tensor:
    """Labels (N,) as whole numbers.

    Raises:
        TypeError: if they are not numbers.
        ValueError: if there is not one a sample, they are not whole numbers from zero on, or a class has too few samples.
    """
    given = as_tensor(labels, "labels")
    if given.shape != (count,):
        raise ValueError(f"labels must have shape ({count},), one a sample, got {tuple(given.shape)}")
    classes = given.long()
    if bool((classes != given).any()) or bool((classes < 0).any()):
        raise ValueError("labels must be whole numbers from zero on")
    for label, size in zip(*(t.tolist() for t in classes.unique(return_counts=True)), strict=True):
        if size < FEW:
            raise ValueError(f"class {label} has {size} samples; at least {FEW} are needed to estimate its density")
    return classes
