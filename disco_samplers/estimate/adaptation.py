"""On-the-fly adaptation: in which ways the samples are read, and what share of the density each of them has."""

from __future__ import annotations

import dataclasses
import math
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.arrays import check_count, check_not_negative, check_positive
from disco_samplers.estimators import (
    FEW,
    MIXTURE,
    PARTS,
    PLAIN,
    SHARING,
    WHITENED_PARTS,
    Kind,
    NetworkEstimator,
    NormalizedEstimator,
    StackedEstimator,
    Trial,
    adapt_heads,
    bounded,
    choose,
    fit_mixture,
    gain,
    log_normalizer,
    mean,
    mean_error,
    read,
    unbounded,
    weigh_again,
)
from disco_samplers.model import Network
from disco_samplers.pictures import plot_adaptation
from disco_samplers.randomness import seed_of

_INTEGRAL = 4096
"""Draws for the integral of each density that is returned."""

_WORDS = {
    "plain": "samples read as they are",
    "independent": "columns read one by one",
    "parts": "clusters read one by one",
    "whitened parts": "clusters read one by one, whitened",
    "radius": "tails drawn in by radius",
    "columns": "tails drawn in by column",
    "mixture": "a Gaussian mixture",
}


@dataclasses.dataclass(frozen=True)
class AdaptationReport:
    """What an adaptation did; printed, it is one line.

    Arguments:
        shares: what share of the density each way to read the samples has, by kind and strength, the largest first: "plain" is
            as the samples came, "independent" takes the columns one by one, "parts" and "whitened parts" the rows of each
            component of a mixture, "radius" and "columns" draw the tails in; "mixture" is a mixture of Gaussians.
        gain: by how many nats rows that were held out are likelier than without adaptation, on the mean.
        standard_error: of the gain.
        seconds: wall time.
        stopped: "budget" or "interrupt" where one of them ended the search.
        tried: minus the cross-fitted, normalised log-density, in nats, of the ways that were tried.
        losses: consistency loss before each gradient step, where steps were asked for.
        criterion: held-out, label-free criterion before the first and after each step; lower is better.
        chosen: number of steps of the returned estimate; 0 where none was clearly better than the start.

    Example:
        >>> report = AdaptationReport({("parts", 0.0): 0.7, ("mixture", 0.0): 0.3}, 0.1234, 0.0123, 2.5)
        >>> print(report)
        adapted in 2.5 s: 70 % clusters read one by one, 30 % a Gaussian mixture; held-out rows likelier by 0.123 ± 0.012 nats
    """

    shares: dict[tuple[str, float], float] = dataclasses.field(default_factory=lambda: {PLAIN: 1.0})
    gain: float = 0.0
    standard_error: float = 0.0
    seconds: float = 0.0
    stopped: str = ""
    tried: dict[tuple[str, float], float] = dataclasses.field(default_factory=dict)
    losses: list[float] = dataclasses.field(default_factory=list)
    criterion: list[float] = dataclasses.field(default_factory=list)
    chosen: int = 0

    @property
    def coordinates(self) -> tuple[str, float]:
        """How a network reads the samples, a kind and a strength: that of the largest share."""
        return next(kind for kind in self.shares if kind != MIXTURE)

    @property
    def mixture(self) -> float:
        """The share of the density that a mixture of Gaussians has."""
        return self.shares.get(MIXTURE, 0.0)

    def __str__(self) -> str:
        ways = [
            f"{100 * share:.0f} % " * (len(self.shares) > 1) + _WORDS[name] + f", strength {strength}" * bool(strength)
            for (name, strength), share in self.shares.items()
        ]
        if self.losses:
            ways.append(f"step {self.chosen} of {len(self.losses)} kept")
        said = f"adapted in {self.seconds:.1f} s: {', '.join(ways)}"
        if list(self.shares) != [PLAIN]:
            said += f"; held-out rows likelier by {self.gain:.3f} ± {self.standard_error:.3f} nats"
        elif not self.chosen:
            tried = self.tried or self.stopped
            why = "nothing tried is better on held-out rows" if tried else "too few rows or too many columns to try more"
            said = f"not adapted, {self.seconds:.1f} s: {why}"
        return f"{said}; ended by the {self.stopped}" if self.stopped else said

    def plot(self, path: str | None = None) -> Any:
        """Draws what was tried and, where steps were made, both curves and the chosen step. Needs matplotlib."""
        return plot_adaptation(self.losses, self.criterion, self.chosen, self.tried, self.shares, path)


@torch.inference_mode(False)
@torch.enable_grad()
def adapt(
    network: Network,
    samples: Tensor,
    *,
    counts: Tensor | None = None,
    blocks: Tensor | None = None,
    keys: int | None,
    plain: NetworkEstimator | None = None,
    num_steps: int = 0,
    learning_rate: float = 1e-4,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    budget: float | None = None,
    normalize: bool = False,
    progress: bool = False,
) -> tuple[Any, AdaptationReport]:
    r"""Shares the density among ways to read the samples, and a mixture of Gaussians, without labels.

    Everything is judged on rows that the context does not hold, cross-fitted over five folds of at most 2048 rows. (This is
    done in up to 20 dimensions, where the density can be brought to integrate to one, from 50 rows on, if no column has the
    same value in more than three quarters of them.)

    Columns in which no dependence is seen (:func:`~disco_samplers.estimators.may_be_independent`) are taken as independent
    (:class:`~disco_samplers.estimators.IndependentEstimator`) if the normalised log-density of the rows is then higher by half
    a standard error of the paired differences.

    Else samples are read as they are; where a mixture of more than one component fits best, in parts
    (:class:`~disco_samplers.estimators.PartsEstimator`, :class:`~disco_samplers.estimators.WhitenedPartsEstimator`); and as a
    whole through :class:`~disco_samplers.estimators.TailTransform`, by radius and by column, of rising strength. Of these and
    of a mixture of Gaussians fitted to the rows up to three share the density
    (:class:`~disco_samplers.estimators.StackedEstimator`), with the shares

    .. math:: \hat w = \arg\max_w \sum_i \log \sum_k w_k f_k(x_i)

    over rows x_i that none of the f_k saw, each normalised. Of more than 2048 rows the shares are found again by what is read
    off nearly all. Nothing is changed where rows are not likelier by half a standard error, and tails drawn in at full
    strength have no share unless rows are likelier so than in all ways before by one.

    With ``num_steps`` gradient steps are made on the network's heads before the last of this, as published, to lower the
    consistency loss between the score S and the gradient of the density head T at context points,

    .. math:: L = \frac{\sum_i |S(x_i) - \nabla T(x_i)|^2}{\sum_i |S(x_i)|^2},

    with a fifth of the rows kept out of the context, since any wrong pair that agrees is consistent. The step at which

    .. math:: \big(\tfrac12 |S|^2 + \nabla \cdot S\big) / d,

    which differs from the squared error of the score by a constant, is lowest there is kept if it beats the start by two
    standard errors. (Here the log-density is no judge: it need not integrate to one.) They seldom gain as much as a few per
    cent, and take as long as all the rest.

    Arguments:
        network: what reads the samples; a copy where steps are made, for they change it.
        samples: (n, d).
        counts: (n,), how many independent draws each row is worth: means over rows, their standard errors and all that is
            fitted to rows are by these.
        blocks: (n,), for successive draws of chains, the block that each is in: blocks are held out as a whole, or neighbours
            would vouch for one another.
        keys: most rows that a row attends to.
        plain: the network's estimator of the samples as they are, if there is one already.
        num_steps: most gradient steps.
        learning_rate: of Adam.
        seed: chooses folds, held-out rows, the rows of each step and the probes of the divergence; 0 if neither is given.
        generator: gives that seed.
        budget: seconds of wall time. What would not end within them is not begun, so that the best found so far comes in time.
        normalize: whether the density is to integrate to one also where the samples are read as they are.
        progress: whether to show a progress bar.

    Returns:
        Its estimator of the samples, and the report. An interrupt ends the search: the best one found so far reads all the
        samples and is normalised as it would be at the end, which takes a moment; a second interrupt is passed on.

    Raises:
        ValueError: if ``learning_rate`` is not positive, ``num_steps``, ``budget`` or ``seed`` is negative, or the samples are
            of a batch.
        KeyboardInterrupt: if interrupted before there is anything to keep.

    References:
        DiScoFormer, section on test-time training (https://arxiv.org/abs/2511.05924); Hyvarinen, *Estimation of
        non-normalized statistical models by score matching*, JMLR 2005, theorem 1, for the held-out criterion.
    """
    check_options(num_steps, learning_rate, budget)
    seed = seed_of(seed=seed, generator=generator)
    started = time.monotonic()
    n = len(samples)
    to: dict[str, Any] = {"counts": counts, "keys": keys}
    by: dict[str, Any] = to | {
        "blocks": blocks,
        "seed": seed,
        "deadline": started + (math.inf if budget is None else budget),
        "reserve": SHARING * n * (min(n, keys or n) + _INTEGRAL),
    }
    losses: list[float] = []
    criterion: list[float] = []
    chosen = 0
    with full_precision(samples.device):
        choice = choose(network, samples, progress=progress, **by)
        shares, trial, stopped = choice.shares, choice.trial, choice.stopped
        try:
            if num_steps and not stopped:
                losses, criterion, chosen = adapt_heads(
                    network,
                    samples,
                    next(kind for kind in shares if kind != MIXTURE),
                    blocks=blocks,
                    num_steps=num_steps,
                    learning_rate=learning_rate,
                    seed=seed,
                    deadline=by["deadline"],
                    progress=progress,
                    **to,
                )
            if trial and not stopped and (n > FEW or chosen):
                again = Trial(network, samples, pace=trial.pace, **by)
                shares = weigh_again(again, shares)
                trial = again if PLAIN in again.losses else trial
        except TimeoutError:
            stopped = "budget"
        except KeyboardInterrupt:
            if list(shares) == [PLAIN] and not chosen:
                raise
            stopped = "interrupt"
        plain = None if chosen else plain
        answer = partial(_answer, network, samples, shares, plain=plain, normalize=normalize, seed=seed, **to)
        try:
            estimator = answer()
        except KeyboardInterrupt:
            if stopped == "interrupt":
                raise
            stopped, estimator = "interrupt", answer()
    likelier, error = 0.0, 0.0
    if trial and list(shares) != [PLAIN]:
        rows = gain(trial, shares, PLAIN)
        likelier, error = float(mean(rows, trial.worth)), float(mean_error(rows, trial.worth))
    seconds = time.monotonic() - started
    return estimator, AdaptationReport(shares, likelier, error, seconds, stopped, choice.tried, losses, criterion, chosen)


def _answer(
    network: Network,
    samples: Tensor,
    shares: dict[Kind, float],
    *,
    counts: Tensor | None,
    keys: int | None,
    plain: NetworkEstimator | None,
    normalize: bool,
    seed: int,
) -> Any:
    """The estimator of all samples, with these shares of the density."""
    fits = any(kind in shares for kind in (PARTS, WHITENED_PARTS, MIXTURE))
    mixture = fit_mixture(samples, counts=counts) if fits else None
    parts: list[Any] = []
    log_scales: list[float] = []
    for kind, share in shares.items():
        if kind == MIXTURE:
            continue
        own = plain if kind == PLAIN and plain else read(network, samples, kind, counts=counts, keys=keys, mixture=mixture)
        if list(shares) == [PLAIN] and not normalize:
            return own
        parts.append(own)
        log_scales.append(math.log(share) - log_normalizer(own, num_samples=_INTEGRAL, seed=seed).value)
    if len(shares) == 1:
        return NormalizedEstimator(parts[0], -log_scales[0])
    if MIXTURE in shares:
        parts.append(mixture)
        log_scales.append(math.log(shares[MIXTURE]))
    return NormalizedEstimator(StackedEstimator(parts, log_scales, samples, counts), 0.0)


def adapt_through(outer: Any, network: Network, samples: Tensor, **options: Any) -> tuple[Any, AdaptationReport]:
    """:func:`adapt` in the coordinates in which an estimator reads the samples (n, d), and as they are where that is None."""
    if outer is None:
        return adapt(network, samples, **options)
    estimator, report = adapt(network, unbounded(outer, samples), **options)
    if isinstance(estimator, NormalizedEstimator):
        return NormalizedEstimator(bounded(outer, estimator.base), estimator.log_z), report
    return bounded(outer, estimator), report


def check_options(num_steps: int, learning_rate: float, budget: float | None) -> None:
    """Raises ValueError or TypeError where an option of an adaptation is out of range."""
    check_count("num_steps", num_steps, 0)
    check_positive("learning_rate", learning_rate)
    if budget is not None:
        check_not_negative("budget", budget)
