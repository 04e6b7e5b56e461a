"""A Pyro distribution known by its draws: yesterday's posterior as today's prior."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import biject_to
from torch.distributions.transforms import ComposeTransform, ReshapeTransform

from disco_samplers import DiScoFormer, preconditioners
from disco_samplers.arrays import as_tensor, check_finite, check_flag, default_names, device_of, placed
from disco_samplers.draws import Circle, Draws, Support, evenly, groups_of, rounded_inside, supports_of
from disco_samplers.estimate import DensityEstimate, Gradient
from disco_samplers.estimators import DEFAULTS, TransformedEstimator, deviation, draw_rows, innermost, mean, outward
from disco_samplers.modes import recorded
from disco_samplers.samplers.steps import mala
from disco_samplers.types import ArrayLike


class SampleDistribution(TorchDistribution):
    r"""The distribution that draws came from, as a Pyro distribution.

    With T the bijection from real vectors to the support, and :math:`\hat f` DiScoFormer's density of the draws carried
    back by it,

    .. math:: \log p(x) = \log \hat f(T^{-1}(x)) - \log |\det J_T(T^{-1}(x))|.

    That is where the support is a Pyro constraint, and T Pyro's own. In the words of ``DiScoFormer.condition(support=...)``,
    ``{"tau": "positive"}``, it is an estimate by that: level at the edges of columns, and without a seam on circles.

    It stands wherever a distribution may: as a prior under NUTS, SVI or any guide, as an observation, inside plates, under
    ``torch.func.vmap``. A sample is one of the draws moved by one Metropolis-adjusted Langevin step of the estimate, as long
    as a kernel's bandwidth: a smoothed resampling that neither inflates the variance nor leaves the support. ``mean`` and
    ``variance`` are those of the draws. Outside the support the log-density is minus infinity (an error where Pyro validates).
    Many standard deviations away from all draws little is known, and score and density disagree: start chains at draws, in Pyro
    with ``init_strategy=init_to_sample``.

    Shapes: ``batch_shape`` is () until expanded, ``event_shape`` that of one draw.

    Arguments:
        draws: (n, *event_shape); for instance (n,) for a scalar, (n, d) for a vector; or :class:`~disco_samplers.Draws` of
            vectors, with weights and chains. Each evaluation costs O(n): a thousand or two are plenty. A numpy array goes to
            the model's device, a tensor must be there already.
        support: a Pyro constraint; one of a scalar (``positive``, ``interval(a, b)``) holds for every entry of an event, and
            ``constraints.cat`` or ``constraints.stack`` tell the columns apart. Or, of scalars and vectors, what
            ``DiScoFormer.condition`` takes: "positive" or "circular:360" of a scalar, a mapping or a sequence of a vector. By
            default that of :class:`~disco_samplers.Draws`, and the real numbers. Angles are real numbers to Pyro, as those of
            its own von Mises law are.
        gradient: what differentiating ``log_prob`` gives: "score", the score head, is cheaper and works under
            ``torch.func``; "density" differentiates the density head, to any order.
        adapt: whether the estimate is adapted to them.
        model: the network; the shipped one of symmetry "rotations" if not given: posteriors are correlated, and in which
            parameters a model is written is arbitrary.
        validate_args: whether ``log_prob`` refuses values outside the support; as Pyro is set if not given.

    Raises:
        TypeError: if draws are not numeric.
        ValueError: if there are no more draws than dimensions, a draw is not finite or not inside the support, or no
            bijection leads to the support (discrete ones, spheres).

    References:
        Chopin, *A sequential particle filter method for static models*, Biometrika 2002, section 3: a resampled particle is
        moved by a kernel that leaves its distribution invariant.

    Example:
        >>> draws = torch.randn(300, generator=torch.Generator().manual_seed(0)).exp()
        >>> prior = SampleDistribution(draws, constraints.positive)
        >>> prior.log_prob(torch.tensor([0.5, 1.0])).shape, prior.expand([4]).sample().shape
        (torch.Size([2]), torch.Size([4]))
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  # as torch.distributions has it

    def __init__(
        self,
        draws: ArrayLike | Draws,
        support: Any = None,
        *,
        gradient: Gradient = "score",
        adapt: bool = False,
        model: DiScoFormer | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if gradient not in ("density", "score"):
            raise ValueError(f'gradient must be "density" or "score", got {gradient!r}')
        check_flag("adapt", adapt)
        if isinstance(draws, Draws):
            draws = draws.on(device_of(model), "draws")
        known = draws if isinstance(draws, Draws) else None
        x = as_tensor(draws.values if isinstance(draws, Draws) else draws, "draws").detach()
        if x.ndim == 0 or len(x) < 2:
            raise ValueError(f"draws must have shape (n, *event_shape) with n >= 2, got {tuple(x.shape)}")
        check_finite(x.reshape(len(x), -1), "draws")
        x = placed(x, "draws", device_of(model), free=not isinstance(draws, Tensor))
        spoken = known.support if support is None and known is not None else support
        supports = None
        if spoken is not None and not isinstance(spoken, constraints.Constraint):
            names = known.names if known is not None else default_names(x[0].numel())
            supports = _supports(spoken, names, x)
            spoken = _constraint(supports, x.ndim - 1, names)
        self._support = _of_event(constraints.real if spoken is None else spoken, x.ndim - 1)
        target = constraints.independent(constraints.real, x.ndim - 1) if supports else self._support
        self._bijection, self._free_shape = _bijection(target, x.shape[1:])
        free = self._unconstrain(x) if supports is None else self._reading(x)
        n, k = free.shape
        if n <= k:
            raise ValueError(f"draws must be more than their dimensions, got {n} of {k} dimensions: take more draws")
        model = DiScoFormer.from_pretrained(DEFAULTS["posterior"], map_location=str(x.device)) if model is None else model
        self.draws, self.gradient = x, gradient
        self._share = None if known is None or known.weights is None else known.weights.to(x)
        estimate = model.condition(free if known is None else known.replaced(free), support=supports)
        self.estimate: DensityEstimate = estimate.adapt() if adapt else estimate
        # Within supports draws are moved where they have no edges.
        self._within = innermost(self.estimate.estimator) if supports else self.estimate.estimator
        rows = self._within.from_core(self._within.core.samples) if supports else None
        self._resample = _Resampler(DensityEstimate(model, rows, self._within) if rows is not None else self.estimate)
        super().__init__(torch.Size(), x.shape[1:], validate_args=validate_args)

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        """Where events lie."""
        return self._support

    @classmethod
    def infer_shapes(cls, **arg_shapes: Sequence[int]) -> tuple[torch.Size, torch.Size]:
        """Batch and event shape that draws of a given shape make."""
        return torch.Size(), torch.Size(arg_shapes["draws"][1:])

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> SampleDistribution:
        """The same distribution with a batch shape; nothing is copied or encoded anew."""
        new: SampleDistribution = self._get_checked_instance(SampleDistribution, _instance)
        new.__dict__.update(self.__dict__)
        new._batch_shape = torch.empty(self.batch_shape, device="meta").expand(torch.Size(batch_shape)).shape
        return new

    @property
    def mean(self) -> Tensor:
        """Mean of the draws."""
        return mean(self.draws, self._share).expand(self.shape())

    @property
    def variance(self) -> Tensor:
        """Unbiased variance of the draws, entry by entry."""
        if self._share is None:
            return self.draws.var(0).expand(self.shape())
        variance = deviation(self.draws, self._share).square() / (1 - 1 / self.estimate.effective_size)
        return variance.expand(self.shape())

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of values (..., *event_shape)."""
        if self._validate_args:
            self._validate_sample(value)
        inside = self._support.check(value) & torch.isfinite(self._reading(value)).all(-1)
        # What lies outside is moved to a draw, or the other values could not be evaluated with it.
        safe = torch.where(inside.reshape(inside.shape + (1,) * self.event_dim), value, self.draws[0].to(value))
        law = TransformedEstimator(_Vectors(self.estimate, self.gradient), self._reading, validate_args=False)
        answer: Tensor = torch.where(inside, law.log_prob(safe), -math.inf)
        return answer.expand(torch.broadcast_shapes(answer.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """New draws, of shape ``sample_shape + batch_shape + event_shape``."""
        shape = self.shape(torch.Size(sample_shape))
        free = self._resample(math.prod(shape[: len(shape) - self.event_dim]))
        if self.estimate.support is not None:
            free = rounded_inside(outward(self.estimate.estimator, self._within, free), self.draws.dtype, self.estimate.support)
        draws: Tensor = self._reading.inv(free)
        return draws.reshape(shape)

    @property
    def _reading(self) -> ComposeTransform:
        """From events to the real vectors that the estimate is of."""
        return ComposeTransform(
            [self._bijection.inv, ReshapeTransform(self._free_shape, torch.Size([self._free_shape.numel()]))]
        )

    def _unconstrain(self, x: Tensor) -> Tensor:
        """Draws (n, *event_shape) as real vectors (n, k)."""
        inside = self._support.check(x)
        free: Tensor = self._reading(x)
        inside = inside & torch.isfinite(free).all(-1)
        # Closed intervals hold their ends, which no real number is carried to.
        entries: Any = getattr(self._support, "base_constraint", self._support)
        for end in (getattr(entries, name) for name in ("lower_bound", "upper_bound") if hasattr(entries, name)):
            inside = inside & (x != end).reshape(len(x), -1).all(-1)
        if not inside.all():
            raise ValueError(
                f"draws: {int((~inside).sum())} of {len(x)} do not lie inside the support {self._support}, "
                f"first draw {int((~inside).nonzero()[0])}"
            )
        return free


def _supports(given: Any, names: Sequence[str], x: Tensor) -> list[Support]:
    """What a user said of the columns of draws (n,) or (n, d)."""
    if x.ndim > 2:
        raise ValueError(
            f"support of draws of shape {tuple(x.shape)} must be a Pyro constraint: words are of scalars and vectors"
        )
    alone = x.ndim == 1 and not isinstance(given, Mapping)
    return supports_of([given] if alone else given, names, x.reshape(len(x), -1))


def _constraint(supports: Sequence[Support], event_dim: int, names: Sequence[str]) -> constraints.Constraint:
    """Supports as Pyro says them."""
    groups = groups_of(supports)
    if groups and groups[0].columns != tuple(range(len(supports))):
        some = ", ".join(names[i] for i in groups[0].columns)
        raise ValueError(f"support: {groups[0].kind} of {some} must be of all columns, in their order, for Pyro has no other")
    if groups and groups[0].kind == "subsimplex":
        raise ValueError("support: Pyro has no subsimplex; take in what is left of one as the last column, and say simplex")
    if groups:
        return constraints.simplex if groups[0].kind == "simplex" else constraints.ordered_vector
    found = [_interval(support) for support in supports]
    return constraints.cat(found, -1, [1] * len(found)) if event_dim else found[0]


def _interval(support: Support) -> constraints.Constraint:
    low, high = support
    if isinstance(support, Circle) or (low is None and high is None):
        return constraints.real
    if low is None:
        return constraints.less_than(high)
    return constraints.greater_than_eq(low) if high is None else constraints.interval(low, high)


def _of_event(support: Any, event_dim: int) -> constraints.Constraint:
    """The constraint on a whole event; one on its entries holds for each of them."""
    if not isinstance(support, constraints.Constraint):
        raise TypeError(f"support must be a constraint of pyro.distributions.constraints, got {support!r}")
    if support.event_dim > event_dim:
        raise ValueError(f"draws have {event_dim} event dimensions, too few for the support {support}: give (n, *event_shape)")
    missing = event_dim - support.event_dim
    return constraints.independent(support, missing) if missing else support


def _bijection(support: constraints.Constraint, shape: torch.Size) -> tuple[torch.distributions.Transform, torch.Size]:
    """The bijection from real numbers to events of a shape, and the shape of those real numbers."""
    try:
        transform: torch.distributions.Transform = biject_to(support)
    except NotImplementedError:
        kind = "discrete values have no density" if support.is_discrete else "no bijection leads there from real vectors"
        raise ValueError(f"support must be continuous and of full dimension, got {support}: {kind}") from None
    return transform, torch.Size(transform.inverse_shape(shape))


class _Resampler:
    """Rows of an estimate's samples, each moved by one MALA step that leaves the estimate invariant."""

    def __init__(self, estimate: DensityEstimate) -> None:
        self.estimate = estimate

    def __call__(self, count: int) -> Tensor:
        rows = draw_rows(self.estimate.samples, self.estimate.counts, count, None, replacement=True)
        start = mala.State(*(part[rows] for part in self.rows))
        evaluate, n, d = self.estimate.log_prob_and_score, self.estimate.effective_size, self.estimate.dim
        bandwidth = n ** (-1 / (d + 4))  # Scott's rule, in units of the draws' covariance
        return mala.step(start, evaluate, step_size=0.5 * bandwidth**2, factor=self.factor, generator=None)[0].position

    @functools.cached_property
    def rows(self) -> mala.State:
        """The samples with their log-density and score."""
        return mala.init(self.estimate.samples, self.estimate.log_prob_and_score)

    @functools.cached_property
    def factor(self) -> Tensor:
        """Root of their covariance."""
        return preconditioners.factor(evenly(self.estimate.samples, self.estimate.counts))


class _Vectors:
    """The estimate's log-density of vectors (..., k), with the gradient that is asked for."""

    def __init__(self, estimate: DensityEstimate, gradient: Gradient) -> None:
        self.estimate, self.gradient = estimate, gradient

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density (...,) of points (..., k)."""
        log_prob: Tensor
        if self.gradient == "score" and not recorded():  # which takes no function of functions
            log_prob, _ = _LogProbAndScore.apply(points, self.estimate)
        else:
            rows = points.reshape(-1, points.shape[-1])
            log_prob = self.estimate.log_prob(rows, gradient=self.gradient).reshape(points.shape[:-1])
            # Tracing does not see by itself that no gradients are wanted.
            log_prob = log_prob.detach() if recorded() and not points.requires_grad else log_prob
        return log_prob


class _LogProbAndScore(torch.autograd.Function):
    """Log-density (...,) and score (..., k) of points (..., k); differentiating the first gives the second.

    A function of its own because what the estimate checks in its queries cannot be traced by ``torch.func``.
    """

    @staticmethod
    def forward(points: Tensor, estimate: DensityEstimate) -> tuple[Tensor, Tensor]:
        log_prob, score = estimate.log_prob_and_score(points.reshape(-1, points.shape[-1]))
        return log_prob.reshape(points.shape[:-1]), score.reshape(points.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, DensityEstimate], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:
        (score,) = ctx.saved_tensors
        return grad[..., None] * score, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], points: Tensor, estimate: DensityEstimate) -> Any:
        return _LogProbAndScore.apply(points.movedim(in_dims[0], 0), estimate), (0, 0)
