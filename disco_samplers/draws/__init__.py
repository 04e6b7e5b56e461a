"""Draws with what is known of them, and how many independent ones they are worth."""

from disco_samplers.draws.draws import Draws
from disco_samplers.draws.frames import align, as_table
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
    "HeavyWeightWarning",
    "RepeatedRowsWarning",
    "align",
    "as_table",
    "chains_effective_size",
    "distinct_rows",
    "kish_effective_size",
]
