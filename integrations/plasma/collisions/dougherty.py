"""The Dougherty (Lenard-Bernstein) collision operator, conservative for particles as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.arrays import check_callable, check_not_negative

from ..cells import moments, total
from ..types import VelocityScore
from .answers import answer


class Dougherty:
    r"""Drag towards the cell's mean velocity and diffusion at its temperature, in the discretely conservative form.

    .. math:: \frac{dv_i}{dt} = -\nu \big[(v_i - u) + T \tilde s_i\big], \qquad \tilde s_i = s_i - \bar s, \qquad
        T = -\frac{\sum_i w_i |v_i - u|^2}{\sum_i w_i (v_i - u) \cdot \tilde s_i},

    so momentum and energy of each cell are conserved to round-off for any score. A cell whose score does not point inwards
    on average, as no score of a distribution does, is left alone.

    Arguments:
        score: of the velocities.
        frequency: nu.

    Raises:
        ValueError: if ``frequency`` is negative.

    References:
        Dougherty, *Model Fokker-Planck equation for a plasma and its solution*, Phys. Fluids 1964, eq. 4; Lenard,
        Bernstein, Phys. Rev. 1958.

    Example:
        >>> from disco_samplers.integrations.plasma.scores import Maxwellian
        >>> v = torch.tensor([[1.0], [-1.0]])
        >>> rate = Dougherty(Maxwellian(), frequency=0.1)(v, torch.ones(2), torch.zeros(2, dtype=torch.int64), 1)
        >>> float(rate.abs().max())
        0.0
    """

    def __init__(self, score: VelocityScore, *, frequency: float) -> None:
        check_callable("score", score, "a VelocityScore")
        check_not_negative("frequency", frequency)
        self.score, self.frequency = score, frequency

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int, generator: torch.Generator | None = None) -> Tensor:
        """The rate (n, dv); see :class:`~disco_samplers.integrations.plasma.types.CollisionOperator`."""
        if self.frequency == 0:
            return torch.zeros_like(v)
        s = answer(self.score(v, w, cell, num_cells), v, "the score")
        s = s - moments(s, w, cell, num_cells).mean[cell]
        c = v - moments(v, w, cell, num_cells).mean[cell]
        work = total(w * (c * s).sum(-1), cell, num_cells)
        thermal = total(w * c.square().sum(-1), cell, num_cells)
        inwards = work < 0
        temperature = thermal / torch.where(inwards, -work, 1.0)
        return -self.frequency * torch.where(inwards[cell, None], c + temperature[cell, None] * s, 0.0)
