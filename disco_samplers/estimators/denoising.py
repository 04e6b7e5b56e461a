"""Density and score of the law of samples blurred by noise of a known level, read off the clean samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.model import TILE, DenoiserNetwork, NoiseUnits, Spread

_SIGNAL = 0.02
"""Variance of a direction, in units of the noise's, from which on the network is asked about it."""

_MOST_DIRECTIONS = 50
"""Directions, at most, that the network is asked about: the most that it was trained on."""


class DenoisingEstimator:
    r"""Reads :math:`f * \mathcal N(0, \sigma^2 I)` off samples of f.

    Principal directions in which the samples vary by much less than the noise are taken for normal, which is what the noise
    makes of them.

    Arguments:
        network: that is told the noise.
        samples: (n, d), of one data set.
        noise: its standard deviation, in the data's units.
        counts: (n,), how many independent draws a row is worth; one if not given.
    """

    def __init__(self, network: DenoiserNetwork, samples: Tensor, noise: float, counts: Tensor | None = None) -> None:
        self._network, self._noise, self.dim = network, noise, samples.shape[1]
        level = torch.full((1,), noise, dtype=torch.float64, device=samples.device)
        self._units = NoiseUnits.of(samples[None], level, None if counts is None else counts[None])
        seen = int((self._units.variances[0] > _SIGNAL).sum())
        self._seen = min(seen, _MOST_DIRECTIONS)
        if not self._seen:
            return
        dtype = next(network.parameters()).dtype
        count = level.new_full((1,), len(samples)) if counts is None else counts.double().sum()[None]
        self._spread = Spread.of(self._units.variances[:, : self._seen].to(dtype), count)
        log_counts = None if counts is None else counts.log()[None].to(dtype)
        with torch.no_grad(), full_precision(samples.device):
            z = self._units(samples[None])[..., : self._seen].to(dtype)
            self._context = network.encode(z, self._spread, log_counts)

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, d) at points (m, d), in float64."""
        if not len(points):  # the fused attention divides by their number
            return points.new_zeros(0, dtype=torch.float64), points.double()
        parts = [self._tile(part) for part in points.split(TILE)]
        log_prob, score = (torch.cat(part) for part in zip(*parts, strict=True))
        return log_prob, score

    def _tile(self, points: Tensor) -> tuple[Tensor, Tensor]:
        z = self._units(points[None])
        precision = 1 / (1 + self._units.variances[:, None])
        rest = slice(self._seen, None)
        score = -z * precision
        parts = -0.5 * (z.square() * precision + math.log(2 * math.pi) - precision.log())
        log_prob = parts[..., rest].sum(-1)
        if self._seen:
            seen = z[..., : self._seen].to(self._spread.variances.dtype)
            with full_precision(points.device):
                own, own_score = self._network.decode(self._context, seen, self._spread)
            log_prob = log_prob + own.double()
            score = torch.cat([own_score.double(), score[..., rest]], -1)
        log_prob = log_prob - points.shape[1] * math.log(self._noise)
        return log_prob[0], self._units.back(score)[0] / self._noise
