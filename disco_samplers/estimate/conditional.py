"""The law of some columns where the others have given values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.arrays import as_points, as_tensor, check_count, default_names, like
from disco_samplers.draws import Circle, Support, align, groups_of, in_turns, rounded_inside
from disco_samplers.estimate.given import check_dense, check_inside, values_of
from disco_samplers.estimate.laws import plot_contours, plot_curves
from disco_samplers.estimators import (
    MAX_DIM,
    MAX_FREE,
    GroupSlices,
    Places,
    Quadrature,
    Slice,
    SliceMixture,
    Slices,
    SupportTransform,
    TransformedEstimator,
    Weighted,
    check_single,
    straight,
)
from disco_samplers.randomness import generator_on
from disco_samplers.samplers import LangevinSampler, NotMixedWarning
from disco_samplers.types import ArrayLike

_PROPOSALS = 4096
"""Draws for the integral over more than two free columns."""

_CHAINS, _STEPS = 64, 15
"""Least number of chains for draws of more than two free columns, and steps of each."""


class ConditionalEstimate:
    r"""The law of an estimate's free columns where the others have given values; made by ``DensityEstimate.conditional``.

    .. math:: \log f(y \mid x) = \log f(x, y) - \log Z(x), \qquad Z(x) = \int f(x, y)\,dy, \qquad
        s(y \mid x) = \nabla_y \log f(x, y)

    Its density integrates to one whether or not the estimate's does: over one or two free columns by quadrature within their
    supports, over more by importance sampling. The score is that of the estimate, without further error. Of b given values (a
    batch) it is b laws at once: points are then (b, m, k), answers (b, m) and (b, m, k), and what other methods return has a
    first axis of length b.

    What is left of a simplex is a simplex of a smaller sum: its last free column is the rest, the density is one of the others,
    and the score is the gradient along it. What is left of ordered columns lies between its neighbours.

    Called as a function it is the score, so it stands wherever a score is wanted.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> laws = DiScoFormer.from_pretrained().condition(x).conditional({"x0": [0.0, 1.0]})
        >>> laws.quantile([0.05, 0.95]).shape, laws.sample(3, seed=1).shape
        (torch.Size([2, 2]), torch.Size([2, 3, 1]))
    """

    def __init__(self, estimate: Any, slices: Slices, *, batched: bool, numpy: bool, inner: GroupSlices | None = None) -> None:
        self.slices, self.samples, self.counts = slices, estimate.samples, estimate.counts
        d = estimate.dim
        names = estimate.names or default_names(d)
        self.names = None if estimate.names is None else [names[i] for i in slices.free]
        self._labels, self._given = [names[i] for i in slices.free], [names[i] for i in slices.given]
        self._bounded = estimate.support is not None
        supports = estimate.support or [Support()] * d
        self.support: list[Support] = [supports[i] for i in slices.free]
        self._change = estimate.transform if self._bounded else SupportTransform([None] * d)
        self._inner, self._rows = inner or slices, self.samples
        self._planes: list[list[int]] = []
        if inner is not None:
            self._rows = inner.coordinates(self.samples)
            self._change = straight(self._rows, inner.coordinates.supports, self.counts)
            simplices = [group.columns for group in groups_of(supports) if group.kind == "simplex"]
            self._planes = [[j for j, i in enumerate(slices.free) if i in columns] for columns in simplices]
        self.batched, self._numpy = batched, numpy

    @property
    def dim(self) -> int:
        """Number of free columns k."""
        return len(self.slices.free)

    @property
    def given(self) -> dict[str, Any]:
        """The given values of each given column."""
        columns = zip(self._given, self.slices.values.unbind(1), strict=True)
        return {name: self._out(values) for name, values in columns}

    @property
    def device(self) -> torch.device:
        """Where it is evaluated."""
        return self.slices.values.device

    @property
    def log_z(self) -> Any:
        r"""Log of :math:`Z(x)`: the density of the given values themselves, as far as the estimate is normalised."""
        return self._out(self._integral.log_z)

    @property
    def standard_error(self) -> Any:
        """Error of :attr:`log_z` and so of ``log_prob``, in nats: statistical, or a bound of the quadrature's."""
        return self._out(self._integral.error)

    def log_prob(self, points: ArrayLike) -> Any:
        """Log-density in nats at points (m, k) of the free columns, as (m,); minus infinity outside the support.

        Arguments:
            points: (m, k), or (b, m, k) of a batch.

        Raises:
            TypeError: if points is not numeric.
            ValueError: if its shape or device does not fit, or it holds NaN or infinite values.
        """
        points = align(points, "points", self.names)
        y = self._points(points)
        log_prob = self.slices.log_prob(y) - self._integral.log_z[:, None]
        return like(self._first(log_prob), points, infinite=self._bounded)

    def score(self, points: ArrayLike) -> Any:
        """Score, the gradient by the free columns, at points (m, k), as (m, k). Raises as :meth:`log_prob` does."""
        points = align(points, "points", self.names)
        return like(self._first(self._along(self.slices.score(self._points(points)))), points)

    def log_prob_and_score(self, points: ArrayLike) -> tuple[Any, Any]:
        """Both for the price of one. Raises as :meth:`log_prob` does."""
        points = align(points, "points", self.names)
        log_prob, score = self.slices.log_prob_and_score(self._points(points))
        log_prob = log_prob - self._integral.log_z[:, None]
        return like(self._first(log_prob), points, infinite=self._bounded), like(self._first(self._along(score)), points)

    def __call__(self, points: ArrayLike) -> Any:
        """The score."""
        return self.score(points)

    def sample(self, num_samples: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Any:
        """Draws (num_samples, k) of the free columns.

        Independent ones for one and two columns, by the inverse of the distribution function. For more, draws of a mixture of
        Student-t laws, resampled by their importance weights and moved by 15 steps of "mala".

        Arguments:
            num_samples: how many, of each law.
            seed: of the randomness; give this or ``generator``.
            generator: source of randomness, on the estimate's device.

        Raises:
            TypeError: if ``num_samples`` is not an integer.
            ValueError: if it is not positive, or the generator is on another device.
        """
        check_count("num_samples", num_samples, 1)
        generator = generator_on(self.device, seed=seed, generator=generator)
        with torch.no_grad(), full_precision(self.device):
            integral = self._integral
            draws = (
                integral.sample(num_samples, generator)
                if isinstance(integral, Quadrature)
                else torch.stack([self._moved(i, num_samples, generator) for i in range(len(self.slices.values))])
            )
            kept = rounded_inside(draws.flatten(0, 1), self.samples.dtype, self.support)
        return self._out(kept.view(draws.shape))

    def mean(self) -> Any:
        """Mean (k,) of the free columns; of an angle its direction, in the turn in which the rows are."""
        return self._out(in_turns(self._moments[0], self.support))

    def std(self) -> Any:
        """Standard deviations (k,) of the free columns; of an angle by the shorter ways to its direction."""
        return self._out(self._moments[1].sqrt())

    def quantile(self, levels: Any) -> Any:
        """Quantiles of the free column at levels (q,), as (q,); a number at a number.

        Those of an angle are counted from half a turn below its :meth:`mean`, and go beyond the turn where they have to, as
        350 and 370 do.

        Raises:
            TypeError: if levels is not numeric.
            ValueError: if more than one column is free, or a level is not in (0, 1).
        """
        integral = self._integral
        if self.dim > 1 or not isinstance(integral, Quadrature):
            raise ValueError(f"quantile is of one free column, and {', '.join(self._labels)} are free")
        wanted = as_tensor(levels, "levels").detach().double().to(self.device)
        if wanted.ndim > 1 or not ((wanted > 0) & (wanted < 1)).all():
            raise ValueError(f"levels must be numbers in (0, 1), got {levels}")
        found = self._quantile(integral, wanted.reshape(-1))
        return self._out(found if wanted.ndim else found[:, 0])

    def plot(self, path: str | None = None) -> Any:
        """Draws the density of one free column, with an interval that holds 90 % of it, or of two; needs matplotlib.

        Of a batch, one curve for each given value; of two free columns contours, arrows of the score and draws.

        Arguments:
            path: where to save the picture, if anywhere; the extension says the format.

        Raises:
            ValueError: if more than two columns are free, or two of a batch, or the extension is not that of a picture.
            ImportError: if matplotlib is not installed.
        """
        if isinstance(self._inner, GroupSlices) and len(self._inner.free) == 1 < self.dim:
            return _Line(self).plot(path)
        if self.dim > (1 if self.batched else 2):
            raise ValueError(f"plot shows one free column, or two of a single law, and {', '.join(self._labels)} are free")
        if self.dim == 2:
            return plot_contours(self, (self._labels[0], self._labels[1]), self.support, path)
        return self._curves(self, 0, path)

    def __repr__(self) -> str:
        values = self.slices.values[0].tolist()
        given = self._given if self.batched else [f"{name}={v:.6g}" for name, v in zip(self._given, values, strict=True)]
        batch = f", batch={len(self.slices.values)}" if self.batched else ""
        return f"ConditionalEstimate({', '.join(self._labels)} | {', '.join(given)}{batch})"

    @cached_property
    def _integral(self) -> Quadrature | Weighted:
        with torch.inference_mode(False), torch.no_grad(), full_precision(self.device):
            if len(self._inner.free) <= MAX_FREE:
                return Quadrature(self._inner, Places.of(self._inner, self._rows, self.counts, self._change))
            generator = torch.Generator(self.device).manual_seed(0)
            mixture = SliceMixture(self._inner, self._rows, self.counts, self._change, generator)
            found = mixture.weighted(_PROPOSALS, generator)
            return found._replace(draws=self._inner.outward(found.draws))

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        periods = [one.period if isinstance(one, Circle) else math.inf for one in self.support]
        return self._integral.moments(periods)

    def _along(self, score: Tensor) -> Tensor:
        """A score (b, m, k) as the gradient along what is left of simplices, on which sums are given: its own is zero there."""
        columns = list(score.unbind(-1))
        for plane in self._planes:
            center = torch.stack([columns[j] for j in plane]).mean(0) if plane else 0.0
            for j in plane:
                columns[j] = columns[j] - center
        return torch.stack(columns, -1)

    def _quantile(self, integral: Quadrature, levels: Tensor, column: int = 0) -> Tensor:
        """Quantiles (b, q) of a free column by the one free coordinate, with which it rises."""
        circle = self.support[column]
        if not isinstance(circle, Circle):
            return self._inner.outward(integral.quantile(levels)[..., None])[..., column]
        first = in_turns(self._moments[0], self.support)[:, column] - circle.period / 2
        below = integral.below(circle.wrapped(first), levels.new_ones(1))
        found = integral.quantile(torch.remainder(below + levels, 1.0))
        return first[:, None] + torch.remainder(found - first[:, None], circle.period)

    def _curves(self, laws: Any, column: int, path: str | None) -> Any:
        """Draws the density of a free column."""
        said = [
            ", ".join(f"{name} = {float(v):.4g}" for name, v in zip(self._given, row, strict=True))
            for row in self.slices.values
        ]
        name = self._labels[column]
        title = f"{name} given {', '.join(self._given)}, with the middle 90 %"
        return plot_curves(laws, said, name, self.support[column], title, path)

    def _moved(self, i: int, num_samples: int, generator: torch.Generator | None) -> Tensor:
        """Draws (n, k) of one of the laws."""
        one = self._inner.of(i)
        mixture = SliceMixture(one, self._rows, self.counts, self._change, generator)
        chains = max(num_samples, _CHAINS)
        found = mixture.weighted(max(_PROPOSALS, 4 * chains), generator)
        chosen = torch.multinomial(found.log_weights[0].softmax(0), chains, replacement=True, generator=generator)
        # On the real line no step leads outside, and no density rises without bound.
        lines = TransformedEstimator(Slice(one), mixture.change.inv, validate_args=False)
        sampler = LangevinSampler(score=lines if self._bounded else Slice(one), method="mala")
        start = mixture.change(found.draws[0, chosen]) if self._bounded else found.draws[0, chosen]
        with warnings.catch_warnings():
            # The starts are draws of the law already, by their weights: that chains tell them says nothing.
            warnings.simplefilter("ignore", NotMixedWarning)
            result = sampler.run(1, initial=start, num_warmup=_STEPS - 1, generator=generator, progress=False)
        draws = result.draws[:num_samples, 0].to(start)
        return one.outward((mixture.change.inv(draws) if self._bounded else draws)[None])[0]

    def _points(self, points: ArrayLike) -> Tensor:
        y = as_points(points, "points", self.dim, self.device)
        b = len(self.slices.values)
        if y.ndim != (3 if self.batched else 2) or (self.batched and len(y) != b):
            expected = f"({b}, m, {self.dim}), for {b} given values" if self.batched else f"(m, {self.dim})"
            raise ValueError(f"points must have shape {expected}, got {tuple(y.shape)}")
        return y if self.batched else y[None]

    def _first(self, answer: Tensor) -> Tensor:
        return answer if self.batched else answer[0]

    def _out(self, answer: Tensor) -> Any:
        found = self._first(answer).to(self.samples.dtype)
        return found.cpu().numpy() if self._numpy else found


class _Line:
    """The law of the one column that is left free where sums are given: the others are the rest."""

    def __init__(self, law: ConditionalEstimate) -> None:
        assert isinstance(law._inner, GroupSlices)
        self._law, self._inner = law, law._inner
        self.batched, self.device = law.batched, law.device
        self._at = self._inner.coordinates.columns[self._inner.free[0]]

    def plot(self, path: str | None) -> Any:
        """Draws its density."""
        return self._law._curves(self, self._law.slices.free.index(self._at), path)

    def quantile(self, levels: Any) -> Any:
        """Quantiles of it."""
        law, wanted = self._law, torch.tensor(levels, dtype=torch.float64, device=self.device)
        assert isinstance(law._integral, Quadrature)
        return law._out(law._quantile(law._integral, wanted, law.slices.free.index(self._at)))

    def log_prob(self, points: Tensor) -> Tensor:
        """Its log-density at points (b, m, 1), or (m, 1)."""
        y = points if self.batched else points[None]
        x = y.new_full((*y.shape[:-1], self._law.slices.values.shape[1] + self._law.dim), torch.nan)
        x[..., self._law.slices.given] = self._law.slices.values[:, None]
        x[..., self._at] = y[..., 0]
        answer: Tensor = self._law.log_prob(
            self._law._first(self._inner.outward(self._inner.coordinates(x)[..., self._inner.free]))
        )
        return answer


def condition_on(estimate: Any, given: Mapping[str | int, Any], *, numpy: bool = False) -> ConditionalEstimate:
    """The law of an estimate's other columns; see :meth:`DensityEstimate.conditional`, whose errors these are."""
    check_single(estimate.samples, "conditional")
    names = estimate.names or default_names(estimate.dim)
    index, values, batched = values_of(given, names, estimate.device)
    if len(index) == len(names):
        raise ValueError("given names all columns: at least one must be free; the density there is the estimate's log_prob")
    free = len(names) - len(index)
    if free > MAX_DIM:
        raise ValueError(
            f"conditional works with at most {MAX_DIM} free columns, and {free} are free: give values of more columns, or "
            "condition the model on fewer"
        )
    if estimate.support is not None:
        check_inside(index, values, estimate.support, names)
        values = in_turns(values, [estimate.support[i] for i in index])
    elif estimate.transform is not None:
        far = torch.tensor([[-1e30], [1e30]], dtype=torch.float64, device=estimate.device).expand(-1, len(names))
        if not estimate.transform.domain.check(far).all():
            raise ValueError(
                "the transform of this estimate is not defined on all real numbers: condition the model with support= in its "
                "place, which conditional knows the edges of"
            )
    slices, inner = Slices(estimate.estimator, index, values, estimate.dim), None
    with torch.no_grad(), full_precision(estimate.device):
        if groups_of(estimate.support or []):
            inner = GroupSlices(estimate.estimator, index, values, estimate.support)
            if not inner.free:
                left = ", ".join(names[i] for i in slices.free)
                raise ValueError(f"given leaves nothing free: {left} is what the others leave of one; give fewer columns")
        check_dense(slices, estimate.samples, estimate.counts, names, inner)
    return ConditionalEstimate(estimate, slices, batched=batched, numpy=numpy, inner=inner)
