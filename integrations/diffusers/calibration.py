"""How much to trust each denoiser at each noise level, judged on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.estimators import shuffled
from disco_samplers.reference import OptimalDenoiser

from .data_checks import JUDGES, scale_of, spaced
from .local_data import LocalData, Near
from .repeats import warn_of_repeats
from .stack import stacked

KNOTS = 9
"""Noise levels at which the weight is measured."""

_RANGE = 0.02, 4.0
"""First and last of them, in units of the data's scale; beyond the last the exact denoiser is used alone."""

IMAGE_KNOTS = 12
"""The same for images that are read patch by patch."""

_IMAGE_RANGE = 0.02, 40.0

_TRIALS, _TRIED = 4, slice(3, 8, 2)
"""Part of them, and the levels, by which it is told where patches are taken from."""

_HELD_OUT = 0.2
_DRAWS = 1000
"""Noised held-out rows that judge one level."""

Denoiser = Callable[[Tensor, float], Tensor]


def knots(data: Tensor, counts: Tensor | None = None, *, images: bool = False) -> Tensor:
    """The noise levels (K,) of data (n, k), from far below its scale to where it is Gaussian.

    There are :data:`KNOTS` or, of ``images`` of many pixels, in which a signal is seen through far more noise,
    :data:`IMAGE_KNOTS`.
    """
    scale = scale_of(data, counts)
    low, high = (math.log10(end * scale) for end in (_IMAGE_RANGE if images else _RANGE))
    return torch.logspace(low, high, IMAGE_KNOTS if images else KNOTS, dtype=torch.float64, device="cpu")


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


def held_out_images(count: int, parts: int, seed: int, copies: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Which of ``count`` images of one of some parts judge a stack, and which are read for that.

    Images that are the same, which have one number in ``copies`` (count,), are all among the former or all among the latter.
    """
    own = torch.arange(count, device="cpu")
    if copies is not None and len(copies.unique()) > 1:
        own = copies.unique(return_inverse=True)[1]
    distinct, most = int(own.max()) + 1, max(2, JUDGES // parts)
    held = min(max(2, min(most, round(_HELD_OUT * distinct))), distinct - 1)
    place = torch.randperm(distinct, generator=torch.Generator().manual_seed(seed), device="cpu").argsort()[own]
    order = place.argsort(stable=True)
    judges = order[place[order] < held]
    return spaced(judges, most), order[place[order] >= held]


def nearest(
    data: Tensor,
    shape: tuple[int, int, int],
    held_out: Tensor | None,
    copies: Tensor | None,
    *,
    context_size: int,
    seed: int,
) -> Near:
    """Where the patches that a window is compared with are taken from: nearby or anywhere, by the loss on images held out.

    These are some of ``held_out`` (m, D) or, if that is None, of the data (n, D), of which those that are the same have one
    number in ``copies`` (n,).

    Warns:
        UserWarning: if they hold the same pixels as images that are read, or nearly.
    """
    sigmas, count = knots(data, images=True)[_TRIED], len(data)
    if held_out is None:
        held, kept = held_out_images(len(data), _TRIALS, seed, copies)
        data, judges = data[kept], data[held]
    else:
        judges = spaced(held_out, JUDGES // _TRIALS)
    warn_of_repeats(judges.unflatten(1, shape), data.unflatten(1, shape))
    losses = []
    for near in (trials := (Near.of(shape, count), Near.of(shape, count, anywhere=True))):
        local = LocalData(data, shape, lambda sigma: [], near=near, context_size=context_size, seed=seed)
        losses.append(float(held_out_stack([(local, judges)], sigmas, seed=seed)[1].log().sum()))
    return trials[losses.index(min(losses))]


def held_out_stack(
    parts: list[tuple[LocalData, Tensor]], sigmas: Tensor, *, seed: int, progress: bool = False
) -> tuple[Tensor, Tensor]:
    """The weights (K, c) of the answers of local data at some noise levels (K,), and the loss (K,) that they leave.

    Arguments:
        parts: local data and images (m, D) that it has not read, of each class.
        sigmas: (K,).
        seed: of the noise.
        progress: whether to show a progress bar.
    """
    generator = torch.Generator().manual_seed(seed)
    clean = torch.cat([images for _, images in parts])
    weights, losses = [], []
    for sigma in tqdm(sigmas.tolist(), disable=not progress, desc="calibrating"):
        found = []
        for local, images in parts:
            noise = torch.randn(images.shape, generator=generator, dtype=torch.float32, device=generator.device)
            y = images + sigma * noise.to(images)
            found.append(torch.stack([answer(y, sigma) for answer in local.answers()]))
        answers = torch.cat(found, 1)
        weight = stacked(answers, clean)
        weights.append(weight)
        denoised = (weight.to(answers)[:, None, None] * answers).sum(0)
        losses.append((denoised - clean).square().mean().double().cpu())
    return torch.stack(weights), torch.stack(losses)
