"""Quantiles of weighted columns."""

from __future__ import annotations

import torch
from torch import Tensor


def quantile(columns: Tensor, counts: Tensor, levels: Tensor) -> Tensor:
    """The lowest values (k, d) of columns (n, d) at which so much, (k,), of all weight (n,) is reached.

    Example:
        >>> quantile(torch.tensor([[3.0], [1.0], [2.0]]), torch.tensor([1.0, 1.0, 2.0]), torch.tensor([0.1, 0.5]))[:, 0]
        tensor([1., 2.])
    """
    values, order = columns.sort(0)
    reached = counts.double()[order].cumsum(0)
    wanted = levels.to(reached)[:, None] * reached[-1]
    index = torch.searchsorted(reached.T.contiguous(), wanted.T.contiguous()).T
    return values.gather(0, index.clamp_max(len(columns) - 1))
