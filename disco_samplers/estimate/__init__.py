"""What users hold: the model that conditions on samples, the estimate that this gives, and the report of its adaptation."""

from disco_samplers.estimate.adaptation import AdaptationReport, adapt
from disco_samplers.estimate.ascent import ManyModesWarning, Mode
from disco_samplers.estimate.conditional import ConditionalEstimate
from disco_samplers.estimate.corners import corner
from disco_samplers.estimate.denoiser import DiscoDenoiser, NoisedEstimate
from disco_samplers.estimate.density import DensityEstimate
from disco_samplers.estimate.discoformer import MAX_KEYS, DiScoFormer
from disco_samplers.estimate.frozen import check_model, frozen
from disco_samplers.estimate.gradients import Gradient
from disco_samplers.estimate.proposal import EstimateProposal
from disco_samplers.estimate.regions import HighestDensity
from disco_samplers.estimate.sending import Scorer, check_scores, packed, unpacked, variables_of

__all__ = [
    "MAX_KEYS",
    "AdaptationReport",
    "ConditionalEstimate",
    "DensityEstimate",
    "DiScoFormer",
    "DiscoDenoiser",
    "EstimateProposal",
    "Gradient",
    "HighestDensity",
    "ManyModesWarning",
    "Mode",
    "NoisedEstimate",
    "Scorer",
    "adapt",
    "check_model",
    "check_scores",
    "corner",
    "frozen",
    "packed",
    "unpacked",
    "variables_of",
]
