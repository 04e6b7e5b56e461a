"""The density estimate: what conditioning on samples returns."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from disco_samplers.arithmetic import full_precision
from disco_samplers.arrays import check_count, check_double, like
from disco_samplers.draws import Support, align, groups_of, rounded_inside
from disco_samplers.estimate.adaptation import AdaptationReport, adapt_through, check_options
from disco_samplers.estimate.ascent import Mode, find_modes
from disco_samplers.estimate.conditional import ConditionalEstimate, condition_on
from disco_samplers.estimate.corners import corner
from disco_samplers.estimate.drawing import moved_rows
from disco_samplers.estimate.frozen import Model, check_model, frozen
from disco_samplers.estimate.gradients import Gradient, log_prob_by
from disco_samplers.estimate.marginals import read_columns
from disco_samplers.estimate.proposal import EstimateProposal
from disco_samplers.estimate.regions import HighestDensity, highest_density
from disco_samplers.estimate.rows import check_points
from disco_samplers.estimate.views import plot_estimate
from disco_samplers.estimators import (
    LogNormalizer,
    NetworkEstimator,
    NormalizedEstimator,
    as_it_is,
    calibrate,
    check_single,
    innermost,
    is_calibrated,
    log_normalizer,
    outward,
    proposal,
    settled,
    uncalibrated,
    unnormalized,
)
from disco_samplers.randomness import generator_on, seed_of
from disco_samplers.types import ArrayLike


class DensityEstimate:
    r"""A log-density and score estimated from samples; made by :meth:`DiScoFormer.condition`.

    The context is encoded once; every query costs :math:`O(n)`. Answers come in the kind and precision of the
    queries (numpy in, numpy out). Called as a function it is the score, so it stands wherever a score is wanted.

    It keeps the weights it was made with, whatever becomes of the model, and its answers are the same under autocast and any
    default dtype, grad mode and precision of matrix products. (A backward pass through them is the caller's own.)

    For a batch of data sets (b, n, d), queries are (b, m, d), answers (b, m) and (b, m, d).

    The rows of the context are worth :attr:`effective_size` independent draws; of a data frame the names of the columns are
    kept, and points in a data frame are brought into their order.

    It holds an ``estimator``, tensors in, tensors out, and adds what users want: checks, arrays, draws, adaptation, pictures.

    In directions of no variance (constant or dependent columns) the estimate is a Gaussian of standard deviation 1e-3
    times the data's scale. Beyond the outermost row it falls along every ray: as the slope there says, the more rows the more,
    and as a power law from few rows, which cannot tell that a tail is light.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
        >>> estimate = DiScoFormer.from_pretrained().condition(x)
        >>> bool((estimate.score(2 * torch.ones(1, 3)) < 0).all())
        True
    """

    def __init__(
        self,
        model: Model,
        samples: Tensor,
        estimator: Any,
        *,
        transform: Transform | None = None,
        support: list[Support] | None = None,
        numpy: bool = False,
        report: AdaptationReport | None = None,
        names: list[str] | None = None,
        blocks: Tensor | None = None,
    ) -> None:
        self._model, self.samples, self.estimator, self.transform = model, samples, estimator, transform
        self.support, self.report, self.names, self.blocks = support, report, names, blocks
        self._numpy = numpy

    @property
    def model(self) -> Model:
        """A copy of the model that reads the samples: what becomes of it changes no estimate."""
        return copy.deepcopy(self._model)

    @property
    def dim(self) -> int:
        """Number of columns d."""
        return self.samples.shape[-1]

    @property
    def num_samples(self) -> int:
        """Number of rows n of the context."""
        return self.samples.shape[-2]

    @property
    def counts(self) -> Tensor | None:
        """How many independent draws each row of the context is worth, (n,) or (b, n); None where each is one."""
        counts: Tensor | None = self.estimator.core.counts
        return counts

    @property
    def effective_size(self) -> float:
        """How many independent draws the rows of the context are worth."""
        return float(self.num_samples) if self.counts is None else float(self.counts.sum(-1).min())

    @property
    def keys(self) -> int | None:
        """Most rows that a row of the context attended to."""
        keys: int | None = self.estimator.core.keys
        return keys

    @property
    def is_normalized(self) -> bool:
        """Whether the density was brought to integrate to one; see :meth:`normalized`."""
        return isinstance(self.estimator, NormalizedEstimator)

    @property
    def is_calibrated(self) -> bool:
        """Whether its columns were brought to those of the rows; see :meth:`calibrated`."""
        return is_calibrated(self.estimator)

    @property
    def device(self) -> torch.device:
        """Where the estimate is evaluated."""
        return self.samples.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the network."""
        return next(self._model.network.parameters()).dtype

    def log_prob(self, points: ArrayLike, *, gradient: Gradient = "density") -> Any:
        """Log-density in nats at points (m, d), as (m,); minus infinity outside the support.

        Arguments:
            points: (m, d), or (b, m, d) for a batch of data sets.
            gradient: what differentiating the answer with respect to ``points`` gives: "density" differentiates the
                density head, "score" returns the score head, which is cheaper and usually more accurate.

        Raises:
            TypeError: if points is not numeric.
            ValueError: if its shape or device does not fit, or it holds NaN or infinite values.
        """
        points = align(points, "points", self.names)
        return self._like(log_prob_by(self.estimator, check_points(points, self.samples), gradient), points)

    def score(self, points: ArrayLike) -> Any:
        """Score, the gradient of the log-density, at points (m, d), as (m, d). Raises as :meth:`log_prob` does."""
        points = align(points, "points", self.names)
        return like(self.estimator.score(check_points(points, self.samples)), points)

    def log_prob_and_score(self, points: ArrayLike) -> tuple[Any, Any]:
        """Both for the price of one. Raises as :meth:`log_prob` does."""
        points = align(points, "points", self.names)
        log_prob, score = self.estimator.log_prob_and_score(check_points(points, self.samples))
        return self._like(log_prob, points), like(score, points)

    def __call__(self, points: ArrayLike) -> Any:
        """The score."""
        return self.score(points)

    def sample(
        self,
        num_samples: int,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        num_steps: int = 15,
        progress: bool = False,
    ) -> Any:
        """New draws (num_samples, d) from the estimate.

        Rows of the context, drawn with replacement and jittered, are moved by ``num_steps`` steps of the sampler "jumps", which
        leaves the rows behind and brings each mode the estimate's mass. Where 64 draws or more still tell the rows that they
        started from, by a nested R-hat, a :class:`~disco_samplers.samplers.NotMixedWarning` names the columns.

        Arguments:
            num_samples: how many.
            seed: of the randomness; give this or ``generator``.
            generator: source of randomness, on the estimate's device.
            num_steps: of the sampler; more give draws that depend less on the rows they came from.
            progress: whether to show a progress bar.

        Raises:
            TypeError: if ``num_samples`` or ``num_steps`` is not an integer.
            ValueError: if one is not positive, the generator is on another device, or the estimate is of a batch of
                data sets.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
            >>> DiScoFormer.from_pretrained().condition(x).sample(5, seed=1).shape
            torch.Size([5, 2])
        """
        check_count("num_samples", num_samples, 1)
        check_count("num_steps", num_steps, 1)
        check_single(self.samples, "sample")
        generator = generator_on(self.device, seed=seed, generator=generator)
        # In the coordinates that the rows are read in; as it is, for these are draws of this estimate.
        within = innermost(self.estimator)
        inner = DensityEstimate(self._model, within.from_core(self.estimator.core.samples), as_it_is(within))
        # A simplex has a coordinate fewer than columns.
        names = self.names if inner.samples.shape[1] == self.samples.shape[1] else None
        moved = moved_rows(inner, num_samples, num_steps=num_steps, names=names, generator=generator, progress=progress)
        draws = outward(self.estimator, within, moved)
        dtype = self.samples.dtype
        draws = draws.to(dtype) if self.support is None else rounded_inside(draws, dtype, self.support)
        return draws.cpu().numpy() if self._numpy else draws

    def proposal(self, *, seed: int | None = None, generator: torch.Generator | None = None) -> EstimateProposal:
        """A density close to this one, with ``sample`` and ``log_prob``: a mixture with the moments of neighbouring rows.

        See :class:`disco_samplers.estimators.NeighbourMixture`; for independence samplers and importance sampling. It takes and
        gives arrays as the estimate does.

        Arguments:
            seed: of the rows chosen, where there are many; give this or ``generator``.
            generator: source of randomness, on the estimate's device.

        Raises:
            ValueError: if the estimate is of a batch of data sets, or the generator is on another device.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
            >>> estimate = DiScoFormer.from_pretrained().condition(x)
            >>> q = estimate.proposal()
            >>> y = q.sample(1000, seed=1)
            >>> weights = torch.softmax(estimate.log_prob(y) - q.log_prob(y), 0)
            >>> bool(1 / weights.square().sum() > 500)
            True
        """
        check_single(self.samples, "proposal")
        density = proposal(self.estimator, seed=seed, generator=generator)
        return EstimateProposal(density, self.samples, names=self.names, support=self.support, numpy=self._numpy)

    @torch.inference_mode(False)
    def adapt(
        self,
        *,
        budget: float | None = None,
        num_steps: int = 0,
        learning_rate: float = 1e-4,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> DensityEstimate:
        """A new estimate that reads these samples as suits them, without labels; ``print(adapted.report)`` says what was done.

        See :func:`disco_samplers.estimate.adapt` for what is done. The shared model is untouched. How an earlier adaptation
        read the samples is chosen anew. The result is normalised if this one is. An interrupt ends the search and gives the
        best one found so far, normalised all the same, and is passed on before there is anything to keep.

        Arguments:
            budget: most seconds; without one, as long as all takes: seconds for 1000 rows.
            num_steps: most gradient steps of the heads, as published.
            learning_rate: of these.
            seed: of the randomness, 0 if neither is given; give this or ``generator``.
            generator: source of randomness.
            progress: whether to show a progress bar.

        Raises:
            ValueError: if an option is out of range, or the estimate is of a batch.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).exp()
            >>> DiScoFormer.from_pretrained().condition(x).adapt().report.coordinates
            ('independent', 0.0)
        """
        check_options(num_steps, learning_rate, budget)
        seed = seed_of(seed=seed, generator=generator)
        check_single(self.samples, "adapt")
        model = self.model
        inner = uncalibrated(unnormalized(self.estimator))
        outer = None if self.transform is None and self.support is None else unnormalized(self.estimator)
        estimator, report = adapt_through(
            outer,
            model.network,
            self.samples,
            counts=self.counts,
            blocks=self.blocks,
            keys=self.keys,
            plain=inner if isinstance(inner, NetworkEstimator) else None,
            num_steps=num_steps,
            learning_rate=learning_rate,
            seed=seed,
            budget=budget,
            normalize=self.is_normalized,
            progress=progress,
        )
        adapted = self._replaced(model=model, estimator=estimator, report=report)
        return adapted.calibrated(generator=torch.Generator(self.device).manual_seed(0)) if self.is_calibrated else adapted

    @torch.inference_mode(False)
    def to(self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> DensityEstimate:
        """The same estimate on another device or in another precision (float32 or float64); this one is unchanged."""
        if dtype not in (None, torch.float32, torch.float64):
            raise TypeError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        if device is not None:
            check_double(device, "device")
        model = self.model.to(device=device, dtype=dtype)
        return self._read_by(model, self.estimator)

    def with_model(self, model: Model) -> DensityEstimate:
        """The estimate that another model gives for the same samples, normalised and calibrated if this one was.

        Raises:
            TypeError: if ``model`` is none.
        """
        check_model(model)
        return self._tended(self._read_by(frozen(model), uncalibrated(unnormalized(self.estimator)), report=None))

    def marginal(self, columns: Iterable[str | int]) -> DensityEstimate:
        r"""The estimate of some of the columns, by name or number: of :math:`\int f\,dx_{\text{others}}`.

        These columns are read anew, by the same model, with their weights, supports and names; the result is normalised and
        calibrated if this one is. It is not the integral of this estimate: the network does better with fewer columns. How an
        adaptation read all columns is left behind: :meth:`adapt` the marginal for one of its own.

        Arguments:
            columns: names or numbers, in the order in which they are to be.

        Raises:
            TypeError: if ``columns`` is no list of names and numbers.
            ValueError: if there is no such column, one occurs twice, their rows are all the same, or the estimate is of a batch
                or was given a transform.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
            >>> DiScoFormer.from_pretrained().condition(x).marginal([2, 0]).dim
            2
        """
        return self._tended(self._replaced(**read_columns(self, self._model.network, columns)))

    def conditional(self, given: Mapping[str | int, Any]) -> ConditionalEstimate:
        r"""The law of the other columns where some have given values, :math:`f(y \mid x) = f(x, y) / \int f(x, y)\,dy`.

        Arguments:
            given: values of columns by name or number: numbers, or arrays (b,) for many laws at once.

        Returns:
            A :class:`~disco_samplers.estimate.ConditionalEstimate`, with ``log_prob``, ``score``, ``sample``, ``mean``,
            ``std``, ``quantile`` and ``plot``.

        Raises:
            TypeError: if ``given`` is no mapping, or a value is no number.
            ValueError: if there is no such column, no or all columns are given, arrays differ in length, a value is not finite,
                outside the support or where the density is numerically zero; if more than 20 columns are free, or the estimate
                is of a batch of data sets.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
            >>> x[:, 1] += x[:, 0]
            >>> law = DiScoFormer.from_pretrained().condition(x).conditional({0: 1.0})
            >>> bool((law.mean() - 1).abs() < 0.2), bool((law.std() - 1).abs() < 0.2)
            (True, True)
        """
        return condition_on(self, given, numpy=self._numpy)

    def highest_density(
        self, mass: float, *, seed: int | None = None, generator: torch.Generator | None = None
    ) -> HighestDensity:
        r"""The smallest region that holds a share of the mass: where :math:`\log f \ge \ell`.

        The level is a quantile of the log-density of 4096 draws of :meth:`proposal`, weighted to be draws of the estimate;
        where those are worth fewer than 400, as in many columns, of 2048 draws by :meth:`sample`. How well the density is
        normalised does not change the region.

        Arguments:
            mass: share of the mass, in (0, 1).
            seed: of the randomness; give this or ``generator``.
            generator: source of randomness, on the estimate's device.

        Returns:
            A :class:`~disco_samplers.estimate.HighestDensity`, with ``level``, ``contains``, ``fraction`` and, of one column,
            ``intervals``, of two ``contours``.

        Raises:
            TypeError: if ``mass`` is not a number.
            ValueError: if it is not in (0, 1), the generator is on another device, or the estimate is of a batch.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
            >>> region = DiScoFormer.from_pretrained().condition(x).highest_density(0.68, seed=0)
            >>> bool(abs(region.fraction - 0.68) < 0.05)
            True
        """
        generator = generator_on(self.device, seed=seed, generator=generator)
        return highest_density(self, mass, generator, numpy=self._numpy)

    def modes(self) -> list[Mode]:
        """Where the density is locally highest, by ascent along the score from at most 200 of the rows; largest mass first.

        Each has a ``location`` (d,), the ``log_prob`` there and a ``mass``: the share of the rows, by their weights, whose
        ascent ends there. Ends closer than a tenth of a standard deviation of the rows, times the root of d, are one mode, and
        so are those between which the density dips by less than 0.2 nats. A curved ridge has several modes, for small
        differences along it are the estimate's noise: compare their ``log_prob``. So has a normal law from some 15 columns on:
        several modes in more than 12 come with a :class:`~disco_samplers.estimate.ManyModesWarning`; take those of a
        :meth:`marginal`.

        Raises:
            ValueError: if the estimate is of a batch of data sets.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(300, 1, generator=torch.Generator().manual_seed(0))
            >>> x[:100] += 8
            >>> [round(mode.mass, 1) for mode in DiScoFormer.from_pretrained().condition(x).modes()]
            [0.7, 0.3]
        """
        return find_modes(self, numpy=self._numpy)

    def plot(self, dims: tuple[int, int] = (0, 1), path: str | None = None) -> Any:
        """Draws samples, log-density and score; needs matplotlib.

        In one dimension density and score are curves. In two or more, contours of the density and arrows of the score on the
        plane of ``dims``, through the sample of highest density where there are more dimensions than two.

        Arguments:
            dims: the two columns to show.
            path: where to save the picture, if anywhere; the extension says the format.

        Raises:
            ValueError: if the estimate is of a batch, ``dims`` are not two of its columns, or the extension is not that of a
                picture.
            ImportError: if matplotlib is not installed.
        """
        if groups := [group for group in groups_of(self.support or []) if group.kind == "simplex"]:
            # A plane through one row leaves the simplex.
            return self.marginal([0] if len(groups[0].columns) == self.dim == 2 else dims).plot(path=path)
        return plot_estimate(self.estimator, self.samples, dims, path, names=self.names, support=self.support)

    def corner(
        self,
        *,
        truth: Mapping[str | int, float] | None = None,
        names: Sequence[str] | None = None,
        title: str | None = None,
        width: float = 7.0,
        path: str | None = None,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> Any:
        """Draws the marginals of one and two columns, with regions of 68 and 95 %; needs matplotlib.

        See :func:`disco_samplers.corner`, which draws several estimates over one another.

        Arguments:
            truth: values to mark, by name or number of the column.
            names: of the columns, as they are to stand on the axes.
            title: of the picture; by default what is drawn. "" is none.
            width: of the picture in inches; one column of a paper is 3.4 wide, two are 7.
            path: where to save the picture, if anywhere; the extension says the format.
            seed: of the randomness; give this or ``generator``.
            generator: source of randomness, on the estimate's device.
            progress: whether to show a progress bar.

        Raises:
            ValueError: if the estimate is of a batch or of more than 8 columns, there is no such column in ``truth``, or
                ``names`` are not as many as there are columns.
            ImportError: if matplotlib is not installed.
        """
        by: dict[str, Any] = {"seed": seed, "generator": generator, "progress": progress}
        return corner([self], truth=truth, names=names, title=title, width=width, path=path, **by)

    def log_normalizer(
        self, *, num_samples: int = 4096, seed: int | None = None, generator: torch.Generator | None = None
    ) -> LogNormalizer:
        """Log of the density's integral and its standard error; see :func:`disco_samplers.estimators.log_normalizer`."""
        generator = generator_on(self.device, seed=seed, generator=generator)
        return log_normalizer(self.estimator, num_samples=num_samples, generator=generator)

    def normalized(
        self, *, num_samples: int = 4096, seed: int | None = None, generator: torch.Generator | None = None
    ) -> DensityEstimate:
        """The same estimate with its log-density brought to integrate to one, as well as :meth:`log_normalizer` knows.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
            >>> estimate = DiScoFormer.from_pretrained().condition(x).normalized(seed=1)
            >>> abs(estimate.log_normalizer(seed=2).value) < 0.05
            True
        """
        value = self.log_normalizer(num_samples=num_samples, seed=seed, generator=generator).value
        return self._replaced(estimator=NormalizedEstimator(self.estimator, value))

    def calibrated(
        self, *, num_samples: int = 8192, seed: int | None = None, generator: torch.Generator | None = None
    ) -> DensityEstimate:
        """The same estimate tilted until each column is distributed as that of the rows; its integral stays.

        See :func:`disco_samplers.estimators.calibrate`; for draws that are to be as close to the rows as other rows are.

        Arguments:
            num_samples: proposals by which the estimate's columns are told.
            seed: of the randomness; give this or ``generator``.
            generator: source of randomness, on the estimate's device.

        Raises:
            ValueError: if the estimate is of a batch of data sets, the generator is on another device, or ``num_samples`` is
                below 100.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(300, 1, generator=torch.Generator().manual_seed(0)).square()
            >>> DiScoFormer.from_pretrained().condition(x).calibrated(num_samples=1000).is_calibrated
            True
        """
        check_single(self.samples, "calibrated")
        check_count("num_samples", num_samples, 100)
        generator = generator_on(self.device, seed=seed, generator=generator)
        with full_precision(self.device):
            estimator = calibrate(self.estimator, num_samples=num_samples, generator=generator)
        return self._replaced(estimator=estimator)

    def whiten(self, points: Tensor) -> Tensor:
        """Whitened coordinates (b, m, rank) of points (b, m, d), in float64; directions of no variance are left out."""
        white: Tensor = self.estimator.whiten(points)
        return white

    def white_log_prob(self, points: Tensor) -> Tensor:
        """Log-density (b, m) in whitened coordinates at whitened points (b, m, rank)."""
        log_prob: Tensor = self.estimator.white_log_prob(points)
        return log_prob

    def __repr__(self) -> str:
        kind = f"batch={self.samples.shape[0]}, " if self.samples.ndim == 3 else ""
        core = self.estimator.core
        read = "" if type(core) is NetworkEstimator else f"read={type(core).__name__}, "
        worth = "" if core.counts is None or kind else f"worth={self.effective_size:.0f}, "
        return (
            f"DensityEstimate({kind}n={self.num_samples}, {worth}d={self.dim}, {read}device={self.device}, dtype={self.dtype})"
        )

    def _replaced(self, **changes: Any) -> DensityEstimate:
        fields = ("samples", "estimator", "transform", "support", "report", "names", "blocks")
        values = {name: getattr(self, name) for name in fields} | {"model": self._model, "numpy": self._numpy} | changes
        return DensityEstimate(**values)

    def _tended(self, other: DensityEstimate) -> DensityEstimate:
        """Another estimate, calibrated and normalised if this one is."""
        generator = torch.Generator(self.device).manual_seed(0)
        other = other.calibrated(generator=generator) if self.is_calibrated else other
        return other.normalized(generator=generator) if self.is_normalized else other

    def _read_by(self, model: Model, estimator: Any, **changes: Any) -> DensityEstimate:
        estimator = estimator.with_network(model.network)
        device = estimator.core.samples.device
        transform = None if self.transform is None else settled(self.transform, device)
        samples = self.samples.to(device)
        return self._replaced(model=model, samples=samples, estimator=estimator, transform=transform, **changes)

    def _like(self, log_prob: Tensor, points: ArrayLike) -> Any:
        return like(log_prob, points, infinite=self.support is not None)
