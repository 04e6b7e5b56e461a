"""The proposal that an estimate gives: a density drawn from at once, with the estimate's own manners."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.arrays import check_count, like
from disco_samplers.draws import Support, align, outside, rounded_inside
from disco_samplers.estimate.rows import check_points
from disco_samplers.randomness import generator_on
from disco_samplers.types import ArrayLike


class EstimateProposal:
    """A density close to an estimate, which is drawn from at once; made by :meth:`DensityEstimate.proposal`.

    It takes points as the estimate does and answers in their kind; its draws are of the kind and precision of the rows.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> q = DiScoFormer.from_pretrained().condition(x.numpy()).proposal()
        >>> type(q.log_prob(q.sample(5, seed=0))).__name__
        'ndarray'
    """

    def __init__(
        self, density: Any, samples: Tensor, *, names: list[str] | None, support: list[Support] | None, numpy: bool
    ) -> None:
        self.density, self.samples, self.names, self.support = density, samples, names, support
        self._numpy = numpy

    def log_prob(self, points: ArrayLike) -> Any:
        """Log-density in nats at points (m, d), as (m,); minus infinity outside the support.

        Raises:
            TypeError: if points is not numeric.
            ValueError: if its shape or device does not fit, or it holds NaN or infinite values.
        """
        points = align(points, "points", self.names)
        y = check_points(points, self.samples)
        with full_precision(self.samples.device):
            log_prob = torch.where(self._outside(y), -math.inf, self.density.log_prob(y))
        return like(log_prob, points, infinite=self.support is not None)

    def sample(self, num_samples: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Any:
        """Draws (num_samples, d), independent of each other.

        Raises:
            TypeError: if ``num_samples`` is not an integer.
            ValueError: if it is not positive, seed and generator are both given, or the generator is on another device.
        """
        check_count("num_samples", num_samples, 1)
        generator = generator_on(self.samples.device, seed=seed, generator=generator)
        with full_precision(self.samples.device):
            draws = self.density.sample(num_samples, generator=generator)
        draws = draws.to(self.samples) if self.support is None else rounded_inside(draws, self.samples.dtype, self.support)
        return draws.cpu().numpy() if self._numpy else draws

    def _outside(self, y: Tensor) -> Tensor:
        """Whether points (m, d) are outside the support, (m,)."""
        return outside(y, self.support or [])
