"""How much memory images need that are read patch by patch, and how much there is."""

from __future__ import annotations

from pathlib import Path

import torch

from .data_checks import JUDGES
from .local_data import Near, linear_rows
from .widening import DRAWN
from .windows import Window, chunks, starts, stride_of

_SINGLE, _DOUBLE = 4, 8
_GIBI = 2**30


def needed(count: int, shape: tuple[int, int, int], context_size: int) -> int:
    """Bytes at the most, roughly, while the stack is fitted; later, of a batch no larger than what judges it, less.

    Arguments:
        count: images.
        shape: of one, (C, H, W).
        context_size: most patches that a window is compared with.
    """
    near, held_out = Near.of(shape, count, anywhere=True), min(JUDGES, count)
    channels, *space = shape
    size = channels * space[0] * space[1]
    # The images, those kept while some are held out, the same twice as numbers of twice the length.
    images = count * size * 2 * (_SINGLE + _DOUBLE)
    linear = 4 * _DOUBLE * linear_rows(count, size) * size
    answers = (len(near.sizes) + 2) * held_out * size * (2 * _SINGLE + _DOUBLE)
    windows = []
    for side in near.sizes:
        window = Window.of(side, shape)
        along = [chunks(starts(whole, part, stride_of(side)), near.block) for whole, part in zip(space, window, strict=True)]
        places = max(map(len, along[0])) * max(map(len, along[1]))
        there = count * (space[0] - window.height + 1) * (space[1] - window.width + 1)
        rows = min(context_size, there) + max(held_out, DRAWN) * places
        windows.append(4 * _SINGLE * channels * window.height * window.width * rows)
    return images + linear + answers + max(windows, default=0)


def free(device: torch.device) -> int | None:
    """Bytes that can be had on a device; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def check_memory(count: int, shape: tuple[int, int, int], context_size: int, device: torch.device) -> None:
    """Says the need before anything is computed.

    Raises:
        MemoryError: if there is less.
    """
    need, there = needed(count, shape, context_size), free(device)
    if there is not None and need > there:
        raise MemoryError(
            f"{count} images of {' x '.join(map(str, shape))} need about {need / _GIBI:.1f} GiB to be read patch by patch, and "
            f"there are {there / _GIBI:.1f} GiB free on {device}: give fewer or smaller images, latents of an autoencoder, or "
            f"context_size= below {context_size}"
        )
