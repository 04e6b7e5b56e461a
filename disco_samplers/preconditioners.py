"""Preconditioners: the linear coordinates in which a sampler takes its steps."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kind = Literal["dense", "diagonal", "identity"]


def factor(draws: Tensor, kind: Kind = "dense") -> Tensor:
    r"""A factor L of the preconditioner :math:`P = L L^\top`, taken from draws.

    "dense" is the Cholesky factor of the sample covariance, whose correlations are shrunk by n / (n + d), so that it exists
    for any number of draws; "diagonal" their standard deviations.

    Arguments:
        draws: (n, d).
        kind: "dense", "diagonal" or "identity".

    Returns:
        L, (d, d), lower triangular.

    Raises:
        ValueError: if ``kind`` is unknown or draws has fewer than two rows.

    Example:
        >>> factor(torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, -1.0], [0.0, 1.0]]), "diagonal").diagonal()
        tensor([1.6330, 0.8165])
    """
    n, d = draws.shape
    if kind == "identity":
        return torch.eye(d, dtype=draws.dtype, device=draws.device)
    if kind not in ("dense", "diagonal"):
        raise ValueError(f'preconditioner must be "dense", "diagonal" or "identity", got {kind!r}')
    if n < 2:
        raise ValueError(f"a {kind} preconditioner needs at least two draws, got {n}")
    x = draws.double() - draws[:1].double()  # numbers that differ in their last digits only have no mean of their own
    deviation = x.std(0)
    # A constant column takes the smallest scale there is; one of ones if there is none.
    positive = deviation[deviation > 0]
    floor = 1e-3 * (positive.min() if len(positive) else torch.ones((), dtype=x.dtype, device=x.device))
    deviation = torch.where(deviation > 0, deviation, floor)
    if kind == "diagonal" or d == 1:
        return torch.diag(deviation).to(draws.dtype)
    z = (x - x.mean(0)) / deviation
    correlation = z.T @ z / (n - 1)
    correlation = correlation * (n / (n + d)) + torch.diag(1 - correlation.diagonal() * (n / (n + d)))
    lower: Tensor = torch.linalg.cholesky(correlation)
    return (deviation[:, None] * lower).to(draws.dtype)
