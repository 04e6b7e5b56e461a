"""The network alone: whitening, attention, blocks and heads."""

from disco_samplers.model.block import Frame, KeysValues
from disco_samplers.model.config import SYMMETRIES, DiScoFormerConfig
from disco_samplers.model.denoiser import DenoiserConfig, DenoiserNetwork, Spread
from disco_samplers.model.network import TILE, Encoding, Network
from disco_samplers.model.noise_units import NoiseUnits
from disco_samplers.model.sharding import check_same
from disco_samplers.model.whitening import Whitening, log_standard_normal, whiten

__all__ = [
    "SYMMETRIES",
    "TILE",
    "DenoiserConfig",
    "DenoiserNetwork",
    "DiScoFormerConfig",
    "Encoding",
    "Frame",
    "KeysValues",
    "Network",
    "NoiseUnits",
    "Spread",
    "Whitening",
    "check_same",
    "log_standard_normal",
    "whiten",
]
