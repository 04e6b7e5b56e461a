"""The merges of subposteriors that people use: consensus Monte Carlo, products of Gaussians, of kernel estimates, of Gaussian
processes; and distances of their draws to others.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.reference import Gaussian
from disco_samplers.scores import Score, combine, from_log_prob
from disco_samplers.types import LogDensity

_KNOTS = 256
"""Draws of a shard through which a Gaussian process goes, at least."""

_CELLS = 4096
"""Of the grid on which marginals are compared."""


def gaussian_product(
    shards: list[Tensor], num_samples: int, generator: torch.Generator, prior: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Draws from the product of the shards' Gaussians, over a Gaussian prior of a mean and a precision that was repeated."""
    return _product(shards, prior).sample(num_samples, generator=generator)


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


def process(shards: list[Tensor], log_densities: list[LogDensity], generator: torch.Generator) -> Score:
    r"""The sum of Gaussian processes through the shards' log-densities at some of their draws.

    .. math:: \log \hat p_k(\theta) = q_k(\theta) + c(\theta, \Theta_k) C_k^{-1} (\ell_k - q_k(\Theta_k))

    with q a quadratic by least squares and c squared-exponential where the draws are white, of the length of the highest
    likelihood. It is told the log-densities, which a merge of draws is not (Nemeth, Sherlock, *Merging MCMC subposteriors
    through Gaussian-process approximations*, Bayesian Analysis 2018, section 3).
    """
    return combine([(1.0, from_log_prob(_process(x, f, generator))) for x, f in zip(shards, log_densities, strict=True)])


def _process(shard: Tensor, log_density: LogDensity, generator: torch.Generator) -> LogDensity:
    mean, root = shard.mean(0), torch.linalg.inv(torch.linalg.cholesky(shard.T.cov())).T
    d = shard.shape[1]
    columns = torch.triu_indices(d, d)
    count = max(_KNOTS, 2 * (1 + d + columns.shape[1]))
    knots = shard[torch.randperm(len(shard), generator=generator)[:count]]

    def features(z: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(z[:, :1]), z, z[:, columns[0]] * z[:, columns[1]]], 1)

    z, values = (knots - mean) @ root, log_density(knots)
    top = values.max()
    beta = torch.linalg.lstsq(features(z), (values - top)[:, None]).solution[:, 0]
    rest = values - top - features(z) @ beta
    best = (-math.inf, z, 1.0)
    for length in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0):
        lower = torch.linalg.cholesky(_kernel(z, z, length) + 1e-6 * torch.eye(len(z), dtype=z.dtype))
        white = torch.linalg.solve_triangular(lower, rest[:, None], upper=False)
        evidence = -0.5 * len(z) * float(white.square().mean().log()) - float(lower.diagonal().log().sum())
        best = max(best, (evidence, torch.cholesky_solve(rest[:, None], lower)[:, 0], length), key=lambda found: found[0])
    _, weights, length = best

    def evaluate(points: Tensor) -> Tensor:
        y = (points - mean) @ root
        return features(y) @ beta + _kernel(y, z, length) @ weights

    return evaluate


def _kernel(x: Tensor, y: Tensor, length: float) -> Tensor:
    square = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return (-0.5 * square / length**2).exp()


def _product(shards: list[Tensor], prior: tuple[Tensor, Tensor] | None = None) -> Gaussian:
    precisions = [torch.linalg.inv(x.T.cov()) for x in shards]
    total = torch.stack(precisions).sum(0)
    pull = torch.stack([p @ x.mean(0) for p, x in zip(precisions, shards, strict=True)]).sum(0)
    if prior is not None:
        mean, precision = prior
        total, pull = total - (len(shards) - 1) * precision, pull - (len(shards) - 1) * precision @ mean
    covariance = torch.linalg.inv(total)
    return Gaussian(covariance @ pull, 0.5 * (covariance + covariance.T))


def integrated_distance(x: Tensor, y: Tensor) -> float:
    r"""Integrated absolute distance :math:`\frac1{2d} \sum_j \int |p_j - q_j|` of marginals, by kernel estimates of one width.

    The width is that which is best for y by the integral of its squared second derivative (Sheather, Jones, *A reliable
    data-based bandwidth selection method for kernel density estimation*, JRSS B 1991).
    """
    found = []
    for a, b in zip(x.T, y.T, strict=True):
        low, high = (float(f(torch.cat([a, b]))) for f in (torch.min, torch.max))
        reach = 0.1 * (high - low)
        edges = (low - reach, high + reach)
        cell = (edges[1] - edges[0]) / _CELLS
        shares = [torch.histc(v, _CELLS, *edges) / len(v) / cell for v in (a, b)]
        waves = 2 * math.pi * torch.fft.rfftfreq(2 * _CELLS, d=cell, dtype=torch.float64)
        ours, theirs = (torch.fft.rfft(share, 2 * _CELLS) for share in shares)
        ordered = b.sort().values
        step = len(b) // 20  # the shortest interval with a twentieth of the draws, as wide as a normal law's: the peak
        width = 0.9 * float((ordered[step:] - ordered[:-step]).min()) / 0.1254 * len(b) ** -0.2
        for _ in range(3):
            second = torch.fft.irfft(theirs * waves**2 * (-0.5 * (1.5 * width * waves) ** 2).exp(), 2 * _CELLS)
            width = float(2 * math.pi**0.5 * len(b) * second.square().sum() * cell) ** -0.2
        smooth = torch.fft.irfft((ours - theirs) * (-0.5 * (width * waves) ** 2).exp(), 2 * _CELLS)
        found.append(0.5 * float(smooth.abs().sum()) * cell)
    return sum(found) / len(found)


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
