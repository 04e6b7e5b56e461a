"""Which columns of one side depend on which of the other beyond a normal law: dependence is seen better without the rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_DEGREE = 5
"""Of the polynomials whose correlations are looked at."""


def nested_columns(x: Tensor, y: Tensor) -> list[tuple[list[int], list[int]]]:
    r"""Columns of normal scores (n, p) and (n, q): the pair that depends most, then twice as many, up to all.

    Pairs are judged by the squares of what correlations of Hermite polynomials have beyond those of a normal law, which are
    powers of its correlation:

    .. math:: S_{ij} = \sum_{a,b=1}^{5} \Big[\overline{h_a(x_i) h_b(y_j)} - \delta_{ab}\, \overline{x_i y_j}^{\,a}\Big]^2

    The next column is always the one that depends most on one of the other side's that were taken.

    References:
        Lancaster, *The structure of bivariate distributions*, 1958, for the expansion.

    Example:
        >>> x, noise = torch.randn(2, 500, 3, generator=torch.Generator().manual_seed(0)).double()
        >>> nested_columns(x, torch.cat([noise[:, :1], x[:, 2:] * noise[:, 1:2]], 1))[0]  # the last ones
        ([2], [1])
    """
    strength = _strength(x, y)
    p, q = strength.shape
    i, j = divmod(int(strength.argmax()), q)
    left, right, found = [i], [j], [([i], [j])]
    while len(left) + len(right) < p + q:
        of_x, of_y = strength[:, right].amax(1), strength[left].amax(0)
        of_x[left], of_y[right] = -1.0, -1.0
        if of_x.max() > of_y.max():
            left = [*left, int(of_x.argmax())]
        else:
            right = [*right, int(of_y.argmax())]
        count = len(left) + len(right)
        if count & (count - 1) == 0 or count == p + q:
            found.append((left, right))
    return found


def _strength(x: Tensor, y: Tensor) -> Tensor:
    a, b = _hermite(x), _hermite(y)
    correlations = torch.einsum("anp,bnq->abpq", a, b) / len(x)
    normal = correlations[0, 0].clone()
    for k in range(_DEGREE):
        correlations[k, k] -= normal ** (k + 1)
    return correlations.square().sum((0, 1))


def _hermite(x: Tensor) -> Tensor:
    """Polynomials (5, n, d) of columns, of mean zero and variance one."""
    known = [torch.ones_like(x), x]
    for k in range(1, _DEGREE):
        known.append((x * known[-1] - math.sqrt(k) * known[-2]) / math.sqrt(k + 1))
    rows = torch.stack(known[1:])
    rows = rows - rows.mean(1, keepdim=True)
    scaled: Tensor = rows / rows.std(1, keepdim=True).clamp_min(1e-12)
    return scaled
