"""A power of an estimator's density: narrower laws on its slices, or wider ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from disco_samplers.estimators.wrapper import Wrapper


class TemperedEstimator(Wrapper):
    r"""An estimator whose log-density and score are multiplied by a power :math:`\tau`.

    .. math:: f_\tau(x) \propto f(x)^\tau

    Not normalised; its slices are, by what integrates them. A power below one widens them.

    Arguments:
        base: an estimator.
        power: tau, positive.
    """

    def __init__(self, base: Any, power: float) -> None:
        super().__init__(base)
        self.power = power

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density, up to a constant, and score at points."""
        log_prob, score = self.base.log_prob_and_score(points)
        return self.power * log_prob, self.power * score

    def log_prob(self, points: Tensor) -> Tensor:
        """The log-density alone."""
        log_prob: Tensor = self.power * self.base.log_prob(points)
        return log_prob

    def score(self, points: Tensor) -> Tensor:
        """The score alone."""
        score: Tensor = self.power * self.base.score(points)
        return score

    def white_log_prob(self, z: Tensor) -> Tensor:
        """Log-density, up to a constant, in the core's whitened coordinates."""
        log_prob: Tensor = self.power * self.base.white_log_prob(z)
        return log_prob

    def with_base(self, base: Any) -> TemperedEstimator:
        """The same power of another estimator."""
        return TemperedEstimator(base, self.power)
