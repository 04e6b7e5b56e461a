"""Where a run starts: its context, its points, its generator and its preconditioner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.arrays import as_points
from disco_samplers.randomness import generator_on
from disco_samplers.types import ArrayLike


def context_of(target: Any, context: ArrayLike | None) -> Tensor | None:
    """The draws (n, d) that a target goes with: those given, or those it was conditioned on.

    Raises:
        ValueError: if they are not (n, d), or have other columns than the target.
    """
    if context is not None:
        draws = as_points(context, "context", getattr(target, "dim", None), getattr(target, "device", None))
    elif isinstance(getattr(target, "samples", None), Tensor):
        draws = target.samples
    else:
        return None
    if draws.ndim != 2:
        raise ValueError(f"context must have shape (n, d), got {tuple(draws.shape)}")
    return draws


def start(
    initial: ArrayLike | None, draws: Tensor | None, num_chains: int, seed: int | None, generator: torch.Generator | None
) -> tuple[Tensor, torch.Generator | None]:
    """Starting points (num_chains, d), rows of the draws where none are given, and the generator on their device.

    Raises:
        ValueError: if there is nothing to start from, or it has the wrong shape.
    """
    if initial is None and draws is None:
        raise ValueError("starting points are needed: give initial=(num_chains, d), or context=draws to take them from")
    where = draws if initial is None else as_points(initial, "initial", None if draws is None else draws.shape[1])
    assert where is not None
    if draws is not None and where.device != draws.device:
        where = where.to(draws.device)
    if where.ndim != 2 or 0 in where.shape:
        raise ValueError(f"initial must have shape (num_chains, d), got {tuple(where.shape)}")
    rng = generator_on(where.device, seed=seed, generator=generator)
    if initial is None:
        where = where[torch.randint(len(where), (num_chains,), generator=rng, device=where.device)]
    return where.detach().clone(), rng


def factor_of(draws: Tensor | None, x: Tensor, kind: preconditioners.Kind) -> Tensor:
    """The preconditioner's factor from the context, or else from the starting points (c, d) where they tell a scale."""
    if draws is not None:
        return preconditioners.factor(draws, kind).to(x)
    many = len(x) > max(x.shape[1], 9) and bool((x != x[0]).any(0).all())
    return preconditioners.factor(x, kind if many else "identity")
