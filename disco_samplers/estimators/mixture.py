"""Gaussian mixtures fitted to samples by expectation maximisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.estimators.judge import deviation, mean
from disco_samplers.randomness import seed_of
from disco_samplers.reference import GaussianMixture

_ROUNDS = 100
_TOLERANCE = 1e-4
"""Gain of the mean log-density, in nats, below which the rounds end."""

_FLOOR = 3e-4
"""Added to the covariances' diagonals, in units of the columns' variances, so that no component shrinks to a point."""

_LEAST = 1e-6
"""What a component is worth, at least, in a division by it."""

_PATIENCE = 3
"""Numbers of components tried beyond the best one."""

_FITTED = 4096
"""Most rows that K and the rounds' start are found by; of more, a random part, drawn by the seed."""


def fit_mixture(
    samples: Tensor,
    most: int = 12,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    counts: Tensor | None = None,
) -> GaussianMixture:
    r"""A mixture of Gaussians of full covariance and high likelihood, its number of components K by Schwarz's criterion.

    Rounds of :math:`r_{ik} = w_k \mathcal N(x_i; \mu_k, \Sigma_k) / \hat f(x_i)` and
    :math:`n w_k = \sum_i r_{ik}`, :math:`n w_k \mu_k = \sum_i r_{ik} x_i`,
    :math:`n w_k \Sigma_k = \sum_i r_{ik} (x_i - \mu_k)(x_i - \mu_k)^T`, from nearest-centre clusters, the likelier of two
    starts; K has the lowest

    .. math:: -2 \sum_i \log \hat f(x_i) + \big(K (d + 1)(d + 2) / 2 - 1\big) \log n.

    Arguments:
        samples: (n, d), no column of them constant.
        most: largest K.
        seed: of the first centres and the part of the rows, 0 if neither is given; give this or ``generator``.
        generator: source of randomness.
        counts: (n,), how many independent draws each row is worth; sums over rows are then over these, and n is their number.

    Returns:
        The mixture, in float64.

    References:
        Dempster, Laird, Rubin, *Maximum likelihood from incomplete data via the EM algorithm*, 1977; Schwarz, *Estimating the
        dimension of a model*, 1978; Arthur, Vassilvitskii, *k-means++: the advantages of careful seeding*, 2007.

    Example:
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> x[:200] += 6
        >>> fit_mixture(x).weights.numel()
        2
    """
    x = samples.detach().double()
    center, scale = mean(x, counts), deviation(x, counts)
    z = (x - center) / scale
    worth = None if counts is None else counts.double()
    seed = seed_of(seed=seed, generator=generator)
    if len(z) > _FITTED:
        order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed), device="cpu")[:_FITTED].to(z.device)
        found = _likeliest(z[order], None if worth is None else worth[order], most, seed)
        found = _rounds(z, worth, GaussianMixture(found.weights[None], found.means[None], found.covariances[None]))[0][0]
    else:
        found = _likeliest(z, worth, most, seed)
    return GaussianMixture(found.weights, center + found.means * scale, found.covariances * scale[:, None] * scale)


def _likeliest(z: Tensor, worth: Tensor | None, most: int, seed: int) -> GaussianMixture:
    """The mixture of the lowest criterion."""
    d = z.shape[1]
    n = len(z) if worth is None else float(worth.sum())
    best, lowest = None, math.inf
    since = 0
    for k in range(1, min(most, int(n // (d + 1))) + 1):
        mixture, log_prob = _fit(z, worth, k, torch.Generator().manual_seed(seed))
        criterion = -2 * n * log_prob + (k * (d + 1) * (d + 2) / 2 - 1) * math.log(n)
        since += 1
        if criterion < lowest:
            best, lowest, since = mixture, criterion, 0
        elif since == _PATIENCE:
            break
    return best or _maximise(z, worth, z.new_ones(len(z), 1))


def _fit(z: Tensor, worth: Tensor | None, k: int, generator: torch.Generator) -> tuple[GaussianMixture, float]:
    """The likelier mixture of k components from two starts, and its mean log-density before the last round."""
    # Far-spread centres find far clusters and fall for outliers; rows at random do neither.
    starts = [
        _spread(z, worth, k, generator),
        z[torch.randperm(len(z), generator=generator, device=generator.device)[:k].to(z.device)],
    ]
    mixtures = _maximise(z, worth, _clusters(z, worth, torch.stack(starts if k > 1 else starts[:1])))
    return max(_rounds(z, worth, mixtures), key=lambda found: found[1])


def _rounds(z: Tensor, worth: Tensor | None, mixture: GaussianMixture) -> list[tuple[GaussianMixture, float]]:
    """Mixtures and their mean log-densities before the last round, from a batch of mixtures to start from."""
    previous = z.new_full((len(mixture.weights),), -math.inf)
    found: list[tuple[GaussianMixture, float]] = []
    for number in range(_ROUNDS):
        shares, densities = mixture.shares(z)
        log_prob = mean(densities.mT, worth)
        ended = (log_prob - previous < _TOLERANCE) | (number == _ROUNDS - 1)
        for i in ended.nonzero()[:, 0].tolist():
            own = GaussianMixture(mixture.weights[i], mixture.means[i], mixture.covariances[i])
            found.append((own, float(log_prob[i])))
        if ended.all():
            break
        previous = log_prob[~ended]
        mixture = _maximise(z, worth, shares[~ended])
    return found


def _maximise(z: Tensor, worth: Tensor | None, responsibilities: Tensor) -> GaussianMixture:
    """The mixture of the highest likelihood for rows that belong to each component by such shares (..., n, k)."""
    responsibilities = responsibilities if worth is None else worth[:, None] * responsibilities
    count = responsibilities.sum(-2).clamp_min(_LEAST)
    means = responsibilities.mT @ z / count[..., None]
    n, d = z.shape
    # From the moments about zero, which is near every mean in units of the columns' deviations: a single product.
    moments = responsibilities.mT @ (z[:, :, None] * z[:, None]).view(n, d * d) / count[..., None]
    covariances = moments.unflatten(-1, (d, d)) - means[..., :, None] * means[..., None, :]
    floor = _FLOOR * torch.eye(d, dtype=z.dtype, device=z.device)
    return GaussianMixture(count, means, covariances + floor)


def _spread(z: Tensor, worth: Tensor | None, k: int, generator: torch.Generator) -> Tensor:
    """Rows (k, d), each drawn with a probability that grows as the squared distance from those before (k-means++)."""
    first = int(torch.randint(len(z), (), generator=generator, device=generator.device))
    centers = z[first : first + 1]
    for _ in range(1, k):
        squared = torch.cdist(z, centers).square().amin(1)
        squared = squared + torch.finfo(z.dtype).tiny  # all rows may lie on centres
        squared = squared if worth is None else squared * worth
        row = torch.multinomial(squared.cpu(), 1, generator=generator).to(z.device)
        centers = torch.cat([centers, z[row]])
    return centers


def _clusters(z: Tensor, worth: Tensor | None, centers: Tensor) -> Tensor:
    """Which centre (..., k, d) each row is nearest to, as (..., n, k) of ones and zeros, after ten moves to rows' means."""
    for _ in range(10):
        member = _nearest(z, centers)
        member = member if worth is None else worth[:, None] * member
        count = member.sum(-2)[..., None]
        centers = torch.where(count > 0, member.mT @ z / count.clamp_min(_LEAST), centers)
    return _nearest(z, centers)


def _nearest(z: Tensor, centers: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(torch.cdist(z, centers).argmin(-1), centers.shape[-2]).to(z)
