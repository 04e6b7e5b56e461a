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
    """log Z, its variance, the Pareto k of the weights, and by how many standard errors core and shell of the region differ."""

    log_z: float
    variance: float
    pareto_k: float
    difference: float


def reciprocal(fit: Fit, fitted: Rows, rows: Rows) -> Reciprocal:
    r"""The truncated harmonic form of the evidence, from draws x of q/Z with their log q, and a normalised g of other draws.

    .. math:: \frac1Z = \frac{1}{G(R)} \sum_i w_i \frac{g(x_i)}{q(x_i)}\, 1_R(x_i), \qquad R = \{x : g(x) \ge t\}

    in R, which holds four fifths of the draws that g was fitted to, g/q varies little. Its core (the denser half) and its shell
    alone must give the same Z: where they do not, q is not what the draws follow.

    References:
        Gelfand, Dey, *Bayesian model choice: asymptotics and exact calculations*, JRSS B 1994; Robert, Wraith, *Computational
        methods for Bayesian model choice*, 2009 (https://arxiv.org/abs/0907.5123), the region.
    """
    assert rows.log_prob is not None
    log_g = fit.log_prob(rows.flat)
    log_ratio = log_g - rows.log_prob.flatten()
    levels = fit.log_prob(fitted.flat).quantile(torch.tensor([1 - _REGION, 1 - _REGION / 2]).to(log_g))
    edge, core = (float(level) for level in levels)
    (mass, variance), (core_mass, core_variance) = fit.share(edge), fit.share(core)
    top = float(log_ratio[log_g >= edge].max()) if bool((log_g >= edge).any()) else math.nan
    found = []
    shell = (mass - core_mass, variance + core_variance)
    for inside, (share, error) in (
        (log_g >= edge, (mass, variance)),
        (log_g >= core, (core_mass, core_variance)),
        ((log_g >= edge) & (log_g < core), shell),
    ):
        value, scatter = rows.mean(torch.where(inside, (log_ratio - top).exp(), 0.0))
        if not (float(value) > 0 and share > 0):
            raise ValueError("the two halves of the draws lie apart: draw more, or shuffle them")
        found.append((-math.log(float(value)) - top + math.log(share), scatter / float(value) ** 2 + error / share**2))
    (log_z, total), (inner, inner_variance), (outer, outer_variance) = found
    weights = log_ratio[log_g >= edge].cpu().numpy()
    return Reciprocal(log_z, total, pareto_k(weights), (inner - outer) / math.sqrt(inner_variance + outer_variance))
