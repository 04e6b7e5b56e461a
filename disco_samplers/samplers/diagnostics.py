"""Convergence diagnostics and summary of draws, computed by ArviZ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from disco_samplers.convergence import diagnostic

QUANTILES = (0.05, 0.5, 0.95)

_JUDGED = 100
"""Draws a chain must have before its spreading is judged."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """A row for each variable: mean, sd, 5 %, 50 % and 95 % quantiles, Monte Carlo standard error, ESS (bulk and tail), R-hat.

    ``str()`` gives the table. R-hat, ESS and MCSE are NaN where there are too few draws (fewer than four a chain).
    """

    names: Sequence[str]
    columns: dict[str, np.ndarray]

    def __str__(self) -> str:
        width = max(8, *(len(name) for name in self.names))
        head = " " * width + "".join(f" {name:>10}" for name in self.columns)
        rows = [
            f"{name:<{width}}" + "".join(f" {_cell(values[i], column)}" for column, values in self.columns.items())
            for i, name in enumerate(self.names)
        ]
        return "\n".join([head, *rows])


def summarise(draws: Tensor | np.ndarray, names: Sequence[str], *, independent: bool = False) -> Summary:
    r"""Summary of draws (chain, draw, d).

    R-hat is rank-normalised and split; ESS bulk and tail, MCSE of the mean.

    Arguments:
        draws: (chain, draw, d).
        names: of the d variables.
        independent: leaves out R-hat, ESS and MCSE, for draws whose order means nothing.

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
    flat = x.reshape(-1, x.shape[-1])
    low, median, high = np.quantile(flat, QUANTILES, axis=0)
    sd = flat.std(0, ddof=1) if len(flat) > 1 else np.full(x.shape[-1], np.nan)
    columns = {"mean": flat.mean(0), "sd": sd, "5%": low, "50%": median, "95%": high}
    if not independent:
        columns |= {
            "mcse": diagnostic("mcse", x),
            "ess_bulk": diagnostic("ess_bulk", x),
            "ess_tail": diagnostic("ess_tail", x),
            "r_hat": diagnostic("rhat", x),
        }
    return Summary(list(names), columns)


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
    if n < _JUDGED:
        return []
    ranks = draws.reshape(-1, d).argsort(0).argsort(0).reshape(draws.shape) / (chains * n)
    moved = [np.square(ranks[:, lag:] - ranks[:, :-lag]).mean((0, 1)) for lag in (n // 2, n // 4)]
    found = np.flatnonzero(moved[0] > 1.4 * moved[1])
    return [int(i) for i in found[diagnostic("rhat", draws[..., found]) > 1.5]] if len(found) else []


def _cell(value: float, column: str) -> str:
    if not np.isfinite(value):
        return f"{'-':>10}"
    if column.startswith("ess"):
        return f"{value:>10.0f}"
    return f"{value:>10.3f}" if column == "r_hat" else f"{value:>10.4g}"
