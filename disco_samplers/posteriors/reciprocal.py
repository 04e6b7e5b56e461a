"""The evidence from stored values of the log-posterior alone: the reciprocal form, over a region of high density."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from disco_samplers.convergence import pareto_k
from disco_samplers.posteriors.fit import Fit
from disco_samplers.posteriors.rows import Rows

_REGION = 0.8
"""Share of the rows that were fitted that the region holds."""


class Reciprocal(NamedTuple):
    """log Z, its variance, the Pareto k of the weights, and by how many standard errors the weighted draws miss g's means."""

    log_z: float
    variance: float
    pareto_k: float
    difference: float


def reciprocal(fit: Fit, fitted: Rows, rows: Rows) -> Reciprocal:
    r"""The truncated harmonic form of the evidence, from draws x of q/Z with their log q, and a normalised g of other draws.

    .. math:: \frac1Z = \frac{1}{G(R)} \sum_i w_i \frac{g(x_i)}{q(x_i)}\, 1_R(x_i), \qquad R = \{x : g(x) \ge t\}

    in R, which holds four fifths of the draws that g was fitted to, g/q varies little. Draws weighted by g/q follow g: the
    means of the columns and of log g, in R, must be g's own. Where they are not, q is not what the draws follow.

    References:
        Gelfand, Dey, *Bayesian model choice: asymptotics and exact calculations*, JRSS B 1994; Robert, Wraith, *Computational
        methods for Bayesian model choice*, 2009 (https://arxiv.org/abs/0907.5123), the region.
    """
    assert rows.log_prob is not None
    log_g = fit.log_prob(rows.flat)
    edge = float(fit.log_prob(fitted.flat).quantile(1 - _REGION))
    inside = log_g >= edge
    sample, log_g_own = fit.whole()
    own = (log_g_own >= edge) * sample.ratio
    if not (inside.any() and own.any()):
        raise ValueError("the two halves of the draws lie apart: draw more, or shuffle them")
    log_ratio = log_g - rows.log_prob.flatten()
    top = float(log_ratio[inside].max())
    weight = torch.where(inside, (log_ratio - top).exp(), 0.0)
    value, scatter = rows.mean(weight)
    mass = own.mean()
    error = float((own - mass * sample.ratio).var() / mass.square()) / len(own)
    log_z = float(mass.log() - value.log()) - top
    difference = 0.0
    features = torch.cat([rows.flat, log_g[:, None]], 1).unbind(1)
    for feature, of_g in zip(features, torch.cat([sample.points, log_g_own[:, None]], 1).unbind(1), strict=True):
        expected = (own * of_g).mean() / mass
        noise = float((own * (of_g - expected) / mass).var()) / len(own)
        found = (rows.share.flatten() * weight * feature).sum() / value
        variance = rows.mean(weight * (feature - found) / value)[1] + noise
        difference = max(difference, abs(float(found - expected)) / math.sqrt(variance))
    free = max(1.0, rows.size * float((rows.share.flatten() * inside).sum()) - 1)
    k = pareto_k(log_ratio[inside].cpu().numpy())
    return Reciprocal(log_z, scatter / float(value) ** 2 + error, k, _normal(difference, free))


def _normal(t: float, free: float) -> float:
    """The standard errors of a normal law that are as improbable as a Student t: those of few rows are known badly.

    References:
        Wallace, *Bounds on normal approximations to Student's and the chi-square distributions*, Annals of Mathematical
        Statistics 1959.

    Example:
        >>> round(_normal(100.0, 2.0), 1), round(_normal(6.0, 1000.0), 1)
        (3.7, 5.9)
    """
    return (8 * free + 1) / (8 * free + 3) * math.sqrt(free * math.log1p(t * t / free))
