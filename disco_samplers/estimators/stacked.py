"""The estimator whose density is a mixture of several, by the shares that make rows likeliest which none of them saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.estimators.base import Estimator, check_single, device_of
from disco_samplers.estimators.judge import mean
from disco_samplers.estimators.readings import MIXTURE, Kind
from disco_samplers.estimators.trial import Trial
from disco_samplers.model import Network, whiten
from disco_samplers.reference import GaussianMixture

SHARING = 3
"""Densities that share one, for every answer asks them all. On laws of our own more of them gained a hundredth."""

_LEAST = 0.05
"""A smaller share is given to the others."""

_ROUNDS, _LITTLE = 300, 1e-12
"""Of expectation maximisation; no share falls below the second, or its logarithm would be none."""

_LOWEST = -1e5
"""What a log-density counts as, at least: a row that one way cannot explain, another may."""


class StackedEstimator(Estimator):
    r"""A density that several share.

    .. math:: f(x) = \sum_k e^{c_k} f_k(x), \qquad s(x) = \frac{1}{f(x)} \sum_k e^{c_k} f_k(x)\, s_k(x)

    With :math:`c_k = \log w_k - \log Z_k`, Z_k the integral of :math:`f_k`, it integrates to one and :math:`f_k` has the
    share w_k.

    Arguments:
        parts: estimators of the samples, and at most some mixtures of Gaussians; the first is an estimator.
        log_scales: c, a number for each.
        samples: (n, d), without constant columns.
        counts: (n,), how many independent draws each row is worth.

    Raises:
        ValueError: if samples are of a batch.

    References:
        Smyth, Wolpert, *Linearly combining density estimators via stacking*, Machine Learning 1999.

    Example:
        >>> from disco_samplers.estimators import NetworkEstimator, fit_mixture, shipped_network
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> g = fit_mixture(x)
        >>> nearly = StackedEstimator([NetworkEstimator(shipped_network("axes"), x), g], [0.0, 20.0], x)
        >>> torch.allclose(nearly.score(x.double()), g.score(x.double()), atol=1e-5)
        True
    """

    @torch.inference_mode(False)  # or what is made of it could not be differentiated
    def __init__(
        self, parts: Sequence[Any], log_scales: Sequence[float], samples: Tensor, counts: Tensor | None = None
    ) -> None:
        check_single(samples, "sharing a density")
        self.parts, self.log_scales = list(parts), list(log_scales)
        self.samples, self.counts = samples, counts
        self._network, self.keys = parts[0].core._network, parts[0].core.keys
        with torch.no_grad(), full_precision(samples.device):
            self.whitening = whiten(samples[None], None if counts is None else counts[None])

    def white(self, z: Tensor) -> tuple[Tensor, Tensor]:
        whitening = self.whitening
        y = (whitening.center + torch.linalg.solve(whitening.matrix.mT, z.mT).mT)[0]
        found = [_evaluated(part, y) for part in self.parts]
        logs = torch.stack([log_prob + scale for (log_prob, _), scale in zip(found, self.log_scales, strict=True)], -1)
        score = (logs.softmax(-1)[:, None] * torch.stack([part for _, part in found], -1)).sum(-1)
        inner = torch.linalg.solve(whitening.matrix, score[None].mT).mT
        return logs.logsumexp(-1)[None] - whitening.log_det[:, None], inner

    def with_network(self, network: Network) -> StackedEstimator:
        device = device_of(network)
        counts = None if self.counts is None else self.counts.to(device)
        parts = [_moved(part, network, device) for part in self.parts]
        return StackedEstimator(parts, self.log_scales, self.samples.to(device), counts)


def stack(trial: Trial, kinds: Sequence[Kind]) -> dict[Kind, float]:
    r"""The shares of a density that ways to read rows should have, the largest first.

    .. math:: \hat w = \arg\max_w \sum_i \log \sum_k w_k f_k(x_i) / Z_k

    over rows that none of them saw. Of these the :data:`SHARING` largest are kept, of a twentieth at least, and fitted again; a
    mixture of Gaussians is never left alone.

    Arguments:
        trial: of the rows, in which the ways were judged.
        kinds: these ways, one of them a network's.
    """
    shares = likeliest(_logs(trial, kinds), trial.worth)
    ranked = sorted(zip(shares.tolist(), kinds, strict=True), key=lambda pair: -pair[0])
    kept = [kind for share, kind in ranked[:SHARING] if share >= _LEAST]
    if kept == [MIXTURE]:
        kept.append(next(kind for _, kind in ranked if kind != MIXTURE))
    again = likeliest(_logs(trial, kept), trial.worth).tolist()
    return dict(sorted(zip(kept, again, strict=True), key=lambda pair: -pair[1]))


def gain(trial: Trial, shares: dict[Kind, float], rival: Kind) -> Tensor:
    """The nats (n,) by which each row that judges is likelier by a density that is shared than when it is read in one way."""
    logs = _logs(trial, list(shares))
    log_shares = torch.tensor(list(shares.values()), dtype=logs.dtype, device=logs.device).log()
    return (logs + log_shares).logsumexp(1) - _logs(trial, [rival])[:, 0]


def likeliest(log_prob: Tensor, counts: Tensor | None) -> Tensor:
    """Shares (k,) of the highest likelihood of rows whose log-densities are (n, k), by rounds of expectation maximisation.

    Example:
        >>> likeliest(torch.tensor([[0.0, -20.0], [0.0, -20.0], [-20.0, 0.0]]), None)
        tensor([0.6667, 0.3333])
    """
    shares = torch.full_like(log_prob[0], 1 / log_prob.shape[1])
    for _ in range(_ROUNDS):
        shares = mean((log_prob + shares.log()).softmax(1), counts).clamp_min(_LITTLE)
    return shares


def _logs(trial: Trial, kinds: Sequence[Kind]) -> Tensor:
    logs = -torch.stack([trial.losses[kind] for kind in kinds], 1)
    return logs.nan_to_num(nan=_LOWEST, neginf=_LOWEST).clamp_min(_LOWEST)


def _evaluated(part: Any, y: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(part, GaussianMixture):
        return part.evaluate(y), part.evaluate_score(y)
    found: tuple[Tensor, Tensor] = part.log_prob_and_score(y)
    return found


def _moved(part: Any, network: Network, device: torch.device) -> Any:
    if isinstance(part, GaussianMixture):
        return GaussianMixture(part.weights.to(device), part.means.to(device), part.covariances.to(device))
    return part.with_network(network)
