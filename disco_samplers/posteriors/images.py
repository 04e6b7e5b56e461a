"""Regions that are images of one another by exchanges of columns, where draws show some of these only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from disco_samplers.posteriors.copies import Copies
from disco_samplers.posteriors.shard import Shard
from disco_samplers.reference import GaussianMixture

_ROUNDS = 20
_MOST = 120
"""Images, at most: of five labels."""

_FEW = 20
"""Draws a column that an image has to have: chains may not have seen all."""


class Images:
    r"""Shares of rows in the images of one Gaussian by all exchanges that some copies of regions are made by.

    .. math:: f(\theta) = \sum_{\pi \in G} w_\pi\, \mathcal N\big(\theta_\pi;\, m, \Sigma\big)

    Where a lobe between two modes is a region of its own near some modes and not near others, modes that are copies look
    unlike. Here m and Sigma are those of all images together, by rounds of expectation maximisation.

    Arguments:
        shard: draws (n, d), with what they are worth.
        copies: what regions are found to be copies of.
        weights: (j,), of all their regions, one after the other.

    References:
        Jasra, Holmes, Stephens, *Markov chain Monte Carlo methods and the label switching problem in Bayesian mixture
        modeling*, Statistical Science 2005.

    Example:
        >>> from disco_samplers.posteriors.edgeworth import Edgeworth
        >>> g = torch.Generator().manual_seed(0)
        >>> x = torch.randn(900, 3, generator=g).double() + 9 * torch.eye(3).double()[torch.arange(900) % 3]
        >>> two = Copies(Edgeworth(x[::3] - x[::3].mean(0)), x[::3].mean(0).repeat(2, 1), torch.tensor([[0, 1, 2], [1, 2, 0]]))
        >>> Images(Shard(x), [two], torch.ones(2)).shares(x).mean(0).round(decimals=1)
        tensor([0.3000, 0.3000, 0.3000], dtype=torch.float64)
    """

    def __init__(self, shard: Shard, copies: Sequence[Copies], weights: Tensor) -> None:
        rows, worth = shard.rows, shard.worth
        sizes = torch.stack([own.sum() for own in weights.split([len(part.centres) for part in copies])])
        first = copies[int(sizes.argmax())]
        means, covariances = first.gaussians
        mean = means.gather(1, first.orders).mean(0)
        covariance = covariances[0][first.orders[0][:, None], first.orders[0]]
        self.orders = exchanges(copies)
        share = rows.new_full((len(self.orders),), float(worth.sum()))
        for _ in range(_ROUNDS):
            kept = share >= min(_FEW * rows.shape[1], float(share.max()))
            self.orders, share = self.orders[kept], share[kept]
            back = self.orders.argsort(1)
            self.mixture = GaussianMixture(share, mean[back], covariance[back[:, :, None], back[:, None]])
            own = worth[:, None] * self.mixture.responsibilities(rows)
            share = own.sum(0)
            together, weight = torch.cat([rows[:, order] for order in self.orders]), own.T.flatten()
            mean = weight @ together / weight.sum()
            covariance = together.T.cov(correction=0, aweights=weight)

    def shares(self, points: Tensor) -> Tensor:
        """Of points (m, d), (m, j)."""
        return self.mixture.responsibilities(points)


def exchanges(copies: Sequence[Copies]) -> Tensor:
    """The orders (j, d) of columns that those of copies make one after the other, up to a number.

    Example:
        >>> from types import SimpleNamespace
        >>> exchanges([SimpleNamespace(orders=torch.tensor([[0, 1, 2], [1, 2, 0]]))]).tolist()
        [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    known = torch.cat([part.orders for part in copies]).unique(dim=0)
    found = known.tolist()
    for order in found:  # which grows
        for other in known.tolist():
            both = [order[i] for i in other]
            if both not in found and len(found) < _MOST:
                found.append(both)
    return torch.tensor(found, device=known.device)
