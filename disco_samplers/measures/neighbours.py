"""Mutual information by nearest neighbours, which sees dependence that is local: thin sheets, edges, clusters."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.special import digamma

_TILE = 2**22
"""Distances held at a time."""


def neighbour_information(x: Tensor, y: Tensor, k: int = 3) -> Tensor:
    r"""What each row of x (n, p) and y (n, q) adds to their mutual information, (n,), by its k-th nearest neighbour.

    .. math:: \psi(k) + \psi(n) - \psi(n_x(i) + 1) - \psi(n_y(i) + 1)

    with the number of other rows whose x, and whose y, is nearer than the k-th neighbour is in the larger of the two distances.
    In many columns it errs towards zero. A row with k copies or more is counted with them: log of its share over both sides'.

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
        nearer = [(distance < radius).sum(1).double() for distance in distances]
        found = constant - digamma(nearer[0] + 1) - digamma(nearer[1] + 1)
        if (copied := radius[:, 0] == 0).any():
            same = [distance[copied] == 0 for distance in distances]
            both, *alone = ((part.sum(1) + 1).double().log() for part in (same[0] & same[1], *same))
            found[copied] = math.log(n) + both - alone[0] - alone[1]
        parts.append(found)
    return torch.cat(parts)
