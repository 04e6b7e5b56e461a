"""What schedulers of each family hand to a model, and what they want back, as formulas."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

VARIANCE_PRESERVING = ("epsilon", "v_prediction", "sample")
"""Parameterizations of samples that keep a standard deviation of about one."""

SIGMA_MAX = 3e4
"""Schedules that end in pure noise are cut off here, where float32 still tells the data in it to two digits."""

_SIGMA_TOP = 1e6
"""No scheduler goes beyond."""


@dataclasses.dataclass(frozen=True)
class Parameterization:
    r"""The conventions of one family of schedulers, all said in terms of :math:`y = x_0 + \sigma \epsilon`.

    Arguments:
        sigma: noise level of a timestep; of shape (B,), in float64.
        scale: the factor by which the scheduler's sample is y, at sigma.
        output: what the scheduler wants of y, the predicted noise (B, D) and sigma (B, 1). The denoised mean is
            :math:`D = y - \sigma \hat\epsilon`, the score :math:`-\hat\epsilon / \sigma`.
    """

    sigma: Callable[[Tensor], Tensor]
    scale: Callable[[Tensor], Tensor]
    output: Callable[[Tensor, Tensor, Tensor], Tensor]


def parameterization(config: Any) -> Parameterization:
    """The conventions that a :class:`DiscoScoreModel`'s configuration names.

    Raises:
        ValueError: if ``config.parameterization`` is not one of :data:`NAMES`.

    References:
        Karras, Aittala, Aila, Laine, *Elucidating the design space of diffusion-based generative models*, NeurIPS 2022,
        table 1; Salimans, Ho, *Progressive distillation for fast sampling of diffusion models*, ICLR 2022, for v; Lipman,
        Chen, Ben-Hamu, Nickel, Le, *Flow matching for generative modeling*, ICLR 2023; Song, Dhariwal, Chen, Sutskever,
        *Consistency models*, ICML 2023.
    """
    if config.parameterization not in _FAMILIES:
        raise ValueError(f"parameterization must be one of {', '.join(NAMES)}, got {config.parameterization!r}")
    return _FAMILIES[config.parameterization](config)


def _variance_preserving(config: Any) -> Parameterization:
    log_sigma = _log_sigmas(config)
    last = len(log_sigma) - 1

    def sigma(t: Tensor) -> Tensor:
        if config.timestep_type == "continuous":
            return _quarter_of_log(t)
        _inside(t, 0, config.num_train_timesteps, "0 .. num_train_timesteps")
        t = t.clamp(0, last)  # some schedulers count from one
        low = t.floor().long().clamp(max=max(last - 1, 0))
        weight = t - low
        table = log_sigma.to(t.device)
        return torch.exp((1 - weight) * table[low] + weight * table[(low + 1).clamp(max=last)])

    def scale(s: Tensor) -> Tensor:
        return (1 + s**2).rsqrt()

    outputs = {
        "epsilon": lambda y, noise, s: noise,
        "sample": lambda y, noise, s: y - s * noise,
        "v_prediction": lambda y, noise, s: ((1 + s**2) * noise - s * y) * (1 + s**2).rsqrt(),
    }
    return Parameterization(sigma, scale, outputs[config.parameterization])


def _log_sigmas(config: Any) -> Tensor:
    """log sigma at each training timestep, from diffusers' own table."""
    with torch.device("cpu"):
        scheduler = DDPMScheduler(
            num_train_timesteps=config.num_train_timesteps,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
            beta_schedule=config.beta_schedule,
            trained_betas=config.trained_betas,
            rescale_betas_zero_snr=config.rescale_betas_zero_snr,
        )
    kept: Tensor = scheduler.alphas_cumprod.double().clamp_min(1 / (1 + SIGMA_MAX**2))
    return 0.5 * (torch.log1p(-kept) - kept.log())


def _edm(config: Any) -> Parameterization:
    return _preconditioned(config, _quarter_of_log)


def _edm_cosine(config: Any) -> Parameterization:
    def sigma(t: Tensor) -> Tensor:
        _inside(t, 1e-7, 1 - 1e-7, "2/pi arctan(sigma), between 0 and 1")
        return torch.tan(0.5 * math.pi * t)

    return _preconditioned(config, sigma)


def _preconditioned(config: Any, sigma: Callable[[Tensor], Tensor]) -> Parameterization:
    data, sign = float(config.sigma_data), -1.0 if config.edm_prediction_type == "v_prediction" else 1.0

    def output(y: Tensor, noise: Tensor, s: Tensor) -> Tensor:
        # F = (D - c_skip y) / c_out with D = y - s noise.
        return sign * ((s / data) * y - (s**2 + data**2) / data * noise) * (s**2 + data**2).rsqrt()

    return Parameterization(sigma, lambda s: (s**2 + data**2).rsqrt(), output)


def _flow(config: Any) -> Parameterization:
    def sigma(t: Tensor) -> Tensor:
        _inside(t, 0, config.num_train_timesteps, "0 .. num_train_timesteps")
        s: Tensor = (t / config.num_train_timesteps).clamp(max=SIGMA_MAX / (1 + SIGMA_MAX))
        return s / (1 - s)

    outputs = {
        "flow": lambda y, noise, s: noise - (y - s * noise),  # the velocity from data to noise, noise minus data
        "flow_epsilon": lambda y, noise, s: noise,
        "flow_sample": lambda y, noise, s: y - s * noise,
    }
    return Parameterization(sigma, lambda s: 1 / (1 + s), outputs[config.parameterization])


def _score(config: Any) -> Parameterization:
    def sigma(t: Tensor) -> Tensor:
        _inside(t, 1e-6, _SIGMA_TOP, "sigma itself, positive")
        return t

    return Parameterization(sigma, torch.ones_like, lambda y, noise, s: -noise / s)


def _consistency(config: Any) -> Parameterization:
    data, least = float(config.sigma_data), float(config.sigma_min)

    def sigma(t: Tensor) -> Tensor:
        _inside(t, -1e4, 250 * math.log(_SIGMA_TOP), "250 times log(sigma)")
        return torch.exp(t / 250)

    def output(y: Tensor, noise: Tensor, s: Tensor) -> Tensor:
        # The scheduler adds c_skip y itself; at the smallest sigma c_skip is one, and c_out is zero.
        skip = data**2 / ((s - least) ** 2 + data**2)
        out = (s - least).clamp_min(1e-3 * least) * data * (s**2 + data**2).rsqrt()
        return ((1 - skip) * y - s * noise) / out

    return Parameterization(sigma, lambda s: (s**2 + data**2).rsqrt(), output)


def _quarter_of_log(t: Tensor) -> Tensor:
    _inside(t, -10, math.log(_SIGMA_TOP) / 4, "a quarter of log(sigma)")
    return torch.exp(4 * t)


def _inside(t: Tensor, low: float, high: float, what: str) -> None:
    if not bool(((t >= low) & (t <= high)).all()):
        bad = t[~((t >= low) & (t <= high))][0].item()
        raise ValueError(f"timestep {bad:g} lies outside the schedule: this parameterization's timesteps are {what}")


_FAMILIES: dict[str, Callable[[Any], Parameterization]] = {
    **dict.fromkeys(VARIANCE_PRESERVING, _variance_preserving),
    "edm": _edm,
    "edm_cosine": _edm_cosine,
    **dict.fromkeys(("flow", "flow_epsilon", "flow_sample"), _flow),
    "score": _score,
    "consistency": _consistency,
}
NAMES = tuple(_FAMILIES)
"""The parameterizations there are."""
