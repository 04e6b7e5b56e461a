"""Windows of images: where they stand, the patches in them, and how overlapping answers are joined."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """The height and width of a window; no larger than the image."""

    height: int
    width: int

    @classmethod
    def of(cls, size: int, shape: tuple[int, int, int]) -> Window:
        """A square one on images (C, H, W), cut off at their size."""
        return cls(min(size, shape[1]), min(size, shape[2]))

    def patches(self, images: Tensor) -> Tensor:
        """A view (n, C, H', W', height, width) of images (n, C, H, W): the patch at every place."""
        return images.unfold(2, self.height, 1).unfold(3, self.width, 1)

    def taper(self, like: Tensor) -> Tensor:
        """How much each pixel of an answer counts, (height, width): most in the middle, where its surroundings are seen."""
        axes = []
        for size in self:
            away = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
            axes.append(torch.exp(-0.5 * (_NARROW * away / max((size - 1) / 2, 1)).square()))
        return axes[0][:, None] * axes[1]


_NARROW = 1.5
"""Half a window in standard deviations of its taper."""


def starts(length: int, size: int, stride: int) -> list[int]:
    """Where windows of a size begin so that they cover a length, the last one at its end."""
    last = length - size
    return sorted({*range(0, last + 1, stride), last})


def stride_of(size: int) -> int:
    """The step between windows of a size: every pixel is seen by some ten of them or more."""
    return max(1, (size + 1) // 4)


def chunks(values: list[int], span: int) -> list[list[int]]:
    """Rising numbers in runs that span less than so much."""
    found: list[list[int]] = []
    for value in values:
        if found and value - found[-1][0] < span:
            found[-1].append(value)
        else:
            found.append([value])
    return found


class Overlap:
    """The weighted mean of overlapping answers, added window by window.

    Arguments:
        images: (m, C, H, W), what the answers are alike in shape.
        window: of all answers.
    """

    def __init__(self, images: Tensor, window: Window) -> None:
        self.window, self.taper = window, window.taper(images)
        self.total, self.weight = torch.zeros_like(images), images.new_zeros(images.shape[2:])

    def add(self, answer: Tensor, top: int, left: int) -> None:
        """An answer (m, C, height, width) of the window whose corner is at (top, left)."""
        rows, columns = slice(top, top + self.window.height), slice(left, left + self.window.width)
        self.total[:, :, rows, columns] += self.taper * answer
        self.weight[rows, columns] += self.taper

    def mean(self) -> Tensor:
        """The images (m, C, H, W)."""
        return self.total / self.weight


def rows_of(count: int, tops: range, lefts: range, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Which patches are read, as (image, top, left): those of ``count`` images at all these places, or ``most`` of them."""
    places = len(tops) * len(lefts)
    total = count * places
    chosen = (
        torch.arange(total, device="cpu") if total <= most else torch.randperm(total, generator=generator, device="cpu")[:most]
    )
    image, place = chosen // places, chosen % places
    return image, tops.start + place // len(lefts), lefts.start + place % len(lefts)
