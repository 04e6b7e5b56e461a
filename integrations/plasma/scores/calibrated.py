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
    r"""Scores corrected to keep four identities over the particles of each cell.

    For the score of any distribution, by partial integration, with c the velocity from its mean and z the same in units in
    which the covariance is the identity,

    .. math:: \mathbb E[s] = 0, \qquad \mathbb E[z s^\top] = -I, \qquad
        \mathbb E\big[(|c|^2 I - c c^\top)\,s\big] = 0, \qquad \mathbb E[|z|^2 z \cdot s] = -d (d+2).

    They say how momentum, temperatures, momentum that other species are given, and the fourth moment change; for Maxwell
    molecules, whose collisions are of second degree in v, the third says all of what others are given. The first two are met by
    :math:`s \to A (s-\bar s)`; the others, as far as they are missed by more than chance, by adding multiples of their fields
    less the affine parts: the multiples that score matching chooses among these, shrunk for their noise. A cell is left as it
    is where it has fewer than 16 particles, does not spread in every direction, or where :math:`-\mathbb E[z s^\top]` is far
    from positive definite.

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

    def kept(t: Tensor, x: Tensor, precision: Tensor, fields: Tensor, divergence: Tensor) -> Tensor:
        """Scores t of x (n, dv) brought to E[h . t] = -E[div h] for m fields h (n, dv, m) of these divergences (n, m)."""
        slope = mean(fields[..., None] * x[:, None, None, :]) @ precision[:, None]
        fields = fields - mean(fields)[cell] - (slope[cell] * x[:, None, None, :]).sum(-1)
        missing = (fields * t[..., None]).sum(1) + divergence - slope.diagonal(dim1=1, dim2=3).sum(-1)[cell]
        gap = mean(missing)
        scatter = mean(missing[:, :, None] * missing[:, None, :]) - gap[:, :, None] * gap[:, None, :]
        gram = torch.where(fit[:, None, None], mean(fields.mT @ fields), 0.0)
        inverse = torch.linalg.pinv(gram, atol=torch.finfo(v.dtype).eps, hermitian=True)
        multiple = _apply(inverse, gap)
        # What the gap may owe to chance is left out (positive-part shrinkage).
        noise, size = (inverse * scatter).sum((1, 2)) * mean(share), (gap * multiple).sum(1)
        known = (1 - noise / size.clamp_min(torch.finfo(v.dtype).tiny)).clamp_min(0.0)
        return t - _apply(fields, (known[:, None] * multiple)[cell])

    identity = torch.eye(d, dtype=v.dtype, device=v.device)
    c = v - mean(v)[cell]
    covariance = torch.where(fit[:, None, None], mean(c[:, :, None] * c[:, None, :]), identity)
    unit = covariance.diagonal(dim1=1, dim2=2).mean(1).sqrt()
    factor = torch.linalg.cholesky(covariance / unit[:, None, None] ** 2)
    inverse, c = torch.linalg.inv(factor), c / unit[cell, None]
    z = _apply(inverse[cell], c)
    t = unit[cell, None] * _apply(factor.mT[cell], s - mean(s)[cell])
    drag = -mean(z[:, :, None] * t[:, None, :])
    fit = fit & (torch.linalg.eigvalsh(0.5 * (drag + drag.mT))[:, 0] > _LEAST)
    drag = torch.where(fit[:, None, None], drag, identity)
    t = _apply(torch.linalg.inv(drag).mT[cell], t)
    r2 = z.square().sum(1, keepdim=True)
    t = kept(t, z, identity.expand_as(factor), (r2 * z)[..., None], (d + 2) * r2)
    t = _apply(inverse.mT[cell], t)
    if d > 1:
        across = c.square().sum(1)[:, None, None] * identity - c[:, :, None] * c[:, None, :]
        t = kept(t, c, inverse.mT @ inverse, across, (1 - d) * c)
    return torch.where(fit[cell, None], t / unit[cell, None], s)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Products of matrices (n, p, q) and vectors (n, q)."""
    return (matrix * vector[:, None, :]).sum(-1)
