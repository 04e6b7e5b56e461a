"""Step-size adaptation by dual averaging."""

from __future__ import annotations

import math
from typing import NamedTuple


class DualAveraging(NamedTuple):
    """State of the adaptation; ``step_size`` is used while adapting, ``final`` afterwards."""

    log_step: float
    log_average: float
    error_sum: float
    updates: int
    centre: float

    @property
    def step_size(self) -> float:
        """The step to take now."""
        return math.exp(self.log_step)

    @property
    def final(self) -> float:
        """The average to use once adaptation has ended."""
        return math.exp(self.log_average)


def init(step_size: float) -> DualAveraging:
    """Starts the adaptation at a step size."""
    log_step = math.log(step_size)
    return DualAveraging(log_step, log_step, 0.0, 0, math.log(4 * step_size))


def update(state: DualAveraging, acceptance: float, target: float) -> DualAveraging:
    r"""One update towards a target acceptance.

    .. math::
        \log e_{t+1} = \mu - \frac{\sqrt t}{\gamma} \bar H_t, \quad
        \bar H_t = \Big(1 - \frac1{t + t_0}\Big) \bar H_{t-1} + \frac{\delta - \alpha_t}{t + t_0}

    References:
        Hoffman, Gelman, *The No-U-Turn Sampler*, JMLR 2014, eq. 6 and section 3.2 (gamma = 0.05, t0 = 10, kappa = 0.75).

    Example:
        >>> update(init(0.1), 0.0, 0.574).step_size < update(init(0.1), 1.0, 0.574).step_size
        True
    """
    count = state.updates + 1
    weight = 1 / (count + 10)
    error = (1 - weight) * state.error_sum + weight * (target - acceptance)
    log_step = max(-40.0, min(state.centre - math.sqrt(count) / 0.05 * error, 20.0))
    mix = count**-0.75
    average = mix * log_step + (1 - mix) * state.log_average if count > 1 else log_step
    return DualAveraging(log_step, average, error, count, state.centre)
