"""The one rule for randomness: a seed or a generator, not both, and the generator where the numbers are wanted.

Whatever draws takes both, by keyword and None if not given: :func:`generator_on` where draws are wanted, other ones each time,
:func:`seed_of` where an answer is, which is the same each time. Only what another framework calls keeps that one's convention,
and what is saved, or begins anew at each run, a seed alone.
"""

from __future__ import annotations

import numbers
from typing import Any

import torch


def check_seed(seed: Any, generator: Any) -> None:
    """Raises ValueError if both are given or the seed is out of range, TypeError if one is of another kind."""
    if seed is not None and generator is not None:
        raise ValueError("give seed or generator, not both")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, numbers.Integral)):
        raise TypeError(f"seed must be an integer, got {seed!r}")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {type(generator).__name__}; a number is a seed=")
    if seed is not None and not 0 <= int(seed) < 2**63:
        raise ValueError(f"seed must lie in 0 .. 2^63 - 1, got {seed}")


def generator_on(
    device: torch.device | str, *, seed: int | None = None, generator: torch.Generator | None = None
) -> torch.Generator | None:
    """The generator to draw with on a device: the one given, one that a seed makes, or None for torch's own.

    Raises:
        ValueError: if both are given, the seed is out of range, or the generator is on another device.

    Example:
        >>> generator_on("cpu", seed=1).initial_seed(), generator_on("cpu")
        (1, None)
    """
    check_seed(seed, generator)
    device = torch.device(device)
    if generator is None:
        return None if seed is None else torch.Generator(device).manual_seed(seed)
    here = generator.device
    if here.type != device.type or (None not in (here.index, device.index) and here.index != device.index):
        raise ValueError(f"generator is on {here}, what it draws is to be on {device}: make it by Generator({str(device)!r})")
    return generator


def seed_of(*, seed: int | None = None, generator: torch.Generator | None = None) -> int:
    """The seed of what draws the same wherever it runs: the one given, one drawn from the generator, or else 0.

    Raises:
        ValueError, TypeError: as :func:`check_seed`.

    Example:
        >>> seed_of(), seed_of(seed=3), seed_of(generator=torch.Generator().manual_seed(0)) > 3
        (0, 3, True)
    """
    check_seed(seed, generator)
    if generator is not None:
        return int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return 0 if seed is None else int(seed)
