"""Posteriors: from parts of the data, merged; their evidence; whether two agree."""

from disco_samplers.posteriors.edgeworth import Edgeworth
from disco_samplers.posteriors.evidence import Evidence, EvidenceWarning, LogBayesFactor, log_evidence
from disco_samplers.posteriors.merging import MergedPosterior, merge_subposteriors, merged_posterior
from disco_samplers.posteriors.subposterior import Subposterior, subposterior

__all__ = [
    "Edgeworth",
    "Evidence",
    "EvidenceWarning",
    "LogBayesFactor",
    "MergedPosterior",
    "Subposterior",
    "log_evidence",
    "merge_subposteriors",
    "merged_posterior",
    "subposterior",
]
