"""Draws with what is known of them, and how many independent ones they are worth."""

from disco_samplers.draws.checks import index_of
from disco_samplers.draws.draws import Draws
from disco_samplers.draws.inference import from_labelled, inference_data
from disco_samplers.draws.names import align, as_table, names_of
from disco_samplers.draws.risks import FarRowsWarning, GranularColumnWarning, warn_of_risks
from disco_samplers.draws.suggestions import suggest_after, suggest_supports
from disco_samplers.draws.supports import EdgeRowsWarning, Support, inside, off_edges, rounded_inside, supports_of
from disco_samplers.draws.worth import (
    DrawsWarning,
    HeavyWeightWarning,
    LowEffectiveSizeWarning,
    RepeatedRowsWarning,
    TransposedWarning,
    UnmixedWarning,
    blocks_of,
    cautious,
    chains_effective_size,
    distinct_rows,
    evenly,
    kish_effective_size,
    part_worth,
)

__all__ = [
    "Draws",
    "DrawsWarning",
    "EdgeRowsWarning",
    "FarRowsWarning",
    "GranularColumnWarning",
    "HeavyWeightWarning",
    "LowEffectiveSizeWarning",
    "RepeatedRowsWarning",
    "Support",
    "TransposedWarning",
    "UnmixedWarning",
    "align",
    "as_table",
    "blocks_of",
    "cautious",
    "chains_effective_size",
    "distinct_rows",
    "evenly",
    "from_labelled",
    "index_of",
    "inference_data",
    "inside",
    "kish_effective_size",
    "names_of",
    "off_edges",
    "part_worth",
    "rounded_inside",
    "suggest_after",
    "suggest_supports",
    "supports_of",
    "warn_of_risks",
]
