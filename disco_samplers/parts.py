"""The estimate of samples taken in parts: one of the rows of each component of a mixture."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.estimate import DensityEstimate
from disco_samplers.mixture import fit_mixture
from disco_samplers.model.whitening import whiten
from disco_samplers.reference.gaussian import GaussianMixture

_FITTED = 4096
"""Most rows the mixture is fitted to."""

_SHAPE = 2
_SHEAR = 5
"""Rows for each of d + 1 from which on a part is a sample of its own, and its covariance may be trusted."""

_SEED = 0
"""Of the parts that rows fall in: an estimate of the same samples is the same estimate."""


class _Part(NamedTuple):
    """An estimate of rows (x - center) @ matrix, and its share of all rows."""

    log_share: float
    center: Tensor
    matrix: Tensor
    estimate: DensityEstimate

    def evaluate(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Its share of the log-density (m,), and its score (m, d), at points (m, d)."""
        log_prob, score = self.estimate.log_prob_and_score((y - self.center) @ self.matrix)
        log_det = torch.linalg.slogdet(self.matrix).logabsdet
        return log_prob + log_det + self.log_share, score @ self.matrix.mT


class PartsEstimate(DensityEstimate):
    r"""A density estimated in parts, each a sample of its own.

    With :math:`r_k(x) \ge 0` and :math:`\sum_k r_k = 1` every density is a mixture of the densities of its parts,

    .. math:: f(x) = \sum_k \pi_k f_k(x), \qquad \pi_k f_k = r_k f, \qquad
        s(x) = \frac{\sum_k \pi_k f_k(x)\, s_k(x)}{\sum_k \pi_k f_k(x)},

    whatever the :math:`r_k` are. Here they are the responsibilities of a mixture of Gaussians (:func:`fit_mixture
    <disco_samplers.mixture.fit_mixture>`), so that parts are simpler than the whole: long clusters in different directions, or
    a cluster among outliers. Each row falls in part k with probability :math:`r_k(x_i)` and is then a draw of :math:`f_k`.
    :func:`disco_samplers.adapt.adapt` chooses it where held-out rows are likelier so.

    Arguments:
        model, samples, mask, keys, coordinates: as of :class:`DensityEstimate`, of one data set without constant columns.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> x[:200] = 8 + x[:200] * torch.tensor([1.0, 0.01])  # a flat cluster beside a round one
        >>> estimate = PartsEstimate(DiScoFormer.from_pretrained(), x, numpy=False)
        >>> estimate.num_parts
        2
    """

    def _encode(self, images: Tensor) -> None:
        self._whitening = whiten(images)
        x = images[0].double()
        mixture, labels = _deal(x)
        self._parts = [
            self._part(x[labels == k], mixture.means[k], mixture.covariances[k], len(x)) for k in range(len(mixture.weights))
        ]

    @property
    def num_parts(self) -> int:
        """Number of parts."""
        return len(self._parts)

    def _part(self, rows: Tensor, mean: Tensor, covariance: Tensor, total: int) -> _Part:
        eye = torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        return self._made(rows, torch.zeros_like(mean), eye, total)

    def _made(self, rows: Tensor, center: Tensor, matrix: Tensor, total: int) -> _Part:
        estimate = DensityEstimate(self.model, (rows - center) @ matrix, None, self.keys, numpy=False)
        return _Part(math.log(len(rows) / total), center, matrix, estimate)

    def _evaluate_tile(self, y: Tensor) -> tuple[Tensor, Tensor]:
        found = [part.evaluate(y[0].double()) for part in self._parts]
        log_prob, score = (torch.stack(values) for values in zip(*found, strict=True))
        mixed = (log_prob.softmax(0)[..., None] * score).sum(0)
        return log_prob.logsumexp(0)[None] - self._log_normalizer, mixed[None]

    def _evaluate_white(self, white: Tensor) -> tuple[Tensor, Tensor]:
        whitening = self._whitening
        log_prob, score = self._evaluate_tile(whitening.center + torch.linalg.solve(whitening.matrix.mT, white.mT).mT)
        return log_prob - whitening.log_det[:, None], torch.linalg.solve(whitening.matrix, score.mT).mT


class WhitenedPartsEstimate(PartsEstimate):
    """Parts each read in coordinates in which its component of the mixture is a standard normal law.

    An estimate from few rows does not trust correlations of its own (:func:`whiten <disco_samplers.model.whitening.whiten>`);
    those of a mixture that fits may be trusted. A part of less than 5 (d + 1) rows is read as it is.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)) @ torch.diag(10.0 ** torch.arange(-2, 3))
        >>> WhitenedPartsEstimate(DiScoFormer.from_pretrained(), x, numpy=False).score(x).shape
        torch.Size([60, 5])
    """

    def _part(self, rows: Tensor, mean: Tensor, covariance: Tensor, total: int) -> _Part:
        if len(rows) < _SHEAR * (len(mean) + 1):
            return super()._part(rows, mean, covariance, total)
        deviation = covariance.diagonal().sqrt()
        values, vectors = torch.linalg.eigh(covariance / deviation[:, None] / deviation)
        # The root that stays close to the axes, for a network that sees them.
        root = vectors * values.clamp_min(torch.finfo(values.dtype).eps).rsqrt() @ vectors.mT
        return self._made(rows, mean, root / deviation[:, None], total)


def _deal(x: Tensor) -> tuple[GaussianMixture, Tensor]:
    """A mixture, and for each row (n, d) the component it falls in, such that each gets enough rows to have a shape."""
    n, d = x.shape
    generator = torch.Generator().manual_seed(_SEED)
    mixture = fit_mixture(x[torch.randperm(n, generator=generator, device=generator.device)[:_FITTED].to(x.device)], seed=_SEED)
    while True:
        labels = torch.multinomial(mixture.responsibilities(x).cpu(), 1, generator=generator)[:, 0].to(x.device)
        count = len(mixture.weights)
        rows = [len(x[labels == k].unique(dim=0)) for k in range(count)]
        least = rows.index(min(rows))
        if rows[least] >= _SHAPE * (d + 1) or count == 1:
            return mixture, labels
        kept = [k for k in range(count) if k != least]
        mixture = GaussianMixture(mixture.weights[kept], mixture.means[kept], mixture.covariances[kept])
