"""Draws with what is known of them, and how many independent ones they are worth."""

from disco_samplers.draws.draws import Draws
from disco_samplers.draws.frames import align, as_table
from disco_samplers.draws.inference import inference_data
from disco_samplers.draws.risks import FarRowsWarning, GranularColumnWarning, warn_of_risks
from disco_samplers.draws.worth import (
    DrawsWarning,
    HeavyWeightWarning,
    LowEffectiveSizeWarning,
    RepeatedRowsWarning,
    TransposedWarning,
    blocks_of,
    chains_effective_size,
    distinct_rows,
    evenly,
    kish_effective_size,
    part_worth,
)

__all__ = [
    "Draws",
    "DrawsWarning",
    "FarRowsWarning",
    "GranularColumnWarning",
    "HeavyWeightWarning",
    "LowEffectiveSizeWarning",
    "RepeatedRowsWarning",
    "TransposedWarning",
    "align",
    "as_table",
    "blocks_of",
    "chains_effective_size",
    "distinct_rows",
    "evenly",
    "inference_data",
    "kish_effective_size",
    "part_worth",
    "warn_of_risks",
]
