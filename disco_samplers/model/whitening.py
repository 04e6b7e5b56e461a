r"""Whitening: the affine change of coordinates in which the network works."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.model.clusters import between_clusters
from disco_samplers.model.ridges import ridged

RANK_TOLERANCE = 1e-10
"""A direction whose variance, in standardised columns, is below this counts as a direction of no variance."""

NULL_SCALE = 1e-3
"""Standard deviation given to a direction of no variance, in units of the data's own scale."""


ENOUGH_ROWS = 64
"""Rows for each column from which on the whitening is exact, and the estimate exactly affine-equivariant.

With 16 in its place the same weights had a score error of .27 instead of .14 at d = 30, n = 1024, and .172 instead of .162 at
d = 10, n = 256 (published mixtures).
"""

_SHRINKAGE = 0.6

_NARROWEST = 0.1
"""Whitened variance, at least, of a direction that is surely narrow: shrinking leaves a ridge no thinner than this.

Also, of eigenvalues over the Marchenko-Pastur edge, where a strong correlation is the law's own: the size of a sure ridge.
"""

MANY_COLUMNS = 24
"""Columns from which on clusters without correlation of their own are told from others."""

_BETWEEN = 0.3
"""Shrinkage that stays, however many the rows, where all correlation is between clusters.

Published mixtures, d = 50, n = 16384, shrinkage 0 / .2 / .3 / .4: score error 2.9 / .9 / .8 / .8 %, log-density error
2.1 / .7 / 1.1 / 2.5.
"""

_STEPS = 16.0
"""Standard deviation of a column, in steps of float64, up to which it counts as constant."""

_MOST_MATRICES = 2**14
"""Matrices decomposed at a time: CUDA's batched solver fails on 66,000."""

_FAR = 1e30
"""Whitened coordinates end here: far beyond any data, and squares and scores stay within float64."""


class Whitening(NamedTuple):
    r"""An affine map :math:`y \mapsto (y - m) A` of rank d, its columns ordered so that the first ``rank`` ones are data.

    The other d - rank directions had no variance in the samples. They are modelled as independent Gaussians of
    standard deviation ``NULL_SCALE`` times the data's scale, so densities stay finite there.

    Shapes, with b a batch of contexts: ``center`` (b, 1, d), ``matrix`` (b, d, d), ``log_det`` (b,), and ``frame``
    (b, rank, d), which takes whitened coordinates to standardised columns.
    """

    center: Tensor
    matrix: Tensor
    log_det: Tensor
    rank: int
    frame: Tensor

    def __call__(self, y: Tensor) -> Tensor:
        """Maps points (b, m, d) to whitened coordinates (b, m, d), in the precision of the whitening."""
        # A point so far out that its coordinates, or their squares, would overflow is brought to where they do not.
        most = (_FAR / self.matrix.abs().amax(-1)).clamp_max(1e300)[:, None]
        return (y.to(self.matrix.dtype) - self.center).clamp(-most, most) @ self.matrix

    def to(self, device: torch.device | str) -> Whitening:
        """The same map on another device."""
        return Whitening(
            self.center.to(device), self.matrix.to(device), self.log_det.to(device), self.rank, self.frame.to(device)
        )


def whiten(samples: Tensor, counts: Tensor | None = None, *, clusters: bool = False) -> Whitening:
    r"""Fits the whitening of samples, in float64.

    With :math:`m` the mean, :math:`D` the columns' standard deviations and :math:`C` their correlation matrix,

    .. math:: A = D^{-1} C^{-1/2}, \qquad \log|\det A| = -\sum_k \log D_k - \tfrac12 \log\det C.

    Any root of the covariance gives a rotation-equivariant network the same input up to a rotation; this one stays
    close to the original axes. Directions of no variance (constant or linearly dependent columns) are put last.
    With n < 64 d rows the correlation has too many entries to be known, and inverting it blurs what little can be told of
    the shape of a cluster: there it is shrunk towards the identity by :math:`0.6\,(1 - n/64d)`, and the map is equivariant
    to translation, column scaling and permutation only. (On the published mixtures at d = 30, n = 256, with assignments
    known, the best shrinkage towards a pooled covariance leaves a score error of 31 %, that towards the identity 16 %.)
    A ridge is not blurred by it: an eigenvalue :math:`\lambda` of C that is small even for so few rows, against the
    Marchenko-Pastur edge :math:`(1 - \sqrt{d/n})^2`, keeps a whitened variance of 0.1 or more.

    Where the correlation is strong and the law's own, by a share t (:func:`ridged <disco_samplers.model.ridges.ridged>`), all
    of it is whitened but what is noise: the shrinkage goes from the above to that which is best for a normal law, if that is
    less, and a sure ridge is whitened to a variance of one. What the columns say of such a law is known then; with ``clusters``
    the frame goes from :math:`C^{1/2}` to :math:`((1 - t) C + t I)^{1/2}`, from the columns' to that of whitened coordinates.

    Where clusters have no correlation of their own, whitening by the correlation of their centres would give them one. With
    ``clusters``, from 24 columns on, the correlation is shrunk by :math:`0.3\,g` at least, g being the share of it that is
    :func:`between clusters <disco_samplers.model.clusters.between_clusters>`.

    Arguments:
        samples: (b, n, d).
        counts: (b, n), how many independent rows a row is worth: 0 for one that does not count, a weight times the effective
            size for a weighted one; their sum takes the place of n. None when every row counts once.
        clusters: for a network that sees the columns; the map is equivariant to translation, column scaling and permutation
            only, then.

    Raises:
        ValueError: if all rows of a set are the same, or the sets of a batch differ in rank.

    Example:
        >>> x = torch.tensor([[[0.0, 1.0], [2.0, 1.0]]])
        >>> whiten(x).rank
        1
    """
    x = samples.double()
    rows = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device) if counts is None else counts.double()
    count = rows.sum(1)[:, None]
    # What a masked row holds is never looked at.
    x = x if counts is None else torch.where(rows[..., None] > 0, x, 0.0)
    # From one of the rows, numbers of one size differ exactly: 1e13 + N(0, 1) is read as N(0, 1) with steps of .002.
    origin = x.gather(1, (rows > 0).to(torch.int8).argmax(1)[:, None, None].expand(-1, 1, x.shape[-1]))
    x = (x - origin) * (rows[..., None] > 0)
    mean = (x * rows[..., None]).sum(1) / count
    center = origin[:, 0] + mean
    x = (x - mean[:, None]) * (rows[..., None] > 0)
    # Two passes: columns are brought to unit size before they are squared, so that 1e200 does not overflow.
    size = x.abs().amax(1).clamp_min(torch.finfo(x.dtype).tiny)
    deviation = size * (((x / size[:, None]).square() * rows[..., None]).sum(1) / count).sqrt()
    # Below a few steps of float64 it is rounding; close to float64's ends products with its inverse are no longer exact.
    if (deviation > 1e290).any():
        raise ValueError("samples has columns of standard deviations above 1e290: bring them to another unit")
    varies = deviation > (_STEPS * torch.finfo(x.dtype).eps * center.abs()).clamp_min(1e-250)
    if not varies.any(-1).all():
        if (deviation[~varies.any(-1)] > 0).any():
            raise ValueError(
                "samples has no variance to speak of: no column varies by more than a few steps of float64; subtract an offset "
                "from the columns before they are rounded, or bring them to another unit"
            )
        raise ValueError("samples has no variance: all its rows are the same; at least two distinct rows are needed")
    # A constant column has no scale of its own: it takes the geometric mean of the others'.
    scale = ((deviation.log() * varies).nan_to_num(neginf=0.0).sum(-1) / varies.sum(-1)).exp()
    deviation = torch.where(varies, deviation, scale[:, None])
    z = torch.where(varies[:, None], x / deviation[:, None], 0.0)
    correlation = (z * rows[..., None]).mT @ z / count[..., None]
    weight = _SHRINKAGE * (1 - count.squeeze(1) / (ENOUGH_ROWS * x.shape[-1])).clamp_min(0.0)
    if clusters and x.shape[-1] >= MANY_COLUMNS and weight.min() < _BETWEEN:
        weight = weight.maximum(_BETWEEN * between_clusters(z, rows > 0, correlation))
    constant = torch.diag_embed((~varies).double())
    own = ridged(z, rows, correlation + constant) if clusters or weight.any() else torch.zeros_like(weight)
    correlation = _shrink(correlation, weight, count.squeeze(1), constant, own)
    values, vectors = eigh(correlation)
    kept = values > RANK_TOLERANCE
    rank = int(kept[0].sum())
    if (kept.sum(-1) != rank).any():
        worst = int(kept.sum(-1).argmin())
        raise ValueError(
            f"samples: the sets of a batch differ in rank (set {worst} has constant or dependent columns that others "
            "do not have); condition such sets on their own"
        )
    values = torch.where(kept, values, NULL_SCALE**2)
    # Where correlation is the law's own, columns say nothing of whitened coordinates: a frame of uncorrelated ones is shown.
    shown = values + (1 - values) * own[:, None] if clusters else values
    root, inverse = vectors * values.rsqrt()[:, None], vectors * shown.sqrt()[:, None]
    # eigh sorts upwards, so the null directions come first. A full-rank root is turned back towards the columns' axes.
    full = rank == x.shape[-1]
    root = root @ vectors.mT if full else root.flip(-1)
    inverse = inverse @ vectors.mT if full else inverse.flip(-1).mT[:, :rank]
    matrix = root / deviation[..., None]
    log_det = -deviation.log().sum(-1) - 0.5 * values.log().sum(-1)
    return Whitening(center[:, None], matrix, log_det, rank, inverse)


def _shrink(correlation: Tensor, weight: Tensor, count: Tensor, constant: Tensor, own: Tensor) -> Tensor:
    """Shrinks the correlation by a weight (b,) towards the identity on the directions of variance, ridges by less."""
    if not weight.any():
        return correlation
    d = correlation.shape[-1]
    weight = (weight + own * (_noise(correlation, count) - weight).clamp_max(0.0))[:, None]
    values, vectors = eigh(correlation)
    values = values.clamp_min(0.0)  # of a dependent column, rounding may leave one below
    # With n <= d every set of columns is dependent, so only a constant column counts as one without variance.
    many = (count > d)[:, None]
    shrunk = (1 - weight) * values + weight * torch.where(many, (values > RANK_TOLERANCE).double(), 1.0)
    ratio = (d / count[:, None]).clamp_max(1.0)
    size = values / (1 - ratio.sqrt()).square()
    # An eigenvalue far below the others' edge is too small by d/n on average.
    known = values / (1 - ratio) * (1 + (size / _NARROWEST).square())
    surely = torch.where(ratio < 1, (size / _NARROWEST) ** (1 - own[:, None]) * known ** own[:, None], math.inf)
    shrunk = shrunk.minimum(surely.maximum(values))
    full = (vectors * shrunk[:, None]) @ vectors.mT
    return torch.where(many[..., None], full, full - weight[..., None] * constant)


def _noise(correlation: Tensor, count: Tensor) -> Tensor:
    """The weight (b,) by which a normal law's correlation is best shrunk: Chen et al., *Shrinkage algorithms*, 2010 (OAS)."""
    d = correlation.shape[-1]
    squares = correlation.square().sum((-2, -1))
    spread = (squares - d).clamp_min(torch.finfo(squares.dtype).tiny)
    return (((1 - 2 / d) * squares + d**2) / ((count + 1 - 2 / d) * spread)).clamp_max(1.0)


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of symmetric matrices (b, d, d), however many."""
    parts = [torch.linalg.eigh(part) for part in matrices.split(_MOST_MATRICES)]
    return torch.cat([values for values, _ in parts]), torch.cat([vectors for _, vectors in parts])


def log_standard_normal(r2: Tensor, d: int) -> Tensor:
    """Log-density of the standard normal in d dimensions at squared radius r2."""
    return -0.5 * (r2 + d * math.log(2 * math.pi))
