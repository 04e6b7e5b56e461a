"""One step of a scheduler, with the calls of its model that it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .conventions import is_inverse

Predict: TypeAlias = "Callable[[Tensor, Any], Tensor]"
"""What the model says of a sample at a timestep."""

Generator: TypeAlias = "torch.Generator | list[torch.Generator] | None"

Step: TypeAlias = "Callable[[Any, Predict, Tensor, Tensor, int, Generator], Tensor]"
"""The next sample, of a scheduler, its model, the sample, the timestep, its position, and the source of randomness."""


def step_of(scheduler: Any) -> Step:
    """How a scheduler is stepped: most of them alike."""
    return _STEPS.get(type(scheduler).__name__, _step)


def start_size(scheduler: Any) -> Any:
    """Standard deviation of the sample to begin with, after the timesteps are set; of an inverse scheduler's data one."""
    if is_inverse(scheduler):
        return 1.0
    if hasattr(scheduler, "schedule"):  # KarrasVeScheduler, whose init_noise_sigma is the square root of its first noise level
        return scheduler.schedule[scheduler.timesteps[0]]
    return getattr(scheduler, "init_noise_sigma", 1.0)  # flow schedulers have none, and begin with one


def accepted(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those of the options that a scheduler's method takes; not all of them take the same."""
    names = inspect.signature(function).parameters
    return {key: value for key, value in options.items() if key in names}


def _step(scheduler: Any, predict: Predict, sample: Tensor, t: Tensor, i: int, rng: Generator) -> Tensor:
    scaled = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
    options = accepted(scheduler.step, generator=rng)
    return scheduler.step(predict(scaled, t), t, sample, **options).prev_sample  # type: ignore[no-any-return]


def _dpm_sde(scheduler: Any, predict: Predict, sample: Tensor, t: Tensor, i: int, rng: Generator) -> Tensor:
    """Of :class:`~diffusers.DPMSolverSDEScheduler`, which makes its noise from seeds, once, at the first step."""
    if rng is None or scheduler.noise_sampler_seed is not None:
        return _step(scheduler, predict, sample, t, i, rng)
    seeds = [int(torch.randint(2**62, (), generator=g, device=g.device)) for g in (rng if isinstance(rng, list) else [rng])]
    scheduler.noise_sampler_seed = seeds if isinstance(rng, list) else seeds[0]
    try:
        return _step(scheduler, predict, sample, t, i, rng)
    finally:
        scheduler.noise_sampler_seed = None


def _ddim_inverse(scheduler: Any, predict: Predict, sample: Tensor, t: Tensor, i: int, rng: Generator) -> Tensor:
    """Of :class:`~diffusers.DDIMInverseScheduler`, whose timestep is the one that the step leads to."""
    here = (t - scheduler.config.num_train_timesteps // scheduler.num_inference_steps).clamp_min(0)
    return scheduler.step(predict(sample, here), t, sample).prev_sample  # type: ignore[no-any-return]


def _score_sde(scheduler: Any, predict: Predict, sample: Tensor, t: Tensor, i: int, rng: Generator) -> Tensor:
    """Corrector and predictor of :class:`~diffusers.ScoreSdeVeScheduler`, whose model is asked at sigma."""
    sigma = scheduler.sigmas[i] * torch.ones(len(sample), device=sample.device)
    for _ in range(scheduler.config.correct_steps):
        sample = scheduler.step_correct(predict(sample, sigma), sample, generator=rng).prev_sample
    output = scheduler.step_pred(predict(sample, sigma), t, sample, generator=rng)
    last = i + 1 == len(scheduler.timesteps)
    return output.prev_sample_mean if last else output.prev_sample  # type: ignore[no-any-return]


def _karras_ve(scheduler: Any, predict: Predict, sample: Tensor, t: Tensor, i: int, rng: Generator) -> Tensor:
    """Churn, Euler step and Heun correction of :class:`~diffusers.KarrasVeScheduler`."""
    sigma = scheduler.schedule[t]
    lower = scheduler.schedule[t - 1] if t > 0 else torch.zeros_like(sigma)
    hat, sigma_hat = scheduler.add_noise_to_input(sample, sigma, generator=rng)
    euler = scheduler.step(sigma_hat * predict(hat, sigma_hat), sigma_hat, lower, hat)
    if not lower:
        return euler.prev_sample  # type: ignore[no-any-return]
    slope = lower * predict(euler.prev_sample, lower)
    heun = scheduler.step_correct(slope, sigma_hat, lower, hat, euler.prev_sample, euler.derivative)
    return heun.prev_sample  # type: ignore[no-any-return]


_STEPS: dict[str, Step] = {
    "DDIMInverseScheduler": _ddim_inverse,
    "DPMSolverSDEScheduler": _dpm_sde,
    "ScoreSdeVeScheduler": _score_sde,
    "KarrasVeScheduler": _karras_ve,
}
