"""A network's answer on a line, without its step at the mean of the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_NEAR, _FAR = 0.01, 0.2
"""Whitened distances from the mean: where the step is measured, and within which it is taken off."""


class Step(NamedTuple):
    r"""The step of log-density and score at the mean, z = 0, and what is taken off so that there is none.

    A network turns vectors to unit length, and that of a query at the mean has none: on a line it points left on one side and
    right on the other, and both answers step by some per cent. With J the step of the log-density,

    .. math:: \log f(z) - \tfrac12 J\, \mathrm{sign}(z)\, \Bigl(1 - \tfrac{z^2}{r^2}\Bigr)^2, \qquad |z| < r = 0.2

    has none, and keeps what is finer; likewise the score. Within .01, where vectors are shorter than training showed, the
    log-density is continued as a line.
    """

    log_prob: Tensor  # (b, 1), of the step, as the next one
    score: Tensor
    middle: Tensor  # (b, 1): log-density at the mean, as the next one its slope
    slope: Tensor

    @classmethod
    def of(cls, asked: Callable[[Tensor], tuple[Tensor, Tensor]], like: Tensor) -> Step:
        """The step of what is asked at (b, m, 1), in as many sets and in the precision of ``like``."""
        sides = like.new_tensor([-_NEAR, _NEAR]).expand(len(like), 2)[..., None]
        log_prob, score = asked(sides)
        left, right = log_prob.split(1, 1)
        left_score, right_score = score[..., 0].split(1, 1)
        slope = (left_score + right_score) / 2
        return cls(right - left - 2 * _NEAR * slope, right_score - left_score, (left + right) / 2, slope)

    def removed(self, z: Tensor, log_prob: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (b, m) and score (b, m, 1) at points z (b, m, 1) without it."""
        z = z[..., 0]
        share = ((z.abs() - _NEAR) / (_FAR - _NEAR)).clamp(0, 1)
        half = z.sign() * (1 - share.square()).square() / 2
        near = z.abs() < _NEAR
        log_prob = torch.where(near, self.middle + self.slope * z, log_prob - half * self.log_prob)
        return log_prob, torch.where(near, self.slope, score[..., 0] - half * self.score)[..., None]
