"""The density estimate: what conditioning on samples returns."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from disco_samplers._arithmetic import full_precision
from disco_samplers._arrays import as_points, check_count, check_double, check_generator, like
from disco_samplers._modes import forward_mode, transformed
from disco_samplers.model.block import Frame
from disco_samplers.model.network import TILE, Encoding
from disco_samplers.model.whitening import Whitening, log_standard_normal, whiten
from disco_samplers.types import ArrayLike

if TYPE_CHECKING:
    from disco_samplers.adapt import AdaptationReport
    from disco_samplers.coordinates import TailCoordinates
    from disco_samplers.model.discoformer import DiScoFormer
    from disco_samplers.normalizer import LogNormalizer

_EDGE = 1e3
"""Radius, in units of sqrt(d) standard deviations, beyond which the estimate goes on as a Gaussian tail."""

Gradient = Literal["density", "score"]


class DensityEstimate:
    r"""A log-density and score estimated from samples; made by :meth:`DiScoFormer.condition`.

    The context is encoded once; every query costs :math:`O(n)`. Answers come in the kind and precision of the
    queries (numpy in, numpy out). Called as a function it is the score, so it stands wherever a score is wanted.

    It keeps the weights it was made with, whatever becomes of the model, and its answers are the same under autocast and any
    default dtype, grad mode and precision of matrix products. (A backward pass through them is the caller's own.)

    For a batch of data sets (b, n, d), queries are (b, m, d), answers (b, m) and (b, m, d).

    In directions of no variance (constant or dependent columns) the estimate is a Gaussian of standard deviation 1e-3
    times the data's scale. Very far from the samples, beyond 1000 sqrt(d) standard deviations, it goes on as a Gaussian tail.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
        >>> estimate = DiScoFormer.from_pretrained().condition(x)
        >>> bool((estimate.score(2 * torch.ones(1, 3)) < 0).all())
        True
    """

    def __init__(
        self,
        model: DiScoFormer,
        samples: Tensor,
        mask: Tensor | None = None,
        keys: int | None = None,
        coordinates: TailCoordinates | None = None,
        *,
        numpy: bool,
    ) -> None:
        self.model, self.samples, self.mask, self.keys, self.coordinates = model, samples, mask, keys, coordinates
        self._numpy = numpy
        self.report: AdaptationReport | None = None
        self._log_normalizer = 0.0
        # What is encoded may later be part of what is differentiated: no tensor of it may come from inference mode.
        with torch.inference_mode(False), torch.no_grad(), full_precision(self.device):
            self._encode(self._mapped(samples if samples.ndim == 3 else samples[None]))

    @property
    def dim(self) -> int:
        """Number of columns d."""
        return self.samples.shape[-1]

    @property
    def num_samples(self) -> int:
        """Number of rows n of the context."""
        return self.samples.shape[-2]

    @property
    def is_normalized(self) -> bool:
        """Whether the density was brought to integrate to one; see :meth:`normalized`."""
        return self._log_normalizer != 0.0

    @property
    def device(self) -> torch.device:
        """Where the estimate is evaluated."""
        return self.samples.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the network."""
        return self.model.dtype

    def log_prob(self, points: ArrayLike, *, gradient: Gradient = "density") -> Any:
        """Log-density in nats at points (m, d), as (m,).

        Arguments:
            points: (m, d), or (b, m, d) for a batch of data sets.
            gradient: what differentiating the answer with respect to ``points`` gives: "density" differentiates the
                density head, "score" returns the score head, which is cheaper and usually more accurate.

        Raises:
            TypeError: if points is not numeric.
            ValueError: if its shape or device does not fit, or it holds NaN or infinite values.
        """
        if gradient not in ("density", "score"):
            raise ValueError(f'gradient must be "density" or "score", got {gradient!r}')
        y = self._points(points)
        if gradient == "score" and (transformed() or forward_mode()):
            return like(_WithDifferentiableGradient.apply(y, *self._evaluate(y)), points)
        if gradient == "score" and y.requires_grad:
            with torch.no_grad():
                log_prob, score = self._evaluate(y)
            return like(_WithGradient.apply(y, log_prob, score), points)
        return like(self._evaluate(y)[0], points)

    def score(self, points: ArrayLike) -> Any:
        """Score, the gradient of the log-density, at points (m, d), as (m, d). Raises as :meth:`log_prob` does."""
        return like(self._evaluate(self._points(points))[1], points)

    def log_prob_and_score(self, points: ArrayLike) -> tuple[Any, Any]:
        """Both for the price of one. Raises as :meth:`log_prob` does."""
        log_prob, score = self._evaluate(self._points(points))
        return like(log_prob, points), like(score, points)

    def __call__(self, points: ArrayLike) -> Any:
        """The score."""
        return self.score(points)

    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None, steps: int = 30, progress: bool = False
    ) -> Any:
        """New draws (num_samples, d) from the estimate.

        Rows of the context, drawn with replacement and jittered, are moved by ``steps`` Metropolis-adjusted Langevin steps
        of the estimate, so that mass between separated modes stays as it is in the samples.

        Arguments:
            num_samples: how many.
            generator: source of randomness, on the estimate's device.
            steps: Langevin steps; more give draws that depend less on the rows they came from.
            progress: whether to show a progress bar.

        Raises:
            TypeError: if ``num_samples`` or ``steps`` is not an integer.
            ValueError: if one is not positive, or the estimate is of a batch of data sets.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
            >>> DiScoFormer.from_pretrained().condition(x).sample(5, generator=torch.Generator().manual_seed(1)).shape
            torch.Size([5, 2])
        """
        from disco_samplers.samplers.langevin import LangevinSampler

        check_count("num_samples", num_samples, 1)
        check_count("steps", steps, 1)
        check_generator(generator, self.device)
        self._single("sample")
        if self.coordinates is not None:
            inner = copy.copy(self)
            inner.samples, inner.coordinates, inner._numpy = self.coordinates(self.samples), None, False
            images = inner.sample(num_samples, generator=generator, steps=steps, progress=progress)
            points = self.coordinates.inverse(images).to(self.samples.dtype)
            return points.cpu().numpy() if self._numpy else points
        rows = torch.randint(self.num_samples, (num_samples,), generator=generator, device=self.device)
        whitening = self._whitening
        jitter = 0.5 * self.num_samples ** (-1 / (self.dim + 4))
        noise = torch.randn(num_samples, self.dim, generator=generator, device=self.device, dtype=whitening.matrix.dtype)
        start = self.samples[rows].double() + jitter * torch.linalg.solve(whitening.matrix[0].T, noise.T).T
        sampler = LangevinSampler(score=self, method="mala")
        with full_precision(self.device):
            result = sampler.run(
                1,
                initial=start.to(self.samples.dtype),
                num_warmup=steps - 1,
                generator=generator,
                progress=progress,
            )
        draws = result.draws[:, 0]
        return draws.cpu().numpy() if self._numpy else draws

    def adapt(self, steps: int = 8, **options: Any) -> DensityEstimate:
        """A new estimate whose heads were adapted to these samples, without labels; see :func:`disco_samplers.adapt.adapt`."""
        from disco_samplers.adapt import adapt

        return adapt(self, steps, **options)

    @torch.inference_mode(False)
    def to(self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> DensityEstimate:
        """The same estimate on another device or in another precision (float32 or float64); this one is unchanged."""
        if dtype not in (None, torch.float32, torch.float64):
            raise TypeError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        if device is not None:
            check_double(device, "device")
        model = copy.deepcopy(self.model).to(device=device, dtype=dtype)
        mask = None if self.mask is None else self.mask.to(model.device)
        coordinates = self.coordinates
        if coordinates is not None:
            center, matrix = coordinates.center.to(model.device), coordinates.matrix.to(model.device)
            coordinates = coordinates._replace(center=center, matrix=matrix)
        moved = type(self)(model, self.samples.to(model.device), mask, self.keys, coordinates, numpy=self._numpy)
        moved.report, moved._log_normalizer = self.report, self._log_normalizer
        return moved

    def with_model(self, model: DiScoFormer) -> DensityEstimate:
        """The estimate that another model gives for the same samples, brought to integrate to one if this one was."""
        other = type(self)(model.frozen(), self.samples, self.mask, self.keys, self.coordinates, numpy=self._numpy)
        return other.normalized(generator=torch.Generator(self.device).manual_seed(0)) if self.is_normalized else other

    def plot(self, dims: tuple[int, int] = (0, 1), path: str | None = None) -> Any:
        """Draws samples, log-density and score; see :func:`disco_samplers.plotting.plot_estimate`. Needs matplotlib."""
        from disco_samplers.plotting import plot_estimate

        return plot_estimate(self, dims, path)

    def log_normalizer(self, *, num_samples: int = 4096, generator: torch.Generator | None = None) -> LogNormalizer:
        """Log of the density's integral and its standard error; see :func:`disco_samplers.normalizer.log_normalizer`."""
        from disco_samplers.normalizer import log_normalizer

        return log_normalizer(self, num_samples=num_samples, generator=generator)

    def normalized(self, *, num_samples: int = 4096, generator: torch.Generator | None = None) -> DensityEstimate:
        """The same estimate with its log-density brought to integrate to one, as well as :meth:`log_normalizer` knows.

        Example:
            >>> from disco_samplers import DiScoFormer
            >>> x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
            >>> estimate = DiScoFormer.from_pretrained().condition(x).normalized(generator=torch.Generator().manual_seed(1))
            >>> abs(estimate.log_normalizer(generator=torch.Generator().manual_seed(2)).value) < 0.05
            True
        """
        normalized = copy.copy(self)
        normalized._log_normalizer += self.log_normalizer(num_samples=num_samples, generator=generator).value
        return normalized

    def whiten(self, points: Tensor) -> Tensor:
        """Whitened coordinates (b, m, rank) of points (b, m, d), in float64; directions of no variance are left out."""
        return self._whitening(self._mapped(points))[..., : self._whitening.rank]

    def white_log_prob(self, points: Tensor) -> Tensor:
        """Log-density (b, m) in whitened coordinates at whitened points (b, m, rank)."""
        with torch.no_grad(), full_precision(self.device):
            return torch.cat([self._evaluate_white(part)[0] for part in points.split(TILE, 1)], 1)

    def __repr__(self) -> str:
        kind = f"batch={self.samples.shape[0]}, " if self.samples.ndim == 3 else ""
        return f"{type(self).__name__}({kind}n={self.num_samples}, d={self.dim}, device={self.device}, dtype={self.dtype})"

    def _single(self, what: str) -> None:
        if self.samples.ndim == 3:
            raise ValueError(f"{what} works on one data set; condition on samples of shape (n, d)")

    def _encode(self, images: Tensor) -> None:
        """Reads the samples' images (b, n, d) in the coordinates."""
        self._whitening: Whitening = whiten(images, self.mask, clusters=self.model.config.symmetry == "axes")
        white = self._whitening(images)[..., : self._whitening.rank].to(self.model.dtype)
        frame = Frame(*(value.to(self.model.dtype) for value in Frame.of(self._whitening.frame)))
        self._encoding: Encoding = self.model.network.encode(white, self.mask, self.keys, frame)

    def _mapped(self, points: Tensor) -> Tensor:
        return points if self.coordinates is None else self.coordinates(points)

    def _points(self, points: ArrayLike) -> Tensor:
        y = as_points(points, "points", self.dim, self.device)
        if y.ndim != self.samples.ndim or (y.ndim == 3 and y.shape[0] != self.samples.shape[0]):
            expected = "(m, d)" if self.samples.ndim == 2 else f"({self.samples.shape[0]}, m, d)"
            raise ValueError(f"points must have shape {expected} for this estimate, got {tuple(y.shape)}")
        return y

    def _evaluate(self, y: Tensor) -> tuple[Tensor, Tensor]:
        if y.ndim == 2:
            log_prob, score = self._evaluate(self._mapped(y)[None])
            if self.coordinates is None:
                return log_prob[0], score[0]
            return self.coordinates.pull_back(y, log_prob[0], score[0])
        if y.shape[1] == 0:
            return y.new_zeros(y.shape[:2]), y.new_zeros(y.shape)
        tile = max(1, TILE // y.shape[0])
        # Gradients are wanted with respect to the points, or to weights that an adaptation has set free; an outer transform's
        # do not show.
        asked = y.requires_grad or transformed() or any(p.requires_grad for p in self.model.parameters())
        wanted = torch.is_grad_enabled() and asked
        with torch.set_grad_enabled(wanted), full_precision(self.device):
            parts = [self._evaluate_tile(part) for part in y.split(tile, 1)]
        log_prob, score = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        return log_prob, score

    def _evaluate_tile(self, y: Tensor) -> tuple[Tensor, Tensor]:
        whitening = self._whitening
        rank = whitening.rank
        white = whitening(y)
        null = white[..., rank:]
        log_prob, score = self._evaluate_white(white[..., :rank])
        if null.shape[-1]:
            log_prob = log_prob + log_standard_normal(null.square().sum(-1), null.shape[-1])
            score = torch.cat([score, -null], -1)
        return log_prob + whitening.log_det[:, None], score @ whitening.matrix.mT

    def _evaluate_white(self, white: Tensor) -> tuple[Tensor, Tensor]:
        edge = _EDGE * math.sqrt(white.shape[-1])
        radius = torch.linalg.vector_norm(white, dim=-1, keepdim=True)
        beyond = (radius / edge).clamp_min(1.0)
        inside = white / beyond
        log_prob, score = self.model.network.decode(self._encoding, inside.to(self.model.dtype))
        log_prob, score = log_prob.to(white.dtype), score.to(white.dtype)
        radial = (inside * score).sum(-1)
        return log_prob + 0.5 * radial * (beyond.squeeze(-1).square() - 1) - self._log_normalizer, score * beyond


class _WithGradient(torch.autograd.Function):
    """A log-density whose gradient is the given score."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, log_prob: Tensor, score: Tensor) -> Tensor:
        ctx.save_for_backward(score)
        return log_prob.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (score,) = ctx.saved_tensors
        return (grad[..., None] * score).to(score.dtype), None, None


class _WithDifferentiableGradient(torch.autograd.Function):
    """The same in the transforms of ``torch.func``, which do not say how often they differentiate, and in forward mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, log_prob: Tensor, score: Tensor) -> Tensor:
        return log_prob.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])
        ctx.save_for_forward(inputs[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (score,) = ctx.saved_tensors
        return (grad[..., None] * score).to(score.dtype), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Tensor) -> Tensor:
        (score,) = ctx.saved_tensors
        answer: Tensor = (tangent * score).sum(-1)
        return answer
