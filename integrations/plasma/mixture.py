"""Particles of several species that meet in the same cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from disco_samplers.arrays import check_positive

from .types import Species


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Several species, one after the other in one set of tensors.

    Arguments:
        names: of the k species.
        charge: of one physical particle of each, (k,).
        mass: of one physical particle of each, (k,).
        v: velocities (n, dv) of all particles.
        w: weights (n,) over the cell's volume, so that their sum over a species in a cell is its density there.
        kind: which species each particle is of (n,), int64.
        cell: the cell of each particle (n,), int64 in 0 .. num_cells - 1.
        num_cells: number of cells.

    Example:
        >>> electrons = Species("electrons", torch.zeros(3), torch.randn(3, 2), torch.ones(3))
        >>> ions = Species("ions", torch.zeros(2), torch.randn(2, 2), torch.ones(2), charge=1.0, mass=100.0)
        >>> mixture = Mixture.of([electrons, ions])
        >>> mixture.kind.tolist(), [len(v) for v in mixture.split(mixture.v)]
        ([0, 0, 0, 1, 1], [3, 2])
    """

    names: tuple[str, ...]
    charge: Tensor
    mass: Tensor
    v: Tensor
    w: Tensor
    kind: Tensor
    cell: Tensor
    num_cells: int

    @classmethod
    def of(cls, species: Sequence[Species], cells: Sequence[Tensor] | None = None, num_cells: int = 1) -> Mixture:
        """Species whose weights are over the volume of a cell, and the cell of each particle; by default all are in one.

        Raises:
            ValueError: if a mass is not positive.
        """
        for s in species:
            check_positive(f"mass of {s.name}", s.mass)
        v = torch.cat([s.v for s in species])
        count = torch.tensor([len(s.v) for s in species], device=v.device)
        kind = torch.arange(len(species), device=v.device).repeat_interleave(count)
        return cls(
            tuple(s.name for s in species),
            v.new_tensor([s.charge for s in species]),
            v.new_tensor([s.mass for s in species]),
            v,
            torch.cat([s.w for s in species]),
            kind,
            torch.zeros_like(kind) if cells is None else torch.cat(list(cells)),
            num_cells,
        )

    @property
    def group(self) -> Tensor:
        """Species and cell of each particle as one index (n,), in 0 .. k num_cells - 1."""
        return self.kind * self.num_cells + self.cell

    def part(self, index: slice | Tensor) -> Mixture:
        """Some of the particles."""
        v, w, kind, cell = (values[index] for values in (self.v, self.w, self.kind, self.cell))
        return dataclasses.replace(self, v=v, w=w, kind=kind, cell=cell)

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Values (n, ...) of all particles, species by species."""
        parts: tuple[Tensor, ...] = values.split(torch.bincount(self.kind, minlength=len(self.names)).tolist())
        return parts
