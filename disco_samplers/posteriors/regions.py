"""A mixture fitted to draws, and the regions between which its density dips: a smooth partition of the parameters' space."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.draws import evenly
from disco_samplers.estimators import fit_mixture
from disco_samplers.posteriors.shard import Shard
from disco_samplers.reference import GaussianMixture

_DIP = 0.5
"""Of the lower of two components' densities, what must be left between them for the two to be one region."""

_PLACES = 21
"""Places between two components at which the density is looked at."""


class Regions:
    r"""Shares :math:`r_j(\theta)` of a point in regions j, which sum to one.

    .. math:: r_j = \sum_{c \in j} w_c \mathcal N(\theta; \mu_c, \Sigma_c) \Big/ \sum_c w_c \mathcal N(\theta; \mu_c, \Sigma_c)

    Components c of a mixture fitted to some of the draws are of one region if its density between their centres does not fall
    below half of that at the lower of them, directly or by way of others.

    Arguments:
        shard: draws (n, d), with what they are worth.
        most: rows that the mixture is fitted to, at most.

    References:
        Hennig, *Methods for merging Gaussian mixture components*, Advances in Data Analysis and Classification 2010.

    Example:
        >>> x = torch.randn(600, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> x[:300, 0] += 8
        >>> regions = Regions(Shard(x))
        >>> regions.count, regions.shares(x[:1]).round().shape
        (2, torch.Size([1, 2]))
    """

    def __init__(self, shard: Shard, most: int = 1024) -> None:
        generator = torch.Generator().manual_seed(0)
        rows, counts = shard.rows, shard.counts
        if counts is None:
            rows = rows[torch.randperm(len(rows), generator=generator, device=generator.device)[:most].to(rows.device)]
        else:
            rows = evenly(rows, counts, min(most, max(2, round(float(counts.sum())))))
        self.mixture: GaussianMixture = fit_mixture(rows, seed=0)
        own = _together(self.mixture)
        self.count = int(own.max()) + 1
        self._member = torch.nn.functional.one_hot(own, self.count).to(rows)

    def shares(self, points: Tensor) -> Tensor:
        """Of points (m, d), (m, j)."""
        shares: Tensor = self.mixture.responsibilities(points) @ self._member
        return shares


def _together(mixture: GaussianMixture) -> Tensor:
    """The region (c,) of each component."""
    centres = mixture.means
    t = torch.linspace(0, 1, _PLACES, dtype=centres.dtype, device=centres.device)[:, None]
    region = list(range(len(centres)))
    for i in range(len(centres)):
        for j in range(i):
            along = mixture.evaluate(centres[i] * (1 - t) + centres[j] * t)
            if float((along.min() - torch.minimum(along[0], along[-1])).exp()) > _DIP:
                region = [region[j] if r == region[i] else r for r in region]
    own: Tensor = torch.unique(torch.tensor(region, device=centres.device), return_inverse=True)[1]
    return own
