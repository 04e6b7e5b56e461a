"""Whether images hold the pixels of others, as crops of one picture that overlap do, and images given twice with some noise."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

_SIZE = 7
"""Height and width of the patch that is looked for, the middle of an image; smaller ones are met again by chance."""

_VALUES = 8
"""Different values, at least, of a patch that is looked for."""

_PLACES = 2**22
"""Patches, at most, among which it is looked for."""

_NEARLY, _OTHERS = 0.01, 10
"""Distance to another image, as a part of that to the next one, that is hardly ever met by chance; and how many are asked."""

_TOLERATED = 0.1
"""Share of images that may repeat others."""


def warn_of_repeats(judges: Tensor, read: Tensor) -> None:
    """Warns if images (m, C, H, W) that judge hold the same pixels as some of those read (n, C, H, W), or nearly."""
    share = float((repeats(judges, read) | nearly_read(judges, read)).double().mean())
    if share > _TOLERATED:
        warnings.warn(
            f"{share:.0%} of the images that judge hold the same pixels as some that are read, or nearly, as crops of one "
            "picture that overlap and frames of a film do: they say too little against copies. Give held_out=, images from "
            "elsewhere",
            stacklevel=5,  # who called from_data, past its decorator
        )


def repeats(images: Tensor, others: Tensor) -> Tensor:
    """Which of images (m, C, H, W) hold a patch, in their middle, that is somewhere in others (n, C, H, W), as (m,) bool.

    A patch of few values, as backgrounds and drawings in black and white have them, does not count: such are met again by
    chance. Patches are told apart by a number of 64 bits.
    """
    height, width = (min(_SIZE, size) for size in images.shape[2:])
    top, left = ((size - part) // 2 for size, part in zip(images.shape[2:], (height, width), strict=True))
    middle = images[:, :, top : top + height, left : left + width]
    places = (images.shape[2] - height + 1) * (images.shape[3] - width + 1)
    step = max(1, len(others) * places // _PLACES)
    ordered = middle.flatten(1).sort(1).values
    rich = (ordered.diff(dim=1) != 0).sum(1) + 1 >= _VALUES
    return torch.isin(_numbers(middle, height, width), _numbers(others[::step], height, width)).flatten() & rich


def nearly_read(images: Tensor, others: Tensor) -> Tensor:
    """Which of images (m, C, H, W) are as a whole one of others (n, C, H, W) with hardly any noise, as (m,) bool.

    Beyond these the next image is a hundred times as far. Those that are just the same do not count: icons of few values are
    met again by chance.
    """
    rows, known = images.flatten(1), others.flatten(1)
    away = torch.cdist(rows, known, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = away.topk(min(_OTHERS, len(known)), largest=False).values
    nearly: Tensor = (nearest[:, :-1] > 0) & (nearest[:, :-1] < _NEARLY * nearest[:, 1:])
    return nearly.any(1)


def _numbers(images: Tensor, height: int, width: int) -> Tensor:
    """A number for every patch (n, H', W') of images, from the bits of its pixels."""
    generator = torch.Generator().manual_seed(0)
    size = (images.shape[1], height, width)
    odd = 2 * torch.randint(2**61, size, generator=generator, device="cpu").to(images.device) + 1
    bits = (images.float() + 0.0).contiguous().view(torch.int32).long()  # of -0.0, those of 0.0
    down, across = images.shape[2] - height + 1, images.shape[3] - width + 1
    found = bits.new_zeros(len(images), down, across)
    for channel in range(size[0]):
        for i in range(height):
            for j in range(width):
                found += odd[channel, i, j] * bits[:, channel, i : i + down, j : j + across]
    return found
