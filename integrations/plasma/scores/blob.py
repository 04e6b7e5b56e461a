"""The score of the blob method: a kernel density, and what makes it the gradient of an entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.arrays import check_positive

from ..cells import moments, padded

_TILE = 2**18
"""Kernel values held at a time."""

_SCALE = 1.4
"""The default bandwidth in units of Scott's."""


class Blob:
    r"""The velocity score of the blob method, or of a kernel density estimate, in each cell.

    With the Gaussian kernel :math:`K_h` and :math:`F_i = \sum_j w_j K_h(v_i - v_j)`,

    .. math:: s_i = \sum_j w_j \nabla K_h(v_i - v_j) \Big(\frac1{F_i} + \frac1{F_j}\Big).

    The first term is the score of the density estimate. With the second the sum is the gradient of the regularised entropy
    :math:`-\sum_i w_i \log F_i` with respect to the particle, so collisions never lower that entropy.

    Arguments:
        bandwidth: h; by default :math:`1.4 \sqrt T m^{-1/(d+4)}` in a cell of m particles and temperature T, about the best
            over Maxwellians, beams, bumps and heavy tails together; a Maxwellian alone would want more, beams less.
        both_terms: False for the density estimate's score alone.

    Raises:
        ValueError: if ``bandwidth`` is not positive.

    References:
        Carrillo, Craig, Patacchini, *A blob method for diffusion*, Calc. Var. 2019, eq. 7; Carrillo, Hu, Wang, Wu, *A particle
        method for the homogeneous Landau equation*, J. Comput. Phys. X 2020.

    Example:
        >>> v = torch.tensor([[1.0], [-1.0]])
        >>> Blob(bandwidth=1.0)(v, torch.ones(2), torch.zeros(2, dtype=torch.int64), 1)
        tensor([[-0.4768],
                [ 0.4768]])
    """

    def __init__(self, bandwidth: float | None = None, *, both_terms: bool = True) -> None:
        if bandwidth is not None:
            check_positive("bandwidth", bandwidth)
        self.bandwidth, self.both_terms = bandwidth, both_terms

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """The score (n, dv); see :class:`~disco_samplers.integrations.plasma.types.VelocityScore`."""
        h = self._bandwidths(v, w, cell, num_cells)
        log_sum = self._log_sums(v, w, cell, num_cells, h)
        score = torch.zeros_like(v)
        for rows, mask in padded(cell, num_cells, _TILE, power=2):
            weights, others = w[rows] * mask, v[rows]
            weighted = torch.cat([others, torch.ones_like(others[..., :1])], -1)
            for tile, shown in _tiles(rows, mask):
                log_kernel = -0.5 * _squared(v[tile], others) / h[rows[:, :1, None]] ** 2
                pull = (log_kernel - log_sum[tile][..., None]).exp()
                if self.both_terms:
                    pull = pull + (log_kernel - log_sum[rows][:, None]).exp()
                moved = (pull * weights[:, None]) @ weighted
                force = (moved[..., :-1] - v[tile] * moved[..., -1:]) / h[rows[:, :1, None]] ** 2
                score[tile[shown]] = force[shown]
        return score

    def log_prob(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """Log-density of the kernel estimate at the particles (n,)."""
        h = self._bandwidths(v, w, cell, num_cells)
        weight = moments(v, w, cell, num_cells).weight
        norm = weight[cell].log() + v.shape[1] * (0.5 * math.log(2 * math.pi) + h.log())
        return self._log_sums(v, w, cell, num_cells, h) - norm

    def _bandwidths(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """The bandwidth of each particle's cell, (n,)."""
        if self.bandwidth is not None:
            return v.new_full((len(v),), self.bandwidth)
        count = torch.bincount(cell, minlength=num_cells).clamp_min(1)
        temperature = moments(v, w, cell, num_cells).temperature
        # In a cell without temperature every kernel is one, and the score zero.
        temperature = torch.where(temperature > 0, temperature, 1.0)
        return (_SCALE * temperature.sqrt() * count.to(v.dtype) ** (-1 / (v.shape[1] + 4)))[cell]

    def _log_sums(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int, h: Tensor) -> Tensor:
        """log F of each particle, without the kernel's norm; a particle's own kernel keeps it finite."""
        log_sum = torch.zeros_like(w)
        for rows, mask in padded(cell, num_cells, _TILE, power=2):
            log_weights = torch.where(mask, w[rows].log(), -torch.inf)
            for tile, shown in _tiles(rows, mask):
                exponent = -0.5 * _squared(v[tile], v[rows]) / h[rows[:, :1, None]] ** 2
                log_sum[tile[shown]] = (exponent + log_weights[:, None]).logsumexp(-1)[shown]
        return log_sum


def _tiles(rows: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
    step = max(1, _TILE // rows.numel())
    return list(zip(rows.split(step, 1), mask.split(step, 1), strict=True))


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (b, t, m) from direct differences."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
