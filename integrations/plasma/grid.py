"""The grid that fields live on."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from disco_samplers.arrays import check_count, check_positive


@dataclasses.dataclass(frozen=True)
class Grid:
    r"""A line of equal cells; node i stands at :math:`i\,\Delta x`, the edge between cells i-1 and i.

    Arguments:
        length: of the line.
        cells: how many.
        periodic: whether the line is closed to a ring; one that is not has a node more, and its first and last are its ends.

    Raises:
        TypeError: if ``cells`` is not an integer.
        ValueError: if the length is not positive or there are fewer than 4 cells.

    Example:
        >>> grid = Grid(length=8.0, cells=16)
        >>> grid.dx, grid.nodes, grid.cell(torch.tensor([0.0, 0.6, 7.99])).tolist()
        (0.5, 16, [0, 1, 15])
    """

    length: float
    cells: int
    periodic: bool = True

    def __post_init__(self) -> None:
        check_count("cells", self.cells, 4)
        check_positive("length", self.length)

    @property
    def dx(self) -> float:
        """Width of a cell."""
        return self.length / self.cells

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return self.cells if self.periodic else self.cells + 1

    def widths(self, like: Tensor) -> Tensor:
        """Length of the line that is nearest to each node (nodes,): dx, and half of it at an end."""
        widths = like.new_full((self.nodes,), self.dx)
        if not self.periodic:
            widths[[0, -1]] *= 0.5
        return widths

    def wrap(self, x: Tensor) -> Tensor:
        """Positions brought back into [0, length)."""
        x = torch.remainder(x, self.length)
        return torch.where(x >= self.length, torch.zeros_like(x), x)  # round-off can give length itself

    def cell(self, x: Tensor, cells: int | None = None) -> Tensor:
        """The cell that each position in [0, length) is in, of ``cells`` equal ones (this grid's by default)."""
        count = cells or self.cells
        return (x * (count / self.length)).long().clamp_(0, count - 1)

    def wavenumbers(self, like: Tensor) -> Tensor:
        r"""The wavenumbers :math:`2\pi j/L` of a real Fourier transform, in the precision of ``like``."""
        j = torch.arange(self.cells // 2 + 1, dtype=like.dtype, device=like.device)
        return 2 * math.pi / self.length * j
