"""The Boris push."""

from __future__ import annotations

import torch
from torch import Tensor


def boris(v: Tensor, electric: Tensor, magnetic: Tensor | None, step: float) -> Tensor:
    r"""Velocities after half the electric kick, a rotation about the magnetic field, and the other half of the kick.

    .. math:: v^- = v + \tfrac{h}{2}E,\quad v' = v^- + v^-\times t,\quad v^+ = v^- + \frac{2}{1+t^2}\,v'\times t,\quad
              t = \tfrac{h}{2}B,\quad v \leftarrow v^+ + \tfrac{h}{2}E

    The rotation keeps the speed to round-off. Without a magnetic field it is the plain kick of the leapfrog.

    Arguments:
        v: velocities (n, dv).
        electric: field at the particles (n, k), k <= dv: what it has fewer components than ``v`` is zero.
        magnetic: the components (B_z, B_y) at the particles (n, 2), of which dv = 2 takes B_z only, or None.
        step: h, the charge over the mass times the time.

    References:
        Boris, Proc. 4th Conf. on Numerical Simulation of Plasmas (1970) 3; Birdsall and Langdon (1991), section 4-4.

    Example:
        >>> v = torch.tensor([[3.0, 4.0]])
        >>> turned = boris(v, torch.zeros(1, 2), torch.tensor([[0.7, 0.0]]), 0.1)
        >>> bool(torch.allclose(turned.norm(), v.norm()))
        True
    """
    kick = torch.nn.functional.pad(0.5 * step * electric, (0, v.shape[1] - electric.shape[1]))
    v = v + kick
    if magnetic is not None:
        v = _rotated(v, 0.5 * step * magnetic)
    return v + kick


def _rotated(v: Tensor, t: Tensor) -> Tensor:
    if v.shape[1] == 2:
        v = torch.nn.functional.pad(v, (0, 1))
        return _rotated(v, t * t.new_tensor([1.0, 0.0]))[:, :2]
    axis = torch.stack([torch.zeros_like(t[:, 0]), t[:, 1], t[:, 0]], 1)
    halfway = v + torch.linalg.cross(v, axis)
    turned: Tensor = v + torch.linalg.cross(halfway, 2 / (1 + axis.square().sum(1, keepdim=True)) * axis)
    return turned
