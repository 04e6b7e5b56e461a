"""Measures of samples and between them: information quantities, the kernel Stein discrepancy, distances."""

from disco_samplers.measures.dependence import InfiniteInformationWarning
from disco_samplers.measures.distances import (
    maximum_mean_discrepancy,
    nearest_distances,
    precision_recall,
    sliced_wasserstein,
)
from disco_samplers.measures.information import (
    entropy,
    fisher_information,
    kl_divergence,
    relative_fisher_information,
)
from disco_samplers.measures.mutual import conditional_mutual_information, mutual_information, transfer_entropy
from disco_samplers.measures.quantity import Information
from disco_samplers.measures.stein import kernel_stein_discrepancy

__all__ = [
    "InfiniteInformationWarning",
    "Information",
    "conditional_mutual_information",
    "entropy",
    "fisher_information",
    "kernel_stein_discrepancy",
    "kl_divergence",
    "maximum_mean_discrepancy",
    "mutual_information",
    "nearest_distances",
    "precision_recall",
    "relative_fisher_information",
    "sliced_wasserstein",
    "transfer_entropy",
]
