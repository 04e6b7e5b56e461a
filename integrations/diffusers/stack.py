"""Weights of several denoisers, by the denoising loss on data that they have not read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_GAIN = 0.01
"""An answer is added where it lowers the loss by this part at least."""

_RIDGE = 1e-4
"""Of the mean square of the answers: of two that are alike each gets half, not a large weight and its opposite."""

_NOTHING = 1e-6
"""A part of the mean square that is not worth an answer."""


def stacked(answers: Tensor, clean: Tensor) -> Tensor:
    r"""The weights a (c,) of denoised data (c, m, D) that are nearest to the clean ones (m, D) in sum of squares.

    .. math:: a = \arg\min \sum \Big| x - \sum_c a_c D_c \Big|^2

    From the best single one on, one is added at a time, the one that lowers the loss most, as long as it does so by a
    hundredth: what does not help is not computed later.

    References:
        Breiman, *Stacked regressions*, Machine Learning 1996.

    Example:
        >>> clean = torch.tensor([[1.0, -1.0]])
        >>> stacked(torch.stack([0.5 * clean, clean.flip(1) + 2]), clean)
        tensor([1.9979, 0.0000], dtype=torch.float64)
    """
    flat, x = answers.flatten(1).double(), clean.flatten().double()
    gram, side, total = flat @ flat.T, flat @ x, float(x @ x)
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    chosen: list[int] = []
    best, weights = total, side[:0]
    while len(chosen) < len(flat):
        trials = []
        for index in (i for i in range(len(flat)) if i not in chosen):
            trial = [*chosen, index]
            own = gram[trial][:, trial]
            solved = torch.linalg.solve(own + ridge[trial][:, trial], side[trial])
            trials.append((float(total - 2 * side[trial] @ solved + solved @ own @ solved), trial, solved))
        loss, trial, solved = min(trials, key=lambda found: found[0])
        if chosen and (loss > (1 - _GAIN) * best or best < _NOTHING * total):
            break
        best, chosen, weights = loss, trial, solved
    full = torch.zeros(len(flat), dtype=torch.float64, device="cpu")
    full[chosen] = weights.cpu()
    return full


def stack_curve(log_sigma: Tensor, weights: Tensor) -> Callable[[float], list[float]]:
    """The weights at any level from those at knots (K,), as (K, c): linear in log sigma, constant beyond the ends."""
    knots = log_sigma.double().tolist()
    rows: Sequence[list[float]] = weights.double().tolist()

    def at(sigma: float) -> list[float]:
        x = math.log(sigma)
        if x <= knots[0]:
            return rows[0]
        for left, right, low, high in zip(knots[:-1], knots[1:], rows[:-1], rows[1:], strict=True):
            if x <= right:
                part = (x - left) / (right - left)
                return [a + (b - a) * part for a, b in zip(low, high, strict=True)]
        return rows[-1]

    return at
