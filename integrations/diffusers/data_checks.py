"""What is wrong with data that a score model is to be made of."""

from __future__ import annotations

import warnings

import numpy as np
from torch import Tensor

from disco_samplers.arrays import as_tensor, check_count, check_finite, placed
from disco_samplers.types import ArrayLike

FEW = 16
"""Fewest samples, of a class too."""

JUDGES = 64
"""Images that judge how much each answer counts: some ten thousands of pixels."""

_CALLER = 4
"""Frames from a check's warning to who called ``from_data``, past its decorator."""

_COLOURS = (1, 3, 4)
"""Channels of pictures: grey, RGB, RGBA."""

_ALIKE, _OTHER = 1.8, 10.0
"""How many times the data's standard deviation, or a part of it, that of images that judge is suspect, or surely in another
unit: [0, 1] has half that of [-1, 1]."""

_SCALES = 0.05, 10.0
"""Standard deviations of data that the schedulers' noise levels are made for."""


def checked_data(data: ArrayLike, counts: Tensor | None = None) -> Tensor:
    """Data (N, ...) as a float tensor, each row worth so many draws (N,).

    Raises:
        TypeError: if they are not numbers.
        ValueError: if they have no shape of samples or several, hold NaN or whole-numbered pixels, are too few, or not scaled.

    Warns:
        UserWarning: if they look like pictures with their channels last.
    """
    listed = hasattr(data, "__len__") and not hasattr(data, "shape")
    if listed and len(shapes := {tuple(np.shape(sample)) for sample in data}) > 1:
        first, second = sorted(shapes)[:2]
        raise ValueError(f"data holds samples of different shapes, {first} and {second} among them: bring them to one")
    pixels = _uint8(data)
    x = as_tensor(data, "data").detach().float()
    if x.ndim < 2:
        raise ValueError(f"data must have shape (N, d), (N, C, L) or (N, C, H, W), got {tuple(x.shape)}")
    if pixels and x.ndim > 2:
        raise ValueError(_UINT8.format("data"))
    if x.ndim == 4 and x.shape[3] in _COLOURS and min(x.shape[1:3]) > max(_COLOURS):
        height, width, channels = x.shape[1:]
        warnings.warn(
            f"data of shape {tuple(x.shape)} are read as {height} channels of {width} x {channels} pixels: pictures have their "
            "channels first, data.permute(0, 3, 1, 2) or data.transpose(0, 3, 1, 2)",
            stacklevel=_CALLER,
        )
    check_finite(x.flatten(1), "data")
    if len(x) < FEW:
        raise ValueError(f"data has {len(x)} samples; at least {FEW} are needed to estimate their density")
    spread = scale_of(x.flatten(1), counts)
    if not _SCALES[0] <= spread <= _SCALES[1]:
        raise ValueError(
            f"data is not scaled: its standard deviation is {spread:.3g}, while the schedulers' noise levels are made "
            "for about one. Give (data - data.mean()) / data.std(), or images in [-1, 1]"
        )
    return x


_UINT8 = "{0} holds pixels as uint8: give {0} / 127.5 - 1, which lies in [-1, 1]"

FEW_IMAGES = 50
"""Fewest images that are read patch by patch."""


def _uint8(data: object) -> bool:
    return str(getattr(data, "dtype", "")).endswith("uint8")


def checked_images(x: Tensor, locality: object, share: object, config: dict[str, object]) -> None:
    """What is wrong with images (N, ...) that are to be read patch by patch.

    Raises:
        TypeError: if ``context_size`` is no whole number.
        ValueError: if ``locality`` is unknown, the data have no neighbouring pixels or are too few, ``context_size`` is small,
            or options of the network are given, which is not asked.

    Warns:
        UserWarning: if they look like grey pictures without a channel.
    """
    if locality != "auto":
        raise ValueError(f'locality must be "auto" or None, got {locality!r}')
    if x.ndim not in (3, 4):
        raise ValueError(
            f"locality is of images (N, C, H, W) or series (N, C, L), whose pixels have neighbours; got {tuple(x.shape)}"
        )
    if x.ndim == 3 and x.shape[1] == x.shape[2] > max(_COLOURS):
        warnings.warn(
            f"data of shape {tuple(x.shape)} are read as series of {x.shape[1]} channels of length {x.shape[2]}: of grey "
            "pictures give the channel, data[:, None]",
            stacklevel=_CALLER,
        )
    if len(x) < FEW_IMAGES:
        raise ValueError(f"data has {len(x)} images; at least {FEW_IMAGES} are needed to read them patch by patch")
    check_count("context_size", config.get("context_size", FEW), FEW)
    check_count("seed", config.get("seed", 0), 0)
    wrong = ["share"] if share is not None else []
    if wrong := wrong + sorted(set(config) & {"replicas", "adapt", "cache_size"}):
        raise ValueError(f"{', '.join(wrong)}: not used with locality, which reads no noised contexts; leave it out")


def checked_judges(held_out: ArrayLike, x: Tensor, used: bool) -> Tensor:
    """Images (M, ...) that judge those read (N, ...), as rows.

    Raises:
        TypeError: if they are not numbers.
        ValueError: if nothing is judged by them, or they are no images of the same shape and scale, few, or hold NaN.

    Warns:
        UserWarning: if they vary by much more or less than the data.
    """
    if not used:
        raise ValueError('held_out: judges images that are read patch by patch, and needs locality="auto" and calibrate=True')
    if _uint8(held_out):
        raise ValueError(_UINT8.format("held_out"))
    judges = placed(
        as_tensor(held_out, "held_out").detach().float(), "held_out", x.device, free=not isinstance(held_out, Tensor)
    )
    if judges.shape[1:] != x.shape[1:] or judges.ndim != x.ndim:
        raise ValueError(f"held_out must have shape (M, {', '.join(map(str, x.shape[1:]))}), got {tuple(judges.shape)}")
    if len(judges) < FEW:
        raise ValueError(f"held_out has {len(judges)} images; at least {FEW} are needed to judge")
    judges = judges.flatten(1)
    check_finite(judges, "held_out")
    ours, theirs = scale_of(x.flatten(1), None), scale_of(judges, None)
    told = f"held_out has a standard deviation of {theirs:.3g}, and the data of {ours:.3g}"
    if not ours / _OTHER < theirs < ours * _OTHER:
        raise ValueError(f"{told}: scale both in the same way")
    if not ours / _ALIKE < theirs < ours * _ALIKE:
        warnings.warn(f"{told}: are both scaled in the same way?", stacklevel=_CALLER)
    return judges


def spaced(rows: Tensor, most: int) -> Tensor:
    """So many of rows (n, k) at most, from all over: they often come in an order."""
    return rows[:: -(-len(rows) // most)]


def scale_of(x: Tensor, counts: Tensor | None) -> float:
    """Root mean square of the columns' standard deviations of rows (n, k), each worth so many draws (n,)."""
    x = x.double()
    if counts is None:
        return float(x.var(0).mean().sqrt())
    share = (counts / counts.sum()).to(x)
    return float((share @ (x - share @ x).square()).mean().sqrt())


def checked_labels(labels: ArrayLike, count: int) -> Tensor:
    """Labels (N,) as whole numbers.

    Raises:
        TypeError: if they are not numbers.
        ValueError: if there is not one a sample, they are not whole numbers from zero on, or a class has too few samples.
    """
    given = as_tensor(labels, "labels")
    if given.shape != (count,):
        raise ValueError(f"labels must have shape ({count},), one a sample, got {tuple(given.shape)}")
    classes = given.long()
    if bool((classes != given).any()) or bool((classes < 0).any()):
        raise ValueError("labels must be whole numbers from zero on")
    for label, size in zip(*(t.tolist() for t in classes.unique(return_counts=True)), strict=True):
        if size < FEW:
            raise ValueError(f"class {label} has {size} samples; at least {FEW} are needed to estimate its density")
    return classes
