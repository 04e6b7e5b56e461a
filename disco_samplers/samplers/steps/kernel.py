"""What all transition kernels share: the outcome of a step, its noise, and how a step is taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

LogProbAndScore = Callable[[Tensor], "tuple[Tensor, Tensor]"]
"""(c, d) -> (c,), (c, d)."""

State = TypeVar("State", bound="tuple[Tensor, ...]")


class Info(NamedTuple):
    """Of a step: probability of acceptance (1 for unadjusted kernels) and whether it diverged, (c,)."""

    acceptance: Tensor
    diverged: Tensor


def noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of a tensor's shape, precision and device."""
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def where(taken: Tensor, new: State, old: State) -> State:
    """The new state of the chains that took the step, the old one of the others; ``taken`` is (c,).

    Example:
        >>> where(torch.tensor([True, False]), (torch.ones(2, 1),), (torch.zeros(2, 1),))[0].flatten()
        tensor([1., 0.])
    """
    parts = [torch.where(taken.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(new, old, strict=True)]
    return type(old)(*parts) if hasattr(old, "_fields") else type(old)(parts)


def accept(
    new: State, old: State, log_ratio: Tensor, diverged: Tensor, generator: torch.Generator | None
) -> tuple[State, Info]:
    """The Metropolis decision of each chain; what diverged is rejected."""
    acceptance = torch.where(diverged, 0.0, log_ratio.clamp_max(0.0).exp())
    u = torch.rand(acceptance.shape, dtype=log_ratio.dtype, device=log_ratio.device, generator=generator)
    return where(u < acceptance, new, old), Info(acceptance, diverged)
