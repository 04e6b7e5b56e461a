"""The interface that exact distributions and classical estimators share with a DiScoFormer estimate."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.arrays import as_points, check_count, like
from disco_samplers.draws import align
from disco_samplers.randomness import generator_on
from disco_samplers.types import ArrayLike


class ReferenceDensity(ABC):
    r"""A density with :math:`\log f`, its score and draws.

    A subclass gives ``dim``, ``dtype``, ``device`` and :meth:`evaluate`; its score is had by differentiation unless it
    has a better way. Parameters may carry leading batch dimensions, points then too. Arrays in, arrays out; the
    answer has the precision of the points, computed in the precision of the parameters, whatever autocast is on.
    """

    dim: int
    dtype: torch.dtype
    device: torch.device
    names: list[str] | None = None
    """Of the columns, where they are known: points in a data frame are brought into their order."""

    @abstractmethod
    def evaluate(self, y: Tensor) -> Tensor:
        """Log-density (..., m) of points (..., m, d)."""

    def evaluate_score(self, y: Tensor) -> Tensor:
        """Score (..., m, d) at points (..., m, d), detached from the graph."""
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            return torch.autograd.grad(self.evaluate(y).sum(), y)[0]

    @abstractmethod
    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        """Samples (..., num_samples, d)."""

    def log_prob(self, points: ArrayLike) -> ArrayLike:
        """Log-density in nats at points (m, d), as (m,)."""
        with full_precision(self.device):
            return like(self.evaluate(self._points(points)), points)

    def score(self, points: ArrayLike) -> ArrayLike:
        """Gradient of the log-density at points (m, d), as (m, d)."""
        with full_precision(self.device):
            return like(self.evaluate_score(self._points(points)), points)

    def log_prob_and_score(self, points: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """Both at once: (m,) and (m, d)."""
        return self.log_prob(points), self.score(points)

    def sample(self, num_samples: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Independent draws (num_samples, d).

        Raises:
            ValueError: if ``num_samples`` is not a positive integer, or the generator is on another device.
        """
        check_count("num_samples", num_samples, 1)
        return self.draw(num_samples, generator_on(self.device, seed=seed, generator=generator))

    def __call__(self, points: ArrayLike) -> ArrayLike:
        """The score, so that a density can stand wherever a score function is wanted."""
        return self.score(points)

    def _points(self, points: ArrayLike) -> Tensor:
        points = align(points, "points", self.names)
        return as_points(points, "points", self.dim, self.device).to(self.dtype)
