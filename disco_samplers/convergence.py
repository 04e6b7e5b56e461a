"""Convergence diagnostics of chains, computed by ArviZ."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from disco_samplers.extras import optional

_TAIL = 25
"""Weights of which a tail can be told."""


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
    """Pareto k of importance weights (n,), the shape of their upper tail; NaN where there are too few for one.

    Below 0.5 the weights have a variance; above 0.7 sums over them cannot be trusted.

    References:
        Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance sampling*, JMLR 2024
        (https://arxiv.org/abs/1507.02646).

    Example:
        >>> uniform = (np.arange(1000) + 0.5) / 1000
        >>> bool(0.6 < pareto_k(-0.8 * np.log(uniform)) < 1.0)
        True
    """
    if len(log_weights) < _TAIL or log_weights.max() == log_weights.min():
        return float("nan")
    if find_spec("arviz_stats"):  # which takes minus the logarithm, as a loss
        return float(import_module("arviz_stats.base").array_stats.psislw(-log_weights)[1])
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
