"""How much to trust the exact denoiser of the training set at each noise level, judged on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.estimators import shuffled
from disco_samplers.reference import OptimalDenoiser

from .data_checks import scale_of

KNOTS = 9
"""Noise levels at which the weight is measured."""

_RANGE = 0.02, 4.0
"""First and last of them, in units of the data's scale; beyond the last the exact denoiser is used alone."""

_HELD_OUT = 0.2
_DRAWS = 1000
"""Noised held-out rows that judge one level."""

Denoiser = Callable[[Tensor, float], Tensor]


def knots(data: Tensor, counts: Tensor | None = None) -> Tensor:
    """The :data:`KNOTS` noise levels (K,) of data (n, k), from far below its scale to where it is Gaussian."""
    scale = scale_of(data, counts)
    low, high = (math.log10(end * scale) for end in _RANGE)
    return torch.logspace(low, high, KNOTS, dtype=torch.float64, device="cpu")


def held_out_weights(
    data: Tensor,
    sigmas: Tensor,
    fit: Callable[[Tensor, Tensor | None], Denoiser],
    *,
    counts: Tensor | None = None,
    blocks: Tensor | None = None,
    seed: int,
    progress: bool = False,
    description: str = "calibrating",
) -> Tensor:
    r"""The weight w of the exact denoiser at each of some rising noise levels, as (K,).

    A fifth of the rows is held out. With both denoisers made from the other rows, w minimises the denoising loss

    .. math:: \sum_i \big| (1 - w)\, D(y_i, \sigma) + w\, D^*(y_i, \sigma) - x_i \big|^2, \qquad y_i = x_i + \sigma \epsilon_i

    over held-out :math:`x_i`, the loss that diffusion models are trained with; it is brought to [0, 1] and made to rise with
    sigma. A row counts by what it is worth, and of a chain whole runs are held out.

    Arguments:
        data: (n, k).
        sigmas: (K,).
        fit: makes the denoiser D of some rows and their counts.
        counts: (n,), how many independent draws a row is worth; one if not given.
        blocks: (n,), numbers of the runs that a row belongs to; each row is one if not given.
        seed: of the split and the noise.
        progress: whether to show a progress bar.
        description: its label.

    References:
        Wolpert, *Stacked generalization*, Neural Networks 1992, for choosing weights on held-out rows; Vincent, *A connection
        between score matching and denoising autoencoders*, Neural Computation 2011, for the loss.
    """
    generator = torch.Generator().manual_seed(seed)
    order = shuffled(len(data), generator, blocks, data.device)
    count = max(2, round(_HELD_OUT * len(data)))
    held, kept = order[:count], order[count:]
    worth = torch.ones_like(data[:, 0], dtype=torch.float64) if counts is None else counts.double()
    smooth = fit(data[kept], None if counts is None else counts[kept])
    exact = OptimalDenoiser(data[kept].double(), None if counts is None else counts[kept])
    times = -(-_DRAWS // count)
    x, each = data[held].repeat(times, 1), worth[held].repeat(times)[:, None]
    weights = []
    for sigma in tqdm(sigmas.tolist(), disable=not progress, desc=description):
        y = x + sigma * torch.randn(x.shape, generator=generator, dtype=torch.float32, device=generator.device).to(x)
        ours = smooth(y, sigma).double()
        gap = exact(y.double(), sigma) - ours
        weights.append(float((each * (x - ours) * gap).sum() / (each * gap.square()).sum().clamp_min(1e-300)))
    # The exact denoiser only gains with sigma; what falls is noise of the estimate.
    return torch.tensor(weights, dtype=torch.float64, device="cpu").clamp(0, 1).cummax(0).values
