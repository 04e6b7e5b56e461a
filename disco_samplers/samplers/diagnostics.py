"""Convergence diagnostics and summary of draws, computed by ArviZ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from disco_samplers.convergence import JUDGED, R_HAT, Periods, diagnostic, nested_rhat, rhat_limit

QUANTILES = (0.05, 0.5, 0.95)

_ESS = 400
"""The limit of the effective draws, of chains so long that those that mix keep it."""

_CHAINS, _GROUPS, _NESTED = 64, 8, 5.0
"""Chains from which on nested R-hat tells something of short ones, its super-chains, and the limit: that of chains which have
forgotten their start is chi-squared of seven degrees over 7 M, above 5 / M with a probability of 1e-5."""

_NESTED_LEAST = 0.02
"""Of nested R-hat's square less one: what longer chains may have, too."""


class NotMixedWarning(RuntimeWarning):
    """Chains that have not mixed: their draws are not yet draws of the target."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """A row for each variable: mean, sd, 5 %, 50 % and 95 % quantiles, Monte Carlo standard error, ESS (bulk and tail), R-hat.

    The mean of an angle is its direction, its sd that of the shorter ways to it, and quantiles are counted from half a turn
    below it, so that those about the seam are as 340, 360 and 380.

    ``str()`` gives the table, with a mark at the variables that have not mixed. R-hat, ESS and MCSE mean nothing for chains of
    fewer than 100 draws: they are NaN and not shown. Of 64 such chains or more there is the nested R-hat.

    Arguments:
        names: of the variables.
        columns: of the table, each (d,).
        unmixed: numbers of the variables that have not mixed.
    """

    names: Sequence[str]
    columns: dict[str, np.ndarray]
    unmixed: Sequence[int] = ()

    @property
    def shown(self) -> dict[str, np.ndarray]:
        """The columns of which something is known."""
        return {name: values for name, values in self.columns.items() if np.isfinite(values).any()}

    def __str__(self) -> str:
        width = max(8, *(len(name) for name in self.names))
        head = " " * width + "".join(f" {name:>{max(10, len(name))}}" for name in self.shown)
        rows = [
            f"{name:<{width}}"
            + "".join(f" {_cell(values[i], column)}" for column, values in self.shown.items())
            + "  not mixed" * (i in self.unmixed)
            for i, name in enumerate(self.names)
        ]
        return "\n".join([head, *rows])


def summarise(
    draws: Tensor | np.ndarray,
    names: Sequence[str],
    *,
    independent: bool = False,
    start: np.ndarray | None = None,
    periods: Periods | None = None,
) -> Summary:
    r"""Summary of draws (chain, draw, d).

    R-hat is rank-normalised and split; ESS bulk and tail, MCSE of the mean. Of many short chains it is the nested R-hat
    (:func:`disco_samplers.convergence.nested_rhat`).

    Arguments:
        draws: (chain, draw, d).
        names: of the d variables.
        independent: leaves out R-hat, ESS and MCSE, for draws whose order means nothing.
        start: where each chain started, (chain, d), for the nested R-hat.
        periods: of columns of angles, None for others: means, deviations and quantiles are those of angles, R-hat and ESS the
            worse of cosine and sine.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Burkner, *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021 (https://arxiv.org/abs/1903.08008).

    Example:
        >>> import torch
        >>> draws = torch.randn(4, 500, 1, generator=torch.Generator().manual_seed(0))
        >>> bool(summarise(draws, ["x"]).columns["r_hat"][0] < 1.01)
        True
    """
    x = np.asarray(draws, dtype=np.float64)
    center = centers(x, periods)
    line = about(x, center, periods)
    flat = line.reshape(-1, x.shape[-1])
    low, median, high = np.quantile(flat, QUANTILES, axis=0)
    sd = np.sqrt(np.square(flat - center).sum(0) / (len(flat) - 1)) if len(flat) > 1 else np.full(x.shape[-1], np.nan)
    columns = {"mean": center, "sd": sd, "5%": low, "50%": median, "95%": high}
    if independent:
        return Summary(list(names), columns)
    kinds = {"mcse": "mcse", "ess_bulk": "ess_bulk", "ess_tail": "ess_tail", "r_hat": "rhat"}
    nothing = np.full(x.shape[-1], np.nan)
    for name, kind in kinds.items():
        columns[name] = nothing if x.shape[1] < JUDGED else diagnostic(kind, line if kind == "mcse" else x, periods)
    if x.shape[1] < JUDGED and start is not None and len(x) >= _CHAINS:
        columns["r_hat_nested"] = nested_rhat(x, np.asarray(start, dtype=np.float64), _GROUPS, periods)
    return Summary(list(names), columns, unmixed(x, start, periods))


def centers(draws: np.ndarray, periods: Periods | None = None) -> np.ndarray:
    """Means of the columns of draws (..., d), as (d,); of an angle its direction, in the turn in which the draws are.

    Example:
        >>> centers(np.array([[350.0, 1.0], [15.0, 2.0], [355.0, 3.0]]), [360.0, None]).round(2)
        array([359.96,   2.  ])
    """
    flat = draws.reshape(-1, draws.shape[-1])
    found: np.ndarray = flat.mean(0)
    for i, period in enumerate(periods or []):
        if period is not None and len(flat):
            column, unit = flat[:, i], 2 * np.pi / period
            middle = (column.min() + column.max()) / 2
            off = unit * (column - middle)
            found[i] = middle + np.arctan2(np.sin(off).mean(), np.cos(off).mean()) / unit
    return found


def about(draws: np.ndarray, center: np.ndarray, periods: Periods | None = None) -> np.ndarray:
    """Draws (..., d) with angles in the turn around their center (d,).

    Example:
        >>> about(np.array([[350.0], [15.0]]), np.array([355.0]), [360.0]).ravel()
        array([350., 375.])
    """
    turns = np.array([np.nan if period is None else period for period in periods or [None] * draws.shape[-1]])
    found: np.ndarray = np.where(np.isnan(turns), draws, draws - turns * np.round((draws - center) / turns))
    return found


def unmixed(draws: np.ndarray, start: np.ndarray | None = None, periods: Periods | None = None) -> list[int]:
    r"""The variables that chains have not mixed in: R-hat above 1.01, or fewer than 400 effective draws in bulk or tails.

    Chains of fewer than 400 draws, or fewer than 1600 draws in all, are judged by an R-hat above 1.1 alone: such short ones
    miss the other limits also where they mix. Chains of fewer than 100 draws are judged where there are 64 of them, of known
    start: in 8 super-chains of M by a nested R-hat above :math:`\sqrt{1.02 + 5/M}`.

    Arguments:
        draws: (chain, draw, d).
        start: where each chain started, (chain, d).
        periods: of columns of angles, None for others.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Burkner, *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021 (https://arxiv.org/abs/1903.08008), section 4, for the limits.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(4, 1000, 1))
        >>> unmixed(np.concatenate([noise, noise.cumsum(1)], -1))
        [1]
    """
    chains, n = draws.shape[:2]
    if n < JUDGED:
        if start is None or chains < _CHAINS:
            return []
        limit = np.sqrt(1 + _NESTED_LEAST + _NESTED / (chains // _GROUPS))
        found = nested_rhat(draws, np.asarray(start, dtype=np.float64), _GROUPS, periods) > limit
        return [int(i) for i in np.flatnonzero(found)]
    limit = rhat_limit(chains, n)
    found = diagnostic("rhat", draws, periods) > limit
    if limit == R_HAT:
        found |= np.minimum(diagnostic("ess_bulk", draws, periods), diagnostic("ess_tail", draws, periods)) < _ESS
    return [int(i) for i in np.flatnonzero(found)]


def not_mixed(names: Sequence[str], method: str, length: int) -> str:
    """One line on what chains of a length have not mixed in, and what to do."""
    some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    longer = "num_samples, thinning" if length >= JUDGED else "num_warmup; num_steps of an estimate's sample()"
    say = f"run longer ({longer})" + ("" if method == "jumps" else ', or an estimate by the method "jumps"')
    why = (
        f"R-hat above {R_HAT}, or fewer than {_ESS} effective draws"
        if length >= JUDGED
        else "nested R-hat: they tell their start"
    )
    return f"chains have not mixed ({why}) in {some}: {say}"


def spreading(draws: np.ndarray) -> list[int]:
    r"""The variables in which chains have gone on spreading from the first draw to the last, as a random walk does.

    .. math:: \frac{E (u_{t + n/2} - u_t)^2}{E (u_{t + n/4} - u_t)^2} > 1.4 \quad\text{and}\quad \hat R > 1.5

    with u the ranks of the draws, so that heavy tails do not matter. The ratio is 1 for chains that mix, however far apart
    their modes, and about 1.8 for a random walk, which has no stationary density. A proper density whose chains take longer
    than their run to forget where they started looks the same. Chains of fewer than 100 draws are not judged.

    Arguments:
        draws: (chain, draw, d).

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(8, 400, 1))
        >>> spreading(np.concatenate([noise, noise.cumsum(1)], -1))
        [1]
    """
    chains, n, d = draws.shape
    if n < JUDGED:
        return []
    ranks = draws.reshape(-1, d).argsort(0).argsort(0).reshape(draws.shape) / (chains * n)
    moved = [np.square(ranks[:, lag:] - ranks[:, :-lag]).mean((0, 1)) for lag in (n // 2, n // 4)]
    found = np.flatnonzero(moved[0] > 1.4 * moved[1])
    return [int(i) for i in found[diagnostic("rhat", draws[..., found]) > 1.5]] if len(found) else []


def _cell(value: float, column: str) -> str:
    kind = ".0f" if column.startswith("ess") else ".3f" if column.startswith("r_hat") else ".4g"
    return f"{format(value, kind) if np.isfinite(value) else '-':>{max(10, len(column))}}"
