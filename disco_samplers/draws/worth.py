r"""How many independent draws weighted, repeated or correlated rows are worth.

An estimate from rows that are not independent must not trust them as if they were: its bandwidths follow the effective size.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from disco_samplers.convergence import JUDGED, Periods, design_effect, diagnostic, unit_vectors

_SPAN, _BLOCKS = 10, 10
"""Independent draws that a block of a chain is worth, and blocks at least."""


class DrawsWarning(UserWarning):
    """Draws that can be read, but are worth less than they look."""


class RepeatedRowsWarning(DrawsWarning):
    """Rows that are copies of others, as those of a Markov chain are."""


class UnmixedWarning(DrawsWarning):
    """Chains that do not agree with each other: what is made of them may be of parts of the target."""


class HeavyWeightWarning(DrawsWarning):
    """One row carries more than half of all weight."""


class LowEffectiveSizeWarning(DrawsWarning):
    """So few independent draws that little can be told of their density."""


class TransposedWarning(DrawsWarning):
    """An array that looks the wrong way round: far more columns than rows, or draws where chains should be."""


def kish_effective_size(weights: Tensor) -> float:
    r"""The effective size of weighted independent rows, :math:`(\sum_i w_i)^2 / \sum_i w_i^2`.

    References:
        Kish, *Survey sampling*, 1965.

    Example:
        >>> kish_effective_size(torch.tensor([1.0, 1.0, 0.0]))
        2.0
    """
    weights = weights.double()
    return float(weights.sum().square() / weights.square().sum())


def chains_effective_size(values: Tensor, periods: Periods | None = None) -> float:
    """The effective size of chains (chain, draw, d): the smallest bulk ESS of the columns, of angles of cosine and sine.

    Chains of fewer than 100 draws do not tell their autocorrelation time: of several such it is no more than what they are
    worth by the :func:`~disco_samplers.convergence.design_effect`. NaN where there is neither.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Burkner, *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021 (https://arxiv.org/abs/1903.08008).

    Example:
        >>> draws = torch.randn(4, 500, 2, generator=torch.Generator().manual_seed(0))
        >>> 1500 < chains_effective_size(draws) < 2600
        True
    """
    draws = unit_vectors(values.detach().double().cpu().numpy(), periods)[0]
    found = diagnostic("ess_bulk", draws)
    if len(draws) > 1 and 1 < draws.shape[1] < JUDGED:
        found = np.fmin(found, draws[..., 0].size / design_effect(draws))
    found = found[np.isfinite(found)]
    return float(found.min()) if len(found) else float("nan")


def cautious(effective_size: float, num_chains: int) -> float:
    r"""The effective size N of C chains, told with caution: :math:`N / (1 + (C / N)^2)`.

    A chain that is worth few draws is not long enough to tell its autocorrelation time, and its rows are clumps around where it
    started, which look like structure. Chains that are worth many draws each lose next to nothing.

    Example:
        >>> round(cautious(400.0, 4), 2), cautious(40.0, 40)  # four chains, and forty walkers that have hardly moved
        (399.96, 20.0)
    """
    return effective_size / (1 + (num_chains / effective_size) ** 2)


def blocks_of(num_chains: int, length: int, effective_size: float) -> Tensor:
    """Runs of successive draws, numbered, for the rows of chains one after the other: (num_chains * length,).

    A run is worth ten independent draws, so that few rows of it are neighbours of another run's; but there are ten at least.

    References:
        Burman, Chow, Nolan, *A cross-validatory method for dependent data*, Biometrika 1994.

    Example:
        >>> blocks_of(2, 100, 20.0).unique(return_counts=True)
        (tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), tensor([20, 20, 20, 20, 20, 20, 20, 20, 20, 20]))
    """
    each = min(length, max(math.ceil(_BLOCKS / num_chains), math.floor(effective_size / (_SPAN * num_chains))))
    draw = torch.arange(length, device="cpu") * each // length
    return (torch.arange(num_chains, device="cpu")[:, None] * each + draw).flatten()


def part_worth(counts: Tensor, rows: Tensor) -> Tensor:
    r"""What evenly spread rows of a chain are worth: being farther apart than all rows are, the more.

    Of n rows worth N, m are worth :math:`m / (1 + m (n/N - 1) / n)`: the variance of their mean, with correlations that fall
    off within a small part of the chain.

    Example:
        >>> part_worth(torch.full((1000,), 0.1), torch.arange(0, 1000, 10)).sum()
        tensor(52.6316)
    """
    some = counts[rows]
    correlated = len(counts) / float(counts.sum()) - 1
    return some * (len(rows) / (1 + len(rows) / len(counts) * correlated) / some.sum())


def evenly(rows: Tensor, counts: Tensor | None, num_samples: int | None = None) -> Tensor:
    """Rows (n, d) each as often as it weighs: one at every n-th, or ``num_samples``-th, part of all weight.

    Example:
        >>> evenly(torch.tensor([[0.0], [1.0]]), torch.tensor([1.0, 3.0]), 4)[:, 0]
        tensor([0., 1., 1., 1.])
    """
    if counts is None:
        return rows
    count = len(rows) if num_samples is None else num_samples
    share = (counts.double() / counts.double().sum()).cumsum(0)
    places = (torch.arange(count, dtype=share.dtype, device=rows.device) + 0.5) / count
    return rows[torch.searchsorted(share, places).clamp_max(len(rows) - 1)]


def distinct_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of (n, d), in order of appearance, and for each row the number of its own among them.

    Example:
        >>> distinct_rows(torch.tensor([[1.0], [0.0], [1.0]]))
        (tensor([[1.],
                [0.]]), tensor([0, 1, 0]))
    """
    n = torch.arange(len(rows), device=rows.device)
    # Equal rows have equal sums, so that where no two sums are equal the long comparison is spared.
    sums = (rows * torch.linspace(1.0, 2.0, rows.shape[1], dtype=rows.dtype, device=rows.device)).sum(1).sort().values
    if not (sums[1:] == sums[:-1]).any():
        return rows, n
    found, inverse = torch.unique(rows, dim=0, return_inverse=True)
    if len(found) == len(rows):
        return rows, n
    first = torch.full((len(found),), len(rows), device=rows.device).scatter_reduce_(0, inverse, n, "amin")
    order = first.argsort()
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=rows.device))
    return rows[first[order]], place[inverse]
