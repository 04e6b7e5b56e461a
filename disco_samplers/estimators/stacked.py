"""The estimator that shares its density with a mixture of Gaussians, where rows that neither saw are likelier so."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.estimators.base import Estimator, check_single, device_of
from disco_samplers.estimators.judge import both_improve, mean
from disco_samplers.estimators.readings import Kind
from disco_samplers.estimators.trial import Trial
from disco_samplers.model import Network, whiten
from disco_samplers.reference import GaussianMixture

_CLEAR = 1.0
"""Standard errors by which density or score must get better."""

_LEAST = 0.01
"""A smaller share changes nothing that could be seen."""

_HALVINGS = 40
"""Of the interval in which the share is sought."""


class StackedEstimator(Estimator):
    r"""A density that shares with a mixture of Gaussians g.

    .. math:: f(x) = \hat f(x) + e^c g(x), \qquad
        s(x) = \frac{\hat f(x)\, \hat s(x) + e^c g(x)\, \nabla \log g(x)}{f(x)}

    Its integral is :math:`Z + e^c`, with Z that of :math:`\hat f`: the mixture's share w of it is had with
    :math:`c = \log Z + \log \frac{w}{1 - w}`.

    Arguments:
        own: an estimator of the samples, whose density is :math:`\hat f` and whose score :math:`\hat s`.
        samples: (n, d), without constant columns.
        mixture: g.
        log_scale: c.
        counts: (n,), how many independent draws each row is worth.

    Raises:
        ValueError: if samples are of a batch.

    References:
        Smyth, Wolpert, *Linearly combining density estimators via stacking*, Machine Learning 1999.

    Example:
        >>> from disco_samplers.estimators import NetworkEstimator, fit_mixture, shipped_network
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> g = fit_mixture(x)
        >>> nearly = StackedEstimator(NetworkEstimator(shipped_network("axes"), x), x, g, log_scale=20.0)
        >>> torch.allclose(nearly.score(x.double()), g.score(x.double()), atol=1e-5)
        True
    """

    @torch.inference_mode(False)  # or what is made of it could not be differentiated
    def __init__(
        self, own: Any, samples: Tensor, mixture: GaussianMixture, log_scale: float, counts: Tensor | None = None
    ) -> None:
        check_single(samples, "sharing a density with a mixture")
        self._own, self.samples, self.counts = own, samples, counts
        self._network, self.keys = own.core._network, own.core.keys
        self.mixture, self.log_scale = mixture, log_scale
        with torch.no_grad(), full_precision(samples.device):
            self.whitening = whiten(samples[None], None if counts is None else counts[None])

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
        own = self._own.with_network(network)
        return StackedEstimator(own, self.samples.to(device), mixture, self.log_scale, counts)


def mixture_share(trial: Trial, kind: Kind) -> tuple[float, Tensor]:
    r"""The share w of a density that a mixture of Gaussians should have, and the nats (n,) by which each row is then likelier.

    .. math:: \hat w = \arg\max_w \sum_i \log\big((1 - w) \hat f(x_i) / Z + w\, g(x_i)\big)

    over rows that neither saw. It is 0 unless neither log-density nor the criterion of score matching gets worse on the mean
    over these rows, and one gets better by a standard error.

    Arguments:
        trial: of the rows, in which the way to read them was judged.
        kind: that way.

    Raises:
        TimeoutError: past the trial's deadline.
    """
    other, slopes = trial.of_mixtures()
    log_prob = torch.stack([-trial.losses[kind], other], 1)
    share = _likeliest(log_prob[:, 1] - log_prob[:, 0], trial.worth)
    if share < _LEAST:
        return 0.0, torch.zeros_like(other)
    trial.check(trial.cost_of_slopes)
    together, alone = _shared(trial.slopes(kind), slopes, log_prob, share), trial.judged(kind)
    if not both_improve(together, alone, _CLEAR, trial.worth):
        return 0.0, torch.zeros_like(other)
    return share, (alone - together)[:, 1]


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
