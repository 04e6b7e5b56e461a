"""Sums over cells, and cells as padded rows: how particles that see one another are brought together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

FEWEST = 16
"""A cell with fewer particles is too small to tell the shape of its distribution from."""

_SPREAD = 100
"""Smallest eigenvalue, in units of the rounding error, of the correlation of velocities that spread in every direction."""


_GOLDEN, _MIX = -0x61C8864680B583EB, (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
"""Constants of a 64-bit hash, as signed numbers."""


class Moments(NamedTuple):
    """Of each cell: weight (c,), mean velocity (c, dv) and temperature (c,); zero in an empty cell."""

    weight: Tensor
    mean: Tensor
    temperature: Tensor


def total(values: Tensor, cell: Tensor, num_cells: int) -> Tensor:
    """Sums of values (n, ...) over the particles of each cell, (c, ...)."""
    return values.new_zeros(num_cells, *values.shape[1:]).index_add_(0, cell, values)


def moments(v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Moments:
    r"""Weight, mean velocity and temperature of each cell.

    .. math:: W = \sum_i w_i, \qquad u = \frac1W \sum_i w_i v_i, \qquad T = \frac{1}{d W} \sum_i w_i |v_i - u|^2

    Example:
        >>> v, w, cell = torch.tensor([[1.0], [3.0]]), torch.ones(2), torch.zeros(2, dtype=torch.int64)
        >>> moments(v, w, cell, 1).temperature
        tensor([1.])
    """
    weight = total(w, cell, num_cells)
    # An empty cell has sums of zero: dividing them by one leaves zero.
    positive = torch.where(weight > 0, weight, 1.0)
    mean = total(w[:, None] * v, cell, num_cells) / positive[:, None]
    thermal = total(w * (v - mean[cell]).square().sum(-1), cell, num_cells)
    return Moments(weight, mean, thermal / (v.shape[1] * positive))


def spread(v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
    """Whether a cell has at least 16 particles, at least 2 d + 2, spread in every direction, (c,)."""
    _, mean, _ = moments(v, w, cell, num_cells)
    enough = torch.bincount(cell, minlength=num_cells) >= max(FEWEST, 2 * v.shape[1] + 2)
    c = v - mean[cell]
    pressure = total((w[:, None] * c)[:, :, None] * c[:, None, :], cell, num_cells).double()
    size = pressure.diagonal(dim1=-2, dim2=-1).clamp_min(torch.finfo(torch.float64).tiny).rsqrt()
    correlation = size[:, :, None] * pressure * size[:, None, :]
    spread: Tensor = torch.linalg.eigvalsh(correlation)[:, 0] > _SPREAD * torch.finfo(v.dtype).eps
    return enough & spread


def shuffled(cell: Tensor, num_cells: int, key: Tensor | int) -> Tensor:
    """Particles cell after cell, those of each in a random order that does not depend on the other cells, (n,).

    So whoever has only some of the cells finds the same order in them. A particle's random number is a hash of its cell, its
    place among the particles of the cell, and the key.

    Arguments:
        cell: the cell of each particle (n,).
        num_cells: number of cells.
        key: another one for another order, an integer ().

    References:
        Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, 2014: the hash.

    Example:
        >>> shuffled(torch.tensor([1, 0, 1, 1, 0]), 2, key=0).tolist(), shuffled(torch.tensor([0, 0]), 2, key=0).tolist()
        ([4, 1, 3, 0, 2], [1, 0])
    """
    order = torch.argsort(cell, stable=True)
    count = torch.bincount(cell, minlength=num_cells)
    place = torch.arange(len(cell), device=cell.device) - (count.cumsum(0) - count)[cell[order]]
    x = (cell[order] << 32) + place + (torch.as_tensor(key, device=cell.device) + 1) * _GOLDEN
    for shift, factor in zip((30, 27), _MIX, strict=True):
        x = (x ^ ((x >> shift) & (2 ** (64 - shift) - 1))) * factor
    order = order[torch.argsort(x ^ ((x >> 31) & (2**33 - 1)))]
    return order[torch.argsort(cell[order], stable=True)]


def padded(cell: Tensor, num_cells: int, limit: int, power: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the particles of a few cells at a time: indices (b, m) and a mask (b, m) that is True where a row counts.

    Cells of similar size come together, so little is padded. Empty cells are left out.

    Arguments:
        cell: the cell of each particle (n,).
        num_cells: number of cells.
        limit: largest b m^power, except that one cell alone may exceed it.
        power: 1 where the work is per particle, 2 where it is per pair.

    Example:
        >>> [rows.tolist() for rows, mask in padded(torch.tensor([1, 0, 1]), 3, limit=2)]
        [[[0, 2]], [[1]]]
    """
    order = torch.argsort(cell, stable=True)
    count = torch.bincount(cell, minlength=num_cells)
    start = count.cumsum(0) - count
    by_size = torch.argsort(count, descending=True, stable=True)
    sizes = count[by_size].tolist()
    done, filled = 0, sum(size > 0 for size in sizes)
    while done < filled:
        many = max(1, limit // sizes[done] ** power)
        cells = by_size[done : min(done + many, filled)]
        done += many
        column = torch.arange(int(count[cells[0]]), device=cell.device)
        mask = column < count[cells, None]
        yield order[torch.where(mask, start[cells, None] + column, start[cells, None])], mask
