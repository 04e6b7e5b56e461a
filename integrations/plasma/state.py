"""Everything that changes in a run, checked at its start, saved and read back."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import check_number, check_positive
from disco_samplers.files import load_checkpoint, save_checkpoint

from .grid import Grid
from .types import Species
from .walls import Ledger

_FORMAT = "disco-samplers plasma/1"


@dataclasses.dataclass(frozen=True)
class State:
    """Particles and fields at one time.

    Arguments:
        step: steps done.
        species: particles.
        electric: (nodes, 1), or (nodes, 3) electromagnetic, at the nodes.
        magnetic: the components (B_z, B_y), (cells, 2), half a cell to the right of the nodes; None unless electromagnetic.
        ledger: of the walls; None without.
    """

    step: int
    species: tuple[Species, ...]
    electric: Tensor
    magnetic: Tensor | None = None
    ledger: Ledger | None = None


def save_state(
    path: str | os.PathLike[str],
    state: State,
    rows: list[dict[str, float]],
    setup: dict[str, Any],
    origin: dict[str, Any] | None = None,
) -> None:
    """Writes a state, the history's rows, and what must be the same in a run that continues it, with its run file, if any."""
    particles = [{"x": s.x, "v": s.v, "w": s.w} for s in state.species]
    ledger = dataclasses.asdict(state.ledger) if state.ledger else None
    fields = {"electric": state.electric, "magnetic": state.magnetic, "ledger": ledger}
    about = {"format": _FORMAT, "setup": setup, "origin": origin, "rows": rows, "step": state.step}
    save_checkpoint(path, about | {"species": particles, **fields})


def load_state(
    path: str | os.PathLike[str], start: State, setup: dict[str, Any], origin: dict[str, Any] | None = None
) -> tuple[State, list[dict[str, float]]]:
    """Reads what :func:`save_state` wrote, to the device of ``start``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file, or of a run with another setup or from a run file that has changed.
    """
    saved = load_checkpoint(path, "saved plasma simulation")
    if saved.get("format") != _FORMAT:
        held = ", ".join(map(str, list(saved)[:5]))
        raise ValueError(f"{path} is not a saved plasma simulation: it is a checkpoint of something else, with {held}")
    if origin and saved.get("origin") and (changed := _changes(saved["origin"], origin)):
        raise ValueError(f"{path} is of a run whose file has changed since: " + "; ".join(changed))
    if changed := _changes(saved["setup"], setup):
        raise ValueError(f"{path} is of another simulation: " + "; ".join(changed))
    device = start.electric.device
    species = tuple(
        dataclasses.replace(s, **{key: value.to(device) for key, value in particles.items()})
        for s, particles in zip(start.species, saved["species"], strict=True)
    )
    magnetic = None if saved["magnetic"] is None else saved["magnetic"].to(device)
    ledger = Ledger.restored(saved["ledger"], device) if saved.get("ledger") else None
    return State(saved["step"], species, saved["electric"].to(device), magnetic, ledger), saved["rows"]


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two dictionaries, key by key."""

    def said(values: dict[str, Any], key: str) -> str:
        return str(values[key]) if key in values else "not there"

    keys = [key for key in {**before, **now} if said(before, key) != said(now, key)]
    return [f"{key} was {said(before, key)} and is {said(now, key)}" for key in keys]


def check_species(species: Sequence[Species], grid: Grid) -> None:
    """Raises TypeError or ValueError, saying which particles of which species are wrong, unless all can be simulated."""
    if isinstance(species, Species):
        raise TypeError(f"species must be a list, got one of them: [{species.name}]")
    names = [s.name for s in species]
    if not species or len(set(names)) < len(names):
        raise ValueError(f"species must hold at least one, each with a name of its own, got {names}")
    first = species[0].v
    for s in species:
        _check_shapes(s)
        kinds = {(t.dtype, t.device) for t in (s.x, s.v, s.w, first)}
        if len(kinds) > 1 or first.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{s.name}: all x, v and w must be float32, or all float64, on one device, got {kinds}")
        if s.v.shape[1] != first.shape[1]:
            raise ValueError("all species must have as many velocity components")
        check_positive(f"{s.name}: mass", s.mass)
        check_number(f"{s.name}: charge", s.charge)
        if not math.isfinite(s.charge):
            raise ValueError(f"{s.name}: charge must be finite, got {s.charge}")
        for name, values in (("x", s.x[:, None]), ("v", s.v), ("w", s.w[:, None])):
            _check_rows(s, f"{name} not finite", ~torch.isfinite(values).all(1))
        _check_rows(s, "a weight that is not positive", s.w <= 0)
        outside = (s.x < 0) | (s.x >= grid.length)
        _check_rows(s, f"a position outside [0, {grid.length:g})", outside, "; bring them back with grid.wrap(x)")


def _check_shapes(s: Species) -> None:
    for name, values in (("x", s.x), ("v", s.v), ("w", s.w)):
        if not isinstance(values, Tensor):
            raise TypeError(f"{s.name}: {name} must be a tensor, got {type(values).__name__}; torch.as_tensor makes one")
    n = len(s.x)
    if n == 0 or s.x.shape != (n,) or s.w.shape != (n,) or s.v.shape not in [(n, d) for d in (1, 2, 3)]:
        raise ValueError(
            f"{s.name}: x, v and w must have shapes (n,), (n, 1 to 3) and (n,) with n > 0, "
            f"got {tuple(s.x.shape)}, {tuple(s.v.shape)} and {tuple(s.w.shape)}"
        )


def _check_rows(s: Species, what: str, bad: Tensor, advice: str = "") -> None:
    if bad.any():
        raise ValueError(
            f"{s.name}: {int(bad.sum())} of {len(bad)} particles have {what}, first at index {int(bad.nonzero()[0])}{advice}"
        )
