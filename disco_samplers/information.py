r"""Information quantities of samples, in nats, each with a standard error: entropy, divergences, Fisher information.

Densities and scores are cross-fitted: each row is judged by an estimate that did not see it. The standard errors are those of a
mean over rows, :math:`\operatorname{sd}(c_i) / \sqrt n` for contributions :math:`c_i` (with two samples, their root sum of
squares); they do not cover the estimate's own bias.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from disco_samplers._arrays import as_points, as_tensor
from disco_samplers.crossfit import crossfit
from disco_samplers.marginals import JohnsonMarginals, MarginalEstimate
from disco_samplers.model.discoformer import DiScoFormer
from disco_samplers.types import ArrayLike, ScoreFunction

Marginals = Literal["johnson", "linear"]

_KERNEL_TILE = 2**22
"""Kernel matrix entries held at a time."""

_DIFFERENCE = 1e-2
"""Step of the finite differences of a score, in units of a column's standard deviation."""


@dataclasses.dataclass(frozen=True)
class Information:
    """A quantity, its standard error, and what each row contributes to it; ``float()`` gives the value.

    Arguments:
        name: of the quantity.
        value: in ``unit``.
        standard_error: of the mean over rows.
        contributions: (n,), their mean is the value.
        unit: nats, or an inverse squared length for Fisher information.

    Example:
        >>> Information("entropy", 1.25, 0.02, np.zeros(3))
        entropy = 1.250 ± 0.020 nats
    """

    name: str
    value: float
    standard_error: float
    contributions: np.ndarray
    unit: str = "nats"

    def __float__(self) -> float:
        return self.value

    def plot(self, path: str | None = None) -> Any:
        """Draws the rows' contributions with the value and two standard errors to either side. Needs matplotlib."""
        from disco_samplers.plotting import plot_distribution

        ends = (self.value - 2 * self.standard_error, self.value + 2 * self.standard_error)
        label = f"contribution of a row ({self.unit})"
        return plot_distribution(self.contributions, label, {str(self): self.value}, band=ends, path=path)

    def __repr__(self) -> str:
        return f"{self.name} = {self.value:.3f} ± {self.standard_error:.3f} {self.unit}"


@dataclasses.dataclass(frozen=True)
class _Fit:
    """How estimates are made from rows; every function's options beyond its samples."""

    model: DiScoFormer | None = None
    marginals: Marginals = "johnson"
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.marginals not in ("johnson", "linear"):
            raise ValueError(f'marginals must be "johnson" or "linear", got {self.marginals!r}')

    def rows(self, samples: ArrayLike, name: str, dim: int | None = None) -> Tensor:
        """Samples (n, d) in float64; a vector (n,) is one column."""
        x = as_tensor(samples, name)
        x = as_points(x[:, None] if x.ndim == 1 else x, name, dim).detach().double()
        if x.ndim != 2 or len(x) < 3:
            raise ValueError(f"{name} must have shape (n, d) with n >= 3, got {tuple(x.shape)}")
        return x

    def condition(self, rows: Tensor) -> Any:
        model = DiScoFormer.from_pretrained(map_location=str(rows.device)) if self.model is None else self.model
        if self.marginals == "linear":
            return model.condition(rows)
        marginals = JohnsonMarginals.fit(rows)
        return MarginalEstimate(model.condition(marginals(rows)), marginals)

    def crossfit(self, x: Tensor, evaluate: Callable[[Any, Tensor], Tensor]) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return crossfit(x, self.condition, evaluate, folds=self.folds, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """Cross-fitted log-density (n,)."""
        return self.crossfit(x, lambda estimate, rows: estimate.log_prob(rows))


def entropy(samples: ArrayLike, **options: Any) -> Information:
    r"""Differential entropy :math:`H = -\operatorname{E} \log f` of samples.

    .. math:: \hat H = -\frac1n \sum_i \log \hat f_{-k(i)}(x_i)

    The model's log-density is the regression of :math:`\log f` on the samples, so its mean over fresh rows estimates
    :math:`\operatorname{E} \log f` without the divergence by which a plug-in of a normalised density comes out too high.

    Arguments:
        samples: (n, d), or (n,) for one column; independent draws.
        options: ``model`` (the shipped one if not given), ``marginals`` ("johnson", or "linear" to leave columns as they are),
            ``folds`` (5) and ``seed`` (0, of the folds).

    Raises:
        TypeError: if samples is not numeric, or an option is unknown.
        ValueError: if it holds NaN or infinite values, fewer than three rows or no variance.

    References:
        Cover, Thomas, *Elements of information theory*, eq. 8.1.

    Example:
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> exact = math.log(2 * math.pi * math.e)
        >>> abs(float(entropy(x)) - exact) < 0.2
        True
    """
    fit = _Fit(**options)
    return _mean("entropy", -fit.log_prob(fit.rows(samples, "samples")))


def kl_divergence(p_samples: ArrayLike, q_samples: ArrayLike, **options: Any) -> Information:
    r"""Kullback-Leibler divergence of q from p, by samples of both.

    .. math:: \hat D(p \,\|\, q) = \frac1n \sum_i \big[\log \hat p_{-k(i)}(x_i) - \log \hat q(x_i)\big], \qquad x_i \sim p

    Arguments:
        p_samples: (n, d), or (n,).
        q_samples: (m, d), or (m,).
        options: as for :func:`entropy`.

    Raises:
        TypeError, ValueError: as :func:`entropy`, or if the columns differ in number.

    References:
        Cover, Thomas, *Elements of information theory*, eq. 8.46.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> p, q = torch.randn(300, 1, generator=g), torch.randn(300, 1, generator=g) + 1
        >>> abs(float(kl_divergence(p, q)) - 0.5) < 0.2
        True
    """
    fit = _Fit(**options)
    p = fit.rows(p_samples, "p_samples")
    q = fit.rows(q_samples, "q_samples", p.shape[1])
    return _mean("KL divergence", fit.log_prob(p) - fit.condition(q).log_prob(p))


def mutual_information(x: ArrayLike, y: ArrayLike, **options: Any) -> Information:
    r"""Mutual information of two sets of columns.

    .. math:: \hat I(X; Y) = \frac1n \sum_i \log \frac{\hat f_{XY}(x_i, y_i)}{\hat f_X(x_i)\, \hat f_Y(y_i)},

    every estimate cross-fitted in the same folds. The contributions are the rows' pointwise mutual information.

    Arguments:
        x: (n, d_x), or (n,).
        y: (n, d_y), or (n,), row by row with x.
        options: as for :func:`entropy`.

    Raises:
        TypeError, ValueError: as :func:`entropy`, or if the rows differ in number.

    References:
        Cover, Thomas, *Elements of information theory*, eq. 8.47.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> x, noise = torch.randn(2, 400, generator=g)
        >>> abs(float(mutual_information(x, x + noise)) - 0.5 * math.log(2)) < 0.15
        True
    """
    fit = _Fit(**options)
    a, b = fit.rows(x, "x"), fit.rows(y, "y")
    if len(a) != len(b):
        raise ValueError(f"x and y must have the same rows, got {len(a)} and {len(b)}")
    joint = fit.log_prob(torch.cat([a, b], 1))
    return _mean("mutual information", joint - fit.log_prob(a) - fit.log_prob(b))


def fisher_information(samples: ArrayLike, **options: Any) -> Information:
    r"""Fisher information of location, :math:`J = \operatorname{E} |\nabla \log f|^2`, the trace of its matrix.

    .. math:: \hat J = \frac1n \sum_i \big[-2\, \nabla \cdot \hat s(x_i) - |\hat s(x_i)|^2\big]
        = J - \operatorname{E} |\hat s - s|^2 + O(n^{-1/2})

    By Stein's identity; its error is quadratic in that of the score, and it comes out low, where the plain mean of
    :math:`|\hat s|^2` would be off to first order. The divergence is by central differences along random signs.

    Arguments:
        samples: (n, d), or (n,).
        options: as for :func:`entropy`.

    Raises:
        TypeError, ValueError: as :func:`entropy`.

    References:
        Hyvarinen, *Estimation of non-normalized statistical models by score matching*, JMLR 2005, theorem 1; Hutchinson,
        *A stochastic estimator of the trace of the influence matrix*, 1989.

    Example:
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> abs(float(fisher_information(x)) - 2) < 0.4
        True
    """
    fit = _Fit(**options)
    x = fit.rows(samples, "samples")
    rows = fit.crossfit(x, lambda estimate, part: _stein(estimate.score, part, x.std(0), fit.seed))
    return _mean("Fisher information", rows, unit="per squared unit of length")


def relative_fisher_information(
    p_samples: ArrayLike,
    q_samples: ArrayLike | None = None,
    *,
    q_score: ScoreFunction | None = None,
    **options: Any,
) -> Information:
    r"""Relative Fisher information :math:`I(p \,|\, q) = \operatorname{E}_p |\nabla \log p - \nabla \log q|^2`.

    .. math:: \hat I = \frac1n \sum_i \big[-2\, (\nabla \cdot g + s_q \cdot g)(x_i) - |g(x_i)|^2\big], \qquad
        g = \hat s_p - s_q

    By Stein's identity; for an exact :math:`s_q` it is low by :math:`\operatorname{E} |\hat s_p - s_p|^2`, so it may come out
    slightly negative where p = q. It is the rate at which the divergence of p from q falls under the Langevin dynamics of q.

    Arguments:
        p_samples: (n, d), or (n,).
        q_samples: (m, d), or (m,); give these or ``q_score``.
        q_score: the score of q, (n, d) -> (n, d), smooth.
        options: as for :func:`entropy`.

    Raises:
        TypeError, ValueError: as :func:`entropy`, or unless exactly one of ``q_samples`` and ``q_score`` is given.

    References:
        Otto, Villani, *Generalization of an inequality by Talagrand and links with the logarithmic Sobolev inequality*, 2000.

    Example:
        >>> x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
        >>> abs(float(relative_fisher_information(x, q_score=lambda y: 1 - y)) - 1) < 0.3
        True
    """
    if (q_samples is None) == (q_score is None):
        raise ValueError("give either q_samples or q_score")
    fit = _Fit(**options)
    p = fit.rows(p_samples, "p_samples")
    other: Callable[[Tensor], Any] | None = q_score
    if q_samples is not None:
        other = fit.condition(fit.rows(q_samples, "q_samples", p.shape[1])).score
    assert other is not None

    def evaluate(estimate: Any, rows: Tensor) -> Tensor:
        reference = other(rows)
        gap = _stein(lambda y: estimate.score(y) - other(y), rows, p.std(0), fit.seed)
        cross: Tensor = (reference * (estimate.score(rows) - reference)).sum(-1)
        return gap - 2 * cross

    return _mean("relative Fisher information", fit.crossfit(p, evaluate), unit="per squared unit of length")


def kernel_stein_discrepancy(samples: ArrayLike, score: ScoreFunction, *, bandwidth: float | None = None) -> Information:
    r"""Squared kernel Stein discrepancy of samples to a distribution with the given score.

    .. math:: \hat S = \frac{1}{n(n-1)} \sum_{i \ne j} s_i \cdot s_j\, k + s_i \cdot \nabla_j k + s_j \cdot \nabla_i k
        + \nabla_i \cdot \nabla_j k, \qquad k = \big(1 + |x_i - x_j|^2 / h^2\big)^{-1/2}

    A U-statistic: unbiased, and slightly negative by chance where the samples follow the distribution. No density estimate is
    involved. The standard error is the jackknife's, :math:`2 \operatorname{sd}(c_i) / \sqrt n` with c the mean over j;
    it is too small where the discrepancy is zero, for the statistic is degenerate there. Computed in tiles.

    Arguments:
        samples: (n, d), or (n,).
        score: (n, d) -> (n, d).
        bandwidth: h; the median distance of the first 1000 samples if not given.

    Raises:
        TypeError, ValueError: as :func:`entropy`, or if ``bandwidth`` is not positive or the score is of another shape.

    References:
        Liu, Lee, Jordan, *A kernelized Stein discrepancy for goodness-of-fit tests*, ICML 2016, eq. 14; Gorham, Mackey,
        *Measuring sample quality with kernels*, ICML 2017, for the kernel.

    Example:
        >>> x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        >>> abs(float(kernel_stein_discrepancy(x, lambda y: -y))) < 0.1
        True
        >>> float(kernel_stein_discrepancy(x, lambda y: 1 - y)) > 0.5
        True
    """
    x = _Fit().rows(samples, "samples")
    n = len(x)
    s = torch.as_tensor(score(x)).detach().to(x)
    if s.shape != x.shape:
        raise ValueError(f"score must give {tuple(x.shape)} for points of that shape, gave {tuple(s.shape)}")
    h = float(torch.pdist(x[:1000]).median()) if bandwidth is None else bandwidth
    if not (h > 0 and math.isfinite(h)):
        raise ValueError(f"bandwidth must be positive, got {h}" if bandwidth is not None else "samples are mostly the same row")
    sums = []
    start = 0
    for rows, scores in zip(*(t.split(max(1, _KERNEL_TILE // n)) for t in (x, s)), strict=True):
        kernel = _stein_kernel(rows, scores, x, s, h)
        at = torch.arange(len(rows), device=x.device)
        kernel[at, start + at] = 0.0
        sums.append(kernel.sum(1))
        start += len(rows)
    return _mean("squared kernel Stein discrepancy", torch.cat(sums) / (n - 1), unit="per squared unit of length", factor=2.0)


def _stein_kernel(x: Tensor, s: Tensor, y: Tensor, t: Tensor, h: float) -> Tensor:
    """The Stein kernel (a, b) of rows (a, d) with scores s and rows (b, d) with scores t."""
    # With u = x - y and k = base^-1/2: grad_x k = -u base^-3/2 / h^2, and u's products by rows need no (a, b, d) tensor.
    squared = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    base = 1 + squared / h**2
    pull = (s @ y.T - (s * x).sum(-1)[:, None]) + (x @ t.T - (t * y).sum(-1))  # -(s_i - t_j) . (x_i - y_j)
    trace = x.shape[1] / h**2 * base**-1.5 - 3 * squared / h**4 * base**-2.5
    return s @ t.T * base**-0.5 - pull / h**2 * base**-1.5 + trace


def _stein(score: Callable[[Tensor], Tensor], x: Tensor, scale: Tensor, seed: int) -> Tensor:
    """-2 div g - |g|^2 of a field g at rows (m, d), its divergence by central differences along random signs."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
    step = _DIFFERENCE * torch.where(scale > 0, scale, 1.0) * signs
    slope = (score(x + step) - score(x - step)) / (2 * step)
    rows: Tensor = -2 * slope.sum(-1) - score(x).square().sum(-1)
    return rows


def _mean(name: str, rows: Tensor, *, unit: str = "nats", factor: float = 1.0) -> Information:
    values = rows.detach().double().cpu().numpy()
    return Information(name, float(values.mean()), factor * float(values.std(ddof=1)) / math.sqrt(len(values)), values, unit)
