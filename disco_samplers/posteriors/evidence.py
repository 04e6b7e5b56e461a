"""The evidence of a model from draws of its posterior: bridge sampling, or the reciprocal form where only values are left."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from disco_samplers.arrays import as_tensor, check_callable, check_count, check_finite, device_of
from disco_samplers.convergence import pareto_k
from disco_samplers.draws import Draws
from disco_samplers.estimate import DiScoFormer
from disco_samplers.posteriors.bridge import bridge
from disco_samplers.posteriors.fit import Proposal, check_proposal, fit
from disco_samplers.posteriors.measured import Measured
from disco_samplers.posteriors.reciprocal import reciprocal
from disco_samplers.posteriors.rows import Rows, as_draws, check_enough, real_coordinates, to_real, volume
from disco_samplers.randomness import generator_on
from disco_samplers.types import ArrayLike, LogDensity

_DOUBT, _WRONG = 5.0, 0.5
"""Standard errors from which on draws are said not to follow the log-posterior, and the slope below which it is an error."""

_CLEAR, _LOOSE = 12.0, 1 / 3
"""Of stored values it is an error from so many on where the standard errors themselves are rough, by slow chains or heavy
weights; and only if the values less the fit's scatter by more than this, in units of the fit's own."""

_UNRELATED = 1 / 3
"""Rank correlation of stored values with the fit below which they are of other rows, where values scatter as the fit's do."""

_LARGE_K = 0.7


class EvidenceWarning(UserWarning):
    """An evidence that may be further off than its standard error says."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The log of a model's evidence, in nats; the difference of two is their log Bayes factor.

    Arguments:
        log_z: the log of the integral of the unnormalised posterior.
        standard_error: of ``log_z``.
        pareto_k: of the importance weights; above .7 single points carry the estimate. A bridge's error holds beyond that.
        method: "bridge", or "reciprocal" from stored values.
        proposals: how each half of the draws was fitted, "mixture" or "estimate".
        num_evaluations: points at which the log-posterior was evaluated.

    Example:
        >>> a, b = (Evidence(z, 0.03, 0.1, "bridge", ("mixture",) * 2, 0) for z in (-10.0, -12.0))
        >>> a - b
        log Bayes factor = 2.000 ± 0.042 nats
    """

    log_z: float
    standard_error: float
    pareto_k: float
    method: str
    proposals: tuple[str, ...]
    num_evaluations: int

    def __float__(self) -> float:
        return self.log_z

    def __sub__(self, other: Evidence) -> Measured:
        error = math.hypot(self.standard_error, other.standard_error)
        return Measured("log Bayes factor", self.log_z - other.log_z, error, "nats")

    def __repr__(self) -> str:
        return f"log evidence = {self.log_z:.3f} ± {self.standard_error:.3f} nats ({self.method}, Pareto k {self.pareto_k:.2f})"


def log_evidence(
    draws: ArrayLike | Draws,
    log_posterior: LogDensity | None = None,
    *,
    proposal: Proposal = "auto",
    model: DiScoFormer | None = None,
    num_proposals: int | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Evidence:
    r"""The evidence of a model from draws of its posterior.

    .. math:: Z = \int L(\theta)\, \pi(\theta)\, d\theta

    A normalised density g is fitted to one half of the draws and bridged to the posterior by the other half, and the other way
    round; the mean of the two, whose errors from the draws are one, is log Z
    (:func:`~disco_samplers.posteriors.bridge.bridge` has the formula). g is a Gaussian mixture, or DiScoFormer's estimate in up
    to twenty columns, in which the draws that it did not see are likelier. The halves of chains are their first and last draws;
    correlated and weighted draws count by what they are worth.

    Without a function it takes the log-posterior stored with the draws, ``Draws(..., log_prob=...)``, and the reciprocal form
    in a region of high density (:func:`~disco_samplers.posteriors.reciprocal.reciprocal`). Either must be log-likelihood plus
    log-prior *with all its constants*: what is left out is left out of log Z. Of columns with bounds pass
    ``Draws(..., support=...)``; the log-posterior is still of the columns as they are.

    That the draws follow the log-posterior is checked. With a function, the log-odds of a point to be a draw rather than a
    proposal must rise with log-posterior less log g by a slope of one; with stored values, draws weighted to follow g must have
    its means. From five standard errors on there is a warning, and where it is gross an error.

    Arguments:
        draws: (n, d), or :class:`~disco_samplers.Draws` with chains or weights; ten distinct rows a column at least.
        log_posterior: (m, d) -> (m,) in nats, unnormalised; or a density with ``log_prob``. It gets tensors in float64, and may
            be minus infinity, as a bounded prior is.
        proposal: "mixture" or "estimate" takes one alone; "auto" the better.
        model: DiScoFormer, of all but "mixture"; the shipped one if not given.
        num_proposals: points drawn from g for each half, where there is a function; as many as there are draws in it if not
            given.
        seed: of the randomness; give this or ``generator``.
        generator: source of randomness, on the device of the model or, without one, of the draws.

    Raises:
        TypeError: if draws are not numeric.
        ValueError: if there are too few draws; if there is neither a function nor stored values, or both; if the log-posterior
            is of another shape, NaN, or minus infinity at a draw; if it is clearly not what the draws follow; or if an option
            would have no effect.

    Warns:
        EvidenceWarning: if the draws may not follow the log-posterior, or the Pareto k of the reciprocal form is above .7.

    References:
        Meng, Wong, *Simulating ratios of normalizing constants via a simple identity*, Statistica Sinica 1996; Gronau et al.,
        *A tutorial on bridge sampling*, Journal of Mathematical Psychology 2017 (https://arxiv.org/abs/1703.05984); Vehtari et
        al., *Pareto smoothed importance sampling*, JMLR 2024.

    Example:
        >>> import math
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> found = log_evidence(x, lambda t: -0.5 * t.square().sum(-1), seed=0)
        >>> abs(found.log_z - math.log(2 * math.pi)) < 5 * found.standard_error
        True
    """
    check_proposal(proposal, model)
    if num_proposals is not None:
        check_count("num_proposals", num_proposals, 100)
    known = as_draws(draws, "draws", device_of(model, draws))
    if (log_posterior is None) == (known.log_prob is None):
        raise ValueError(
            "give log_posterior, or draws with log_prob, not both"
            if log_posterior is not None
            else "there is no log-posterior: give the function, or Draws(values, log_prob=...) with its values at the draws"
        )
    if log_posterior is None and num_proposals is not None:
        raise ValueError("num_proposals has no effect on stored values: leave it out, or give the function log_posterior")
    check_callable("log_posterior", getattr(log_posterior, "log_prob", log_posterior), "(m, d) -> (m,)", optional=True)
    check_enough(known, "draws")
    generator = generator_on(known.values.device, seed=seed, generator=generator)
    transform = real_coordinates(known)
    if known.log_prob is not None:
        check_finite(known.log_prob[:, None], "log_prob")
    rows = Rows.of(to_real(known, transform), generator)
    if rows.log_prob is None:
        return _bridged(rows, _Target(log_posterior, transform), proposal, model, num_proposals, generator)
    return _from_values(rows, proposal, model, generator)


class _Target:
    """The log-posterior in real coordinates, checked."""

    def __init__(self, log_posterior: Any, transform: Transform | None) -> None:
        self.function, self.transform = getattr(log_posterior, "log_prob", log_posterior), transform
        self.num_evaluations = 0

    def __call__(self, t: Tensor, *, at_draws: bool) -> Tensor:
        x = t if self.transform is None else self.transform(t)
        values = as_tensor(self.function(x), "log_posterior").detach().double().to(t.device)
        self.num_evaluations += len(t)
        if values.shape != (len(t),):
            raise ValueError(f"log_posterior must give (m,) for points (m, d), gave {tuple(values.shape)} for {tuple(x.shape)}")
        if (torch.isnan(values) | (values == math.inf)).any():
            row = int((torch.isnan(values) | (values == math.inf)).nonzero()[0])
            raise ValueError(f"log_posterior is {float(values[row])} at {[round(v, 4) for v in x[row].tolist()]}")
        if at_draws and (values == -math.inf).any():
            row = int((values == -math.inf).nonzero()[0])
            raise ValueError(
                f"log_posterior is minus infinity at {int((values == -math.inf).sum())} draws, the first at "
                f"{[round(v, 4) for v in x[row].tolist()]}: a prior or likelihood that is zero there is not what they follow"
            )
        return values + volume(self.transform, t)


def _bridged(
    rows: Rows,
    target: _Target,
    proposal: Proposal,
    model: DiScoFormer | None,
    num_proposals: int | None,
    generator: torch.Generator | None,
) -> Evidence:
    values = target(rows.flat, at_draws=True)
    rows = dataclasses.replace(rows, log_prob=values.view(rows.share.shape))
    found, kinds, ratios = [], [], []
    for fitted, others in _halves(rows):
        assert others.log_prob is not None
        g = fit(fitted, others, proposal, model, generator)
        sample = g.sample(num_proposals or others.share.numel(), generator)
        at_sample = target(sample.points, at_draws=False) - g.log_prob(sample.points)
        at_draws = others.log_prob.flatten() - g.log_prob(others.flat)
        found.append(bridge(at_draws, others.share.flatten(), others.size, others.mean, at_sample, sample))
        kinds.append(g.kind)
        ratios.append(at_sample)
    for half in found:
        words = f"log-odds of draws rise with it by {half.slope:.2f}, not by 1"
        _doubt(abs(half.slope - 1) / half.slope_error, half.slope < _WRONG, words)
    k = max(pareto_k(r[torch.isfinite(r)].cpu().numpy()) for r in ratios)
    # How far a fit of one half is off is seen by the other half in the same product of deviations, whichever was fitted.
    of_draws = sum(math.sqrt(half.of_draws) for half in found) / len(found)
    log_z, of_samples = _mean([half.log_z for half in found], [half.of_sample for half in found])
    error = math.hypot(of_draws, of_samples)
    return Evidence(log_z, error, k, "bridge", tuple(kinds), target.num_evaluations)


def _from_values(rows: Rows, proposal: Proposal, model: DiScoFormer | None, generator: torch.Generator | None) -> Evidence:
    found, kinds = [], []
    for fitted, others in _halves(rows):
        assert others.log_prob is not None
        g = fit(fitted, others, proposal, model, generator)
        values, log_g = others.log_prob.flatten(), g.log_prob(others.flat)
        _check_related(values, log_g, others.size)
        found.append(reciprocal(g, fitted, others))
        kinds.append(g.kind)
        spread, own = float((values - log_g).std()), float(log_g.std())
        words = f"means that these values imply are missed by {found[-1].difference:.0f} standard errors"
        rough = found[-1].pareto_k > _LARGE_K or others.size < len(others.flat) / 2
        gross = spread > _LOOSE * own and found[-1].difference > (_CLEAR if rough else _DOUBT)
        _doubt(found[-1].difference, gross, f"{words}, and their scatter about a fit is {spread:.2g} nats")
    k = max(half.pareto_k for half in found)
    if k > _LARGE_K:
        warnings.warn(
            f"the Pareto k of the weights is {k:.2f}: log Z and its error may be off; give log_posterior, or more draws",
            EvidenceWarning,
            stacklevel=3,
        )
    log_z, error = _mean([half.log_z for half in found], [half.variance for half in found])
    return Evidence(log_z, error, k, "reciprocal", tuple(kinds), 0)


def _check_related(values: Tensor, log_g: Tensor, size: float) -> None:
    """Raises ValueError where stored values (n,) are surely not high where the draws, worth ``size``, are dense."""
    ranks = torch.stack([x.argsort().argsort().double() for x in (values, log_g)])
    correlation = float(ranks.corrcoef()[0, 1])
    if float(values.std()) > _LOOSE * float(log_g.std()) and correlation + _DOUBT / math.sqrt(size) < _UNRELATED:
        raise ValueError(
            f"log_prob does not follow the draws: its values have a rank correlation of {correlation:.2f} with their density; "
            "they may be of other rows, or in another order"
        )


def _halves(rows: Rows) -> list[tuple[Rows, Rows]]:
    first, second = (rows.take(times) for times in rows.parts(2))
    return [(first, second), (second, first)]


def _mean(values: list[float], variances: list[float]) -> tuple[float, float]:
    return sum(values) / len(values), math.sqrt(sum(variances)) / len(values)


def _doubt(deviation: float, gross: bool, words: str) -> None:
    """Says that draws do not follow the log-posterior: an error where it is gross, else a warning."""
    if not deviation > _DOUBT:
        return
    if gross:
        raise ValueError(
            f"the draws do not follow the log-posterior ({words}): it lacks a term (the prior, a Jacobian), has another "
            "temperature, or is of other parameters or of their order"
        )
    warnings.warn(
        f"the draws may not follow the log-posterior ({words}): a term that it lacks, chains that have not converged, or, of "
        "stored values, a fit that is poor, as of a funnel: pass the function log_posterior where there is one",
        EvidenceWarning,
        stacklevel=4,
    )
