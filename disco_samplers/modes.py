"""What PyTorch is doing with the operations it is given, besides computing them."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad


def recorded() -> bool:
    """Whether ``torch.jit.trace``, ``torch.compile`` or ``torch.export`` writes them down: there are no values to look at."""
    return bool(torch.jit.is_tracing() or torch.compiler.is_compiling())  # type: ignore[attr-defined]


def transformed() -> bool:
    """Whether they are inside a transform of ``torch.func``."""
    active: Any = getattr(torch._C, "_are_functorch_transforms_active", None)
    return active is None or bool(active())


def forward_mode() -> bool:
    """Whether they may be differentiated in forward mode, by this or an outer transform."""
    return bool(getattr(forward_ad, "_current_level", 0) >= 0)
