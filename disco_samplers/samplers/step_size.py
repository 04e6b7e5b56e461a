"""Choice of the step size: fixed, by dual averaging of the acceptance, or from a stated bias."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

from torch import Tensor


class DualAveraging(NamedTuple):
    """State of the adaptation; ``step_size`` is used while adapting, ``final`` afterwards."""

    log_step: float
    log_average: float
    error_sum: float
    updates: int
    centre: float

    @classmethod
    def at(cls, step_size: float) -> DualAveraging:
        """The adaptation's start at a step size."""
        log_step = math.log(step_size)
        return cls(log_step, log_step, 0.0, 0, math.log(4 * step_size))

    def updated(self, acceptance: float, target: float) -> DualAveraging:
        r"""One update towards a target acceptance.

        .. math::
            \log e_{t+1} = \mu - \frac{\sqrt t}{\gamma} \bar H_t, \quad
            \bar H_t = \Big(1 - \frac1{t + t_0}\Big) \bar H_{t-1} + \frac{\delta - \alpha_t}{t + t_0}

        References:
            Hoffman, Gelman, *The No-U-Turn Sampler*, JMLR 2014, eq. 6 and section 3.2 (gamma = 0.05, t0 = 10, kappa = 0.75).

        Example:
            >>> start = DualAveraging.at(0.1)
            >>> start.updated(0.0, 0.574).step_size < start.updated(1.0, 0.574).step_size
            True
        """
        count = self.updates + 1
        weight = 1 / (count + 10)
        error = (1 - weight) * self.error_sum + weight * (target - acceptance)
        log_step = max(-40.0, min(self.centre - math.sqrt(count) / 0.05 * error, 20.0))
        mix = count**-0.75
        average = mix * log_step + (1 - mix) * self.log_average if count > 1 else log_step
        return DualAveraging(log_step, average, error, count, self.centre)

    @property
    def step_size(self) -> float:
        """The step to take now."""
        return math.exp(self.log_step)

    @property
    def final(self) -> float:
        """The average to use once adaptation has ended."""
        return math.exp(self.log_average)


class Policy(Protocol):
    """How a run chooses its step size: ``step_size`` while warming up, ``final`` afterwards."""

    @property
    def step_size(self) -> float: ...

    @property
    def final(self) -> float: ...

    def start(self, state: Any, factor: Tensor) -> Policy:
        """The policy at the start of a run, and where target or preconditioner have changed."""
        ...

    def update(self, state: Any, info: Any, factor: Tensor) -> Policy:
        """The policy after a step."""
        ...


class Fixed(NamedTuple):
    """Keeps to one step size."""

    step_size: float

    @property
    def final(self) -> float:
        return self.step_size

    def start(self, state: Any, factor: Tensor) -> Fixed:
        return self

    def update(self, state: Any, info: Any, factor: Tensor) -> Fixed:
        return self


class ByAcceptance(NamedTuple):
    """Dual averaging of the mean acceptance over chains to a target."""

    averaging: DualAveraging
    target: float

    @classmethod
    def of(cls, target: float, d: int) -> ByAcceptance:
        """The start for a target acceptance in d dimensions."""
        return cls(DualAveraging.at(min(0.5, d ** (-1 / 3))), target)

    @property
    def step_size(self) -> float:
        return self.averaging.step_size

    @property
    def final(self) -> float:
        return self.averaging.final

    def start(self, state: Any, factor: Tensor) -> ByAcceptance:
        return self._replace(averaging=DualAveraging.at(self.step_size))

    def update(self, state: Any, info: Any, factor: Tensor) -> ByAcceptance:
        return self._replace(averaging=self.averaging.updated(float(info.acceptance.mean()), self.target))


class ByBias(NamedTuple):
    r"""The step whose relative bias of the stationary variance is ``bias``.

    On N(0, v) the unadjusted Langevin algorithm inflates the variance by :math:`e / (2 v)`, and the mean square of the
    whitened score over dimensions says what 1/v is; a splitting of order two in h stands where :math:`e = h^2 / 2`.
    """

    bias: float
    order: int = 1
    roughness: float = 1.0
    updates: int = 0

    @property
    def step_size(self) -> float:
        e = 2 * self.bias / max(self.roughness, 1e-12)
        return e if self.order == 1 else math.sqrt(2 * e)

    @property
    def final(self) -> float:
        return self.step_size

    def start(self, state: Any, factor: Tensor) -> ByBias:
        return ByBias(self.bias, self.order).update(state, None, factor)

    def update(self, state: Any, info: Any, factor: Tensor) -> ByBias:
        size = float((state.score @ factor).square().mean())
        if not math.isfinite(size):
            return self
        weight = 1 / min(self.updates + 1, 100)
        roughness = (1 - weight) * self.roughness + weight * size
        # Chains that start at a mode have no score there: the step may double at a time, no more.
        if roughness < 0.5 * self.roughness:
            return self._replace(roughness=0.5 * self.roughness, updates=0)
        return self._replace(roughness=roughness, updates=self.updates + 1)
