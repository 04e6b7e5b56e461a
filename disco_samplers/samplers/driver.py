"""The chain-batched loop over warm-up and draws that all samplers share."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.samplers import mala, step_size, ula
from disco_samplers.samplers.result import SamplerResult
from disco_samplers.samplers.target import Target

Method = Literal["mala", "ula"]

_HOPELESS = 100
"""Steps in a row in which every chain diverged, after which a run gives up."""


class Driver:
    """One run of many chains at once.

    Arguments:
        method: "mala" or "ula".
        target: what is sampled.
        position: starting points (c, d).
        factor: of the preconditioner, (d, d).
        generator: source of randomness.
        step: fixes the step size; None adapts it.
        target_acceptance: MALA's.
        bias: ULA's.
    """

    def __init__(
        self,
        method: Method,
        target: Target,
        position: Tensor,
        *,
        factor: Tensor,
        generator: torch.Generator | None,
        step: float | None,
        target_acceptance: float,
        bias: float,
    ) -> None:
        self.method, self.target, self.factor, self.rng = method, target, factor, generator
        self.target_acceptance, self.bias = target_acceptance, bias
        self.fixed = step
        self.mala = method == "mala"
        self.state: Any = mala.init(position, target) if self.mala else ula.init(position, target.score)
        self.averaging = step_size.init(step or min(0.5, 1.0 / position.shape[1] ** (1 / 3)))
        self.roughness, self.hopeless = 0.0, 0

    def run(self, num_samples: int, num_warmup: int, thin: int, names: list[str], progress: bool) -> SamplerResult:
        """Warm-up, then the draws; an interrupt returns those drawn so far.

        Raises:
            RuntimeError: if every chain diverges a hundred times in a row.
        """
        x = self.state.position
        draws = x.new_empty(len(x), num_samples, x.shape[1])
        accepted, steps = torch.zeros(len(x), dtype=torch.float64, device=x.device), 0
        divergences = torch.zeros(len(x), num_samples, dtype=torch.bool, device=x.device)
        kept, step = 0, self._warm_up_step(0)
        bar = tqdm(total=num_warmup + num_samples * thin, disable=not progress, desc=self.method)
        try:
            for i in range(num_warmup):
                step = self._warm_up_step(i)
                info = self._step(step)
                if self.mala:
                    acceptance = float(info.acceptance.mean())
                    self.averaging = step_size.update(self.averaging, acceptance, self.target_acceptance)
                bar.update()
            step = self._final_step(num_warmup)
            for i in range(num_samples):
                for _ in range(thin):
                    info = self._step(step)
                    accepted += info.acceptance
                    steps += 1
                    divergences[:, i] |= info.diverged
                    bar.update()
                draws[:, i] = self.state.position
                kept = i + 1
        except KeyboardInterrupt:
            if not kept:
                raise
        finally:
            bar.close()
        count = int(divergences[:, :kept].sum())
        if count:
            warnings.warn(
                f"{count} of {kept * len(x)} draws came after a step that diverged: the target is badly scaled there; "
                "a smaller step_size or another preconditioner may help",
                RuntimeWarning,
                stacklevel=3,
            )
        return SamplerResult(
            draws=draws[:, :kept],
            acceptance=accepted / steps,
            divergences=divergences[:, :kept],
            step_size=step,
            method=self.method,
            names=names,
            complete=kept == num_samples,
        )

    def _step(self, step: float) -> Any:
        if self.mala:
            self.state, info = mala.step(self.state, self.target, step_size=step, factor=self.factor, generator=self.rng)
        else:
            self.state, info = ula.step(  # type: ignore[assignment]
                self.state, self.target.score, step_size=step, factor=self.factor, generator=self.rng
            )
        self.hopeless = self.hopeless + 1 if bool(info.diverged.all()) else 0
        if self.hopeless >= _HOPELESS:
            raise RuntimeError(
                f"every chain diverged in {_HOPELESS} steps in a row at step size {step:.2g}: the score is not that of a "
                "density that can be sampled at this scale; rescale the target, or give context= or a fitting preconditioner"
            )
        return info

    def _warm_up_step(self, i: int) -> float:
        if self.fixed is not None:
            return self.fixed
        return self.averaging.step_size if self.mala else self._unadjusted_step(i)

    def _final_step(self, num_warmup: int) -> float:
        if self.fixed is not None:
            return self.fixed
        if self.mala:
            return self.averaging.final
        return self._unadjusted_step(num_warmup)

    def _unadjusted_step(self, i: int) -> float:
        # On N(0, v) the variance is inflated by e/(2v); E|score|^2 / d = 1/v says what v is.
        size = float((self.state.score @ self.factor).square().mean())
        if np.isfinite(size):
            weight = 1 / min(i + 1, 100)
            self.roughness = (1 - weight) * self.roughness + weight * size
        return 2 * self.bias / max(self.roughness, 1e-12)
