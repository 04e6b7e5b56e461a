"""Products of Gaussian mixtures: those of their components that matter, each a Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.reference import Gaussian, GaussianMixture

_ROUNDS = 20
_EVEN = 0.1
"""Share that is dealt out evenly, for what is weighed wrong."""


def product(mixtures: list[GaussianMixture]) -> GaussianMixture:
    r"""The product of mixtures, up to a constant, by the products of one component each that lie where these rule.

    .. math:: \Lambda = \sum_k \Sigma_{k j_k}^{-1}, \qquad \Lambda m = \sum_k \Sigma_{k j_k}^{-1} \mu_{k j_k}, \qquad
        j_k = \arg\max_j \frac{w_{kj} \mathcal N(m; \mu_{kj}, \Sigma_{kj})}{f_k(m)}

    found by rounds from the centre of every component. Weights are the integrals of these products, and a tenth even shares.

    Example:
        >>> two = GaussianMixture(torch.ones(2).double(), torch.tensor([[-9.0], [9.0]]).double(), torch.ones(2, 1, 1).double())
        >>> found = product([two, two])
        >>> found.means.flatten().tolist(), found.covariances.flatten().tolist()
        ([-9.0, 9.0], [0.5, 0.5])
    """
    precisions = [torch.linalg.inv(m.covariances) for m in mixtures]
    centres = torch.cat([m.means for m in mixtures])
    chosen = centres.new_full((len(centres), len(mixtures)), -1, dtype=torch.long)
    for _ in range(_ROUNDS):
        before = chosen
        chosen = torch.stack([m.responsibilities(centres).argmax(1) for m in mixtures], 1).unique(dim=0)
        total = torch.stack([p[j] for p, j in zip(precisions, chosen.T, strict=True)]).sum(0)
        pulls = [p[j] @ m.means[j][..., None] for p, m, j in zip(precisions, mixtures, chosen.T, strict=True)]
        covariances = torch.linalg.inv(total)
        centres = (covariances @ torch.stack(pulls).sum(0))[..., 0]
        if torch.equal(chosen, before):
            break
    # The integral is the value of the product at its mean times the volume of its Gaussian.
    heights = [_log_parts(m, j, centres) for m, j in zip(mixtures, chosen.T, strict=True)]
    log_weights = torch.stack(heights).sum(0) + 0.5 * torch.logdet(covariances)
    weights = (1 - _EVEN) * log_weights.softmax(0) + _EVEN / len(centres)
    return GaussianMixture(weights, centres, 0.5 * (covariances + covariances.mT))


def _log_parts(mixture: GaussianMixture, chosen: Tensor, points: Tensor) -> Tensor:
    """Logs of the weighted densities (c,) of chosen components, each at its own point (c, d)."""
    parts = Gaussian(mixture.means[chosen], mixture.covariances[chosen])
    return mixture.weights[chosen].log() + parts.evaluate(points[:, None])[:, 0]
