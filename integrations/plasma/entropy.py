"""Entropy of the particles, and what a score says about itself."""

from __future__ import annotations

import torch
from torch import Tensor

from .cells import moments, total
from .types import VelocityDensity


def entropy(density: VelocityDensity, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> float:
    r"""The entropy a particle, :math:`-\int f\ln f/\int f`, by an estimate of each cell's velocity density.

    .. math:: S = -\sum_i w_i \ln\big(n_{c(i)}\,f_{c(i)}(v_i)\big) \Big/ \sum_i w_i

    with :math:`n_c` the density of a cell and :math:`f_c` that of its velocities.

    Arguments:
        density: has a ``log_prob``, as the scores DiscoScore, Blob and Maxwellian have.
        v: velocities (n, dv).
        w: weights (n,) over the volume of a cell.
        cell: the cell of each particle (n,).
        num_cells: number of cells.

    Example:
        >>> from disco_samplers.integrations.plasma.scores import Maxwellian
        >>> v = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> round(entropy(Maxwellian(), v, torch.full((1000,), 1e-3), torch.zeros(1000, dtype=torch.int64), 1), 1)
        1.4
    """
    local = total(w, cell, num_cells)[cell].log() + density.log_prob(v, w, cell, num_cells)
    return -float((w * local).sum(dtype=torch.float64) / w.sum(dtype=torch.float64))


def score_consistency(scores: Tensor, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> float:
    r"""The mean of :math:`-(v-u)\cdot s/d_v` over all particles: one for the score of any distribution, by partial integration.

    Example:
        >>> v = torch.tensor([[1.0], [-1.0]])
        >>> score_consistency(-v, v, torch.ones(2), torch.zeros(2, dtype=torch.int64), 1)
        1.0
    """
    mean = moments(v, w, cell, num_cells).mean[cell]
    inner = (w * ((v - mean) * scores).sum(1)).sum(dtype=torch.float64)
    return -float(inner / (v.shape[1] * w.sum(dtype=torch.float64)))
