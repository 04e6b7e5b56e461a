"""The longitudinal electric field from Gauss's law."""

from __future__ import annotations

import torch
from torch import Tensor

from .grid import Grid


def electric_field(charge: Tensor, grid: Grid) -> Tensor:
    r"""Solves :math:`\partial_x E = \rho - \langle\rho\rangle` on a periodic grid by Fourier transform.

    Subtracting the mean is an immobile neutralising background. As :math:`E_k = -i\rho_k/k` is odd in k, particles of one
    shape exert no force on themselves and the total momentum is kept to round-off. With particles moved from one step to the
    next, this field differs from that of Ampere's law with the charge-conserving current by nothing but its mean, which is
    zero here.

    Arguments:
        charge: charge density at the nodes (cells,).
        grid: periodic grid.

    Returns:
        The field at the nodes (cells,).

    References:
        Birdsall and Langdon, Plasma Physics via Computer Simulation (1991), section 2-5.

    Example:
        >>> grid = Grid(2 * torch.pi, 16)
        >>> nodes = torch.arange(16) * grid.dx
        >>> bool(torch.allclose(electric_field(torch.cos(nodes), grid), torch.sin(nodes), atol=1e-6))
        True
    """
    k = grid.wavenumbers(charge)
    k[0] = torch.inf  # leaves out the mean
    modes = torch.fft.rfft(charge) * (-1j / k)
    if grid.cells % 2 == 0:
        modes[-1] = 0  # the derivative of the shortest wave vanishes at the nodes
    field: Tensor = torch.fft.irfft(modes, grid.cells)
    return field


def field_between_walls(amount: Tensor, grid: Grid, left: Tensor, bias: float | None = None) -> tuple[Tensor, Tensor]:
    r"""Solves :math:`\partial_x E = \rho` between two walls, by summing up the charge of the nodes from the left.

    Half-way between two nodes the field is what Gauss's law says of the charge on its left, at a node the mean of both sides,
    at a wall the wall's own charge. Beyond the walls there is no field. With a bias the walls are conductors joined by a
    circuit, and the left one holds just the charge with which

    .. math:: \phi(L) - \phi(0) = -\int_0^L E\,dx

    is the bias: the solution of :math:`-\phi'' = \rho` by second differences with both ends given. Of second order in dx.

    Arguments:
        amount: charge of the nodes (nodes,), which is density times volume.
        grid: a line with ends.
        left: charge of the left wall, (); what it is does not matter with a bias.
        bias: potential of the right wall less that of the left.

    Returns:
        Field and potential, less that of the left wall, at the nodes: (nodes,) both.

    References:
        Birdsall and Langdon, Plasma Physics via Computer Simulation (1991), section 16-9; Verboncoeur, Alves, Vahedi,
        Birdsall, J. Comput. Phys. 1993.

    Example:
        >>> grid = Grid(1.0, 8, periodic=False)
        >>> amount = grid.widths(torch.ones(9))  # of density one
        >>> field, potential = field_between_walls(amount, grid, torch.tensor(0.0), bias=0.0)
        >>> field[[0, 4, 8]].tolist(), potential[4].item()  # of -phi'' = 1
        ([-0.5, 0.0, 0.5], 0.125)
    """
    between = left + amount.cumsum(0)[:-1]
    if bias is not None:
        between = between - (between.mean() + bias / grid.length)
    ends = between[:1] - amount[:1], between[-1:] + amount[-1:]
    field = torch.cat([ends[0], 0.5 * (between[:-1] + between[1:]), ends[1]])
    potential = torch.cat([torch.zeros_like(ends[0]), -grid.dx * between.cumsum(0)])
    return field, potential
