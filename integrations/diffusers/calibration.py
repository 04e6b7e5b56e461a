"""How much to trust the exact denoiser of the training set at each noise level, judged on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.reference import OptimalDenoiser

KNOTS = 9
"""Noise levels at which the weight is measured."""

_RANGE = 0.02, 4.0
"""First and last of them, in units of the data's scale; beyond the last the exact denoiser is used alone."""

_HELD_OUT = 0.2
_DRAWS = 1000
"""Noised held-out rows that judge one level."""

Denoiser = Callable[[Tensor, float], Tensor]


def knots(data: Tensor) -> Tensor:
    """The :data:`KNOTS` noise levels (K,) of data (n, k), from far below its scale to where it is Gaussian."""
    scale = float(data.double().var(0).mean().sqrt())
    low, high = (math.log10(end * scale) for end in _RANGE)
    return torch.logspace(low, high, KNOTS, dtype=torch.float64, device="cpu")


def held_out_weights(
    data: Tensor,
    sigmas: Tensor,
    fit: Callable[[Tensor], Denoiser],
    *,
    seed: int,
    progress: bool = False,
    description: str = "calibrating",
) -> Tensor:
    r"""The weight w of the exact denoiser at each of some rising noise levels, as (K,).

    A fifth of the rows is held out. With both denoisers made from the other rows, w minimises the denoising loss

    .. math:: \sum_i \big| (1 - w)\, D(y_i, \sigma) + w\, D^*(y_i, \sigma) - x_i \big|^2, \qquad y_i = x_i + \sigma \epsilon_i

    over held-out :math:`x_i`, the loss that diffusion models are trained with; it is brought to [0, 1] and made to rise with
    sigma.

    Arguments:
        data: (n, k).
        sigmas: (K,).
        fit: makes the denoiser D of some rows.
        seed: of the split and the noise.
        progress: whether to show a progress bar.
        description: its label.

    References:
        Wolpert, *Stacked generalization*, Neural Networks 1992, for choosing weights on held-out rows; Vincent, *A connection
        between score matching and denoising autoencoders*, Neural Computation 2011, for the loss.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data), generator=generator, device=generator.device).to(data.device)
    count = max(2, round(_HELD_OUT * len(data)))
    held, kept = data[order[:count]], data[order[count:]]
    smooth, exact = fit(kept), OptimalDenoiser(kept.double())
    x = held.repeat(-(-_DRAWS // len(held)), 1)
    weights = []
    for sigma in tqdm(sigmas.tolist(), disable=not progress, desc=description):
        y = x + sigma * torch.randn(x.shape, generator=generator, dtype=torch.float32, device=generator.device).to(x)
        ours = smooth(y, sigma).double()
        gap = exact(y.double(), sigma) - ours
        weights.append(float(((x - ours) * gap).sum() / gap.square().sum().clamp_min(1e-300)))
    # The exact denoiser only gains with sigma; what falls is noise of the estimate.
    return torch.tensor(weights, dtype=torch.float64, device="cpu").clamp(0, 1).cummax(0).values
