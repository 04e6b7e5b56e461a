"""The Landau collision operator as a force between particles."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.arrays import check_callable, check_not_negative
from disco_samplers.randomness import generator_on

from ..types import VelocityScore
from .answers import answer
from .sums import Method, PairSum, check_components


class Landau:
    r"""Landau collisions among the particles of one species in a cell, for any interaction exponent.

    .. math:: \frac{dv_i}{dt} = -C \sum_j w_j |z|^g (|z|^2 I - z z^\top)\big(s_i - s_j\big), \qquad z = v_i - v_j,

    with s the score of the velocities. Momentum and energy of each cell are conserved to round-off **for any score**; how
    well the solution is followed depends on the score.

    Arguments:
        score: of the velocities.
        strength: C; for electrons in units of Debye length and plasma frequency, :math:`\ln\Lambda / 8 \pi n \lambda_D^3`; of
            others times the fourth power of the charge over the square of the mass.
        exponent: g; -3 for Coulomb collisions in three velocities (-2 in two), 0 for Maxwell molecules.
        method: "pairs" takes all pairs of a cell; "batches" random batches inside each, O(n p); "moments" is the same as
            "pairs" in O(n), for exponent 0 only. By default "moments" for exponent 0, else "pairs".
        batch_size: p, for "batches" only; 64 if not given.

    Raises:
        ValueError: if ``strength`` is negative, ``exponent`` is not a number, or the method does not fit the exponent; when
            called with one velocity component, where these collisions vanish.

    References:
        Carrillo, Hu, Wang, Wu, *A particle method for the homogeneous Landau equation*, J. Comput. Phys. X 2020, eq. 10;
        Ilin, Hu, Wang, *Transport based particle methods for the Fokker-Planck-Landau equation*, 2024.

    Example:
        >>> from disco_samplers.integrations.plasma.scores import Maxwellian
        >>> v = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
        >>> cell = torch.zeros(100, dtype=torch.int64)
        >>> rate = Landau(Maxwellian(), strength=0.1)(v, torch.full((100,), 0.01), cell, 1)
        >>> bool(rate.abs().max() < 1e-5)  # this score calls any distribution an equilibrium
        True
    """

    def __init__(
        self,
        score: VelocityScore,
        *,
        strength: float,
        exponent: float = -3.0,
        method: Method | None = None,
        batch_size: int | None = None,
    ) -> None:
        check_callable("score", score, "a VelocityScore")
        check_not_negative("strength", strength)
        self.score, self.strength = score, strength
        self.pairs = PairSum(exponent, method, batch_size)

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int, generator: torch.Generator | None = None) -> Tensor:
        """The rate (n, dv); see :class:`~disco_samplers.integrations.plasma.types.CollisionOperator`."""
        check_components(v)
        generator = generator_on(v.device, generator=generator)
        if self.strength == 0:
            return torch.zeros_like(v)
        s = answer(self.score(v, w, cell, num_cells), v, "the score")
        return -self.strength * self.pairs(v, s, w, cell, num_cells, generator)
