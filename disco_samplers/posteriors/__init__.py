"""Posteriors: from parts of the data, merged; their evidence; whether two agree."""

from disco_samplers.posteriors.edgeworth import Edgeworth
from disco_samplers.posteriors.evidence import Evidence, EvidenceWarning, log_evidence
from disco_samplers.posteriors.measured import Measured
from disco_samplers.posteriors.merging import (
    MergedPosterior,
    OverlapWarning,
    merge_subposteriors,
    merged_posterior,
    warn_of_overlap,
)
from disco_samplers.posteriors.subposterior import Subposterior, subposterior
from disco_samplers.posteriors.tension import Tension, tension
from disco_samplers.posteriors.two_sample import TwoSample, two_sample

__all__ = [
    "Edgeworth",
    "Evidence",
    "EvidenceWarning",
    "Measured",
    "MergedPosterior",
    "OverlapWarning",
    "Subposterior",
    "Tension",
    "TwoSample",
    "log_evidence",
    "merge_subposteriors",
    "merged_posterior",
    "subposterior",
    "tension",
    "two_sample",
    "warn_of_overlap",
]
