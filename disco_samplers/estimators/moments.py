"""Means and variances of weighted points, of which some columns may be angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def moments(points: Tensor, share: Tensor, periods: Sequence[float] | None = None) -> tuple[Tensor, Tensor]:
    r"""Means and variances (b, k) of points (b, m, k) with shares (b, m) that sum to one.

    Of an angle of period P the mean is the direction :math:`\frac{P}{2\pi} \arg \sum_j w_j e^{2 \pi i x_j / P}`, and the
    variance is of the shorter ways to it.

    Arguments:
        points: of b laws.
        share: of each point in its law.
        periods: of the columns, infinite of one that is no angle; none is if not given.

    References:
        Mardia, Jupp, *Directional Statistics*, Wiley 2000, section 2.2.

    Example:
        >>> x = torch.tensor([[[350.0], [10.0]]])
        >>> mean, variance = moments(x, torch.tensor([[0.5, 0.5]]), [360.0])
        >>> bool(mean.abs() < 1e-3), round(float(variance))
        (True, 100)
    """
    share = share[..., None]
    centers, off = (share * points).sum(1), []
    for i, period in enumerate(periods or [math.inf] * points.shape[-1]):
        column = points[..., i]
        if math.isfinite(period):
            turns = column * (2 * math.pi / period)
            centers[:, i] = torch.atan2(*((share[..., 0] * f(turns)).sum(1) for f in (torch.sin, torch.cos)))
            centers[:, i] *= period / (2 * math.pi)
            off.append(torch.remainder(column - centers[:, i, None] + period / 2, period) - period / 2)
        else:
            off.append(column - centers[:, i, None])
    return centers, (share * torch.stack(off, -1).square()).sum(1)
