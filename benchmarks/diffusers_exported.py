"""Every scheduler that the installed diffusers exports, and each of its options away from its default."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler
from disco_samplers.integrations.diffusers import DiscoLangevinScheduler

_CLIPPING = ("clip_sample", "clip_denoised", "thresholding")
_OTHER = ("upscale_mode", "masking_schedule")
"""Options of pictures and tokens."""

_NOT_TYPED = {
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "prediction_type": ("epsilon", "sample", "v_prediction"),
    "timestep_spacing": ("linspace", "leading", "trailing"),
    "interpolation_type": ("linear", "log_linear"),
}
"""Values of options whose annotations do not tell them in every class."""

_TOGETHER = {"use_flow_sigmas": {"prediction_type": "flow_prediction"}}
"""Options that make sense together with another only, besides alone."""

_MADE_FOR = {"ScoreSdeVeScheduler": {"sigma_max": 50.0}, "KarrasVeScheduler": {"sigma_max": 7.0, "s_min": 0.1}}
"""Noise of data with a standard deviation of one: the defaults are those of 1348 and 100."""


def kinds() -> list[type]:
    """The classes, ours and the one that is deprecated among them."""
    exported = (getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler"))
    found = {kind for kind in exported if inspect.isclass(kind) and issubclass(kind, diffusers.SchedulerMixin)}
    return sorted(found | {KarrasVeScheduler, DiscoLangevinScheduler}, key=lambda kind: kind.__name__)


def schedulers(options: bool = True) -> dict[str, Callable[[], Any]]:
    """How each is made, by a name: of the class, then ``, option=value``. Clipping is off."""
    every = [(kind, changed) for kind in kinds() for changed in ({}, *(_options(kind) if options else ()))]
    return {_name(kind, changed): functools.partial(kind, **_plain(kind), **changed) for kind, changed in every}


def _name(kind: type, changed: dict[str, Any]) -> str:
    return ", ".join([kind.__name__.removesuffix("Scheduler"), *(f"{key}={value}" for key, value in changed.items())])


def _plain(kind: type) -> dict[str, Any]:
    names = inspect.signature(kind.__init__).parameters
    return {name: False for name in _CLIPPING if name in names} | _MADE_FOR.get(kind.__name__, {})


def _options(kind: type) -> Iterator[dict[str, Any]]:
    hints = typing.get_type_hints(kind.__init__)
    parameters = inspect.signature(kind.__init__).parameters
    for name, parameter in parameters.items():
        if name in (*_CLIPPING, *_OTHER):
            continue
        for value in _values(name, parameter.default, hints.get(name)):
            yield {name: value}
            if name in _TOGETHER and set(_TOGETHER[name]) <= set(parameters):
                yield {name: value} | _TOGETHER[name]


def _values(name: str, default: Any, hint: Any) -> list[Any]:
    """Those that an option can have besides its default."""
    literals = (part for part in (hint, *typing.get_args(hint)) if typing.get_origin(part) is typing.Literal)
    told = [value for literal in literals for value in typing.get_args(literal)]
    every = (True, False) if isinstance(default, bool) else told or _NOT_TYPED.get(name, ())
    return [value for value in every if value != default and value is not None]
