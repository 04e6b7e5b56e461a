r"""Whether strong correlation of columns is the law's own or that of its clusters' centres, told by near pairs of rows."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_ROWS = 2048
"""Most rows that pairs are sought among."""

_NEAR = 0.05
"""Of all rows, the nearest part that a row is paired with: few enough to lie in one cluster, enough to know a correlation.

In less than ten dimensions, where near rows are too near to know, 10/d times as much, at most _WIDER times.
"""

_WIDER = 4.0

_LEAST = 6
"""Rows that a row is paired with at least."""

_EQUAL = 1e-6
"""Distance, in standard deviations, below which rows count as equal."""

_OWN = 0.65
"""Share of a normal law's correlation of near pairs at which correlation counts half as the law's own.

Measured in 5 to 30 dimensions, 3 to 200 rows a column, medians: 1.0 for normals, 1.0 to 2 for Student-t and skewed laws, .6 to
1.7 for mixtures whose components share their correlation; .1 to .5 for mixtures of clusters without one.
"""

_STRONG = 0.2
"""Least eigenvalue of the correlation, over that of independent columns, at which it counts half as strong.

Mixtures of clusters without correlation of their own whose near pairs look like a normal law's by chance are above .3.
"""

_MOST_DISTANCES = 2**23
"""Distances held at a time."""

_FEWEST = 2
"""Rows a column; fewer cannot tell."""


def ridged(z: Tensor, rows: Tensor, correlation: Tensor) -> Tensor:
    r"""How far columns are bound by a strong correlation that is the law's own, from 0 to 1.

    Near pairs lie in one cluster, so their differences know the correlation :math:`L` within it. Of a normal law of the same
    correlation C they have :math:`L_0`, which is found from as many rows drawn from it. With :math:`\lambda` the least
    eigenvalue of C, over the least that independent columns would have, :math:`(1 - \sqrt{d/n})^2`,

    .. math:: t = \frac{1}{1 + (0.65 / r)^{16}} \cdot \frac{1}{1 + (\lambda / 0.2)^8}, \qquad
        r = \sum_{a \ne b} L_{ab}^2 \Big/ \sum_{a \ne b} L_{0,ab}^2.

    Arguments:
        z: standardised samples, (b, n, d), without values where a row does not count.
        rows: (b, n), how many independent rows a row is worth, 0 where it does not count.
        correlation: C, (b, d, d), with a constant column as one without correlation.

    Returns:
        (b,); 0 where there are fewer than two rows a column.

    References:
        Marchenko, Pastur, *Distribution of eigenvalues for some sets of random matrices*, 1967, for the least eigenvalue.

    Example:
        >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)).double()
        >>> x[:, 1] = x[:, 0] + 0.1 * x[:, 1]
        >>> z = (x - x.mean(0)) / x.std(0, correction=0)
        >>> bool(ridged(z[None], torch.ones(1, 400), (z.T @ z / 400)[None]) > 0.95)
        True
    """
    d = z.shape[-1]
    count = rows.sum(1)
    edge = (1 - (d / count).sqrt().clamp_max(1.0)).square()
    least = torch.linalg.eigvalsh(correlation)[:, 0].clamp_min(0.0) / edge.clamp_min(torch.finfo(z.dtype).tiny)
    strong = torch.where(count >= _FEWEST * d, 1 / (1 + (least / _STRONG) ** 8), 0.0)
    found = torch.zeros_like(strong)
    asked = (strong > 0.01).nonzero()[:, 0] if d > 1 else strong[:0].long()
    for part in asked.split(max(1, _MOST_DISTANCES // min(z.shape[1], _ROWS) ** 2)) if len(asked) else ():
        some, worth = _some(z[part], rows[part].to(z.dtype))
        like = _normal_rows(worth, correlation[part]) * (some.abs().amax(1, keepdim=True) > 0)
        r = _near_correlation(some, worth) / _near_correlation(like, worth).clamp_min(torch.finfo(z.dtype).tiny)
        found[part] = strong[part] / (1 + (_OWN / r.clamp_min(1e-3)) ** 16)
    return found


def _some(z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """At most 2048 of the rows that count, first the same ones however many do not, and what they are worth."""
    counts = rows > 0
    order = (~counts).to(torch.int8).argsort(dim=1, stable=True)
    number = counts.sum(1, keepdim=True)
    step = (number + _ROWS - 1) // _ROWS
    place = torch.arange(int(((number + step - 1) // step).max()), device=z.device) * step
    index = order.gather(1, place.clamp_max(z.shape[1] - 1))
    worth = rows.gather(1, index) * (place < number)
    return z.gather(1, index[..., None].expand(-1, -1, z.shape[-1])), worth


def _normal_rows(worth: Tensor, correlation: Tensor) -> Tensor:
    """Rows (b, m, d) of normal laws with exactly this correlation, (b, d, d), always the same ones."""
    m, d = worth.shape[1], correlation.shape[-1]
    noise = torch.randn(_ROWS, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0), device="cpu")
    x = noise[:m].to(worth).expand(len(worth), -1, -1)
    share = (worth / worth.sum(1, keepdim=True))[..., None]
    x = x - (share * x).sum(1, keepdim=True)
    values, vectors = torch.linalg.eigh((share * x).mT @ x)
    target, axes = torch.linalg.eigh(correlation)
    tiny = 1e-12 * values[:, -1:]
    whitened = x @ (vectors * values.maximum(tiny).rsqrt()[:, None]) @ vectors.mT
    rows: Tensor = whitened @ (axes * target.clamp_min(0).sqrt()[:, None]) @ axes.mT
    return rows


def _near_correlation(x: Tensor, worth: Tensor) -> Tensor:
    """Sum of the squared correlations (b,) of the differences between rows (b, m, d) and the nearest ones to them."""
    distances = torch.cdist(x.detach(), x.detach())
    distances.masked_fill_(distances < _EQUAL, math.inf)
    if not (counted := worth > 0).all():
        distances.masked_fill_(~(counted[:, None] & counted[..., None]), math.inf)
    number = counted.sum(1)
    share = _NEAR * min(max(10 / x.shape[-1], 1.0), _WIDER)
    near = (number * share).round().long().clamp_min(_LEAST).minimum(number - 1).clamp_min(1)
    reach = _nearest(distances, near).clamp_max(torch.finfo(x.dtype).max)[..., None]
    pairs = (distances <= reach).to(x.dtype)
    # Each row counts by its worth, in the pairs that it looks for and in those that look for it.
    weighed, worth = x * worth[..., None], worth[..., None]
    degree = worth * (pairs @ worth + pairs.mT @ worth)
    across = weighed.mT @ pairs @ weighed
    moment = (x * degree).mT @ x - across - across.mT
    size = moment.diagonal(dim1=-2, dim2=-1).clamp_min(torch.finfo(x.dtype).tiny).sqrt()
    squares = (moment / size[:, None] / size[..., None]).square()
    return squares.sum((-2, -1)) - squares.diagonal(dim1=-2, dim2=-1).sum(-1)


def _nearest(distances: Tensor, near: Tensor) -> Tensor:
    """Distance (b, m) of each row to that of so many nearest ones (b,), of distances (b, m, m)."""
    if distances.device.type == "cpu":  # numpy takes a sixth of the time
        found = [np.partition(own.numpy(), k - 1)[:, k - 1] for own, k in zip(distances, near.tolist(), strict=True)]
        return torch.from_numpy(np.stack(found))
    reach = distances.topk(int(near.max()), largest=False).values
    return reach.gather(2, (near - 1)[:, None, None].expand(-1, reach.shape[1], 1))[..., 0]
