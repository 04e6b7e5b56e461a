"""The normaliser of an estimate's density, by importance sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from disco_samplers._arrays import check_count, check_generator
from disco_samplers.reference.kde import KDE
from disco_samplers.reference.student_t import StudentT

if TYPE_CHECKING:
    from disco_samplers.estimate import DensityEstimate

MAX_DIM = 20
"""Beyond this many dimensions no proposal made from the samples covers the estimate."""

_CENTERS = 1024
_WIDE = 0.25


class LogNormalizer(NamedTuple):
    """The log of the density's integral, in nats, and its standard error."""

    value: float
    standard_error: float


def log_normalizer(
    estimate: DensityEstimate, *, num_samples: int = 4096, generator: torch.Generator | None = None
) -> LogNormalizer:
    r"""Estimates the integral of an estimate's density by importance sampling.

    .. math:: Z = \int \hat f(y)\,dy \approx \frac1N \sum_i \frac{\hat f(y_i)}{q(y_i)}, \qquad y_i \sim q

    The proposal q, in whitened coordinates, is a kernel density estimate of up to 1024 of the samples with the bandwidth of
    highest leave-one-out likelihood, and for a quarter a Student-t with three degrees of freedom, which keeps the weights
    bounded in the tails.

    Arguments:
        estimate: of one data set, in at most 20 dimensions.
        num_samples: draws from the proposal.
        generator: source of randomness, on the estimate's device.

    Returns:
        log Z and its standard error (delta method), in nats.

    Raises:
        ValueError: if the estimate is of a batch or of more than 20 dimensions, or ``num_samples`` is below 100.

    References:
        Hesterberg, *Weighted average importance sampling and defensive mixture distributions*, Technometrics 1995.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        >>> estimate = DiScoFormer.from_pretrained().condition(x)
        >>> abs(log_normalizer(estimate, generator=torch.Generator().manual_seed(1)).value) < 0.2
        True
    """
    check_count("num_samples", num_samples, 100)
    check_generator(generator, estimate.device)
    if estimate.samples.ndim == 3:
        raise ValueError("log_normalizer works on one data set; condition on samples of shape (n, d)")
    if estimate.dim > MAX_DIM:
        raise ValueError(f"log_normalizer works in at most {MAX_DIM} dimensions, this estimate has {estimate.dim}")
    context = estimate.whiten(estimate.samples[None])[0]
    n, d = context.shape
    rows = torch.randperm(n, generator=generator, device=estimate.device)[:_CENTERS]
    center = torch.zeros(d, dtype=context.dtype, device=context.device)
    narrow, wide = KDE(context[rows], "loo"), StudentT(center, torch.eye(d, dtype=context.dtype, device=context.device), 3.0)
    many = round(_WIDE * num_samples)
    z = torch.cat([narrow.draw(num_samples - many, generator), wide.draw(many, generator)])
    log_q = torch.logaddexp(narrow.evaluate(z) + math.log1p(-_WIDE), wide.evaluate(z) + math.log(_WIDE))
    log_weights = estimate.white_log_prob(z[None])[0] - log_q
    log_z = log_weights.logsumexp(0) - math.log(num_samples)
    # The two parts have fixed shares of the draws, which only lowers the variance that this assumes.
    relative = (log_weights - log_z).exp().std() / math.sqrt(num_samples)
    return LogNormalizer(float(log_z), float(relative))
