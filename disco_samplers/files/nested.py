r"""Dead points of nested sampling, with their weights or with the contours within which they were born.

Sources: Skilling, *Nested sampling for general Bayesian computation*, Bayesian Analysis 2006; Higson, Handley, Hobson, Lasenby,
*Sampling errors in nested sampling parameter estimation*, Bayesian Analysis 2018, for the number of live points from births;
Speagle, *dynesty: a dynamic nested sampling package*, MNRAS 2020, for weights by volumes.
"""

from __future__ import annotations

import re

import numpy as np

from disco_samplers.files.getdist import parameter_names, split_derived
from disco_samplers.files.table import Table, from_logs
from disco_samplers.files.text import Sheet

LOG_LIKELIHOOD = ("logl", "log_l", "loglike", "loglikelihood", "log_likelihood")
LOG_WEIGHT = ("logwt", "logw", "logweight", "log_weight", "log_weights", "logweights")
WEIGHT = ("weights", "weight")
VOLUME = ("logvol",)
COUNTS = ("nlive", "n_live", "ncall", "logx", "log_x", "insertion")
BIRTH = ("logl_birth", "birth", "logl_births", "birth_contours")


def is_nested(sheet: Sheet) -> bool:
    """Whether a sheet is of dead points: by its name, or by columns for the log-likelihood and a weight, volume or birth."""
    if sheet.names is None:
        return _dead_birth(sheet)
    names = {name.lower() for name in sheet.columns}
    return bool(names & {*LOG_LIKELIHOOD}) and bool(names & {*LOG_WEIGHT, *WEIGHT, *VOLUME, *BIRTH})


def nested_table(sheet: Sheet) -> Table:
    """The dead points with their weights."""
    if sheet.names is not None:
        columns = sheet.columns
        known = {*LOG_LIKELIHOOD, *LOG_WEIGHT, *WEIGHT, *VOLUME, *BIRTH, *COUNTS}
        stats = {name: column for name, column in columns.items() if name.lower() in known}
        kept = [name for name in columns if name not in stats]
        body = np.stack([columns[name] for name in kept], 1) if kept else np.empty((len(sheet.values), 0))
        return Table(body, kept, index=sheet.labels, weights=weights_of(stats), stats=stats)
    # PolyChord ends a row with the log-likelihood and its birth, MultiNest has two more columns.
    names = parameter_names(sheet.path)
    width = len(names) if names is not None else sheet.values.shape[1] - 2
    if width < 1 or sheet.values.shape[1] < width + 2:
        raise ValueError(
            f"{sheet.path} has {sheet.values.shape[1]} columns: parameters, log-likelihood and birth were expected"
        )
    log_likelihood, birth = sheet.values[:, width], sheet.values[:, width + 1]
    table = split_derived(sheet.path, sheet.values[:, :width], names or [f"x{i}" for i in range(width)])
    return Table(
        table.values,
        table.names,
        weights=birth_weights(log_likelihood, birth),
        support=table.support,
        stats=table.stats | {"logl": log_likelihood, "logl_birth": birth},
    )


def weights_of(columns: dict[str, np.ndarray]) -> np.ndarray | None:
    """The weights of dead points by the columns that came with them; None if none of them says it."""
    known = {name.lower(): column for name, column in columns.items()}

    def first(names: tuple[str, ...]) -> np.ndarray | None:
        return next((known[name] for name in names if name in known), None)

    log_weights, weights, births, log_likelihood = first(LOG_WEIGHT), first(WEIGHT), first(BIRTH), first(LOG_LIKELIHOOD)
    volumes = first(VOLUME)
    if log_weights is not None:
        return from_logs(log_weights)
    if weights is not None or log_likelihood is None:
        return weights
    if births is not None:
        return birth_weights(log_likelihood, births)
    return None if volumes is None else volume_weights(log_likelihood, volumes)


def volume_weights(log_likelihood: np.ndarray, log_volume: np.ndarray) -> np.ndarray:
    r"""Weights (n,) of dead points by the prior mass X that their contours enclose, the largest one.

    .. math:: w_i \propto (L_{i-1} + L_i) (X_{i-1} - X_i), \qquad L_0 = 0, \quad X_0 = 1

    in the order of falling X, as dynesty weighs them.

    Raises:
        ValueError: if a mass is none.

    Example:
        >>> volume_weights(np.log([1.0, 3.0]), np.log([0.5, 0.25])).round(3)
        array([0.5, 1. ])
    """
    if (bad := np.flatnonzero(~np.isfinite(log_volume) | (log_volume > 0))).size:
        raise ValueError(f"point {bad[0]} has log-volume {log_volume[bad[0]]:g}, which is no logarithm of a share of the prior")
    order = np.argsort(-log_volume, kind="stable")
    log_x, log_l = np.append(0.0, log_volume[order]), np.append(-np.inf, log_likelihood[order])
    with np.errstate(divide="ignore"):
        log_width = log_x[:-1] + np.log(-np.expm1(np.diff(log_x)))
    weights = np.empty(len(order))
    weights[order] = from_logs(np.logaddexp(log_l[:-1], log_l[1:]) + log_width)
    return weights


def birth_weights(log_likelihood: np.ndarray, birth: np.ndarray) -> np.ndarray:
    r"""Weights (n,) of dead points, the largest one.

    .. math::
        w_i = \tfrac12 L_i (X_{i-1} - X_{i+1}), \qquad X_i = \prod_{j \le i} \frac{n_j}{n_j + 1}, \qquad
        n_i = \#\{j: L^{birth}_j < L_i \le L_j\}

    in the order of the likelihoods, n being the numbers of live points and X the expected prior mass within a contour.

    Raises:
        ValueError: if a point was not born below its own likelihood.

    Example:
        >>> birth_weights(np.array([0.0, 1.0]), np.array([-np.inf, -np.inf])).round(3)
        array([0.368, 1.   ])
    """
    if np.isnan(log_likelihood).any() or not (birth < log_likelihood).all():
        bad = int(np.flatnonzero(~(birth < log_likelihood))[0])
        raise ValueError(f"point {bad} has log-likelihood {log_likelihood[bad]:g}, which is not above its birth {birth[bad]:g}")
    order = np.argsort(log_likelihood, kind="stable")
    sorted_l = log_likelihood[order]
    live = np.searchsorted(np.sort(birth), sorted_l) - np.arange(len(order))
    log_x = np.concatenate([[0.0], -np.cumsum(np.log1p(1 / live)), [-np.inf]])
    with np.errstate(under="ignore"):
        log_width = log_x[:-2] + np.log1p(-np.exp(log_x[2:] - log_x[:-2]))
    weights = np.empty(len(order))
    weights[order] = from_logs(sorted_l + log_width)
    return weights


def _dead_birth(sheet: Sheet) -> bool:
    return re.search(r"(dead|live)-birth\.txt", sheet.path.name.lower()) is not None
