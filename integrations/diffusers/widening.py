"""Windows wider than those of the least denoising loss, as wide as they can be without copying what was read."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from disco_samplers.measures import nearest_distances

from .data_checks import spaced
from .local_data import LocalData
from .memorisation import NEW
from .stack import stack_curve
from .trajectory import bounded_noise

_FACTORS = torch.logspace(-2, 2, 65, base=2.0, dtype=torch.float64, device="cpu")
"""Factors at which copies may become as frequent as among new images, and, of these, how far windows are moved at most."""

_LEAST, _MOST = 0.5, 2.0

_SLOPES = torch.logspace(0, 4, 9, base=2.0, dtype=torch.float64, device="cpu")
"""How the log-odds of a copy may rise with the logarithm of the factor."""

DRAWN, _BATCHES = 160, 5
"""Images that are drawn at once to see whether they are copies, and how often."""

_STEPS = 10
_FIRST, _LAST = 20.0, 0.15
"""Noise that drawing begins with and ends from, in units of the data's scale: less decides no more which image is copied."""

_ASKED, _TILE = 5000, 100
"""Images that tell how far apart those of the data are, and how many of them at once."""

_SAME = 1e-6
"""Part of an image's norm that is no distance: such images are the same."""


def widest(
    parts: list[LocalData], held_out: Tensor | None, sigmas: Tensor, stack: Tensor, *, seed: int, progress: bool = False
) -> float:
    r"""The factor c of the noise at which weights of answers are to be taken, :math:`a(c \sigma)` for :math:`a(\sigma)`.

    The denoising loss asks of each pixel by itself. It is least with windows so small that strokes of a drawn image fail to
    join: the loss does not see that. Windows that are best at more noise are wider and hold images together, until all that
    they know is whole images and they draw these. So c is the largest from 1/2 to 2 with which images drawn are no more often
    near to those that are read than new ones are, one in twenty (:func:`~.memorisation.memorisation`). Few images tell that
    share too roughly at any one factor: its odds are taken for a power of the factor, and each lot is drawn where all before
    it put one in twenty. An image that is read twice tells nothing of how near new ones come.

    Arguments:
        parts: local data of each class.
        held_out: new images (m, D); if None, those that are read tell by their distances how near a new one comes.
        sigmas: (K,).
        stack: a at these levels, of the least loss, (K, c).
        seed: of what is drawn.
        progress: whether to show a progress bar.

    References:
        Watson, Pelli, *QUEST: a Bayesian adaptive psychometric method*, Perception & Psychophysics 1983.
    """
    parts = [local for local in parts if local.scale > 0]  # of a class of one image only copies can be drawn
    if not parts:
        return 1.0
    read = torch.cat([local.data for local in parts]).double()
    shares = [len(local.data) / len(read) for local in parts]
    if held_out is None:
        asked = torch.cat([local.data[: math.ceil(_ASKED * share)] for local, share in zip(parts, shares, strict=True)])
    else:
        asked = spaced(held_out, _ASKED)
    near = _apart(asked.double(), read).quantile(NEW)
    generator = torch.Generator().manual_seed(seed)
    likely = torch.zeros(len(_FACTORS), len(_SLOPES), dtype=torch.float64, device="cpu")
    for _ in tqdm(range(_BATCHES), disable=not progress, desc="widening windows"):
        factor = _median(likely)
        curve = stack_curve((sigmas / factor).log(), stack)
        drawn = torch.cat(
            [_drawn(local, curve, math.ceil(DRAWN * share), generator) for local, share in zip(parts, shares, strict=True)]
        )
        copies = int((nearest_distances(drawn.double(), read) <= near).sum())
        odds = math.log(NEW / (1 - NEW)) + _SLOPES * (factor / _FACTORS[:, None]).log()
        likely += copies * F.logsigmoid(odds) + (len(drawn) - copies) * F.logsigmoid(-odds)
    return _median(likely)


def _median(likely: Tensor) -> float:
    """The median of the factors by their log-likelihoods (factors, slopes), all as likely before, kept in bounds."""
    below = likely.flatten().softmax(0).view_as(likely).sum(1).cumsum(0)
    return min(max(float(_FACTORS[int((below < 0.5).sum())]), _LEAST), _MOST)


def _apart(images: Tensor, read: Tensor) -> Tensor:
    """The distances of images (m, D) to the nearest one of those read (n, D) that is not the same."""
    least = _SAME * float(read.norm(dim=1).max())
    found = []
    for tile in images.split(_TILE):
        away = torch.cdist(tile, read)
        found.append(away.masked_fill_(away <= least, math.inf).amin(1))
    return torch.cat(found)


def _drawn(local: LocalData, stack: Callable[[float], list[float]], count: int, generator: torch.Generator) -> Tensor:
    """Images (count, D) at the end of the probability flow, by steps of second order in the logarithm of the noise level.

    References:
        Lu et al., *DPM-Solver++*, arXiv 2211.01095, algorithm 2, at equal steps.
    """
    view = copy.copy(local)
    view.stack = stack
    first, last = (math.log10(end * local.scale) for end in (_FIRST, _LAST))
    levels = torch.logspace(first, last, _STEPS, dtype=torch.float64, device="cpu").tolist()
    start = torch.randn((count, local.data.shape[1]), generator=generator, dtype=torch.float32, device=generator.device)
    y: Tensor = local.data.mean(0) + levels[0] * start.to(local.data)
    before: Tensor | None = None
    for sigma, lower in itertools.pairwise([*levels, 0.0]):
        clean = y - sigma * bounded_noise(view, y, sigma, 0)
        ahead = clean if before is None or not lower else 1.5 * clean - 0.5 * before
        y, before = ahead + lower / sigma * (y - ahead), clean
    return y
