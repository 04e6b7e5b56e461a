r"""How many independent draws weighted, repeated or correlated rows are worth.

An estimate from rows that are not independent must not trust them as if they were: its bandwidths follow the effective size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.convergence import diagnostic


class DrawsWarning(UserWarning):
    """Draws that can be read, but are worth less than they look."""


class RepeatedRowsWarning(DrawsWarning):
    """Rows that repeat the row before, as those of a Markov chain do."""


class HeavyWeightWarning(DrawsWarning):
    """One row carries more than half of all weight."""


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


def chains_effective_size(values: Tensor) -> float:
    """The effective size of chains (chain, draw, d): the smallest bulk ESS of the columns; NaN where ArviZ gives none.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Burkner, *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021 (https://arxiv.org/abs/1903.08008).

    Example:
        >>> draws = torch.randn(4, 500, 2, generator=torch.Generator().manual_seed(0))
        >>> 1500 < chains_effective_size(draws) < 2600
        True
    """
    found = torch.from_numpy(diagnostic("ess_bulk", values.detach().double().cpu().numpy()))
    found = found[torch.isfinite(found)]
    return float(found.min()) if len(found) else float("nan")


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
