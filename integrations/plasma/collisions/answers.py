"""What scores and operators answer, looked at before it is used: what broadcasts, or is NaN, may else pass without a word."""

from __future__ import annotations

import torch
from torch import Tensor


def answer(values: object, like: Tensor, what: str) -> Tensor:
    """The rows of ``values``, one a particle, in the precision of ``like``.

    Arguments:
        values: scores or rates (n, dv).
        like: velocities (n, dv).
        what: whose answer it is, for errors.

    Raises:
        TypeError: if it is not a tensor.
        ValueError: if it has another shape, or values that are not finite.

    Example:
        >>> answer(torch.ones(4, 1), torch.ones(4, 3), "the score")
        Traceback (most recent call last):
            ...
        ValueError: the score must give a row for each particle, of shape (4, 3), got (4, 1)
    """
    if not isinstance(values, Tensor):
        raise TypeError(f"{what} must give a tensor of shape {tuple(like.shape)}, got {type(values).__name__}")
    if values.shape != like.shape:
        raise ValueError(f"{what} must give a row for each particle, of shape {tuple(like.shape)}, got {tuple(values.shape)}")
    if not torch.isfinite(values.sum()) and (bad := int((~torch.isfinite(values)).any(1).sum())):
        raise ValueError(f"{what} gave {bad} of {len(values)} particles values that are not finite")
    return values.to(like.dtype)
