"""The estimate of a data set noised to any level: DiScoFormer at small noise, the exact answer at large noise."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.draws import evenly
from disco_samplers.estimate import DensityEstimate, DiScoFormer
from disco_samplers.reference import OptimalDenoiser

from .basis import LinearBasis
from .data_checks import scale_of

_SIGMA_LEAST = 1e-4
"""Noise below this, in units of the data's scale, changes nothing that could be seen."""

_SIGNAL = 0.7
"""Principal directions with less than this part of the noise's variance are taken as Gaussian. Chosen by the denoising loss on
held-out digits, in splits that no benchmark uses: every level above 0.3 gains, between 0.5 and 1 it hardly matters."""


class Level(NamedTuple):
    """What is known of the data at one noise level: the directions with a signal, and each replica's estimate in them."""

    basis: LinearBasis
    estimates: list[DensityEstimate]


class NoisedData:
    r"""Density and predicted noise of data blurred by Gaussian noise, from the data alone.

    .. math::
        \hat\epsilon(y, \sigma) = -\sigma \Big( (1 - w_\sigma) \frac1R \sum_r s_r(y) + w_\sigma\, s^*(y) \Big)

    with :math:`s_r` DiScoFormer's score, conditioned on the data with their r-th noise, and :math:`s^*` the exact score of the
    blurred training set. The latter only memorises where sigma is small against the distance of neighbours, and is
    unsurpassed where it is large; the weight says which is which (see :func:`~.calibration.held_out_weights`).
    Each replica keeps its noise at all levels.

    The fewer dimensions, the better is an estimate. Weights of symmetry "rotations" give the same one in any frame, and so at
    each level they are given the principal directions with a signal above the noise only; the others are a Gaussian of their
    variance, as which they are seen through the noise anyway (:class:`LinearBasis`).

    Arguments:
        model: the pretrained network.
        data: (n, k).
        weight: w at a noise level, in [0, 1].
        counts: (n,), how many independent draws a row is worth; one if not given.
        context_size: most rows of a context; each replica draws its own subset of larger data.
        replicas: number of independently noised contexts R.
        seed: of the noise and the subsets.
        adapt: whether the estimate of each context is adapted.
        cache_size: most noise levels whose contexts are kept.
    """

    def __init__(
        self,
        model: DiScoFormer,
        data: Tensor,
        weight: Callable[[float], float],
        counts: Tensor | None = None,
        *,
        context_size: int,
        replicas: int,
        seed: int,
        adapt: bool,
        cache_size: int,
    ) -> None:
        self.model, self.data, self.weight, self.counts = model, data, weight, counts
        self.context_size, self.replicas, self.seed, self.adapt = context_size, replicas, seed, adapt
        self.cache_size = cache_size
        self.exact = OptimalDenoiser(data.double(), counts)
        self.scale, self.bounds = scale_of(data, counts), (-math.inf, math.inf)  # of coordinates, not of pixels
        self._levels: OrderedDict[float, Level] = OrderedDict()

    def noise(self, y: Tensor, sigma: float) -> Tensor:
        """The noise (m, k) that y (m, k) is predicted to hold at level ``sigma``."""
        sigma = max(sigma, _SIGMA_LEAST * self.scale)
        weight = self.weight(sigma)
        noise = torch.zeros_like(y)
        if weight < 1:
            basis, estimates = self.level(sigma)
            z, rest = basis.project(y)
            score = basis.rest_score(rest, y.new_full((1, 1), sigma))
            if estimates:
                score = score + basis.turn(torch.stack([estimate.score(z) for estimate in estimates]).mean(0))
            noise = noise - (1 - weight) * sigma * score
        if weight > 0:
            noise = noise - (weight * sigma * self.exact.score(y.double(), sigma)).to(y.dtype)
        return noise

    def encode(self, sigma: float) -> None:
        """Encodes the contexts of a level ahead of their use."""
        if self.weight(max(sigma, _SIGMA_LEAST * self.scale)) < 1:
            self.noise(self.data[:1], sigma)

    def log_prob(self, y: Tensor, sigma: float) -> Tensor:
        """Log-density (m,) of the blurred data at y (m, k), from the density heads; normalised up to their error."""
        sigma = max(sigma, _SIGMA_LEAST * self.scale)
        weight = self.weight(sigma)
        log_prob = y.new_zeros(len(y))
        if weight < 1:
            basis, estimates = self.level(sigma)
            z, rest = basis.project(y)
            ours = basis.rest_log_prob(rest, sigma)
            if estimates:
                ours = ours + torch.stack([estimate.log_prob(z) for estimate in estimates]).mean(0)
            log_prob = log_prob + (1 - weight) * ours
        if weight > 0:
            log_prob = log_prob + (weight * self.exact.log_prob(y.double(), sigma)).to(y.dtype)
        return log_prob

    @torch.inference_mode(False)  # what is kept serves gradients later
    def level(self, sigma: float) -> Level:
        """What is known at a level; encoded at its first use."""
        if sigma in self._levels:
            self._levels.move_to_end(sigma)
            return self._levels[sigma]
        free = self.model.config.symmetry == "rotations"
        basis = LinearBasis.fit(self.data, 1.0, counts=self.counts)
        if free:
            basis = LinearBasis.above(self.data, _SIGNAL * sigma**2, self.counts)
        replicas = range(self.replicas) if basis.rank else ()
        self._levels[sigma] = Level(basis, [self._condition(basis, sigma, replica) for replica in replicas])
        while len(self._levels) > self.cache_size:
            self._levels.popitem(last=False)
        return self._levels[sigma]

    def _condition(self, basis: LinearBasis, sigma: float, replica: int) -> DensityEstimate:
        # On the CPU, so that every device sees the same noise.
        generator = torch.Generator().manual_seed(self.seed + 7919 * (replica // 2))
        rows, worth = self._rows(torch.randperm(len(self.data), generator=generator, device=generator.device))
        shape = len(rows), self.data.shape[1]
        noise = torch.randn(shape, generator=generator, dtype=torch.float32, device=generator.device)
        noise = noise * (-1) ** replica  # replicas come in antithetic pairs: what is odd in the noise cancels
        context = self.data[rows] + sigma * noise.to(self.data)
        with torch.no_grad():
            size = None if worth is None else max(1.0, float(worth.sum()))
            estimate = self.model.condition(basis.project(context)[0], weights=worth, effective_size=size)
        return estimate.adapt(seed=self.seed) if self.adapt else estimate

    def _rows(self, order: Tensor) -> tuple[Tensor, Tensor | None]:
        """The rows of a context, taken in this order (n,), and how many independent draws each is worth.

        Where they are worth unlike, m of n rows are those at every m-th part of all worth N, and together are worth
        :math:`m / (1 + m (1/N - 1/n))`: m if they are few, as :func:`~disco_samplers.draws.part_worth` has it.
        """
        order = order.to(self.data.device)
        n, m = len(order), self.context_size
        if self.counts is None:
            return order[:m], None
        if n <= m:
            return order, self.counts[order]
        rows, times = evenly(order[:, None], self.counts[order], m)[:, 0].unique(return_counts=True)
        worth = m / (1 + m * (1 / float(self.counts.sum()) - 1 / n))
        return rows, times * (min(worth, len(rows)) / m)
