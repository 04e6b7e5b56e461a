"""Score algebra: scores and log-densities add, scale, smooth, shift by a likelihood and change variables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor, check_callable, check_count, check_number
from disco_samplers.estimators import TransformedEstimator
from disco_samplers.randomness import check_seed, generator_on
from disco_samplers.reference import GaussianMixture
from disco_samplers.types import LogDensity, ScoreFunction


class Score:
    r"""A score function with arithmetic, and the log-density that goes with it where there is one.

    .. math:: a\, s_1 + b\, s_2 = \nabla \log \big( f_1^a f_2^b \big)

    ``+`` multiplies densities (a prior and a likelihood, subposteriors), ``-`` divides them (a prior counted twice),
    ``*`` raises one to a power (tempering). Log-densities are not normalised again. A result has ``log_prob`` exactly
    where all its parts have it, and is a callable that samplers take as any other.

    Arguments:
        score: a callable (m, d) -> (m, d), or a density with ``score`` and perhaps ``log_prob`` and ``log_prob_and_score``.
        log_prob: (m, d) -> (m,); that of ``score`` if not given.

    Raises:
        TypeError: if ``score`` is neither, or is a model that has not been conditioned on samples.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> prior, likelihood = Gaussian(torch.zeros(1), torch.eye(1)), Gaussian(torch.full((1,), 2.0), torch.eye(1))
        >>> posterior = Score(prior) + Score(likelihood)
        >>> posterior(torch.ones(1, 1)), hasattr(Score(lambda x: -x) * 0.5, "log_prob")
        (tensor([[0.]]), False)
    """

    def __init__(self, score: Any, log_prob: LogDensity | None = None) -> None:
        check_callable("score", getattr(score, "score", score), "(m, d) -> (m, d)")
        check_callable("log_prob", log_prob, "(m, d) -> (m,)", optional=True)
        if hasattr(score, "condition"):
            raise TypeError("score is an unconditioned model: use model.condition(samples)")
        self._score: ScoreFunction = getattr(score, "score", score)
        self._log_prob = log_prob if log_prob is not None else getattr(score, "log_prob", None)
        self._both = getattr(score, "log_prob_and_score", None) if log_prob is None else None

    def __call__(self, points: Tensor) -> Tensor:
        """The score at points (m, d), as (m, d)."""
        return self._score(points)

    score = __call__

    @property
    def log_prob(self) -> LogDensity:
        """The log-density (m, d) -> (m,), up to a constant.

        Raises:
            AttributeError: if a part has none.
        """
        if self._log_prob is None:
            raise AttributeError("this score has no log_prob: one of its parts has none")
        return self._log_prob

    @property
    def log_prob_and_score(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Both at once, (m, d) -> (m,), (m, d)."""
        log_prob = self.log_prob
        return self._both or (lambda points: (log_prob(points), self(points)))

    def __add__(self, other: Any) -> Score:
        return combine([(1.0, self), (1.0, other)])

    def __sub__(self, other: Any) -> Score:
        return combine([(1.0, self), (-1.0, other)])

    def __mul__(self, power: float) -> Score:
        return combine([(power, self)])

    __rmul__ = __mul__

    def __truediv__(self, temperature: float) -> Score:
        check_number("temperature", temperature)
        if not (temperature and math.isfinite(temperature)):
            raise ValueError(f"temperature must be finite and not zero, got {temperature}")
        return combine([(1 / temperature, self)])

    def __neg__(self) -> Score:
        return combine([(-1.0, self)])


def combine(terms: Sequence[tuple[float, Any]]) -> Score:
    r"""The weighted sum of scores, that is the product of powers of densities.

    .. math:: \sum_k w_k \nabla \log f_k = \nabla \log \prod_k f_k^{w_k}

    Arguments:
        terms: pairs of a weight and a score or density; terms of weight 0 are left out.

    Raises:
        ValueError: if no term is left, or a weight is not finite.

    Example:
        >>> combine([(0.5, lambda x: -x), (0.5, lambda x: -3 * x)])(torch.ones(1, 1))
        tensor([[-2.]])
    """
    if not all(math.isfinite(weight) for weight, _ in terms):
        raise ValueError(f"weights must be finite, got {[weight for weight, _ in terms]}")
    parts = [(weight, part if isinstance(part, Score) else Score(part)) for weight, part in terms if weight]
    if not parts:
        raise ValueError("a combination of scores needs at least one term whose weight is not zero")

    def score(points: Tensor) -> Tensor:
        return torch.stack([weight * part(points) for weight, part in parts]).sum(0)

    if not all(hasattr(part, "log_prob") for _, part in parts):
        return Score(score)

    def both(points: Tensor) -> tuple[Tensor, Tensor]:
        values = [(weight, part.log_prob_and_score(points)) for weight, part in parts]
        return torch.stack([w * v[0] for w, v in values]).sum(0), torch.stack([w * v[1] for w, v in values]).sum(0)

    combined = Score(score, lambda points: torch.stack([weight * part.log_prob(points) for weight, part in parts]).sum(0))
    combined._both = both
    return combined


def from_log_prob(log_prob: LogDensity) -> Score:
    """The score of a differentiable log-density or log-likelihood (m, d) -> (m,), by differentiation.

    Example:
        >>> from_log_prob(lambda x: -0.5 * x.square().sum(-1))(torch.ones(1, 2))
        tensor([[-1., -1.]])
    """
    check_callable("log_prob", log_prob, "(m, d) -> (m,)")

    def both(points: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            y = points.detach().clone().requires_grad_()  # what was made in inference mode cannot be differentiated
            values = log_prob(y)
            return values.detach(), torch.autograd.grad(values.sum(), y)[0]

    result = Score(lambda points: both(points)[1], log_prob)
    result._both = both
    return result


def smooth(
    density: Any,
    sigma: float | Tensor,
    *,
    copies: int = 1,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Any:
    r"""The density of what is drawn from ``density`` plus Gaussian noise of standard deviation ``sigma``.

    .. math:: f_\sigma = f * \mathcal N(0, \sigma^2)

    Exact for a Gaussian mixture. A :class:`~disco_samplers.DensityEstimate` is conditioned again on its rows with
    noise added, by what they are worth, and normalised again if it was; without a transform or support, which noise leaves.

    Arguments:
        density: an estimate of one data set, or a Gaussian mixture.
        sigma: not negative; one for all columns, or (d,); 0 gives ``density`` back.
        copies: how often each row is noised, for an estimate.
        seed: of the noise; give this or ``generator``.
        generator: source of the noise, on the estimate's device.

    Raises:
        TypeError: if the density is of another kind, or ``copies`` is not an integer.
        ValueError: if ``sigma`` is negative, or ``copies`` not positive.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> smooth(Gaussian(torch.zeros(1), torch.eye(1)), 1.0).covariances.flatten()
        tensor([2.])
    """
    check_count("copies", copies, 1)
    check_seed(seed, generator)
    noise = _noise(sigma, "sigma")
    if not noise.any():
        return density
    if isinstance(density, GaussianMixture):
        added = noise.to(density.means).square().expand(density.dim)
        covariances = density.covariances + (added if density.diagonal else torch.diag(added))
        return GaussianMixture(density.weights, density.means, covariances)
    if not (hasattr(density, "model") and getattr(getattr(density, "samples", None), "ndim", 0) == 2):
        raise TypeError(f"smooth takes an estimate of one data set or a Gaussian mixture, got {type(density).__name__}")
    rows: Tensor = density.samples.repeat(copies, 1)
    generator = generator_on(rows.device, seed=seed, generator=generator)
    added = torch.randn(rows.shape, dtype=rows.dtype, device=rows.device, generator=generator) * noise.to(rows)
    known = {}
    if density.counts is not None:
        known = {"weights": density.counts.repeat(copies), "effective_size": copies * density.effective_size}
    smoothed = density.model.condition(rows + added, keys=density.keys, **known)
    return smoothed.normalized(generator=generator) if density.is_normalized else smoothed


def ladder(
    density: Any,
    levels: Sequence[float | Tensor],
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> list[Any]:
    """The density smoothed at each noise level and, last, as it is: what annealed Langevin goes down.

    Arguments:
        density: what :func:`smooth` takes.
        levels: noise levels, largest first.
        seed: of the noise; give this or ``generator``.
        generator: source of the noise, on the estimate's device.

    Raises:
        ValueError: if the levels do not fall.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> len(ladder(Gaussian(torch.zeros(1), torch.eye(1)), [3.0, 1.0]))
        3
    """
    generator = generator_on(getattr(density, "device", "cpu"), seed=seed, generator=generator)
    if not isinstance(levels, (list, tuple)):
        raise TypeError(f"levels must be a list of noise levels, largest first, got {levels!r}")
    noise = [_noise(level, f"levels[{i}]").double() for i, level in enumerate(levels)]
    sizes = [float(level.square().mean()) for level in noise]
    if any(a <= b for a, b in pairwise(sizes)):
        raise ValueError("levels must fall, largest noise first")
    return [smooth(density, level, generator=generator) for level, size in zip(levels, sizes, strict=True) if size] + [density]


def transform(density: Any, bijection: Any) -> Score:
    r"""The density of y where x = T(y) has the given density.

    .. math::
        \log f_y(y) = \log f_x(T(y)) + \log |\det J_T(y)|, \qquad
        \nabla \log f_y(y) = J_T(y)^\top\, \nabla \log f_x(T(y)) + \nabla \log |\det J_T(y)|

    To sample a density of constrained x without constraint, T is ``biject_to(support)``; for the density of constrained
    values of an estimate of unconstrained ones, its ``inv``. The score needs that of ``density`` only.

    Arguments:
        density: of x, a score or density.
        bijection: T, of :mod:`torch.distributions.transforms`, over columns or over whole rows.

    Raises:
        TypeError: if ``bijection`` is no transform.
        ValueError: if a point, or its image, is not inside the bijection's domain.

    Example:
        >>> from torch.distributions import biject_to, constraints
        >>> exponential = Score(lambda x: -torch.ones_like(x), lambda x: -x.sum(-1))
        >>> transform(exponential, biject_to(constraints.positive))(torch.zeros(1, 1))
        tensor([[0.]])
    """
    part = density if isinstance(density, Score) else Score(density)
    transformed = TransformedEstimator(part, bijection)
    return Score(transformed if hasattr(part, "log_prob") else transformed.score)


def _noise(sigma: Any, name: str) -> Tensor:
    """A noise level, or one a column."""
    level = as_tensor(sigma, name)
    if not (torch.isfinite(level).all() and (level >= 0).all()):
        raise ValueError(f"{name} must be finite and not negative, got {sigma}")
    return level
