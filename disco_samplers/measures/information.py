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

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import check_callable, default_names, device_of
from disco_samplers.draws import Draws, align, inside, mirrored, names_of, supports_of
from disco_samplers.measures.fits import fit_of, plug_in_error
from disco_samplers.measures.quantity import Information, Rows, all_rows, as_draws, known_rows, row_mean
from disco_samplers.measures.ties import check_no_codes, spread, steps_of
from disco_samplers.randomness import seed_of
from disco_samplers.types import ArrayLike, ScoreFunction

_DIFFERENCE = 1e-2
"""Step of the finite differences of a score, in units of a column's standard deviation."""


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
    read = fit_of(options, x, seed, crossfitted=False).read(x)
    variance = read.variance + read.log_z**2 + plug_in_error(x) ** 2
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
    fit = fit_of(options, p, seed, crossfitted=False)
    of_p, of_q = fit.read(p), fit.read(q)
    log_q = of_q.log_prob(p.values)
    if outside := int(log_q.isneginf().sum()):
        raise ValueError(f"{outside} rows of p_samples lie outside the support of q_samples: the divergence of q is infinite")
    rows = of_p.log_prob(p.values) - log_q
    variance = of_p.variance + of_q.variance + (of_p.log_z - of_q.log_z) ** 2 + plug_in_error(p) ** 2 + plug_in_error(q) ** 2
    return row_mean("KL divergence", rows, counts=p.counts, variance=variance)


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
    fit, scale = fit_of(options, x, seed, crossfitted=True), x.values.std(0)
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
    fit, scale = fit_of(options, p, seed, crossfitted=True), p.values.std(0)
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
