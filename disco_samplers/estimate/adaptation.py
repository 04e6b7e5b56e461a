"""On-the-fly adaptation: how the samples are read, then a few gradient steps of a copy of the heads."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.arrays import check_count, check_not_negative, check_positive
from disco_samplers.estimators import (
    PLAIN,
    NormalizedEstimator,
    StackedEstimator,
    adapt_heads,
    bounded,
    choose,
    fit_mixture,
    log_normalizer,
    mixture_share,
    read,
    unbounded,
)
from disco_samplers.model import Network
from disco_samplers.pictures import plot_adaptation
from disco_samplers.randomness import seed_of


@dataclasses.dataclass(frozen=True)
class AdaptationReport:
    """What an adaptation did.

    Arguments:
        losses: consistency loss before each step.
        criterion: held-out, label-free criterion before the first and after each step; lower is better.
        chosen: number of steps of the returned estimate; 0 where none was clearly better than the start.
        seconds: wall time.
        tried: minus the cross-fitted, normalised log-density, in nats, in the coordinates tried, by (kind, strength);
            "plain" is as the samples came, "independent" takes the columns one by one, "parts" and "whitened parts" the
            rows of each component of a mixture.
        coordinates: the chosen ones.
        mixture: the share of the density that a mixture of Gaussians has.
    """

    losses: list[float]
    criterion: list[float]
    chosen: int
    seconds: float
    tried: dict[tuple[str, float], float] = dataclasses.field(default_factory=dict)
    coordinates: tuple[str, float] = PLAIN
    mixture: float = 0.0

    def plot(self, path: str | None = None) -> Any:
        """Draws both curves and the chosen step. Needs matplotlib."""
        return plot_adaptation(self.losses, self.criterion, self.chosen, self.tried, self.coordinates, self.mixture, path)


@torch.inference_mode(False)
@torch.enable_grad()
def adapt(
    network: Network,
    samples: Tensor,
    *,
    counts: Tensor | None = None,
    blocks: Tensor | None = None,
    keys: int | None,
    num_steps: int,
    learning_rate: float = 1e-4,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    max_seconds: float | None = None,
    normalize: bool = False,
    progress: bool = False,
) -> tuple[Any, AdaptationReport]:
    r"""Chooses how samples are read, and adapts a network's heads to them in place, without labels.

    Everything is judged on rows that the context does not hold, cross-fitted over five folds. (How the
    samples are read is chosen in up to 20 dimensions, where the density can be brought to integrate to one, from 50 rows on,
    if no column has the same value in more than three quarters of them.)

    Columns in which no dependence is seen (:func:`~disco_samplers.estimators.may_be_independent`) are taken as independent
    (:class:`~disco_samplers.estimators.IndependentEstimator`) if the normalised log-density of the rows is then higher by half
    a standard error of the paired differences.

    Else, where a mixture of more than one component fits best, rows are taken in parts
    (:class:`~disco_samplers.estimators.PartsEstimator`, :class:`~disco_samplers.estimators.WhitenedPartsEstimator`); and the
    samples as a whole are read through :class:`~disco_samplers.estimators.TailTransform`, by radius and by column, of rising
    strength. Of all these, by which neither the log-density of the rows, normalised, nor the criterion

    .. math:: \big(\tfrac12 |S|^2 + \nabla \cdot S\big) / d,

    which differs from the squared error of the score S by a constant, gets worse on the mean, that of the highest log-density
    is kept. One of the two must also get better by a standard error, or one and a half for parts, but for tail coordinates
    where the samples' fourth moments themselves tell of heavy tails (:func:`~disco_samplers.estimators.heavy_tails`). Those of
    full strength, and whitened parts, must be likelier than all others by a standard error.

    Then gradient steps are made on the network's heads to lower the consistency loss between S and the gradient of the
    density head T at context points,

    .. math:: L = \frac{\sum_i |S(x_i) - \nabla T(x_i)|^2}{\sum_i |S(x_i)|^2},

    with a fifth of the rows kept out of the context, since any wrong pair that agrees is consistent. The step at which the
    criterion is lowest there is kept if it beats the start by two standard errors. (Here the log-density is no judge: it need
    not integrate to one.)

    Last, the density shares with a mixture of Gaussians fitted to the rows
    (:class:`~disco_samplers.estimators.StackedEstimator`) where rows that neither saw are likelier so, or the criterion is
    lower, by a standard error, and neither gets worse: clusters of many rows are the mixture's own kind.

    Arguments:
        network: what reads the samples; a copy, for it is changed.
        samples: (n, d).
        counts: (n,), how many independent draws each row is worth: means over rows, their standard errors and all that is
            fitted to rows are by these.
        blocks: (n,), for successive draws of chains, the block that each is in: blocks are held out as a whole, or neighbours
            would vouch for one another.
        keys: most rows that a row attends to.
        num_steps: most gradient steps.
        learning_rate: of Adam.
        seed: chooses folds, held-out rows, the rows of each step and the probes of the divergence; 0 if neither is given.
        generator: gives that seed.
        max_seconds: stops early when reached, keeping the best step so far.
        normalize: whether the density is to integrate to one also where the samples are read as they are.
        progress: whether to show a progress bar.

    Returns:
        Its estimator of the samples, and the report. An interrupt ends the search: the best one found so far reads all the
        samples and is normalised as it would be at the end, which takes a moment; a second interrupt is passed on.

    Raises:
        ValueError: if ``num_steps`` or ``learning_rate`` is not positive, ``max_seconds`` or ``seed`` is negative, or the
            samples are of a batch.
        KeyboardInterrupt: if interrupted before there is anything to keep.

    References:
        DiScoFormer, section on test-time training (https://arxiv.org/abs/2511.05924); Hyvarinen, *Estimation of
        non-normalized statistical models by score matching*, JMLR 2005, theorem 1, for the held-out criterion.
    """
    check_count("num_steps", num_steps, 1)
    check_options(learning_rate, max_seconds)
    seed = seed_of(seed=seed, generator=generator)
    started = time.monotonic()
    deadline = started + (math.inf if max_seconds is None else max_seconds)
    losses: list[float] = []
    criterion: list[float] = []
    chosen = 0
    with full_precision(samples.device):
        tried, kind, interrupted = choose(
            network, samples, counts=counts, blocks=blocks, keys=keys, seed=seed, deadline=deadline, progress=progress
        )
        if not interrupted:
            losses, criterion, chosen = adapt_heads(
                network,
                samples,
                kind,
                counts=counts,
                blocks=blocks,
                keys=keys,
                num_steps=num_steps,
                learning_rate=learning_rate,
                seed=seed,
                deadline=deadline,
                progress=progress,
            )
        estimator = read(network, samples, kind, counts=counts, keys=keys)
        share = 0.0
        shareable = bool(tried) and not interrupted and time.monotonic() < deadline
        if shareable or kind != PLAIN or normalize:
            log_z = log_normalizer(estimator, seed=seed).value
        if shareable:
            share = mixture_share(network, samples, kind, log_z, counts=counts, blocks=blocks, keys=keys, seed=seed)
        if share:
            scale = log_z + math.log(share) - math.log1p(-share)
            mixture = fit_mixture(samples, seed=seed, counts=counts)
            estimator = StackedEstimator(network, samples, kind, mixture, scale, counts, keys)
            log_z -= math.log1p(-share)
    if share or kind != PLAIN or normalize:
        estimator = NormalizedEstimator(estimator, log_z)
    return estimator, AdaptationReport(losses, criterion, chosen, time.monotonic() - started, tried, kind, share)


def adapt_through(outer: Any, network: Network, samples: Tensor, **options: Any) -> tuple[Any, AdaptationReport]:
    """:func:`adapt` in the coordinates in which an estimator reads the samples (n, d), and as they are where that is None."""
    if outer is None:
        return adapt(network, samples, **options)
    estimator, report = adapt(network, unbounded(outer, samples), **options)
    if isinstance(estimator, NormalizedEstimator):
        return NormalizedEstimator(bounded(outer, estimator.base), estimator.log_z), report
    return bounded(outer, estimator), report


def check_options(learning_rate: float, max_seconds: float | None) -> None:
    """Raises ValueError or TypeError where an option of an adaptation is out of range."""
    check_positive("learning_rate", learning_rate)
    if max_seconds is not None:
        check_not_negative("max_seconds", max_seconds)
