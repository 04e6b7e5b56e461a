"""Arithmetic that does not depend on what the caller has set, and leaves it set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Computes in the tensors' own precision: without autocast on this device, and without shortened matrix products.

    What is compiled keeps the matrix products of its compilation.

    Example:
        >>> a = torch.full((2, 2), 1.0 + 2**-10)
        >>> with torch.autocast("cpu", torch.bfloat16), full_precision(a.device):
        ...     (a @ a).dtype
        torch.float32
    """
    with (
        torch.autocast(device.type, enabled=False),
        nullcontext() if torch.compiler.is_compiling() else _whole_products(),
    ):
        yield


@contextmanager
def _whole_products() -> Iterator[None]:
    """Matrix products of float32 in float32, not in TensorFloat32 or bfloat16."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    if all(precision in ("none", "ieee") for precision in before):
        yield
        return
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:
        older = None  # it was set by the newer names, of which the older ones want to know nothing
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if older is not None:
            torch.set_float32_matmul_precision(older)
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = "none"  # which may stand for the same, set for all backends
            if backend.fp32_precision != precision:
                backend.fp32_precision = precision
