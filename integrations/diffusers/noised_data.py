"""The estimate of a data set noised to any level: DiScoFormer at small noise, the exact answer at large noise."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from disco_samplers.estimate import DensityEstimate
from disco_samplers.model.discoformer import DiScoFormer
from disco_samplers.reference.optimal_denoiser import OptimalDenoiser

_SIGMA_LEAST = 1e-4
"""Noise below this, in units of the data's scale, changes nothing that could be seen."""


class NoisedData:
    r"""Density and predicted noise of data blurred by Gaussian noise, from the data alone.

    .. math::
        \hat\epsilon(y, \sigma) = -\sigma \Big( (1 - w_\sigma) \frac1R \sum_r s_r(y) + w_\sigma\, s^*(y) \Big)

    with :math:`s_r` DiScoFormer's score, conditioned on the data with their r-th noise, and :math:`s^*` the exact score of the
    blurred training set. The latter only memorises where sigma is small against the distance of neighbours, and is
    unsurpassed where it is large; the weight says which is which (see :func:`~.calibration.held_out_weights`).
    Each replica keeps its noise at all levels, so the answer is continuous in sigma.

    Arguments:
        disco: the pretrained model.
        data: (n, k).
        weight: w at a noise level, in [0, 1].
        context_size: most rows of a context; each replica draws its own subset of larger data.
        replicas: number of independently noised contexts R.
        seed: of the noise and the subsets.
        adapt: steps of on-the-fly adaptation of each context; 0 for none.
        cache_size: most noise levels whose contexts are kept.
    """

    def __init__(
        self,
        disco: DiScoFormer,
        data: Tensor,
        weight: Callable[[float], float],
        *,
        context_size: int,
        replicas: int,
        seed: int,
        adapt: int,
        cache_size: int,
    ) -> None:
        self.disco, self.data, self.weight = disco, data, weight
        self.context_size, self.replicas, self.seed, self.adapt = context_size, replicas, seed, adapt
        self.cache_size = cache_size
        self.exact = OptimalDenoiser(data.double())
        self.scale = float(data.double().var(0).mean().sqrt())
        self._levels: OrderedDict[float, list[DensityEstimate]] = OrderedDict()

    def noise(self, y: Tensor, sigma: float) -> Tensor:
        """The noise (m, k) that y (m, k) is predicted to hold at level ``sigma``."""
        sigma = max(sigma, _SIGMA_LEAST * self.scale)
        weight = self.weight(sigma)
        noise = torch.zeros_like(y)
        if weight < 1:
            scores = [estimate.score(y) for estimate in self.estimates(sigma)]
            noise = noise - (1 - weight) * sigma / len(scores) * sum(scores)
        if weight > 0:
            noise = noise - (weight * sigma * self.exact.score(y.double(), sigma)).to(y.dtype)
        return noise

    def trajectory_noise(self, y: Tensor, sigma: float, steps: int) -> Tensor:
        """Noise between y and the end of its probability-flow trajectory, in at most so many steps; with 0 the prediction."""
        noise = self.noise(y, sigma)
        if not steps or sigma <= 0:
            return noise
        z, level = y, sigma
        # One ladder of levels for every start, so that their contexts are encoded once.
        ladder = self.scale * torch.logspace(math.log10(4), -2, steps, dtype=torch.float64)
        for lower in [*ladder[ladder < 0.9 * sigma].tolist(), 0.0]:
            z, level = z + (lower - level) * noise, lower
            if lower:
                noise = self.noise(z, lower)
        return (y - z) / sigma

    def log_prob(self, y: Tensor, sigma: float) -> Tensor:
        """Log-density (m,) of the blurred data at y (m, k), from the density heads; normalised up to their error."""
        sigma = max(sigma, _SIGMA_LEAST * self.scale)
        weight = self.weight(sigma)
        log_prob = y.new_zeros(len(y))
        if weight < 1:
            heads = torch.stack([estimate.log_prob(y) for estimate in self.estimates(sigma)])
            log_prob = log_prob + (1 - weight) * heads.mean(0)
        if weight > 0:
            log_prob = log_prob + (weight * self.exact.log_prob(y.double(), sigma)).to(y.dtype)
        return log_prob

    def estimates(self, sigma: float) -> list[DensityEstimate]:
        """The estimates of each replica at a level; encoded at its first use."""
        if sigma in self._levels:
            self._levels.move_to_end(sigma)
            return self._levels[sigma]
        estimates = [self._condition(sigma, replica) for replica in range(self.replicas)]
        self._levels[sigma] = estimates
        while len(self._levels) > self.cache_size:
            self._levels.popitem(last=False)
        return estimates

    def _condition(self, sigma: float, replica: int) -> DensityEstimate:
        # On the CPU, so that every device sees the same noise.
        generator = torch.Generator().manual_seed(self.seed + 7919 * (replica // 2))
        rows = torch.randperm(len(self.data), generator=generator)[: self.context_size].to(self.data.device)
        noise = torch.randn(len(rows), self.data.shape[1], generator=generator)
        noise = noise * (-1) ** replica  # replicas come in antithetic pairs: what is odd in the noise cancels
        context = self.data[rows] + sigma * noise.to(self.data)
        with torch.no_grad():
            estimate = self.disco.condition(context)
        return estimate.adapt(self.adapt, seed=self.seed) if self.adapt else estimate


def weight_curve(log_sigma: Tensor, weight: Tensor) -> Callable[[float], float]:
    """The weight at any level from its knots (K,): linear in log sigma, constant below the knots and one above."""
    xs, ws = log_sigma.double().tolist(), weight.double().tolist()

    def at(sigma: float) -> float:
        x = math.log(sigma)
        if x <= xs[0]:
            return float(ws[0])
        for left, right, low, high in zip(xs[:-1], xs[1:], ws[:-1], ws[1:], strict=True):
            if x <= right:
                return float(low + (high - low) * (x - left) / (right - left))
        return 1.0

    return at
