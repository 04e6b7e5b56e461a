"""The normaliser of an estimator's density by importance sampling, and the estimator that takes it off."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.arrays import check_count
from disco_samplers.estimators.base import check_single, draw_rows
from disco_samplers.estimators.wrapper import Wrapper
from disco_samplers.randomness import generator_on
from disco_samplers.reference import KDE, StudentT

MAX_DIM = 20
"""Beyond this many dimensions no proposal made from the samples covers the estimate."""

_CENTERS, _FEWEST = 1024, 16
_WIDE = 0.25
_TAIL = 1.0
"""Degrees of freedom of the wide part: no estimate has a heavier tail than a Cauchy law (:mod:`.reach`)."""


class LogNormalizer(NamedTuple):
    """The log of the density's integral, in nats, and its standard error."""

    value: float
    standard_error: float


class NormalizedEstimator(Wrapper):
    """An estimator less the log of its density's integral.

    Arguments:
        base: an estimator.
        log_z: the log of the integral, in nats.
    """

    def __init__(self, base: Any, log_z: float) -> None:
        super().__init__(base)
        self.log_z = log_z

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density, normalised, and score at points."""
        log_prob, score = self.base.log_prob_and_score(points)
        return log_prob - self.log_z, score

    def log_prob(self, points: Tensor) -> Tensor:
        """The log-density alone."""
        log_prob: Tensor = self.base.log_prob(points) - self.log_z
        return log_prob

    def score(self, points: Tensor) -> Tensor:
        """The score alone."""
        score: Tensor = self.base.score(points)
        return score

    def white_log_prob(self, z: Tensor) -> Tensor:
        """Log-density, normalised, in the core's whitened coordinates."""
        log_prob: Tensor = self.base.white_log_prob(z) - self.log_z
        return log_prob

    def with_base(self, base: Any) -> NormalizedEstimator:
        """The same constant taken off another estimator."""
        return NormalizedEstimator(base, self.log_z)


def unnormalized(estimator: Any) -> Any:
    """An estimator without the constants that bring it to integrate to one."""
    while isinstance(estimator, NormalizedEstimator):
        estimator = estimator.base
    return estimator


def log_normalizer(
    estimator: Any, *, num_samples: int = 4096, seed: int | None = None, generator: torch.Generator | None = None
) -> LogNormalizer:
    r"""Estimates the integral of an estimator's density by importance sampling.

    .. math:: Z = \int \hat f(y)\,dy \approx \frac1N \sum_i \frac{\hat f(y_i)}{q(y_i)}, \qquad y_i \sim q

    The proposal q, in whitened coordinates, is a kernel density estimate of up to 1024 of the samples with the bandwidth of
    highest leave-one-out likelihood, and for a quarter a Cauchy law, which keeps the weights bounded in the tails.

    Arguments:
        estimator: of one data set, in at most 20 dimensions.
        num_samples: draws from the proposal.
        seed: of the randomness; give this or ``generator``.
        generator: source of randomness, on the samples' device.

    Returns:
        log Z and its standard error (delta method), in nats.

    Raises:
        ValueError: if the estimator is of a batch or of more than 20 dimensions, or ``num_samples`` is below 100.

    References:
        Hesterberg, *Weighted average importance sampling and defensive mixture distributions*, Technometrics 1995.

    Example:
        >>> from disco_samplers.estimators import NetworkEstimator, shipped_network
        >>> x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        >>> estimator = NetworkEstimator(shipped_network("axes"), x)
        >>> abs(log_normalizer(estimator, seed=1).value) < 0.2
        True
    """
    check_count("num_samples", num_samples, 100)
    samples = estimator.core.samples
    check_single(samples, "log_normalizer")
    if samples.shape[-1] > MAX_DIM:
        raise ValueError(f"log_normalizer works in at most {MAX_DIM} dimensions, this estimate has {samples.shape[-1]}")
    generator = generator_on(samples.device, seed=seed, generator=generator)
    context = estimator.core.whiten(samples[None])[0]
    d = context.shape[1]
    counts = estimator.core.counts
    # As many as the rows are worth, so that none vouches for its copy or for its neighbour in a chain.
    centers = _CENTERS if counts is None else min(_CENTERS, max(_FEWEST, round(float(counts.sum()))))
    rows = draw_rows(samples, counts, centers, generator, replacement=False)
    center = torch.zeros(d, dtype=context.dtype, device=context.device)
    narrow, wide = KDE(context[rows], "loo"), StudentT(center, torch.eye(d, dtype=context.dtype, device=context.device), _TAIL)
    many = round(_WIDE * num_samples)
    z = torch.cat([narrow.draw(num_samples - many, generator), wide.draw(many, generator)])
    log_q = torch.logaddexp(narrow.evaluate(z) + math.log1p(-_WIDE), wide.evaluate(z) + math.log(_WIDE))
    log_weights = estimator.white_log_prob(z[None])[0] - log_q
    log_z = log_weights.logsumexp(0) - math.log(num_samples)
    # The two parts have fixed shares of the draws, which only lowers the variance that this assumes.
    relative = (log_weights - log_z).exp().std() / math.sqrt(num_samples)
    return LogNormalizer(float(log_z), float(relative))
