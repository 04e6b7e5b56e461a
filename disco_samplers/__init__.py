"""Density and score of any set of samples from one pretrained transformer, and the samplers that use them.

Names are imported when first used, so that ``import disco_samplers`` costs next to nothing beyond ``import torch``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disco_samplers.draws import Draws as Draws
    from disco_samplers.estimate import AdaptationReport as AdaptationReport
    from disco_samplers.estimate import DensityEstimate as DensityEstimate
    from disco_samplers.estimate import DiscoDenoiser as DiscoDenoiser
    from disco_samplers.estimate import DiScoFormer as DiScoFormer
    from disco_samplers.estimate import corner as corner
    from disco_samplers.files import read as read
    from disco_samplers.files import save as save
    from disco_samplers.model import DiScoFormerConfig as DiScoFormerConfig
    from disco_samplers.samplers import LangevinSampler as LangevinSampler
    from disco_samplers.samplers import SamplerResult as SamplerResult
    from disco_samplers.types import Density as Density
    from disco_samplers.types import LogDensity as LogDensity
    from disco_samplers.types import ScoreFunction as ScoreFunction

__version__ = "0.2.0"  # here alone: pyproject.toml and the command read it

_WHERE = {
    "AdaptationReport": "estimate",
    "Density": "types",
    "DensityEstimate": "estimate",
    "DiScoFormer": "estimate",
    "DiScoFormerConfig": "model",
    "DiscoDenoiser": "estimate",
    "Draws": "draws",
    "LangevinSampler": "samplers",
    "LogDensity": "types",
    "SamplerResult": "samplers",
    "ScoreFunction": "types",
    "corner": "estimate",
    "read": "files",
    "save": "files",
}
__all__ = [*_WHERE, "__version__"]  # noqa: PLE0604  # strings all of them


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
