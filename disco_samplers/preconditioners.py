"""Preconditioners: the linear coordinates in which a sampler takes its steps."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kind = Literal["dense", "diagonal", "identity"]

_LEAST = 1e-12
"""Eigenvalue, at least, of a correlation matrix in a direction of no variance."""


def factor(draws: Tensor, kind: Kind = "dense", counts: Tensor | None = None) -> Tensor:
    r"""A factor L of the preconditioner :math:`P = L L^\top`, taken from draws.

    "dense" is the Cholesky factor of the sample covariance, whose correlations are shrunk, so that it exists for any number of
    draws; "diagonal" their standard deviations. Each eigenvalue of the correlations becomes

    .. math:: \min\Big(\frac{n \lambda + d}{n + d},\ \frac{\lambda}{(1 - \sqrt{d/n})^2}\Big), \quad n > d,

    and the first of both for fewer draws. The denominator is the smallest eigenvalue that uncorrelated draws would show: one
    that is far below it belongs to a ridge, and is followed instead of being shrunk towards one.

    Arguments:
        draws: (n, d).
        kind: "dense", "diagonal" or "identity".
        counts: (n,), how many independent draws a row is worth, if not one each; their sum takes the place of n.

    Returns:
        L, (d, d), lower triangular.

    Raises:
        ValueError: if ``kind`` is unknown or draws has fewer than two rows.

    References:
        Marchenko, Pastur, *Distribution of eigenvalues for some sets of random matrices*, Math. USSR-Sbornik 1967.

    Example:
        >>> factor(torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, -1.0], [0.0, 1.0]]), "diagonal").diagonal()
        tensor([1.6330, 0.8165])
    """
    rows, d = draws.shape
    if kind == "identity":
        return torch.eye(d, dtype=draws.dtype, device=draws.device)
    if kind not in ("dense", "diagonal"):
        raise ValueError(f'preconditioner must be "dense", "diagonal" or "identity", got {kind!r}')
    if rows < 2:
        raise ValueError(f"a {kind} preconditioner needs at least two draws, got {rows}")
    x = draws.double() - draws[:1].double()  # numbers that differ in their last digits only have no mean of their own
    share = torch.full_like(x[:, :1], 1 / rows) if counts is None else (counts.double() / counts.double().sum())[:, None]
    n = float(rows) if counts is None else float(counts.sum())
    x = (x - (share * x).sum(0)) * (share / (1 - share.square().sum())).sqrt()
    deviation = torch.linalg.vector_norm(x, dim=0)
    # A constant column takes the smallest scale there is; one of ones if there is none.
    positive = deviation[deviation > 0]
    floor = 1e-3 * (positive.min() if len(positive) else torch.ones((), dtype=x.dtype, device=x.device))
    deviation = torch.where(deviation > 0, deviation, floor)
    if kind == "diagonal" or d == 1:
        return torch.diag(deviation).to(draws.dtype)
    z = x / deviation
    lower: Tensor = torch.linalg.cholesky(_shrunk(z.T @ z, n))
    return (deviation[:, None] * lower).to(draws.dtype)


def _shrunk(correlation: Tensor, n: float) -> Tensor:
    """A correlation matrix, of ones on the diagonal but for constant columns, shrunk as n draws call for."""
    d = len(correlation)
    shrunk = correlation * (n / (n + d)) + torch.diag(1 - correlation.diagonal() * (n / (n + d)))
    if n <= d:
        return shrunk
    # A constant column is a direction of its own, of variance one here as there.
    values, vectors = torch.linalg.eigh(correlation + torch.diag(1 - correlation.diagonal()))
    ridge = values.clamp_min(_LEAST) / (1 - (d / n) ** 0.5) ** 2
    plain = (n * values + d) / (n + d)
    if bool((plain <= ridge).all()):
        return shrunk
    followed: Tensor = (vectors * plain.minimum(ridge)) @ vectors.mT
    return followed
