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
