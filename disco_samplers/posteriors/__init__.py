"""Posteriors from parts of the data: merging, subposteriors and their moments."""

from disco_samplers.posteriors.edgeworth import Edgeworth
from disco_samplers.posteriors.merging import MergedPosterior, merge_subposteriors, merged_posterior
from disco_samplers.posteriors.subposterior import Subposterior, subposterior

__all__ = ["Edgeworth", "MergedPosterior", "Subposterior", "merge_subposteriors", "merged_posterior", "subposterior"]
