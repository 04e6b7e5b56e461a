"""Which conventions a scheduler has, read off its class and configuration; what no score model can serve is refused."""

from __future__ import annotations

from typing import Any

from .parameterization import VARIANCE_PRESERVING


def conventions_of(scheduler: Any) -> dict[str, Any]:
    """The configuration of a :class:`DiscoScoreModel` that a scheduler wants.

    Raises:
        TypeError: if it is no scheduler.
        ValueError: if the scheduler belongs to none of the families VP, EDM, flow, VE and consistency, or is configured such
            that no denoiser can serve it.

    Example:
        >>> from diffusers import FlowMatchEulerDiscreteScheduler
        >>> found = conventions_of(FlowMatchEulerDiscreteScheduler())
        >>> found["parameterization"], found["num_train_timesteps"]
        ('flow', 1000)
    """
    check_scheduler_type(scheduler)
    name = type(scheduler).__name__
    if name in _REASONS:
        raise ValueError(f"{name} {_REASONS[name]}: {_USE}")
    config = scheduler.config
    if str(config.get("variance_type")).startswith("learned"):
        raise ValueError(
            f'{name} with variance_type="{config.variance_type}" wants a model that predicts a variance too: leave it at its '
            "default"
        )
    if name == "CosineDPMSolverMultistepScheduler" and config.final_sigmas_type == "sigma_min":
        raise ValueError(f'{name} with final_sigmas_type="sigma_min" ends with noise for a step of no length: use "zero"')
    if name in _INVERSE:
        _check_inverse(name, config)
    distilled = name in _DISTILLED or config.get("stochastic_sampling")
    common = {"timestep_type": "discrete", "float_timesteps": True, "consistency_steps": 10 if distilled else 0}
    if name in _SCORE_BASED:
        return common | {"parameterization": "score"}
    if name in _EDM:
        values = {"sigma_data": config.sigma_data, "edm_prediction_type": config.prediction_type}
        return common | {"parameterization": _EDM[name]} | values
    if name == "CMStochasticIterativeScheduler":
        values = {"sigma_data": config.sigma_data, "sigma_min": config.sigma_min}
        return common | {"parameterization": "consistency"} | values
    if name in _FLOW:
        return common | {"parameterization": "flow", "num_train_timesteps": config.num_train_timesteps}
    kind = config.get("prediction_type", "epsilon")
    if hasattr(scheduler, "alphas_cumprod"):
        common["float_timesteps"] = False
        if config.get("use_flow_sigmas"):
            return common | _flow_sigmas(name, config, kind)
        if kind in VARIANCE_PRESERVING:
            return common | _variance_preserving(name, config, kind)
        if kind == "flow_prediction":
            raise ValueError(f'{name} with prediction_type="flow_prediction" needs use_flow_sigmas=True')
    raise ValueError(f"{name} (prediction_type {kind!r}) is none of the schedulers that a score model can serve: {_USE}")


def check_scheduler_type(scheduler: Any) -> None:
    """Raises TypeError unless it is a scheduler, and not its name or class."""
    if isinstance(scheduler, type) or not hasattr(getattr(scheduler, "config", None), "get"):
        got = f"the class {scheduler.__name__}" if isinstance(scheduler, type) else repr(scheduler)
        raise TypeError(f"scheduler must be a scheduler of diffusers, such as DDIMScheduler(), got {got}")


def is_inverse(scheduler: Any) -> bool:
    """Whether a scheduler leads from data to noise."""
    return type(scheduler).__name__ in _INVERSE or bool(scheduler.config.get("invert_sigmas"))


def _check_inverse(name: str, config: Any) -> None:
    if str(config.get("algorithm_type")).startswith("sde"):
        raise ValueError(
            f'{name} with algorithm_type="{config.algorithm_type}" adds noise, which has no inverse: use "dpmsolver++"'
        )
    for spacing in ("use_exponential_sigmas", "use_beta_sigmas", "use_flow_sigmas"):
        if config.get(spacing):
            raise ValueError(f"{name} with {spacing}=True does not go from data to noise: use use_karras_sigmas=True or none")
    if config.get("set_alpha_to_one") and config.get("prediction_type") == "sample":
        raise ValueError(f'{name} with prediction_type="sample" divides by a noise of zero: use set_alpha_to_one=False')


def _flow_sigmas(name: str, config: Any, kind: str) -> dict[str, Any]:
    """Solvers for VP schedules that are run on x = (1 - s) x0 + s noise, at timesteps that are s."""
    kinds = {"flow_prediction": "flow", "epsilon": "flow_epsilon", "sample": "flow_sample"}
    if name == "UniPCMultistepScheduler":  # which begins at s = 1, where the predicted noise tells nothing of the data
        del kinds["epsilon"]
    if kind not in kinds:
        raise ValueError(
            f'{name} with use_flow_sigmas=True and prediction_type="{kind}" finds no denoised mean in flow samples: use '
            'prediction_type="flow_prediction"'
        )
    return {"parameterization": kinds[kind], "num_train_timesteps": config.num_train_timesteps}


def _variance_preserving(name: str, config: Any, kind: str) -> dict[str, Any]:
    spaced = any(config.get(f"use_{spacing}_sigmas") for spacing in ("karras", "exponential", "beta"))
    continuous = config.get("timestep_type") == "continuous" and kind == "v_prediction"  # as diffusers has it
    if config.get("interpolation_type") == "log_linear" and not spaced and not continuous:
        raise ValueError(
            f'{name} with interpolation_type="log_linear" spaces noise levels geometrically and timesteps evenly, so that it '
            "asks its model at other noise levels than its samples have: use use_exponential_sigmas=True, whose timesteps are "
            "those of its noise levels"
        )
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    values = {key: config.get(key) for key in keys}
    values["rescale_betas_zero_snr"] = config.get("rescale_betas_zero_snr", False)
    values["timestep_type"] = "continuous" if continuous else "discrete"
    return {"parameterization": kind} | values


_SCORE_BASED = ("ScoreSdeVeScheduler", "KarrasVeScheduler")
_EDM = {
    "EDMEulerScheduler": "edm",
    "EDMDPMSolverMultistepScheduler": "edm",
    "CosineDPMSolverMultistepScheduler": "edm_cosine",
}
_FLOW = (
    "FlowMapEulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "LTXEulerAncestralRFScheduler",
)
_DISTILLED = ("CMStochasticIterativeScheduler", "LCMScheduler", "FlowMatchLCMScheduler")
"""Schedulers that take the model's answer for the end of the probability-flow trajectory, and noise it anew."""
_INVERSE = ("DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler")
_REASONS = {
    "CogVideoXDDIMScheduler": "shifts the signal-to-noise ratio of a schedule made for videos",
    "CogVideoXDPMScheduler": "steps between three timesteps at a time",
    "HeliosScheduler": "works in stages of growing resolution",
    "HeliosDMDScheduler": "works in stages of growing resolution",
    "MiniMaxH3Scheduler": "counts time from noise to data, and its velocity too",
    "PiflowScheduler": "wants a policy, not a prediction, of its model",
    "RePaintScheduler": "needs a picture and a mask at every step, which RePaintPipeline gives",
    "SCMScheduler": "works with trigonometric flows",
    "UnCLIPScheduler": "needs the timestep before at every step",
}
"""Why not those that work on continuous samples as the others do."""

_USE = (
    "use one of the VP family (DDIMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler, ...), EDMEulerScheduler, "
    "FlowMatchEulerDiscreteScheduler, ScoreSdeVeScheduler or CMStochasticIterativeScheduler"
)
