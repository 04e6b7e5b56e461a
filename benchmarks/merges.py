"""The merges of subposteriors that people use: consensus Monte Carlo, the Gaussian product, the semiparametric KDE product."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.reference import Gaussian


def gaussian_product(shards: list[Tensor], num_samples: int, generator: torch.Generator) -> Tensor:
    """Draws from the product of the shards' Gaussians."""
    return _product(shards).sample(num_samples, generator=generator)


def consensus(shards: list[Tensor], num_samples: int, generator: torch.Generator) -> Tensor:
    """Precision-weighted averages of one draw of each shard (Scott et al., *Bayes and big data: the consensus Monte Carlo
    algorithm*, 2016, eq. 3 with matrix weights).
    """
    precisions = [torch.linalg.inv(x.T.cov()) for x in shards]
    rows = [x[torch.randint(len(x), (num_samples,), generator=generator)] for x in shards]
    total = torch.stack([x @ p for x, p in zip(rows, precisions, strict=True)]).sum(0)
    return total @ torch.linalg.inv(torch.stack(precisions).sum(0))


def semiparametric(shards: list[Tensor], num_samples: int, generator: torch.Generator, sweeps: int = 200) -> Tensor:
    r"""Draws from the product of the shards' Gaussians times a kernel estimate of what they miss.

    .. math:: \hat p_k(\theta) = \frac1T \sum_t \mathcal N(\theta; \theta_{kt}, h^2)\, g_k(\theta) / g_k(\theta_{kt})

    One chain over the shards' indices for each draw, with the bandwidth annealed as h = i^(-1/(4 + d)) in coordinates where
    the pooled draws are white (Neiswanger, Wang, Xing, *Asymptotically exact, embarrassingly parallel MCMC*, 2014, section 3.3
    and algorithm 1).
    """
    pooled = torch.cat(shards)
    d, count = pooled.shape[1], len(shards)
    lower = torch.linalg.cholesky(pooled.T.cov())
    centre = pooled.mean(0)
    white = [torch.linalg.solve_triangular(lower, (x - centre).T, upper=False).T for x in shards]
    log_own = [Gaussian(x.mean(0), x.T.cov()).evaluate(x) for x in white]
    product = _product(white)
    mean, covariance = product.means[0], product.covariances[0]
    eye = torch.eye(d, dtype=pooled.dtype)
    index = torch.stack([torch.randint(len(x), (num_samples,), generator=generator) for x in white])
    chosen = torch.stack([x[i] for x, i in zip(white, index, strict=True)])
    own = torch.stack([v[i] for v, i in zip(log_own, index, strict=True)]).sum(0)
    for sweep in range(1, sweeps + 1):
        h2 = sweep ** (-2 / (4 + d))
        outer = Gaussian(mean, covariance + h2 / count * eye)

        def log_weight(points: Tensor, logs: Tensor, h2: float = h2, outer: Gaussian = outer) -> Tensor:
            middle = points.mean(0)
            return -0.5 * (points - middle).square().sum((0, 2)) / h2 + outer.evaluate(middle) - logs

        now = log_weight(chosen, own)
        for k in range(count):
            other = torch.randint(len(white[k]), (num_samples,), generator=generator)
            proposal = chosen.clone()
            proposal[k] = white[k][other]
            logs = own + log_own[k][other] - log_own[k][index[k]]
            new = log_weight(proposal, logs)
            taken = torch.rand(num_samples, dtype=new.dtype, generator=generator).log() < new - now
            chosen[k] = torch.where(taken[:, None], proposal[k], chosen[k])
            index[k] = torch.where(taken, other, index[k])
            own, now = torch.where(taken, logs, own), torch.where(taken, new, now)
    precision = torch.linalg.inv(covariance)
    spread = torch.linalg.inv(count / h2 * eye + precision)
    centres = (count / h2 * chosen.mean(0) + precision @ mean) @ spread
    z = torch.randn(num_samples, d, dtype=pooled.dtype, generator=generator)
    return (centres + z @ torch.linalg.cholesky(spread).T) @ lower.T + centre


def _product(shards: list[Tensor]) -> Gaussian:
    precisions = [torch.linalg.inv(x.T.cov()) for x in shards]
    covariance = torch.linalg.inv(torch.stack(precisions).sum(0))
    mean = covariance @ torch.stack([p @ x.mean(0) for p, x in zip(precisions, shards, strict=True)]).sum(0)
    return Gaussian(mean, 0.5 * (covariance + covariance.T))


def total_variation(x: Tensor, y: Tensor, bins: int = 40) -> float:
    """Mean over columns of the total variation distance of histograms, whose bins hold equal shares of y."""
    distances = []
    for a, b in zip(x.T, y.T, strict=True):
        edges = torch.quantile(b, torch.linspace(0, 1, bins + 1, dtype=b.dtype)[1:-1])
        shares = [torch.bucketize(v, edges).bincount(minlength=bins) / len(v) for v in (a.contiguous(), b.contiguous())]
        distances.append(0.5 * float((shares[0] - shares[1]).abs().sum()))
    return sum(distances) / len(distances)


def mahalanobis(x: Tensor, y: Tensor) -> float:
    """Distance of the means in standard deviations of y."""
    shift = x.mean(0) - y.mean(0)
    return math.sqrt(float(shift @ torch.linalg.solve(y.T.cov(), shift)))


def sliced_wasserstein2(x: Tensor, y: Tensor, directions: int = 200) -> float:
    """Sliced Wasserstein-2 distance in coordinates where y is white."""
    lower = torch.linalg.cholesky(y.T.cov())
    u = torch.randn(y.shape[1], directions, dtype=y.dtype, generator=torch.Generator().manual_seed(0))
    levels = (torch.arange(1000, dtype=y.dtype) + 0.5) / 1000
    a, b = (torch.linalg.solve_triangular(lower, v.T, upper=False).T @ (u / u.norm(dim=0)) for v in (x, y))
    return float((torch.quantile(a, levels, dim=0) - torch.quantile(b, levels, dim=0)).square().mean().sqrt())
