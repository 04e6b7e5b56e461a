"""Mutual information by nearest neighbours, which sees dependence that is local: thin sheets, edges, clusters."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.special import digamma

_TILE = 2**22
"""Distances held at a time."""


def neighbour_information(x: Tensor, y: Tensor, k: int = 3, share: Tensor | None = None) -> Tensor:
    r"""What each row of x (n, p) and y (n, q) adds to their mutual information, (n,), by its k-th nearest neighbour.

    .. math:: \psi(k) + \psi(n) - \psi(n_x(i) + 1) - \psi(n_y(i) + 1)

    with the number of other rows whose x, and whose y, is nearer than the k-th neighbour is in the larger of the two distances.
    In many columns it errs towards zero. A row with k copies or more is counted with them: log of its share over both sides'.

    Rows that count by their ``share`` (n,), in the mean over rows, too, are draws of another law than the one that they stand
    for. To what is so found of that law is added :math:`\log (w_{xy} / (w_x w_y))`, with the means of n times the share over
    these neighbours, and the row itself.

    References:
        Kraskov, Stogbauer, Grassberger, *Estimating mutual information*, Phys. Rev. E 2004, the first estimator; for copies
        Gao, Kannan, Oh, Viswanath, *Estimating mutual information for discrete-continuous mixtures*, NeurIPS 2017.

    Example:
        >>> x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0)).double()
        >>> bool(neighbour_information(x, x.abs()).mean() > 2), bool(neighbour_information(x, x.flip(0)).mean().abs() < 0.1)
        (True, True)
    """
    n = len(x)
    constant = float(digamma(torch.tensor([k, n], dtype=torch.float64, device="cpu")).sum())
    parts = []
    for rows in torch.arange(n, device=x.device).split(max(1, _TILE // n)):
        distances = [torch.cdist(side[rows], side, compute_mode="donot_use_mm_for_euclid_dist") for side in (x, y)]
        for distance in distances:
            distance[torch.arange(len(rows), device=x.device), rows] = torch.inf
        radius = torch.maximum(*distances).topk(k, 1, largest=False).values[:, -1:]
        # Of a row with copies those that are the same.
        near = [torch.where(radius > 0, distance < radius, distance == 0) for distance in distances]
        together = torch.maximum(*distances) <= radius
        of_x, of_y, of_both = (1 + part.sum(1).double() for part in (*near, together))
        copied = math.log(n) + of_both.log() - of_x.log() - of_y.log()
        found = torch.where(radius[:, 0] > 0, constant - digamma(of_x) - digamma(of_y), copied)
        if share is not None:
            weight = n * share.double()
            w_x, w_y, w_both = (weight[rows] + part.double() @ weight for part in (*near, together))
            ratio = (w_both / of_both) / ((w_x / of_x) * (w_y / of_y))
            found = found + torch.where(weight[rows] > 0, ratio.log(), 0.0)
        parts.append(found)
    return torch.cat(parts)
