"""Convergence diagnostics of chains, and the tails of importance weights, computed by ArviZ."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from disco_samplers.extras import optional

JUDGED = 100
"""Draws a chain must have before it is judged: of shorter ones R-hat, ESS and Monte Carlo errors mean nothing."""

R_HAT = 1.01
"""The limit of R-hat."""

_LONG, _MANY, _FEW_R_HAT = 400, 1600, 1.1
"""Draws of a chain and in all from which on chains that mix keep that limit, and the limit for fewer."""


Periods = Sequence["float | None"]
"""Of each column of angles its turn, None for other columns."""


def diagnostic(kind: str, draws: np.ndarray, periods: Periods | None = None) -> np.ndarray:
    """One diagnostic of draws (chain, draw, d), as (d,): "rhat", "ess_bulk", "ess_tail" or "mcse".

    Angles are taken as unit vectors, the worse of cosine and sine: about the seam of a turn neighbours are far apart as
    numbers. The Monte Carlo error is that of the numbers, as their mean is.

    Example:
        >>> angles = np.random.default_rng(0).normal(scale=0.1, size=(4, 500, 1))
        >>> angles = (angles + np.arange(-1.5, 2)[:, None, None] / 20) % (2 * np.pi)  # four chains apart, about the seam
        >>> bool(diagnostic("rhat", angles) < 1.1 < diagnostic("rhat", angles, [2 * np.pi]))
        True
    """
    if kind != "mcse" and any(period is not None for period in periods or []):
        unit, own = unit_vectors(draws, periods)
        return worst(kind, diagnostic(kind, unit), own)
    d = draws.shape[-1]
    constant = (draws == draws[:1, :1]).all((0, 1))
    if draws.shape[1] < 4 or (kind == "rhat" and len(draws) == 1):
        return np.full(d, np.nan)
    compute = _arviz_stats if find_spec("arviz_stats") else _arviz
    with np.errstate(invalid="ignore", divide="ignore"):
        value = compute(kind, draws)
    return np.where(constant, np.nan, np.asarray(value, dtype=np.float64))


def unit_vectors(draws: np.ndarray, periods: Periods | None) -> tuple[np.ndarray, np.ndarray]:
    """Draws (..., d) with angles as cosine and sine, (..., k), and of which column each of these is, (k,)."""
    columns, own = [], []
    for i, column in enumerate(np.moveaxis(draws, -1, 0)):
        period = None if periods is None else periods[i]
        phase = None if period is None else 2 * np.pi / period * column
        found = [column] if phase is None else [np.cos(phase), np.sin(phase)]
        columns += found
        own += [i] * len(found)
    return np.stack(columns, -1), np.array(own)


def worst(kind: str, values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The worse of what is told of the same column, (d,): the largest "rhat", the smallest of others."""
    reduce = np.fmin if kind.startswith("ess") else np.fmax
    return np.array([reduce.reduce(values[own == i]) for i in range(int(own.max()) + 1)])


def rhat_limit(chains: int, draws: int) -> float:
    """The R-hat above which so many chains of so many draws have not mixed; infinite for chains too short to tell.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Burkner, *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021 (https://arxiv.org/abs/1903.08008), section 4.

    Example:
        >>> rhat_limit(4, 1000), rhat_limit(4, 200), rhat_limit(4, 50)
        (1.01, 1.1, inf)
    """
    if draws < JUDGED:
        return math.inf
    return _FEW_R_HAT if draws < _LONG or chains * draws < _MANY else R_HAT


def nested_rhat(draws: np.ndarray, start: np.ndarray, groups: int = 8, periods: Periods | None = None) -> np.ndarray:
    r"""Nested R-hat of many chains of any length (chain, draw, d), as (d,): whether they still tell where they started.

    .. math:: \hat R_\nu = \sqrt{1 + B / W}, \qquad B = \mathrm{var}_k\, \bar x_k, \qquad
        W = \mathrm{mean}_k \Big[ \mathrm{var}_m\, \bar x_{km} + \mathrm{mean}_m \mathrm{var}_n\, x_{kmn} \Big]

    of normal scores of the ranks. The chains m of a super-chain k started alike: for each variable they are ranked by its
    starting values ``start`` (chain, d) and dealt in ``groups`` parts of M, those left over at the end not counted. Chains that
    have forgotten give :math:`\hat R_\nu^2 = 1 + 1/M` about. Angles are
    taken as :func:`diagnostic` does. ArviZ has none for chains of fewer than four draws.

    References:
        Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari, Gelman, *Nested R-hat: assessing the convergence of Markov chain
        Monte Carlo when running many short chains*, Bayesian Analysis 2024 (https://arxiv.org/abs/2110.13017), eqs. 6 to 8.

    Example:
        >>> start, noise = np.random.default_rng(0).normal(size=(2, 800, 1))
        >>> nested_rhat((0.6 * start + 0.8 * noise)[:, None], start) > 1.1, nested_rhat(noise[:, None], start) < 1.1
        (array([ True]), array([ True]))
    """
    if any(period is not None for period in periods or []):
        (unit, own), (begun, _) = unit_vectors(draws, periods), unit_vectors(start, periods)
        return worst("rhat", nested_rhat(unit, begun, groups), own)
    chains, n, d = draws.shape
    members = chains // groups
    scores = _normal_scores(draws)
    order = start.argsort(0, kind="stable")[: groups * members]
    parts = np.stack([scores[order[:, i], :, i] for i in range(d)], -1).reshape(groups, members, n, d)
    means = parts.mean(2)
    within = means.var(1, ddof=1) + (parts.var(2, ddof=1).mean(1) if n > 1 else 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.sqrt(1 + means.mean(1).var(0, ddof=1) / within.mean(0))
    return np.where((draws == draws[:1, :1]).all((0, 1)), np.nan, found)


def design_effect(draws: np.ndarray) -> np.ndarray:
    r"""By how much chains (chain, draw, d) are worth less than their draws, because each keeps to its own place: (d,).

    .. math:: 1 + (n - 1)\, \hat\rho, \qquad \hat\rho = \frac{F - 1}{F - 1 + n}, \qquad
        F = \frac{n\, \mathrm{var}_c\, \bar x_c}{\mathrm{mean}_c \mathrm{var}_i\, x_{ci}}

    of normal scores of the ranks, with F taken down by four of its standard errors: 1 for draws that are independent, n for
    chains that stand still. It needs no autocorrelation time, which chains of few draws cannot tell.

    References:
        Kish, *Survey sampling*, 1965, section 5.4, of clusters of equal size.

    Example:
        >>> start, noise = np.random.default_rng(0).normal(size=(2, 100, 8, 1))
        >>> design_effect(noise), design_effect(start[:, :1] + 0.01 * noise).round(2)
        (array([1.]), array([7.97]))
    """
    chains, n, _ = draws.shape
    scores = _normal_scores(draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = n * scores.mean(1).var(0, ddof=1) / scores.var(1, ddof=1).mean(0)
        above = ratio / np.exp(4 * np.sqrt(2 / (chains - 1) + 2 / (chains * (n - 1)))) - 1
        within = 1 / (1 + n / np.maximum(above, 0))
    return np.asarray(1 + (n - 1) * np.nan_to_num(within, nan=0.0))


def _normal_scores(draws: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks of each column of draws (chain, draw, d)."""
    ranks = np.stack([_midranks(column) for column in draws.reshape(-1, draws.shape[-1]).T], 1)
    found: np.ndarray = torch.special.ndtri(torch.from_numpy((ranks - 3 / 8) / (len(ranks) + 1 / 4))).numpy()
    return found.reshape(draws.shape)


def _midranks(column: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the middle of theirs."""
    _, own, count = np.unique(column, return_inverse=True, return_counts=True)
    middle: np.ndarray = count.cumsum() - (count - 1) / 2
    return middle[own]


def pareto_k(log_weights: np.ndarray) -> float:
    """The shape of the Pareto law of the largest importance weights (n,): means of the weights are reliable below .7.

    NaN where the largest are all the same or there are fewer than twenty-five.

    References:
        Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance sampling*, JMLR 2024
        (https://arxiv.org/abs/1507.02646).

    Example:
        >>> pareto_k(-np.log(np.random.default_rng(0).random(5000))) > 0.7  # weights 1 / u have no mean
        True
    """
    weights = np.exp(log_weights - np.max(log_weights)) if len(log_weights) else log_weights
    if len(weights) < 25 or np.ptp(np.sort(weights)[-min(len(weights) // 5, 3 * math.isqrt(len(weights))) :]) == 0:
        return float("nan")
    if find_spec("arviz_stats"):
        stats = import_module("arviz_stats.base").array_stats
        return float(stats.pareto_khat(weights[None], r_eff=1.0, tail="right"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says in words what the number says
        return float(optional("arviz", "files").psislw(log_weights)[1])


def _arviz_stats(kind: str, draws: np.ndarray) -> Any:
    stats = import_module("arviz_stats.base").array_stats
    axes = {"chain_axis": 0, "draw_axis": 1}
    if kind == "rhat":
        return stats.rhat(draws, **axes)
    if kind == "mcse":
        return stats.mcse(draws, method="mean", **axes)
    return stats.ess(draws, method=kind[4:], prob=(0.05, 0.95) if kind == "ess_tail" else None, **axes)


def _arviz(kind: str, draws: np.ndarray) -> Any:
    """The same from ArviZ 0.x, which is one package: what there is for Python 3.10."""
    arviz = optional("arviz", "files")
    name, method = {"rhat": ("rhat", "rank"), "mcse": ("mcse", "mean")}.get(kind, ("ess", kind[4:]))
    return [np.asarray(getattr(arviz, name)(draws[..., i], method=method)).item() for i in range(draws.shape[-1])]
