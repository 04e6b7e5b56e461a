"""Samplers: many chains of any method from any score. The front, its driver and results; :mod:`steps` has the algorithms."""

from disco_samplers.samplers.algorithms import ALGORITHMS, Algorithm, Method
from disco_samplers.samplers.diagnostics import (
    NotMixedWarning,
    Summary,
    about,
    centers,
    not_mixed,
    spreading,
    summarise,
    unmixed,
)
from disco_samplers.samplers.driver import Callback, Checkpoint, Driver, Learn, Progress
from disco_samplers.samplers.flow import integrate, relax
from disco_samplers.samplers.langevin import LangevinSampler
from disco_samplers.samplers.result import SamplerResult
from disco_samplers.samplers.step_size import ByAcceptance, ByBias, DualAveraging, Fixed, Policy
from disco_samplers.samplers.warmup import History, windows

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "ByAcceptance",
    "ByBias",
    "Callback",
    "Checkpoint",
    "Driver",
    "DualAveraging",
    "Fixed",
    "History",
    "LangevinSampler",
    "Learn",
    "Method",
    "NotMixedWarning",
    "Policy",
    "Progress",
    "SamplerResult",
    "Summary",
    "about",
    "centers",
    "integrate",
    "not_mixed",
    "relax",
    "spreading",
    "summarise",
    "unmixed",
    "windows",
]
