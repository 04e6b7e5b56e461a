"""Transverse electromagnetic fields on a staggered grid."""

from __future__ import annotations

from torch import Tensor

from .grid import Grid

_SIGN = (-1.0, 1.0)
"""Of the curl: dEy/dt has -dBz/dx, dEz/dt has +dBy/dx, and the other way round for dB/dt."""


def advance_magnetic(magnetic: Tensor, electric: Tensor, dt: float, grid: Grid) -> Tensor:
    r"""Faraday's law: :math:`\partial_t B_z = -\partial_x E_y`, :math:`\partial_t B_y = \partial_x E_z`.

    Arguments:
        magnetic: (cells, 2), the components (B_z, B_y), half a cell to the right of the nodes.
        electric: (cells, 2), the components (E_y, E_z), at the nodes.
        dt: time.
        grid: periodic grid.

    Example:
        >>> import torch
        >>> electric = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        >>> advance_magnetic(torch.zeros(4, 2), electric, 0.5, Grid(4.0, 4))[:, 0]
        tensor([-0.5000,  0.5000,  0.0000,  0.0000])
    """
    curl = (electric.roll(-1, 0) - electric) / grid.dx
    return magnetic + dt * curl * curl.new_tensor(_SIGN)


def advance_electric(electric: Tensor, magnetic: Tensor, current: Tensor, dt: float, grid: Grid, light_speed: float) -> Tensor:
    r"""Ampere's law: :math:`\partial_t E_y = -c^2\partial_x B_z - J_y`, :math:`\partial_t E_z = c^2\partial_x B_y - J_z`.

    With :func:`advance_magnetic` by half a step before and after, this is Yee's leapfrog, of second order, stable for
    :math:`c\,\Delta t < \Delta x`.

    Arguments:
        electric: (cells, 2), the components (E_y, E_z), at the nodes.
        magnetic: (cells, 2), the components (B_z, B_y), half a cell to the right of the nodes, half a step later.
        current: (cells, 2), (J_y, J_z) at the nodes, half a step later.
        dt: time.
        grid: periodic grid.
        light_speed: c.

    References:
        Yee, IEEE Transactions on Antennas and Propagation 14 (1966) 302, in one dimension.

    Example:
        >>> import torch
        >>> grid, electric = Grid(4.0, 4), torch.ones(4, 2)
        >>> advance_electric(electric, torch.zeros(4, 2), electric, 0.5, grid, light_speed=1.0)[0]
        tensor([0.5000, 0.5000])
    """
    curl = (magnetic - magnetic.roll(1, 0)) / grid.dx
    return electric + dt * (light_speed**2 * curl * curl.new_tensor(_SIGN) - current)
