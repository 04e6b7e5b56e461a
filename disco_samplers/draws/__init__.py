"""Draws with what is known of them, and how many independent ones they are worth."""

from disco_samplers.draws.checks import index_of
from disco_samplers.draws.columns import described, described_of, groups_of, supports_of, supports_taken
from disco_samplers.draws.draws import Draws
from disco_samplers.draws.inference import from_labelled, inference_data
from disco_samplers.draws.inside import EdgeRowsWarning, in_turns, inside, mirrored, off_edges, outside, rounded_inside
from disco_samplers.draws.names import align, as_table, names_of
from disco_samplers.draws.risks import FarRowsWarning, GranularColumnWarning, warn_of_risks
from disco_samplers.draws.suggestions import SuggestedSupportWarning, suggest_after, suggest_supports, warn_of_supports
from disco_samplers.draws.supports import GROUPS, ROUNDING, TURN, Circle, Member, Support, periods_of
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
    "GROUPS",
    "ROUNDING",
    "TURN",
    "Circle",
    "Draws",
    "DrawsWarning",
    "EdgeRowsWarning",
    "FarRowsWarning",
    "GranularColumnWarning",
    "HeavyWeightWarning",
    "LowEffectiveSizeWarning",
    "Member",
    "RepeatedRowsWarning",
    "SuggestedSupportWarning",
    "Support",
    "TransposedWarning",
    "UnmixedWarning",
    "align",
    "as_table",
    "blocks_of",
    "cautious",
    "chains_effective_size",
    "described",
    "described_of",
    "distinct_rows",
    "evenly",
    "from_labelled",
    "groups_of",
    "in_turns",
    "index_of",
    "inference_data",
    "inside",
    "kish_effective_size",
    "mirrored",
    "names_of",
    "off_edges",
    "outside",
    "part_worth",
    "periods_of",
    "rounded_inside",
    "suggest_after",
    "suggest_supports",
    "supports_of",
    "supports_taken",
    "warn_of_risks",
    "warn_of_supports",
]
