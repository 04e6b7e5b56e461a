"""What the parts of a particle simulation agree on: particles are tensors, scores and collision operators are callables.

A cell index says which particles see one another: a velocity score is that of the velocity distribution of each cell, and
collisions happen inside cells. Without space all particles are in cell 0.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclasses.dataclass
class Species:
    """The particles of one kind.

    Arguments:
        name: of the species.
        x: positions (n,).
        v: velocities (n, dv), of one, two or three components.
        w: weights (n,): how many physical particles, per unit area across the line, each stands for.
        charge: of one physical particle.
        mass: of one physical particle.
    """

    name: str
    x: Tensor
    v: Tensor
    w: Tensor
    charge: float = -1.0
    mass: float = 1.0


@runtime_checkable
class VelocityScore(Protocol):
    r"""The score :math:`\nabla_v \log f` of each cell's velocity distribution, at its own particles.

    Arguments:
        v: velocities (n, dv).
        w: weights (n,), positive; only their ratios inside a cell matter.
        cell: the cell of each particle (n,), int64 in 0 .. num_cells - 1; all zeros without space. A cell may be empty.
        num_cells: number of cells.

    Returns:
        Scores (n, dv). A cell with too few particles for an estimate gets a finite one all the same.
    """

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int, /) -> Tensor: ...


@runtime_checkable
class VelocityDensity(Protocol):
    """Something with the log-density of each cell's velocity distribution, at its own particles, (n,)."""

    def log_prob(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int, /) -> Tensor: ...


@runtime_checkable
class CollisionOperator(Protocol):
    r"""The rate :math:`dv/dt` that collisions inside cells give each particle; momentum and energy of a cell are kept.

    Arguments:
        v: velocities (n, dv).
        w: weights (n,) over the cell's volume, so that their sum over a cell is the density there.
        cell: the cell of each particle (n,), int64 in 0 .. num_cells - 1.
        num_cells: number of cells.
        generator: source of randomness, on the device of ``v``; not used by deterministic operators.

    Returns:
        Rates (n, dv).
    """

    def __call__(
        self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int, generator: torch.Generator | None = None, /
    ) -> Tensor: ...
