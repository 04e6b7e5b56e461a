"""The estimator that shares its density with a mixture of Gaussians, where rows that neither saw are likelier so."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.estimators.base import Estimator, check_single, device_of
from disco_samplers.estimators.choosing import Kind, read
from disco_samplers.estimators.crossfit import crossfit, shuffled
from disco_samplers.estimators.judge import both_improve, criterion_and_log_prob, deviation, mean, probes_of
from disco_samplers.estimators.mixture import fit_mixture
from disco_samplers.model import Network, whiten
from disco_samplers.reference import GaussianMixture

_JUDGES = 2048
"""Rows that judge; of more rows so many are held out once, so that both densities are judged at nearly their full size."""

_CLEAR = 1.0
"""Standard errors by which density or score must get better."""

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
    probes = probes_of(len(samples), samples.shape[1], generator).to(samples)
    rows = torch.cat([samples[:, None], probes], 1)
    scale = deviation(samples, counts)

    def fit(seen: Tensor, worth: Tensor | None = None) -> tuple[Any, GaussianMixture]:
        return read(network, seen, kind, counts=worth, keys=keys), fit_mixture(seen, seed=seed, counts=worth)

    def judge(fitted: tuple[Any, GaussianMixture], part: Tensor) -> Tensor:
        found = [_judged(one, part[:, 0], part[:, 1:], scale) for one in fitted]
        found[0][:, 1] -= log_z
        return torch.stack(found, 1)

    if len(samples) <= _JUDGES:
        judged = crossfit(samples, fit, judge, generator=generator, queries=rows, counts=counts, blocks=blocks)
        weigh = counts
    else:
        order = shuffled(len(samples), generator, blocks, samples.device)
        seen, held = order[_JUDGES:], order[:_JUDGES]
        fitted = fit(samples[seen]) if counts is None else fit(samples[seen], counts[seen])
        judged, weigh = judge(fitted, rows[held]), None if counts is None else counts[held]
    own, other = judged.unbind(1)
    share = _likeliest(other[:, 1] - own[:, 1], weigh)
    together = _shared(own, other, share, samples.shape[1])
    return share if both_improve(together, _pair(own), _CLEAR, weigh) else 0.0


def _judged(estimator: Any, x: Tensor, probes: Tensor, scale: Tensor) -> Tensor:
    """The criterion and the log-density at points (m, d), and score and gradient in units of the scale: (m, 2 + 2 d)."""
    loss, log_prob = criterion_and_log_prob(estimator, x, probes, scale)
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        density, score = estimator.log_prob_and_score(x)
        (gradient,) = torch.autograd.grad(density.sum(), x)  # the network's is not quite its score
    return torch.cat([loss[:, None], log_prob[:, None], score.detach() * scale, gradient * scale], 1).double()


def _pair(judged: Tensor) -> Tensor:
    """The criterion and minus the log-density, which are to fall."""
    return torch.stack([judged[:, 0], -judged[:, 1]], 1)


def _likeliest(log_ratio: Tensor, counts: Tensor | None) -> float:
    """The share w of highest likelihood, of the log-ratios (m,) of the densities: where its slope is zero, by halving."""
    low, high = 0.0, 1.0
    ratio = torch.expm1(log_ratio.clamp(-700, 700))
    for _ in range(_HALVINGS):
        w = (low + high) / 2
        low, high = (w, high) if mean(ratio / (1 + w * ratio), counts) > 0 else (low, w)
    return (low + high) / 2


def _shared(own: Tensor, other: Tensor, share: float, d: int) -> Tensor:
    r"""The criterion and minus the log-density of both together, from what is known of each.

    With r the parts of the density and :math:`g_k = \nabla \log f_k`, the divergence is
    :math:`\sum_k r_k \nabla \cdot s_k + r_1 r_2 (g_2 - g_1) \cdot (s_2 - s_1)`.
    """
    logs = torch.stack([own[:, 1] + math.log1p(-share), other[:, 1] + math.log(share)], 1)
    parts = logs.softmax(1)
    both = torch.stack([own, other], 1)
    scores, apart = both[..., 2 : 2 + d], other - own
    divergence = (parts * (both[..., 0] - scores.square().sum(-1) / (2 * d))).sum(1)
    divergence = divergence + parts.prod(1) * (apart[:, 2 : 2 + d] * apart[:, 2 + d :]).sum(1) / d
    score = (parts[..., None] * scores).sum(1)
    return torch.stack([divergence + score.square().sum(-1) / (2 * d), -logs.logsumexp(1)], 1)
