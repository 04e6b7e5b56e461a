"""Arrays in, arrays out: checks what a user hands in and gives answers back in the same kind."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from disco_samplers.frames import frame_values, is_frame, is_series, series_values
from disco_samplers.modes import recorded
from disco_samplers.types import ArrayLike

_DOUBLE = (torch.float64, torch.int32, torch.int64, torch.uint32, torch.uint64)
"""Types with values that float32 has none for."""

_SHOWN = 5
"""Rows that an error names."""


def as_tensor(array: ArrayLike, name: str) -> Tensor:
    """A real floating-point tensor of a numpy array, tensor, data frame or nested list; integers and half become float32.

    Raises:
        TypeError: if the values are not real numbers.
        ValueError: if a value is masked, or two columns of a data frame have one name.
    """
    if isinstance(array, Tensor):
        tensor = array
    else:
        check_unmasked(array, name)
        values = _read(array, name)
        if values.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers, got dtype {values.dtype}")
        if values.dtype == np.longdouble and values.dtype != np.float64:
            values = values.astype(np.float64)
        tensor = torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("=")))
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers, got dtype {tensor.dtype}")
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    # An integer above 2^24 has no float32 of its own; half and smaller lose nothing.
    return tensor.to(torch.float64 if tensor.dtype in _DOUBLE else torch.float32)


def _read(array: ArrayLike, name: str) -> np.ndarray:
    if is_frame(array):
        return frame_values(array, name)
    if is_series(array):
        return series_values(array, name)
    try:
        return np.asarray(array)
    except ValueError as error:
        raise TypeError(f"{name} must be a rectangular array of numbers: its rows differ in length") from error


def as_points(array: ArrayLike, name: str, dim: int | None = None, device: torch.device | None = None) -> Tensor:
    """A finite tensor (..., m, d) on ``device``.

    Raises:
        TypeError: if the values are not real numbers.
        ValueError: if the shape, the device or a value is wrong.
    """
    tensor = as_tensor(array, name)
    if tensor.ndim < 2:
        raise ValueError(
            f"{name} must have shape (m, d), one row a point, got {tuple(tensor.shape)}"
            + (" (for one-dimensional data use x[:, None])" if tensor.ndim == 1 else "")
        )
    if not tensor.shape[-1]:
        raise ValueError(f"{name} is empty: its shape is {tuple(tensor.shape)}")
    if dim is not None and tensor.shape[-1] != dim:
        raise ValueError(f"{name} must have {dim} columns as the samples have, got {tensor.shape[-1]}")
    moved = placed(tensor, name, device, free=not isinstance(array, Tensor))
    check_finite(tensor, name)
    return moved


def placed(tensor: Tensor, name: str, device: torch.device | None, *, free: bool) -> Tensor:
    """The tensor on a device, if one is wanted; only one that is ``free``, as a numpy array's is, goes from kind to kind.

    Raises:
        ValueError: if it is elsewhere and not free to go.
    """
    if device is None or tensor.device == device:
        return tensor
    if not free and tensor.device.type != device.type:
        raise ValueError(f"{name} is on {tensor.device}, the estimate on {device}: move one with .to(...)")
    return tensor.to(device)


def device_of(*sources: object) -> torch.device | None:
    """The device of the first of these that has one, as models, estimates and tensors have, but not numpy arrays."""
    devices = (getattr(source, "device", None) for source in sources)
    return next((device for device in devices if isinstance(device, torch.device)), None)


def as_device(device: object, name: str) -> torch.device:
    """The device that a name says.

    Raises:
        TypeError: if it is neither a name nor a device.
        ValueError: if there is no such device.
    """
    if not isinstance(device, (str, torch.device)):
        raise TypeError(f'{name} must be the name of a device, such as "cpu" or "cuda", got {device!r}')
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f'{name} {device!r} is no device: use "cpu" or "cuda"') from error
    try:
        torch.empty(0, device=found)
    except (AssertionError, RuntimeError) as error:  # the first where torch was built without it
        raise ValueError(f"{name} {device} is not on this machine, as torch sees it: use cpu or a GPU that is there") from error
    return found


def check_double(device: torch.device | str, name: str) -> None:
    """Raises TypeError or ValueError where this is no device, or has no float64, in which samples are whitened."""
    if str(device).partition(":")[0] == "mps":
        raise ValueError(f"{name} {device} does not work: whitening needs float64, which MPS does not have; use cpu or cuda")
    as_device(device, name)


def check_finite(tensor: Tensor, name: str) -> None:
    """Raises ValueError naming the first row that holds a NaN or an infinity; what is recorded has no values yet."""
    if recorded():
        return
    values = torch.func.debug_unwrap(tensor.detach())  # all rows of a transform of torch.func
    if not torch.isfinite(values.sum()):  # cheap; the exact look only where this says so
        bad = ~torch.isfinite(values).all(-1)
        if bad.any():
            row = tuple(bad.nonzero()[0].tolist())
            raise ValueError(
                f"{name} holds NaN or infinite values: {int(bad.sum())} of {bad.numel()} rows, first at row "
                f"{row[0] if len(row) == 1 else row}; drop or impute them"
            )


def check_unmasked(array: object, name: str) -> None:
    """Raises ValueError naming the first rows of a masked array in which a value is masked."""
    if not isinstance(array, np.ma.MaskedArray) or not np.ma.is_masked(array):
        return
    masked = np.ma.getmaskarray(array)
    rows = np.flatnonzero(masked.reshape(len(masked), -1).any(1)) if masked.ndim else np.zeros(1, int)
    raise ValueError(f"{name} holds masked values: {len(rows)} of {len(masked)} rows, {first(rows)}; drop or impute them")


def first(rows: Iterable[int]) -> str:
    """The first few numbers of rows in words.

    Example:
        >>> first([4]), first(range(9))
        ('row 4', 'rows 0, 1, 2, 3, 4, ...')
    """
    numbers = [int(row) for row in rows]
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return f"row{'s' * (len(numbers) > 1)} {shown}{', ...' * (len(numbers) > _SHOWN)}"


def check_count(name: str, value: object, least: int) -> None:
    """Raises TypeError or ValueError unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if int(value) < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_flag(name: str, value: object) -> None:
    """Raises TypeError unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def check_number(name: str, value: object) -> None:
    """Raises TypeError unless ``value`` is a real number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")


def check_positive(name: str, value: object) -> None:
    """Raises TypeError or ValueError unless ``value`` is a number above zero, and finite."""
    check_number(name, value)
    if not 0 < float(value) < math.inf:  # type: ignore[arg-type]
        raise ValueError(f"{name} must be positive{' and finite' * (value == math.inf)}, got {value}")


def check_not_negative(name: str, value: object) -> None:
    """Raises TypeError or ValueError unless ``value`` is a number from zero on, and finite."""
    check_number(name, value)
    if not 0 <= float(value) < math.inf:  # type: ignore[arg-type]
        raise ValueError(f"{name} must be zero or positive{' and finite' * (value == math.inf)}, got {value}")


def check_callable(name: str, value: object, form: str, *, optional: bool = False) -> None:
    """Raises TypeError unless ``value`` is a function of this form, or None where it is ``optional``.

    A class is none: it would only make an object of what it is given.
    """
    if not (optional and value is None) and (not callable(value) or isinstance(value, type)):
        raise TypeError(f"{name} must be callable, {form}, got {value!r}")


def check_tensors(**values: object) -> None:
    """Raises TypeError naming the first of these that is no tensor of floating-point numbers."""
    for name, value in values.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{name} must be a tensor of floating-point numbers, got {got}")


def like(answer: Tensor, asked: ArrayLike, *, infinite: bool = False) -> ArrayLike:
    """The answer in the kind and precision of what was asked: numpy for anything but a tensor.

    What overflows ends at the largest number of that precision, but for minus infinity where that is an answer.
    """
    double = as_tensor(asked, "points").dtype == torch.float64 if not isinstance(asked, Tensor) else asked.dtype in _DOUBLE
    dtype = torch.float64 if double else torch.float32
    top = torch.finfo(dtype).max
    answer = answer.to(torch.promote_types(answer.dtype, dtype)).clamp(-math.inf if infinite else -top, top).to(dtype)
    return answer if isinstance(asked, Tensor) else answer.detach().cpu().numpy()


def default_names(d: int) -> list[str]:
    """x0, x1, ... for unnamed columns."""
    return [f"x{i}" for i in range(d)]


def column_names(names: Sequence[str] | None, d: int) -> list[str]:
    """The names of d columns, checked, or x0, x1, ... if there are none.

    Raises:
        TypeError: if it is a string.
        ValueError: if there are not d of them, or one occurs twice.
    """
    if names is None:
        return default_names(d)
    if isinstance(names, str):
        raise TypeError(f"names must be a sequence of {d} strings, got the string {names!r}")
    found = [str(name) for name in names]
    if len(found) != d:
        raise ValueError(f"names must have {d} entries, one a column, got {len(found)}")
    if repeated := sorted({name for name in found if found.count(name) > 1}):
        raise ValueError(f"names {', '.join(repeated)} occur more than once")
    return found
