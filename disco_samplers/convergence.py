"""Convergence diagnostics of chains, and the tails of importance weights, computed by ArviZ."""

from __future__ import annotations

import math
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from disco_samplers.extras import optional


def diagnostic(kind: str, draws: np.ndarray) -> np.ndarray:
    """One diagnostic of draws (chain, draw, d), as (d,): "rhat", "ess_bulk", "ess_tail" or "mcse"."""
    d = draws.shape[-1]
    constant = (draws == draws[:1, :1]).all((0, 1))
    if draws.shape[1] < 4:
        return np.full(d, np.nan)
    compute = _arviz_stats if find_spec("arviz_stats") else _arviz
    with np.errstate(invalid="ignore", divide="ignore"):
        value = compute(kind, draws)
    return np.where(constant, np.nan, np.asarray(value, dtype=np.float64))


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
    return [float(getattr(arviz, name)(draws[..., i], method=method)) for i in range(draws.shape[-1])]
