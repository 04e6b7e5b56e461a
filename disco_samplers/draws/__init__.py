"""Draws with what is known of them, and how many independent ones they are worth."""

from disco_samplers.draws.draws import Draws
from disco_samplers.draws.frames import align, as_table
from disco_samplers.draws.risks import FarRowsWarning, GranularColumnWarning, warn_of_risks
from disco_samplers.draws.worth import (
    DrawsWarning,
    HeavyWeightWarning,
    RepeatedRowsWarning,
    chains_effective_size,
    distinct_rows,
    kish_effective_size,
)

__all__ = [
    "Draws",
    "DrawsWarning",
    "FarRowsWarning",
    "GranularColumnWarning",
    "HeavyWeightWarning",
    "RepeatedRowsWarning",
    "align",
    "as_table",
    "chains_effective_size",
    "distinct_rows",
    "kish_effective_size",
    "warn_of_risks",
]
