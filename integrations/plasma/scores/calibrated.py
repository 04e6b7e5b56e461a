"""Scores brought to keep the moment identities that the score of any distribution keeps."""

from __future__ import annotations

import torch
from torch import Tensor

from ..cells import spread, total
from ..types import VelocityScore

_LEAST = 0.2
"""Smallest eigenvalue of -E[z s'], one for an exact score, of scores that can be brought to keep the identities."""


class Calibrated:
    """Any velocity score, calibrated in each cell; see :func:`calibrate`.

    Arguments:
        score: what is to be calibrated.

    Example:
        >>> from disco_samplers.integrations.plasma.scores import Blob
        >>> v = torch.randn(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> w, cell = torch.ones(500, dtype=v.dtype), torch.zeros(500, dtype=torch.int64)
        >>> s = Calibrated(Blob())(v, w, cell, 1)
        >>> round(float((s * v).sum(1).mean()), 3)  # -d
        -2.0
    """

    def __init__(self, score: VelocityScore) -> None:
        self.score = score

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """The score (n, dv); see :class:`~disco_samplers.integrations.plasma.types.VelocityScore`."""
        return calibrate(self.score(v, w, cell, num_cells).to(v.dtype), v, w, cell, num_cells)


def calibrate(s: Tensor, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
    r"""Scores corrected, by an affine map and a cubic term, to keep three identities over the particles of each cell.

    For the score of any distribution, by partial integration, with z the velocity in units in which its mean is zero and its
    covariance the identity,

    .. math:: \mathbb E[s] = 0, \qquad \mathbb E[z s^\top] = -I, \qquad \mathbb E[|z|^2 z \cdot s] = -d (d+2).

    They say how momentum, temperatures and fourth moment change. The first two are met by :math:`s \to A (s-\bar s)`;
    the third, as far as it is missed by more than chance, by adding a multiple of :math:`|z|^2 z` less its affine part: the
    multiple that score matching chooses for this one direction, shrunk for its noise. A cell is left as it is where it has
    fewer than 16 particles, does not spread in every direction, or where :math:`-\mathbb E[z s^\top]` is far from positive
    definite.

    Arguments:
        s: scores (n, dv).
        v: velocities (n, dv).
        w: weights (n,).
        cell: the cell of each particle (n,).
        num_cells: number of cells.

    Returns:
        Scores (n, dv).

    References:
        Hyvarinen, *Estimation of non-normalized statistical models by score matching*, JMLR 2005, theorem 1.
    """
    d = v.shape[1]
    fit = spread(v, w, cell, num_cells)
    share = w / total(w, cell, num_cells)[cell]

    def mean(values: Tensor) -> Tensor:
        return total(share.view(-1, *[1] * (values.ndim - 1)) * values, cell, num_cells)

    identity = torch.eye(d, dtype=v.dtype, device=v.device)
    c = v - mean(v)[cell]
    covariance = torch.where(fit[:, None, None], mean(c[:, :, None] * c[:, None, :]), identity)
    factor = torch.linalg.cholesky(covariance)
    z = _apply(torch.linalg.inv(factor)[cell], c)
    t = _apply(factor.mT[cell], s - mean(s)[cell])
    drag = -mean(z[:, :, None] * t[:, None, :])
    fit = fit & (torch.linalg.eigvalsh(0.5 * (drag + drag.mT))[:, 0] > _LEAST)
    drag = torch.where(fit[:, None, None], drag, identity)
    t = _apply(torch.linalg.inv(drag).mT[cell], t)
    r2 = z.square().sum(-1, keepdim=True)
    cubic = r2 * z
    slope = mean(cubic[:, :, None] * z[:, None, :])
    cubic = cubic - mean(cubic)[cell] - _apply(slope[cell], z)
    divergence = (d + 2) * r2[:, 0] - slope.diagonal(dim1=-2, dim2=-1).sum(-1)[cell]
    missing = (cubic * t).sum(-1) + divergence
    gap = mean(missing)
    noise = (mean(missing.square()) - gap.square()) * mean(share)
    size = mean(cubic.square().sum(-1))
    # What the gap may owe to chance is left out (positive-part shrinkage).
    known = (1 - noise / gap.square().clamp_min(torch.finfo(v.dtype).tiny)).clamp_min(0.0)
    t = t - torch.where(size > torch.finfo(v.dtype).eps, known * gap / size, 0.0)[cell, None] * cubic
    calibrated = _apply(torch.linalg.inv(factor).mT[cell], t)
    return torch.where(fit[cell, None], calibrated, s)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Products of matrices (n, d, d) and vectors (n, d)."""
    return (matrix * vector[:, None, :]).sum(-1)
