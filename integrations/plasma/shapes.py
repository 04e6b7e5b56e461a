"""Between particles and grid: cloud-in-cell and quadratic shapes."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .grid import Grid

Shape = Literal["cic", "quadratic"]
ORDERS: dict[Shape, int] = {"cic": 1, "quadratic": 2}
"""Order of the spline: how many cells a particle is wide."""

_ENDS = {1: (1 / 2,), 2: (13 / 24, 23 / 24)}
"""Volumes, in cells, of the nodes from an end of the line inwards, of each order; further in they are one."""


class Stencil(NamedTuple):
    """The nodes that each particle touches, (n, p), and with which weights, (n, p); the weights of a particle sum to one."""

    nodes: Tensor
    weights: Tensor


def stencil(x: Tensor, grid: Grid, shape: Shape = "cic", offset: float = 0.0) -> Stencil:
    r"""B-spline weights of particles on the nodes around them.

    With :math:`u` the distance to a node in cells, cloud-in-cell is :math:`1-|u|` on two nodes, quadratic is
    :math:`3/4-u^2` on the nearest node and :math:`(3/2-|u|)^2/2` on its neighbours.
    A quadratic particle that is nearer than half a cell to an end of the line is cloud-in-cell: the share of the node that is
    not there goes to the first two, so that its place is kept.

    Arguments:
        x: positions (n,).
        grid: of the fields.
        shape: "cic" or "quadratic".
        offset: of the nodes, in cells; 0.5 for fields that live between nodes.

    References:
        Hockney and Eastwood, Computer Simulation Using Particles (1988), section 5-3.

    Example:
        >>> grid = Grid(4.0, 4)
        >>> stencil(torch.tensor([1.25]), grid)
        Stencil(nodes=tensor([[1, 2]]), weights=tensor([[0.7500, 0.2500]]))
        >>> stencil(torch.tensor([0.0]), grid, "quadratic").nodes
        tensor([[3, 0, 1]])
    """
    u = x / grid.dx - offset
    if shape == "cic":
        left = u.floor()
        f = u - left
        first, weights = left, [1 - f, f]
    else:
        nearest = u.round()
        f = u - nearest
        first, weights = nearest - 1, [0.5 * (0.5 - f).square(), 0.75 - f.square(), 0.5 * (0.5 + f).square()]
        if not grid.periodic:
            left, right = nearest == 0, nearest == grid.cells
            first = torch.where(left, 0.0, torch.where(right, grid.cells - 2.0, first))
            zero, away = torch.zeros_like(f), f.abs()
            at_left, at_right = [1 - away, away, zero], [zero, away, 1 - away]
            ends = zip(weights, at_left, at_right, strict=True)
            weights = [torch.where(left, a, torch.where(right, b, inside)) for inside, a, b in ends]
    steps = torch.arange(len(weights), device=x.device)
    return Stencil((first.long()[:, None] + steps) % grid.nodes, torch.stack(weights, 1))


def volumes(grid: Grid, order: int, like: Tensor) -> Tensor:
    r"""The length of the line that each node stands for, (nodes,): the integral of its weight over all places.

    .. math:: V_i = \int_0^L W_i(x)\,dx

    With them a uniform plasma has a uniform density. It is dx, but at the ends of a line that is not periodic: half of dx for
    order 1, 13/24 of it at an end and 23/24 beside it for order 2. No weights of order 2 that keep the place of every particle
    would leave halves: in the midst :math:`\sum_i i^2 W_i(x) = (x/\Delta x)^2 + 1/4`, whose integral over N cells is by N/12
    more than that sum with halves at the ends.

    Arguments:
        grid: of the fields.
        order: of the spline, 1 or 2.
        like: a tensor of the precision and device that are wanted.

    References:
        Verboncoeur, *Symmetric spline weighting for charge and current density in particle simulation*, J. Comput. Phys. 2001.

    Example:
        >>> grid = Grid(24.0, 4, periodic=False)
        >>> volumes(grid, 2, torch.ones(1))
        tensor([3.2500, 5.7500, 6.0000, 5.7500, 3.2500])
    """
    found = like.new_full((grid.nodes,), grid.dx)
    if not grid.periodic:
        ends = like.new_tensor(_ENDS[order])
        found[: len(ends)] *= ends
        found[-len(ends) :] *= ends.flip(0)
    return found


def deposit(at: Stencil, amount: Tensor, grid: Grid) -> Tensor:
    """Density on the nodes, (nodes,) or (nodes, k), of amounts (n,) or (n, k) that particles carry.

    Density times volume of a node is what was given to it, so their sum is that of the amounts. On a CUDA device the order of
    the additions, and with it the last digit, varies unless ``torch.use_deterministic_algorithms`` is set.

    Example:
        >>> grid = Grid(4.0, 4)
        >>> deposit(stencil(torch.tensor([1.25]), grid), torch.tensor([2.0]), grid)
        tensor([0.0000, 1.5000, 0.5000, 0.0000])
    """
    carried = at.weights.reshape(*at.weights.shape, *[1] * (amount.ndim - 1)) * amount[:, None]
    total = amount.new_zeros(grid.nodes, *amount.shape[1:]).index_add_(0, at.nodes.flatten(), carried.flatten(0, 1))
    each = volumes(grid, at.weights.shape[1] - 1, amount)
    return total / each.reshape(-1, *[1] * (amount.ndim - 1))


def gather(at: Stencil, field: Tensor) -> Tensor:
    """A field (nodes,) or (nodes, k) at the particles, as (n,) or (n, k); the adjoint of :func:`deposit` times the volumes.

    Example:
        >>> gather(stencil(torch.tensor([1.25]), Grid(4.0, 4)), torch.arange(4.0))
        tensor([1.2500])
    """
    return torch.einsum("np,np...->n...", at.weights, field[at.nodes])
