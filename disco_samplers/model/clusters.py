r"""Whether the correlation of columns lies between clusters or within them, told by nearest neighbours."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROWS = 2048
"""Most rows that neighbours are sought among: drawn, for every so many-th may be in step with an order that the rows have."""

_EQUAL = 1e-6
"""Distance, in standard deviations, below which rows count as equal."""

_LITTLE = 0.02
"""Of the squared correlations, the part found between neighbours at which correlation counts half as being between clusters.

Measured in 30 to 100 dimensions, 64 rows a column: .000 to .001 for mixtures of clusters without correlation of their own, also
rotated ones; .06 to .2 for autoregressive and factor models.
"""


def between_clusters(z: Tensor, keep: Tensor, correlation: Tensor) -> Tensor:
    r"""How far the correlation of columns is that of the clusters' centres, from 0 (within clusters) to 1 (between them).

    Neighbours lie in the same cluster, so their differences :math:`\delta_i = z_i - z_{k(i)}` know the correlation within it:

    .. math:: g = \frac{1}{1 + (r / 0.02)^4}, \qquad
        r = \frac{\sum_{a \ne b} \operatorname{corr}(\delta)_{ab}^2}{\sum_{a \ne b} C_{ab}^2},

    each sum less what it would be in independent columns.

    Arguments:
        z: standardised samples, (b, n, d).
        keep: (b, n), True where a row counts.
        correlation: C, (b, d, d).

    Returns:
        (b,).

    Example:
        >>> x = torch.randn(2000, 30, generator=torch.Generator().manual_seed(0)).double()
        >>> clusters = torch.cat([x[:1000], 4 + x[1000:]])
        >>> z = (clusters - clusters.mean(0)) / clusters.std(0, correction=0)
        >>> bool(between_clusters(z[None], torch.ones(1, 2000, dtype=torch.bool), (z.T @ z / 2000)[None]) > 0.9)
        True
    """
    d = z.shape[-1]
    found = []
    for x, kept, c in zip(z, keep, correlation, strict=True):
        rows = x[kept]
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(rows), generator=generator, device=generator.device)[:_ROWS]
        some = rows[order.sort().values.to(rows.device)]
        distances = torch.cdist(some, some)
        # Equal rows are no neighbours: their differences tell nothing.
        difference = some - some[distances.masked_fill(distances < _EQUAL, math.inf).argmin(1)]
        size = difference.square().mean(0).sqrt().clamp_min(torch.finfo(z.dtype).tiny)
        difference = difference / size
        local = difference.mT @ difference / len(some)
        # Pairs of mutual neighbours count twice: half the rows are independent.
        within = _squares(local) - 2 * d * (d - 1) / len(some)
        total = _squares(c) - d * (d - 1) / len(rows)
        # Where there is no correlation at all none is within clusters.
        ratio = within.clamp_min(0.0) / total.clamp_min(torch.finfo(z.dtype).tiny)
        found.append(1 / (1 + (ratio.clamp_max(1.0) / _LITTLE) ** 4))
    return torch.stack(found)


def _squares(matrix: Tensor) -> Tensor:
    """Sum of the squares off the diagonal."""
    return matrix.square().sum() - matrix.diagonal().square().sum()
