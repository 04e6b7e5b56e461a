"""The estimator that shares its density with a mixture of Gaussians, where rows that neither saw are likelier so."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.estimators.base import Estimator, check_single, device_of
from disco_samplers.estimators.choosing import Kind, read
from disco_samplers.estimators.crossfit import shuffled
from disco_samplers.estimators.judge import both_improve, criterion, deviation, mean, probes_of
from disco_samplers.estimators.mixture import fit_mixture
from disco_samplers.model import Network, whiten
from disco_samplers.reference import GaussianMixture

_JUDGES = 2048
"""Rows that judge; of more rows so many are held out once, so that both densities are judged at nearly their full size."""

_CLEAR = 1.0
"""Standard errors by which density or score must get better."""

_LEAST = 0.01
"""A smaller share changes nothing that could be seen."""

_FOLDS = 5

_HALVINGS = 40
"""Of the interval in which the share is sought."""


class StackedEstimator(Estimator):
    r"""A density that shares with a mixture of Gaussians g.

    .. math:: f(x) = \hat f(x) + e^c g(x), \qquad
        s(x) = \frac{\hat f(x)\, \hat s(x) + e^c g(x)\, \nabla \log g(x)}{f(x)}

    Its integral is :math:`Z + e^c`, with Z that of :math:`\hat f`: the mixture's share w of it is had with
    :math:`c = \log Z + \log \frac{w}{1 - w}`.

    Arguments:
        network: what reads the samples.
        samples: (n, d), without constant columns.
        kind: how they are read, see :func:`~disco_samplers.estimators.read`.
        mixture: g.
        log_scale: c.
        counts: (n,), as of :class:`NetworkEstimator`.
        keys: as of :class:`NetworkEstimator`.

    Raises:
        ValueError: if samples are of a batch.

    References:
        Smyth, Wolpert, *Linearly combining density estimators via stacking*, Machine Learning 1999.

    Example:
        >>> from disco_samplers.estimators import PLAIN, shipped_network
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> g = fit_mixture(x)
        >>> nearly = StackedEstimator(shipped_network("axes"), x, PLAIN, g, log_scale=20.0)
        >>> torch.allclose(nearly.score(x.double()), g.score(x.double()), atol=1e-5)
        True
    """

    @torch.inference_mode(False)  # or what is made of it could not be differentiated
    def __init__(
        self,
        network: Network,
        samples: Tensor,
        kind: Kind,
        mixture: GaussianMixture,
        log_scale: float,
        counts: Tensor | None = None,
        keys: int | None = None,
    ) -> None:
        check_single(samples, "sharing a density with a mixture")
        self._network, self.samples, self.kind, self.counts, self.keys = network, samples, kind, counts, keys
        self.mixture, self.log_scale = mixture, log_scale
        with torch.no_grad(), full_precision(samples.device):
            self.whitening = whiten(samples[None], None if counts is None else counts[None])
        self._own = read(network, samples, kind, counts=counts, keys=keys)

    def white(self, z: Tensor) -> tuple[Tensor, Tensor]:
        whitening = self.whitening
        y = (whitening.center + torch.linalg.solve(whitening.matrix.mT, z.mT).mT)[0]
        own, own_score = self._own.log_prob_and_score(y)
        other, other_score = self.mixture.evaluate(y) + self.log_scale, self.mixture.evaluate_score(y)
        share = torch.sigmoid(other - own)[:, None]
        score = ((1 - share) * own_score + share * other_score)[None]
        inner = torch.linalg.solve(whitening.matrix, score.mT).mT
        return torch.logaddexp(own, other)[None] - whitening.log_det[:, None], inner

    def with_network(self, network: Network) -> StackedEstimator:
        device = device_of(network)
        g = self.mixture
        mixture = GaussianMixture(g.weights.to(device), g.means.to(device), g.covariances.to(device))
        counts = None if self.counts is None else self.counts.to(device)
        return StackedEstimator(network, self.samples.to(device), self.kind, mixture, self.log_scale, counts, self.keys)


def mixture_share(
    network: Network,
    samples: Tensor,
    kind: Kind,
    log_z: float,
    *,
    counts: Tensor | None = None,
    blocks: Tensor | None = None,
    keys: int | None,
    seed: int,
) -> float:
    r"""The share w of a density that a mixture of Gaussians should have, by rows that neither saw; 0 if none.

    .. math:: \hat w = \arg\max_w \sum_i \log\big((1 - w) \hat f(x_i) / Z + w\, g(x_i)\big)

    It is 0 unless neither log-density nor the criterion of score matching gets worse on the mean over these rows, and one gets
    better by a standard error.

    Arguments:
        network: what reads the samples.
        samples: (n, d), without constant columns, d at most 20.
        kind: how they are read.
        log_z: log Z, the log of the integral of what is read off them.
        counts: (n,), how many independent draws each row is worth.
        blocks: (n,), rows of a block are held out together.
        keys: as of :class:`NetworkEstimator`.
        seed: of what is held out.
    """
    generator = torch.Generator().manual_seed(seed)
    order = shuffled(len(samples), generator, blocks, samples.device)
    folds = order.tensor_split(_FOLDS) if len(samples) <= _JUDGES else (order[:_JUDGES],)
    fits, logs = [], []
    for held in folds:
        seen = torch.ones(len(samples), dtype=torch.bool, device=samples.device)
        seen[held] = False
        worth = None if counts is None else counts[seen]
        fitted = read(network, samples[seen], kind, counts=worth, keys=keys)
        mixture = fit_mixture(samples[seen], seed=seed, counts=worth)
        fits.append((fitted, mixture))
        with torch.no_grad():
            rows = samples[held]
            logs.append(torch.stack([fitted.log_prob(rows).double() - log_z, mixture.evaluate(rows.double())], 1))
    weigh = None if counts is None else counts[torch.cat(folds)]
    log_prob = torch.cat(logs)
    share = _likeliest(log_prob[:, 1] - log_prob[:, 0], weigh)
    if share < _LEAST:
        return 0.0
    d, scale = samples.shape[1], deviation(samples, counts)
    probes = probes_of(len(samples), d, generator).to(samples)
    judged = []
    for pair, held in zip(fits, folds, strict=True):
        judged.append(torch.stack([_judged(one, samples[held], probes[held], scale) for one in pair], 1))
    own, other = torch.cat(judged).unbind(1)
    together = _shared(own, other, log_prob, share)
    alone = torch.stack([own[:, 0], -log_prob[:, 0]], 1)
    return share if both_improve(together, alone, _CLEAR, weigh) else 0.0


def _judged(estimator: Any, x: Tensor, probes: Tensor, scale: Tensor) -> Tensor:
    """The criterion at points (m, d), and score and gradient of the log-density in units of the scale: (m, 1 + 2 d)."""
    loss = criterion(estimator, x, probes, scale)
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        density, score = estimator.log_prob_and_score(x)
        (gradient,) = torch.autograd.grad(density.sum(), x)  # the network's is not quite its score
    return torch.cat([loss[:, None], score.detach() * scale, gradient * scale], 1).double()


def _likeliest(log_ratio: Tensor, counts: Tensor | None) -> float:
    """The share w of highest likelihood, of the log-ratios (m,) of the densities: where its slope is zero, by halving."""
    low, high = 0.0, 1.0
    ratio = torch.expm1(log_ratio.clamp(-700, 700))
    for _ in range(_HALVINGS):
        w = (low + high) / 2
        low, high = (w, high) if mean(ratio / (1 + w * ratio), counts) > 0 else (low, w)
    return (low + high) / 2


def _shared(own: Tensor, other: Tensor, log_prob: Tensor, share: float) -> Tensor:
    r"""The criterion and minus the log-density of both together, from what is known of each (m, 1 + 2 d) and (m, 2).

    With r the parts of the density and :math:`g_k = \nabla \log f_k`, the divergence is
    :math:`\sum_k r_k \nabla \cdot s_k + r_1 r_2 (g_2 - g_1) \cdot (s_2 - s_1)`.
    """
    logs = log_prob + log_prob.new_tensor([1 - share, share]).log()
    parts, d = logs.softmax(1), (own.shape[1] - 1) // 2
    both = torch.stack([own, other], 1)
    scores, apart = both[..., 1 : 1 + d], other - own
    divergence = (parts * (both[..., 0] - scores.square().sum(-1) / (2 * d))).sum(1)
    divergence = divergence + parts.prod(1) * (apart[:, 1 : 1 + d] * apart[:, 1 + d :]).sum(1) / d
    score = (parts[..., None] * scores).sum(1)
    return torch.stack([divergence + score.square().sum(-1) / (2 * d), -logs.logsumexp(1)], 1)
