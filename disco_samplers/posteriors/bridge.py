"""Bridge sampling: the ratio of normalisers of two densities from draws of both, its error, and whether they fit together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.posteriors.fit import Sample

_ROUNDS, _TOLERANCE = 1000, 1e-10
_STEPS = 50

Mean = Callable[[Tensor], tuple[Tensor, float]]
"""The mean of values (n,) at the draws, and its variance."""


class Bridged(NamedTuple):
    """log Z, its variances from the draws of q and of g, and the slope that is one where draws follow q, with its error."""

    log_z: float
    of_draws: float
    of_sample: float
    slope: float
    slope_error: float


def bridge(at_draws: Tensor, share: Tensor, size: float, mean: Mean, at_sample: Tensor, sample: Sample) -> Bridged:
    r"""The log of the integral of q from draws of q and of a normalised g, by the best bridge.

    .. math:: Z = \frac{\frac1m \sum_j f_1(y_j)}{\sum_i w_i f_2(x_i)}, \qquad
        f_1 = \frac{q/g}{s_1 q/g + s_2 Z}, \quad f_2 = \frac{1}{s_1 q/g + s_2 Z}, \qquad x_i \sim q/Z,\; y_j \sim g

    iterated to its fixed point, with :math:`s_1 : s_2` as the effective number of draws to m. The variance of log Z is
    :math:`\operatorname{var}(\bar f_1) / \bar f_1^2 + \operatorname{var}(\bar f_2) / \bar f_2^2`, the second with the
    autocorrelation and weights of the draws; both functions are bounded, so that it exists whatever the tails.

    Where x follow q, the odds of a point u = log q/g to be a draw rather than one of g are :math:`e^u / Z` times those of all:
    the slope of the logistic regression on u is one.

    Arguments:
        at_draws: (n,) log q - log g at the draws.
        share: (n,) of each draw, of sum one.
        size: what the draws are worth.
        mean: of values at the draws.
        at_sample: (m,) the same at the draws of g.
        sample: these draws.

    References:
        Meng, Wong, *Simulating ratios of normalizing constants via a simple identity*, Statistica Sinica 1996, eq. 4.1;
        Fruhwirth-Schnatter, *Estimating marginal likelihoods for mixture and Markov switching models using bridge sampling
        techniques*, Econometrics Journal 2004, the error; Shirts, Bair, Hooker, Pande, *Equilibrium free energies from
        nonequilibrium measurements using maximum-likelihood methods*, Physical Review Letters 2003, the logistic form.
    """
    m = len(at_sample)
    s1, s2 = math.log(size / (size + m)), math.log(m / (size + m))
    log_z = float(at_draws.median())
    for _ in range(_ROUNDS):
        before = log_z
        f1 = at_sample - torch.logaddexp(s1 + at_sample, torch.full_like(at_sample, s2 + log_z))
        f2 = -torch.logaddexp(s1 + at_draws, torch.full_like(at_draws, s2 + log_z))
        log_z = float(f1.logsumexp(0)) - math.log(m) - float((share.log() + f2).logsumexp(0))
        if abs(log_z - before) < _TOLERANCE or not math.isfinite(log_z):
            break
    if not math.isfinite(log_z):
        raise ValueError("log_posterior is minus infinity at every point that was proposed: it has no mass where the draws are")
    f1, f2 = (f1 - f1.max()).exp(), (f2 - f2.max()).exp()
    second, second_variance = mean(f2)
    squares = f1.square()
    first = float(squares.mean() / f1.mean().square()) - 1
    pooled = float((sample.ratio * squares).mean() / f1.mean().square()) - 1
    of_draws, of_sample = second_variance / float(second) ** 2, first / m + max(pooled, 0.0) / sample.pool
    slope, error = _slope(at_draws - log_z, share * size, at_sample - log_z)
    return Bridged(log_z, of_draws, of_sample, slope, error)


def _slope(of_draws: Tensor, worth: Tensor, of_sample: Tensor) -> tuple[float, float]:
    """Slope of the logistic regression of being a draw on u, and its standard error, by Newton's method."""
    inside = torch.isfinite(of_sample)
    u = torch.cat([of_draws, of_sample[inside]])
    weight = torch.cat([worth, torch.ones_like(of_sample[inside])])
    label = torch.cat([torch.ones_like(of_draws), torch.zeros_like(of_sample[inside])])
    design = torch.stack([torch.ones_like(u), u.clamp(-50, 50)], 1)
    offset = math.log(float(worth.sum()) / len(of_sample))
    beta = torch.tensor([offset, 1.0], dtype=u.dtype, device=u.device)
    ridge = 1e-9 * torch.eye(2, dtype=u.dtype, device=u.device)
    for _ in range(_STEPS):
        p = (design @ beta).sigmoid()
        hessian = (design.T * (weight * p * (1 - p))) @ design + ridge
        step = torch.linalg.solve(hessian, design.T @ (weight * (label - p)))
        beta = beta + step / step.abs().max().clamp_min(1.0)
        if float(step.abs().max()) < 1e-8:
            break
    return float(beta[1]), math.sqrt(float(torch.linalg.inv(hessian)[1, 1]))
