"""The law of differences of two sets of draws: how much of it is less likely than no difference, and with what error."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.posteriors.fit import Fit, MixtureFit
from disco_samplers.posteriors.rows import Rows

_BLOCKS = 10
"""Runs of draws, each left out once for the errors."""

_FEW = 2.262 / 1.960
"""What errors from so few blocks are widened by: Student's law of nine degrees has 95 % within 2.262."""

_MOST_PAIRS = 4096
_TERMS = 100


def jackknife(of: Callable[[int | None], Tensor], *, progress: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Values of all draws, their bias, and their standard errors, from those without one block each.

    References:
        Quenouille, *Notes on bias in estimation*, Biometrika 1956; Tukey, *Bias and confidence in not quite large samples*,
        Annals of Mathematical Statistics 1958.
    """
    without = torch.stack([of(block) for block in tqdm(range(_BLOCKS), disable=not progress, desc="errors")])
    scatter = (without - without.mean(0)).square().sum(0)
    values = of(None)
    return values, (_BLOCKS - 1) * (without.mean(0) - values), _FEW * (scatter * (_BLOCKS - 1) / _BLOCKS).sqrt()


class Pairs:
    """Rows of two sides in blocks, and their differences within blocks, so that leaving out a block leaves all others alone."""

    def __init__(self, sides: list[Rows]) -> None:
        self.sides = sides

    def without(self, block: int | None, side: Rows) -> Rows:
        parts = side.parts(_BLOCKS)
        return side.take(torch.cat([part for k, part in enumerate(parts) if k != block]))

    def differences(self, block: int | None, generator: torch.Generator | None) -> Rows:
        """Differences of rows of a and rows of b, each drawn by its weight, block by block."""
        longest = max(side.share.numel() for side in self.sides)
        count = -(-min(_MOST_PAIRS, 2 * longest) // _BLOCKS)
        found = []
        for k in range(_BLOCKS):
            drawn = []
            for side in self.sides:
                part = side.take(side.parts(_BLOCKS)[k])
                drawn.append(_resampled(part, count, generator))
            if k != block:
                found.append(drawn[0] - drawn[1])
        values = torch.cat(found)
        share = torch.full((1, len(values)), 1 / len(values), dtype=values.dtype, device=values.device)
        covariances = [moments(side)[1] for side in self.sides]
        scatter = sum(c / side.size for c, side in zip(covariances, self.sides, strict=True))
        worth = len(values[0]) / float(torch.linalg.solve(covariances[0] + covariances[1], scatter).trace())
        return Rows(values[None], share, max(1.0, min(worth, len(values))), chains=False)


def _resampled(rows: Rows, count: int, generator: torch.Generator | None) -> Tensor:
    """So many rows, each as often as it weighs, in random order."""
    share = rows.share.flatten()
    levels = (torch.arange(count, dtype=share.dtype, device=share.device) + 0.5) / count * share.sum()
    index = torch.searchsorted(share.cumsum(0), levels).clamp_max(len(share) - 1)
    order = torch.randperm(count, generator=generator, device=share.device)
    return rows.flat[index[order]]


def log_mass_below(f: Fit, generator: torch.Generator | None) -> tuple[float, float]:
    """The log of the mass where a fitted density is lower than at zero, by proposals that reach as far out as zero is.

    And its standard error from the number of proposals.
    """
    own = f.sample(f.many, generator).points
    d, at_zero = own.shape[1], float(f.log_prob(torch.zeros_like(own[:1])))
    base = f if isinstance(f, MixtureFit) else f.base
    top = float(f.log_prob(own).max())
    wide = base.spread(max(1.0, 2 * (top - at_zero) / d))
    points = torch.cat([base.sample(f.many // 2, generator).points, wide.sample(f.many // 2, generator).points])
    log_q = torch.logaddexp(base.log_prob(points), wide.log_prob(points)) - math.log(2)
    log_f = f.log_prob(points)
    below = log_f < at_zero
    if not below.any():
        return -math.inf, 0.0
    log_ratio = log_f - log_q
    log_p = min(0.0, float(log_ratio[below].logsumexp(0) - log_ratio.logsumexp(0)))
    within, others = log_ratio[below].softmax(0), log_ratio.softmax(0)[~below]
    return log_p, math.hypot(float(within.norm()) * -math.expm1(log_p), float(others.norm()))


def moments(rows: Rows) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of rows."""
    share = rows.share.flatten()[:, None]
    mean = (share * rows.flat).sum(0)
    shifts = rows.flat - mean
    return mean, (share * shifts).T @ shifts


def parameter_shift(a: Rows, b: Rows) -> float:
    """Q_DM of two sets of rows."""
    (mean_a, cov_a), (mean_b, cov_b) = moments(a), moments(b)
    shift = mean_a - mean_b
    return float(shift @ torch.linalg.solve(cov_a + cov_b, shift))


def log_chi2(q: float, d: int) -> float:
    """The log of the probability of more than q under a chi-squared law, however small.

    References:
        Abramowitz, Stegun, *Handbook of mathematical functions*, 1964, 6.5.31, the continued fraction.

    Example:
        >>> log_chi2(4000.0, 2)
        -2000.0
    """
    a, x = d / 2, q / 2
    tail = float(torch.special.gammaincc(*torch.tensor([a, x], dtype=torch.float64, device="cpu")))
    if tail > 0:
        return math.log(tail)
    rest = 0.0
    for k in range(_TERMS, 0, -1):
        rest = k * (a - k) / (x + 2 * k + 1 - a + rest)
    return a * math.log(x) - x - math.lgamma(a) - math.log(x + 1 - a + rest)


def sigmas_of(log_p: float) -> float:
    """How many standard deviations from its mean a normal variable is with probability p, on either side.

    Example:
        >>> round(sigmas_of(math.log(0.0455)), 2)
        2.0
    """
    if log_p >= 0:
        return 0.0
    if log_p == -math.inf:
        return math.inf
    # By Newton's method on log Phi, for p itself may be too small for a float.
    wanted, x = log_p - math.log(2), torch.tensor(-math.sqrt(max(-2 * log_p, 0.0)), dtype=torch.float64, device="cpu")
    for _ in range(50):
        value = torch.special.log_ndtr(x)
        slope = torch.exp(-0.5 * x.square() - 0.5 * math.log(2 * math.pi) - value)
        x = x - (value - wanted) / slope
    return max(0.0, -float(x))
