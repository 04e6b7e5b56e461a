"""Where a run starts: its context, its points, its generator and its preconditioner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.arrays import as_points
from disco_samplers.draws import Draws, align, names_of
from disco_samplers.estimators import draw_rows
from disco_samplers.randomness import generator_on
from disco_samplers.types import ArrayLike


def context_of(
    target: Any, context: ArrayLike | Draws | None, device: torch.device | None, *, conditioned: bool = False
) -> tuple[Tensor | None, Tensor | None]:
    """The draws (n, d) that a target goes with, and what each is worth, None for one: those given, or its own.

    A target that was ``conditioned`` on the context holds it as it is read, with its weights.

    Raises:
        ValueError: if they are not (n, d), have other columns than the target, or are a tensor on another device.
    """
    own = isinstance(getattr(target, "samples", None), Tensor)
    counts = None
    if context is not None and not (conditioned and own):
        context = align(context, "context", names_of(target), "the target has")
        if isinstance(context, Draws):
            rows, counts = context.counts()
            context = rows if context.is_tensor else rows.numpy()
        draws = as_points(context, "context", getattr(target, "dim", None), device)
        counts = None if counts is None else counts.to(draws.device)
    elif own:
        draws, counts = target.samples, getattr(target, "counts", None)
    else:
        return None, None
    if draws.ndim != 2:
        raise ValueError(f"context must have shape (n, d), got {tuple(draws.shape)}")
    return draws, counts


def start(
    initial: ArrayLike | None,
    draws: Tensor | None,
    counts: Tensor | None,
    num_chains: int | None,
    seed: int | None,
    generator: torch.Generator | None,
    device: torch.device | None,
) -> tuple[Tensor, torch.Generator | None]:
    """Starting points (num_chains, d), and the generator on their device.

    Where none are given they are rows of the draws, chosen by what each is worth (``counts``; one if not given).

    Raises:
        ValueError: if there is nothing to start from, or it has the wrong shape or not as many rows as chains are asked for,
            or is on another device than the target or the generator.
    """
    if initial is None and draws is None:
        raise ValueError("starting points are needed: give initial=(num_chains, d), or context=draws to take them from")
    where = draws if initial is None else as_points(initial, "initial", None if draws is None else draws.shape[1], device)
    assert where is not None
    if where.ndim != 2 or 0 in where.shape:
        raise ValueError(f"initial must have shape (num_chains, d), got {tuple(where.shape)}")
    if initial is not None and num_chains is not None and num_chains != len(where):
        raise ValueError(f"num_chains is {num_chains}, but initial has {len(where)} rows: leave num_chains out")
    rng = generator_on(where.device, seed=seed, generator=generator)
    if initial is None:
        count = 4 if num_chains is None else num_chains
        where = where[draw_rows(where, counts, count, rng, replacement=True)]
    return where.detach().clone(), rng


def factor_of(draws: Tensor | None, counts: Tensor | None, x: Tensor, kind: preconditioners.Kind) -> Tensor:
    """The preconditioner's factor from the context, or else from the starting points (c, d) where they tell a scale."""
    if draws is not None:
        return preconditioners.factor(draws, kind, counts).to(x)
    many = len(x) > max(x.shape[1], 9) and bool((x != x[0]).any(0).all())
    return preconditioners.factor(x, kind if many else "identity")
