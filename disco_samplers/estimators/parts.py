"""The estimator of samples taken in parts: one of the rows of each component of a mixture."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.estimators.base import Estimator, check_single, device_of
from disco_samplers.estimators.mixture import fit_mixture
from disco_samplers.estimators.network import NetworkEstimator
from disco_samplers.estimators.reach import Reach
from disco_samplers.estimators.transformed import TransformedEstimator
from disco_samplers.estimators.transforms import LinearTransform
from disco_samplers.model import Network, whiten
from disco_samplers.reference import GaussianMixture

_SHAPE = 2
_SHEAR = 5
"""Rows for each of d + 1 from which on a part is a sample of its own, and its covariance may be trusted."""

_SEED = 0
"""Of the parts that rows fall in: an estimate of the same samples is the same estimate."""


class Part(NamedTuple):
    """The estimator of a part's rows, and the log of its share of all rows."""

    log_share: float
    estimator: Any


class PartsEstimator(Estimator):
    r"""A density estimated in parts, each a sample of its own.

    With :math:`r_k(x) \ge 0` and :math:`\sum_k r_k = 1` every density is a mixture of the densities of its parts,

    .. math:: f(x) = \sum_k \pi_k f_k(x), \qquad \pi_k f_k = r_k f, \qquad
        s(x) = \frac{\sum_k \pi_k f_k(x)\, s_k(x)}{\sum_k \pi_k f_k(x)},

    whatever the :math:`r_k` are. Here they are the responsibilities of a mixture of Gaussians (:func:`fit_mixture
    <disco_samplers.estimators.fit_mixture>`), so that parts are simpler than the whole: long clusters in different directions,
    or a cluster among outliers. Each row falls in part k with probability :math:`r_k(x_i)` and is then a draw of :math:`f_k`.
    :func:`~disco_samplers.estimators.choose` takes it where held-out rows are likelier so.

    Arguments:
        network: what reads the parts.
        samples: (n, d), without constant columns.
        keys: as of :class:`NetworkEstimator`.
        counts: (n,), as of :class:`NetworkEstimator`.
        mixture: of Gaussians, fitted to the samples; found if not given.

    Raises:
        ValueError: if samples are of a batch.

    Example:
        >>> from disco_samplers.estimators import shipped_network
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> x[:200] = 8 + x[:200] * torch.tensor([1.0, 0.01])  # a flat cluster beside a round one
        >>> len(PartsEstimator(shipped_network("axes"), x).parts)
        2
    """

    @torch.inference_mode(False)  # or what is made of it could not be differentiated
    def __init__(
        self,
        network: Network,
        samples: Tensor,
        keys: int | None = None,
        counts: Tensor | None = None,
        *,
        mixture: GaussianMixture | None = None,
    ) -> None:
        check_single(samples, "reading rows in parts")
        self._network, self.samples, self.keys, self.counts = network, samples, keys, counts
        with torch.no_grad(), full_precision(samples.device):
            self.whitening = whiten(samples[None], None if counts is None else counts[None])
            self._reach = Reach.of(self.whiten(samples[None]), None if counts is None else counts[None])
            x = samples.double()
            mixture, labels = _deal(mixture or fit_mixture(x, counts=counts), x, counts)
        worth = x.new_ones(len(x)) if counts is None else counts
        self.parts: list[Part] = []
        for k in range(len(mixture.weights)):
            own = labels == k
            counted = None if counts is None else counts[own]
            estimator = self._read(x[own], counted, mixture.means[k], mixture.covariances[k])
            self.parts.append(Part(math.log(float(worth[own].sum()) / float(worth.sum())), estimator))

    def _read(self, rows: Tensor, counts: Tensor | None, mean: Tensor, covariance: Tensor) -> Any:
        return NetworkEstimator(self._network, rows, counts, self.keys)

    def white(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._reach.continued(z, self._asked)

    def _asked(self, z: Tensor) -> tuple[Tensor, Tensor]:
        whitening = self.whitening
        y = (whitening.center + torch.linalg.solve(whitening.matrix.mT, z.mT).mT)[0]
        found = [part.estimator.log_prob_and_score(y) for part in self.parts]
        log_prob = torch.stack([f[0] + part.log_share for f, part in zip(found, self.parts, strict=True)])
        score = (log_prob.softmax(0)[..., None] * torch.stack([f[1] for f in found])).sum(0)[None]
        inner = torch.linalg.solve(whitening.matrix, score.mT).mT
        return log_prob.logsumexp(0)[None] - whitening.log_det[:, None], inner

    def with_network(self, network: Network) -> PartsEstimator:
        device = device_of(network)
        return type(self)(network, self.samples.to(device), self.keys, None if self.counts is None else self.counts.to(device))


class WhitenedPartsEstimator(PartsEstimator):
    """Parts each read in coordinates in which its component of the mixture is a standard normal law.

    An estimate from few rows does not trust correlations of its own (:func:`whiten <disco_samplers.model.whiten>`);
    those of a mixture that fits may be trusted. A part of less than 5 (d + 1) rows is read as it is.

    Example:
        >>> from disco_samplers.estimators import shipped_network
        >>> x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)) @ torch.diag(10.0 ** torch.arange(-2, 3))
        >>> WhitenedPartsEstimator(shipped_network("axes"), x).score(x).shape
        torch.Size([60, 5])
    """

    def _read(self, rows: Tensor, counts: Tensor | None, mean: Tensor, covariance: Tensor) -> Any:
        if (len(rows) if counts is None else float(counts.sum())) < _SHEAR * (len(mean) + 1):
            return super()._read(rows, counts, mean, covariance)
        deviation = covariance.diagonal().sqrt()
        values, vectors = torch.linalg.eigh(covariance / deviation[:, None] / deviation)
        # The root that stays close to the axes, for a network that sees them.
        root = vectors * values.clamp_min(torch.finfo(values.dtype).eps).rsqrt() @ vectors.mT
        own = LinearTransform(mean, root / deviation[:, None])
        return TransformedEstimator(NetworkEstimator(self._network, own(rows), counts, self.keys), own, validate_args=False)


def _deal(mixture: GaussianMixture, x: Tensor, counts: Tensor | None) -> tuple[GaussianMixture, Tensor]:
    """What is left of a mixture, and for each row (n, d) its component, where each is to get enough rows to have a shape."""
    d = x.shape[1]
    generator = torch.Generator().manual_seed(_SEED)
    while True:
        labels = torch.multinomial(mixture.responsibilities(x).cpu(), 1, generator=generator)[:, 0].to(x.device)
        count = len(mixture.weights)
        rows: list[float] = [len(x[labels == k].unique(dim=0)) for k in range(count)]
        if counts is not None:
            rows = [min(rows[k], float(counts[labels == k].sum())) for k in range(count)]
        least = rows.index(min(rows))
        if rows[least] >= _SHAPE * (d + 1) or count == 1:
            return mixture, labels
        kept = [k for k in range(count) if k != least]
        mixture = GaussianMixture(mixture.weights[kept], mixture.means[kept], mixture.covariances[kept])
