r"""Information quantities of samples, in nats, each with a standard error: entropy, divergences, Fisher information.

A log-density at the rows is that of an estimate which saw them, brought to integrate to one. Two errors oppose each other: a
normalised estimate is too thin on the whole, by its divergence from the truth, and too dense at the rows it saw (Akaike,
*Information theory and an extension of the maximum likelihood principle*, 1973). Scores are cross-fitted. The standard errors
are those of a mean over rows, :math:`\operatorname{sd}(c_i) / \sqrt n` for contributions :math:`c_i`; of
:class:`~disco_samplers.Draws` means go by weights, n is the effective size, and runs of a chain are held out as a whole.

What is made of log-densities is off by more than that. Two parts of it can be told, and are in the standard error. An estimate
whose integral is not one is off somewhere by as many nats, which bringing it to one need not mend at the rows: all that was
taken off an answer as :math:`\log \hat Z` counts as an error, too. And the entropy of a normal law of p parameters fitted to n
draws is off by :math:`p / 2n`; what is not even told that the law is normal is off by no less. Other shapes may add what nobody
can tell. Of scores the estimate's bias is not covered, nor, of a divergence, the sampling of q.

Columns that end, by ``support=`` or as draws know, are read so for entropy and divergence: mass beyond an edge would be missing
within. Mutual information does not need it; where a density does not vanish at an edge its Fisher information is infinite.

No density has draws that tie. Values of a column that do, on a grid or ten of them at most, are drawn uniformly from their
cells: an entropy is that of rounded numbers, of whole numbers the discrete one. Mutual information does not depend on how a
column is measured: columns become normal scores, ties in random order; where all are codes pairs are counted. Codes have no
Fisher information. Ties of whole rows, as of a chain that stood still, are none of these.

The shipped weights of symmetry "rotations" are the default: an affine map of the samples changes the quantities as it should.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from disco_samplers.arrays import check_callable, default_names, device_of
from disco_samplers.draws import Draws, Support, align, inside, mirrored, names_of, supports_of
from disco_samplers.estimate import DiScoFormer, check_model
from disco_samplers.estimators import DEFAULTS, MAX_DIM, JohnsonTransform, crossfit
from disco_samplers.measures.dependence import dependence
from disco_samplers.measures.quantity import Information, Rows, all_rows, as_draws, as_pairs, known_rows, row_mean
from disco_samplers.measures.ties import (
    check_no_codes,
    counted_information,
    entropy_of_codes,
    normal_scores,
    spread,
    steps_of,
)
from disco_samplers.randomness import seed_of
from disco_samplers.types import ArrayLike, ScoreFunction

Marginals = Literal["auto", "johnson", "linear"]

_DIFFERENCE = 1e-2
"""Step of the finite differences of a score, in units of a column's standard deviation."""


@dataclasses.dataclass(frozen=True)
class _Fit:
    """How estimates are made from rows; every function's options beyond its samples."""

    model: DiScoFormer | None = None
    marginals: Marginals = "auto"
    folds: int = 5
    calibrate: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.marginals not in ("auto", "johnson", "linear"):
            raise ValueError(f'marginals must be "auto", "johnson" or "linear", got {self.marginals!r}')

    def settled(self, samples: Rows) -> _Fit:
        """The same with the marginals in which these samples are likelier, as far as integrals can tell."""
        if self.marginals != "auto":
            return self
        if not self.calibrate or samples.values.shape[1] > MAX_DIM:
            return dataclasses.replace(self, marginals="johnson")
        return self.read(samples).fit

    def read(self, samples: Rows) -> _Read:
        """The estimate of samples with its integral, in the marginals in which they are likelier."""
        x, counts = samples.values, samples.counts
        if self.marginals == "auto" and all(samples.supports or [False]):  # no column is left to be tamed
            return dataclasses.replace(self, marginals="linear").read(samples)
        if self.marginals == "auto":
            johnson, linear = (dataclasses.replace(self, marginals=kind) for kind in ("johnson", "linear"))
            if not self.calibrate or x.shape[1] > MAX_DIM:
                return johnson.read(samples)
            reads = (johnson.read(samples), linear.read(samples))
            return max(reads, key=lambda read: row_mean("log-density", read.log_prob(x), counts=counts).value)
        estimate = self.condition(x, counts, samples.supports)
        if not self.calibrate or x.shape[1] > MAX_DIM:
            return _Read(self, estimate, 0.0, 0.0)
        integral = estimate.log_normalizer(seed=self.seed)
        return _Read(self, estimate, integral.value, integral.standard_error**2)

    def condition(self, rows: Tensor, counts: Tensor | None = None, supports: list[Support] | None = None) -> Any:
        assert self.model is not None
        transform = None if self.marginals == "linear" else JohnsonTransform.fit(rows, counts)
        if counts is None:
            return self.model.condition(rows, transform=transform, support=supports)
        draws = Draws(rows, weights=counts)
        size = max(1.0, min(float(counts.sum()), draws.num_distinct))
        return self.model.condition(draws, effective_size=size, transform=transform, support=supports)

    def crossfit(self, x: Rows, evaluate: Callable[[Any, Tensor], Tensor]) -> Tensor:
        return crossfit(x.values, self.condition, evaluate, folds=self.folds, seed=self.seed, counts=x.counts, blocks=x.blocks)


@dataclasses.dataclass(frozen=True)
class _Read:
    """An estimate of rows, the log of its integral, and that log's variance."""

    fit: _Fit
    estimate: Any
    log_z: float
    variance: float

    def log_prob(self, rows: Tensor) -> Tensor:
        log_prob: Tensor = self.estimate.log_prob(rows) - self.log_z
        return log_prob


def _plug_in(rows: Rows) -> float:
    r"""What the entropy of a normal law fitted to so many draws is off by, in nats: :math:`p / 2n`.

    With fewer draws than columns its covariance has rank n, and p is d + n d - n (n - 1) / 2.
    """
    d = rows.values.shape[1]
    worth = float(len(rows.values)) if rows.counts is None else float(rows.counts.sum())
    rank = min(worth, float(d))
    return (d + rank * d - rank * (rank - 1) / 2) / (2 * worth)


def _fit(options: dict[str, Any], x: Rows, seed: int, *, crossfitted: bool) -> _Fit:
    """The options, with the shipped model where none is given."""
    _check_options(options, crossfitted=crossfitted)
    fit = _Fit(seed=seed, **options)
    if fit.model is not None:
        check_model(fit.model)
        return fit
    return dataclasses.replace(
        fit, model=DiScoFormer.from_pretrained(DEFAULTS["information"], map_location=str(x.values.device))
    )


def _check_options(options: dict[str, Any], *, crossfitted: bool) -> None:
    """Raises TypeError where an option is unknown, ValueError where it would be ignored."""
    known = [field.name for field in dataclasses.fields(_Fit) if field.name != "seed"]
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}: the options are {', '.join(known)}")
    if "folds" in options and not crossfitted:
        raise ValueError("folds= is ignored here: only the quantities made of scores are cross-fitted")


def _rows(values: Tensor, steps: Tensor, samples: Any, name: str, support: Any, seed: int) -> Rows:
    """Rows of samples that do not tie, with their supports: cells end where their column does."""
    names = samples.names if isinstance(samples, Draws) else default_names(values.shape[1])
    known = samples.support if isinstance(samples, Draws) else None
    supports = known if support is None else supports_of(support, names, values, known)
    if supports is None or not any(supports):
        return known_rows(spread(values, steps, seed), samples, name)
    spread_out = mirrored(spread(inside(values, supports, names), steps, seed), supports)
    return known_rows(spread_out, samples, name)._replace(supports=supports)


def entropy(
    samples: ArrayLike | Draws,
    *,
    support: Any = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Information:
    r"""Differential entropy :math:`H = -\operatorname{E} \log f` of samples.

    .. math:: \hat H = -\frac1n \sum_i \log \hat f(x_i) + \log \hat Z

    with the integral :math:`\hat Z` of the estimate :math:`\hat f` by importance sampling, in up to 20 columns. Beyond, or
    without ``calibrate``, the model's own offset is taken, which is right on average over what the model was trained on.

    Arguments:
        samples: (n, d), or (n,) for one column; independent draws, or :class:`~disco_samplers.Draws` with weights or chains,
            whose rows then count by what they are worth.
        support: where columns end, as :meth:`DiScoFormer.condition <disco_samplers.DiScoFormer.condition>` takes it; that of
            the draws if not given. On a simplex the density is one of all columns but the last.
        seed: of folds and integrals, 0 if neither is given; give this or ``generator``.
        generator: source of randomness.
        options: ``model`` (the shipped one if not given), ``marginals`` ("johnson" to tame the columns' tails, "linear" to
            leave them as they are, "auto", the default, for those in which the samples are likelier), ``folds`` (5, of the
            quantities made of scores) and ``calibrate`` (True).

    Raises:
        TypeError: if samples is not numeric, or an option is unknown.
        ValueError: if it holds NaN or infinite values, fewer than three rows or no variance; or if ``folds`` is given, which
            only the quantities made of scores heed; or if rows lie outside the support.

    References:
        Cover, Thomas, *Elements of information theory*, eq. 8.1.

    Example:
        >>> import math
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> exact = math.log(2 * math.pi * math.e)
        >>> abs(float(entropy(x)) - exact) < 0.2
        True
    """
    seed = seed_of(seed=seed, generator=generator)
    values = all_rows(samples, "samples", device=device_of(options.get("model"), samples))
    x = _rows(values, steps_of(values), samples, "samples", support, seed)
    read = _fit(options, x, seed, crossfitted=False).read(x)
    variance = read.variance + read.log_z**2 + _plug_in(x) ** 2
    return row_mean("entropy", -read.log_prob(x.values), counts=x.counts, variance=variance)


def kl_divergence(
    p_samples: ArrayLike | Draws,
    q_samples: ArrayLike | Draws,
    *,
    support: Any = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Information:
    r"""Kullback-Leibler divergence of q from p, by samples of both.

    .. math:: \hat D(p \,\|\, q) = \frac1n \sum_i \big[\log \hat p(x_i) - \log \hat q(x_i)\big], \qquad x_i \sim p,

    the log-density of p as in :func:`entropy`.

    Arguments:
        p_samples: (n, d), or (n,), or draws, as for :func:`entropy`.
        q_samples: (m, d), or (m,), or draws; columns with names are matched by them.
        support: of both, as for :func:`entropy`.
        seed: as for :func:`entropy`.
        generator: as for :func:`entropy`.
        options: as for :func:`entropy`.

    Raises:
        TypeError, ValueError: as :func:`entropy`, or if the columns differ in number or names; if rows of p lie outside the
            support of q: the divergence is infinite.

    References:
        Cover, Thomas, *Elements of information theory*, eq. 8.46.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> p, q = torch.randn(300, 1, generator=g), torch.randn(300, 1, generator=g) + 1
        >>> abs(float(kl_divergence(p, q)) - 0.5) < 0.2
        True
    """
    seed = seed_of(seed=seed, generator=generator)
    device = device_of(options.get("model"), p_samples, q_samples)
    q_samples = align(q_samples, "q_samples", names_of(p_samples), "p_samples has")
    of_both = [all_rows(p_samples, "p_samples", device=device)]
    of_both.append(all_rows(q_samples, "q_samples", of_both[0].shape[1], device))
    steps = [steps_of(values) for values in of_both]
    common = torch.where((steps[0] > 0) & (steps[1] > 0), torch.minimum(*steps), torch.maximum(*steps))
    p, q = (
        _rows(values, torch.where(step > 0, common, 0.0), samples, name, support, seed)
        for values, step, samples, name in zip(of_both, steps, (p_samples, q_samples), ("p_samples", "q_samples"), strict=True)
    )
    fit = _fit(options, p, seed, crossfitted=False)
    of_p, of_q = fit.read(p), fit.read(q)
    log_q = of_q.log_prob(p.values)
    if outside := int(log_q.isneginf().sum()):
        raise ValueError(f"{outside} rows of p_samples lie outside the support of q_samples: the divergence of q is infinite")
    rows = of_p.log_prob(p.values) - log_q
    variance = of_p.variance + of_q.variance + (of_p.log_z - of_q.log_z) ** 2 + _plug_in(p) ** 2 + _plug_in(q) ** 2
    return row_mean("KL divergence", rows, counts=p.counts, variance=variance)


def mutual_information(
    x: ArrayLike | Draws,
    y: ArrayLike | Draws,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Information:
    r"""Mutual information of two sets of columns.

    .. math:: I(X; Y) = \operatorname{E} \log \frac{f_{XY}(x, y)}{f_X(x)\, f_Y(y)}

    of the columns' normal scores, which leave it as it is. What a normal law of the same correlations has is known in closed
    form. What is left is found in two ways, in up to twenty columns, or in the most correlated directions of more: by
    estimates, with the rows of one side shuffled as a control, and, where rows are independent and no two are the same, by
    nearest neighbours, with draws of the normal law as a control. The way that finds more is taken, as far as what it finds is
    larger than its error: :func:`~disco_samplers.measures.dependence.dependence` has the formula. The contributions are the
    rows' pointwise mutual information. Dependence that is not linear and is spread over many columns, or local beside many
    columns without any, is found in part only; how far the two ways are from the value is in the standard error, what both
    miss is not.

    Arguments:
        x: (n, d_x), or (n,); independent, or :class:`~disco_samplers.Draws`.
        y: (n, d_y), or (n,), row by row with x: columns of the same draws, so that one of the two tells weights and chains.
        seed: as for :func:`entropy`.
        generator: as for :func:`entropy`.
        options: ``model`` and ``calibrate``, as for :func:`entropy`.

    Raises:
        TypeError, ValueError: as :func:`entropy`, or if the rows differ in number, a side does not vary, or there are fewer
            draws than columns; if ``marginals`` or ``folds`` is given, which are not heeded here.

    References:
        Cover, Thomas, *Elements of information theory*, eq. 8.47; Kraskov, Stogbauer, Grassberger, *Estimating mutual
        information*, Phys. Rev. E 2004, for nearest neighbours; of codes Miller, *Note on the bias of information estimates*,
        1955.

    Example:
        >>> import math
        >>> g = torch.Generator().manual_seed(0)
        >>> x, noise = torch.randn(2, 400, generator=g)
        >>> abs(float(mutual_information(x, x + noise)) - 0.5 * math.log(2)) < 0.15
        True
    """
    _check_options(options, crossfitted=False)
    seed = seed_of(seed=seed, generator=generator)
    device = device_of(options.get("model"), x, y)
    of_x, of_y, known = as_pairs(x, y, device)
    values, columns = torch.cat([of_x, of_y], 1), of_x.shape[1]
    if "marginals" in options:
        raise ValueError("marginals= is ignored here: mutual information is that of normal scores, whatever the marginals")
    if (counted := _counted(of_x, of_y, known, seed)) is not None:
        return counted
    weights = None if known is None else known.weights
    pairs = known_rows(normal_scores(values, seed, weights), known, "x and y")
    fit = _fit(options | {"marginals": "linear"}, pairs, seed, crossfitted=False)
    generator = torch.Generator().manual_seed(seed)
    found = dependence(pairs.columns(0, columns), pairs.columns(columns, values.shape[1]), fit.read, generator)
    rows = found.rows
    # No more than a discrete side can tell.
    share = values.new_full((len(values),), 1 / len(values)) if weights is None else (weights / weights.sum()).to(values)
    most = min(entropy_of_codes(side, share) for side in (of_x, of_y))
    value = row_mean("mutual information", rows, counts=pairs.counts).value
    return row_mean("mutual information", rows - max(0.0, value - most), counts=pairs.counts, variance=found.variance)


def _counted(x: Tensor, y: Tensor, known: Draws | None, seed: int) -> Information | None:
    """Mutual information by counting, where all columns are codes and there are draws enough for each pair; None elsewhere."""
    values = torch.cat([x, y], 1)
    steps = steps_of(values)
    if not (steps > 0).all():
        return None
    counts, share = None, values.new_full((len(x),), 1 / len(x))
    worth = float(len(x))
    if known is not None:
        apart = known_rows(spread(values, steps, seed), known, "x and y").counts
        worth = worth if apart is None else float(apart.sum())
        share = share if known.weights is None else known.weights.to(share)
        counts = share * worth
    found = counted_information(x, y, share, worth)
    return None if found is None else row_mean("mutual information", found[0], counts=counts, variance=found[1])


def fisher_information(
    samples: ArrayLike | Draws,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Information:
    r"""Fisher information of location, :math:`J = \operatorname{E} |\nabla \log f|^2`, the trace of its matrix.

    .. math:: \hat J = \frac1n \sum_i \big[-2\, \nabla \cdot \hat s(x_i) - |\hat s(x_i)|^2\big]
        = J - \operatorname{E} |\hat s - s|^2 + O(n^{-1/2})

    By Stein's identity; its error is quadratic in that of the score, and it comes out low, where the plain mean of
    :math:`|\hat s|^2` would be off to first order. The divergence is by central differences along random signs.

    Arguments:
        samples: (n, d), or (n,), or draws, as for :func:`entropy`.
        seed: as for :func:`entropy`.
        generator: as for :func:`entropy`.
        options: as for :func:`entropy`.

    Raises:
        TypeError, ValueError: as :func:`entropy`, or if a column holds codes.

    References:
        Hyvarinen, *Estimation of non-normalized statistical models by score matching*, JMLR 2005, theorem 1; Hutchinson,
        *A stochastic estimator of the trace of the influence matrix*, 1989.

    Example:
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> abs(float(fisher_information(x)) - 2) < 0.4
        True
    """
    seed = seed_of(seed=seed, generator=generator)
    x = as_draws(samples, "samples", device=device_of(options.get("model"), samples))
    check_no_codes(x.values, "samples")
    fit, scale = _fit(options, x, seed, crossfitted=True), x.values.std(0)
    rows = fit.settled(x).crossfit(x, lambda estimate, part: _stein(estimate.score, part, scale, fit.seed))
    return row_mean("Fisher information", rows, counts=x.counts, unit="per squared unit of length")


def relative_fisher_information(
    p_samples: ArrayLike | Draws,
    q_samples: ArrayLike | Draws | None = None,
    *,
    q_score: ScoreFunction | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Information:
    r"""Relative Fisher information :math:`I(p \,|\, q) = \operatorname{E}_p |\nabla \log p - \nabla \log q|^2`.

    .. math:: \hat I = \frac1n \sum_i \big[-2\, (\nabla \cdot g + s_q \cdot g)(x_i) - |g(x_i)|^2\big], \qquad
        g = \hat s_p - s_q

    By Stein's identity; for an exact :math:`s_q` it is low by :math:`\operatorname{E} |\hat s_p - s_p|^2`, so it may come out
    slightly negative where p = q. It is the rate at which the divergence of p from q falls under the Langevin dynamics of q.

    Arguments:
        p_samples: (n, d), or (n,), or draws, as for :func:`entropy`.
        q_samples: (m, d), or (m,), or draws; give these or ``q_score``; columns with names are matched by them.
        q_score: the score of q, (n, d) -> (n, d), smooth.
        seed: as for :func:`entropy`.
        generator: as for :func:`entropy`.
        options: as for :func:`entropy`.

    Raises:
        TypeError, ValueError: as :func:`entropy`, if a column holds codes, or unless exactly one of ``q_samples`` and
            ``q_score`` is given.

    References:
        Otto, Villani, *Generalization of an inequality by Talagrand and links with the logarithmic Sobolev inequality*, 2000.

    Example:
        >>> x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
        >>> abs(float(relative_fisher_information(x, q_score=lambda y: 1 - y)) - 1) < 0.3
        True
    """
    seed = seed_of(seed=seed, generator=generator)
    if (q_samples is None) == (q_score is None):
        raise ValueError("give either q_samples or q_score")
    check_callable("q_score", q_score, "(n, d) -> (n, d)", optional=True)
    device = device_of(options.get("model"), q_score, p_samples, q_samples)
    p_samples = align(p_samples, "p_samples", names_of(q_score), "q_score has")
    p = as_draws(p_samples, "p_samples", device=device)
    check_no_codes(p.values, "p_samples")
    fit, scale = _fit(options, p, seed, crossfitted=True), p.values.std(0)
    other: Callable[[Tensor], Any] | None = q_score
    if q_samples is not None:
        q_samples = align(q_samples, "q_samples", names_of(p_samples), "p_samples has")
        q = as_draws(q_samples, "q_samples", p.values.shape[1], device)
        check_no_codes(q.values, "q_samples")
        other = fit.settled(q).condition(q.values, q.counts).score
    assert other is not None

    def evaluate(estimate: Any, rows: Tensor) -> Tensor:
        reference = other(rows)
        gap = _stein(lambda y: estimate.score(y) - other(y), rows, scale, fit.seed)
        cross: Tensor = (reference * (estimate.score(rows) - reference)).sum(-1)
        return gap - 2 * cross

    rows = fit.settled(p).crossfit(p, evaluate)
    return row_mean("relative Fisher information", rows, counts=p.counts, unit="per squared unit of length")


def _stein(score: Callable[[Tensor], Tensor], x: Tensor, scale: Tensor, seed: int) -> Tensor:
    """-2 div g - |g|^2 of a field g at rows (m, d), its divergence by central differences along random signs."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, x.shape, generator=generator, device=generator.device).to(x) * 2 - 1
    step = _DIFFERENCE * torch.where(scale > 0, scale, 1.0) * signs
    slope = (score(x + step) - score(x - step)) / (2 * step)
    rows: Tensor = -2 * slope.sum(-1) - score(x).square().sum(-1)
    return rows
