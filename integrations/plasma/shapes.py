"""Between particles and grid: cloud-in-cell and quadratic shapes."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .grid import Grid

Shape = Literal["cic", "quadratic"]
ORDERS: dict[Shape, int] = {"cic": 1, "quadratic": 2}
"""Order of the spline: how many cells a particle is wide."""


class Stencil(NamedTuple):
    """The nodes that each particle touches, (n, p), and with which weights, (n, p); the weights of a particle sum to one."""

    nodes: Tensor
    weights: Tensor


def stencil(x: Tensor, grid: Grid, shape: Shape = "cic", offset: float = 0.0) -> Stencil:
    r"""B-spline weights of particles on the nodes around them.

    With :math:`u` the distance to a node in cells, cloud-in-cell is :math:`1-|u|` on two nodes, quadratic is
    :math:`3/4-u^2` on the nearest node and :math:`(3/2-|u|)^2/2` on its neighbours.

    Arguments:
        x: positions (n,).
        grid: periodic grid.
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
    steps = torch.arange(len(weights), device=x.device)
    return Stencil((first.long()[:, None] + steps) % grid.cells, torch.stack(weights, 1))


def deposit(at: Stencil, amount: Tensor, grid: Grid) -> Tensor:
    """Density on the nodes, (cells,) or (cells, k), of amounts (n,) or (n, k) that particles carry.

    The sum of the density times dx is the sum of the amounts. On a CUDA device the order of the additions, and with it
    the last digit, varies unless ``torch.use_deterministic_algorithms`` is set.

    Example:
        >>> grid = Grid(4.0, 4)
        >>> deposit(stencil(torch.tensor([1.25]), grid), torch.tensor([2.0]), grid)
        tensor([0.0000, 1.5000, 0.5000, 0.0000])
    """
    carried = at.weights.reshape(*at.weights.shape, *[1] * (amount.ndim - 1)) * amount[:, None]
    total = amount.new_zeros(grid.cells, *amount.shape[1:])
    return total.index_add_(0, at.nodes.flatten(), carried.flatten(0, 1)) / grid.dx


def gather(at: Stencil, field: Tensor) -> Tensor:
    """A field (cells,) or (cells, k) at the particles, as (n,) or (n, k); the adjoint of :func:`deposit` times dx.

    Example:
        >>> gather(stencil(torch.tensor([1.25]), Grid(4.0, 4)), torch.arange(4.0))
        tensor([1.2500])
    """
    return torch.einsum("np,np...->n...", at.weights, field[at.nodes])
