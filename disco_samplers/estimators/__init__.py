"""Estimators: tensors in, tensors out. What a network reads off samples, through transforms, in parts, normalised."""

from disco_samplers.estimators.base import Estimator, check_single, draw_rows
from disco_samplers.estimators.calibrated import (
    CalibratedEstimator,
    as_it_is,
    calibrate,
    innermost,
    is_calibrated,
    outward,
    uncalibrated,
)
from disco_samplers.estimators.choosing import Choice, choose, weigh_again
from disco_samplers.estimators.circular import CircularEstimator, Layout, sparsest
from disco_samplers.estimators.crossfit import crossfit, shuffled
from disco_samplers.estimators.denoising import DenoisingEstimator
from disco_samplers.estimators.edges import EdgedEstimator, Edges
from disco_samplers.estimators.heads import adapt_heads
from disco_samplers.estimators.independent import IndependentEstimator, may_be_independent, midranks
from disco_samplers.estimators.judge import consistency, deviation, fall, mean, mean_error
from disco_samplers.estimators.mixture import fit_mixture
from disco_samplers.estimators.network import NetworkEstimator, read_at_samples
from disco_samplers.estimators.normalized import MAX_DIM, LogNormalizer, NormalizedEstimator, log_normalizer, unnormalized
from disco_samplers.estimators.parts import PartsEstimator, WhitenedPartsEstimator
from disco_samplers.estimators.proposal import NeighbourMixture, proposal
from disco_samplers.estimators.quadrature import MAX_FREE, Places, Quadrature
from disco_samplers.estimators.readings import INDEPENDENT, MIXTURE, PARTS, PLAIN, WHITENED_PARTS, Kind, read
from disco_samplers.estimators.shipped import (
    DEFAULTS,
    DENOISER,
    SHIPPED,
    WEIGHTS_NAME,
    load_denoiser,
    load_network,
    shipped_network,
    weights_path,
)
from disco_samplers.estimators.slice_mixture import SliceMixture, Weighted
from disco_samplers.estimators.slices import GroupSlices, Slice, Slices
from disco_samplers.estimators.stacked import SHARING, StackedEstimator, gain
from disco_samplers.estimators.supported import (
    SupportedEstimator,
    bounded,
    read_supported,
    straight,
    straightened,
    unbounded,
)
from disco_samplers.estimators.tempered import TemperedEstimator
from disco_samplers.estimators.transformed import TransformedEstimator
from disco_samplers.estimators.transforms import (
    AtomTransform,
    ClosedForm,
    FreeCoordinates,
    GroupTransform,
    JohnsonTransform,
    LinearTransform,
    SupportTransform,
    TailTransform,
    heavy_tails,
    log_volume,
    pull_back,
    quantile,
    settled,
)
from disco_samplers.estimators.trial import FEW, Trial

__all__ = [
    "DEFAULTS",
    "DENOISER",
    "FEW",
    "INDEPENDENT",
    "MAX_DIM",
    "MAX_FREE",
    "MIXTURE",
    "PARTS",
    "PLAIN",
    "SHARING",
    "SHIPPED",
    "WEIGHTS_NAME",
    "WHITENED_PARTS",
    "AtomTransform",
    "CalibratedEstimator",
    "Choice",
    "CircularEstimator",
    "ClosedForm",
    "DenoisingEstimator",
    "EdgedEstimator",
    "Edges",
    "Estimator",
    "FreeCoordinates",
    "GroupSlices",
    "GroupTransform",
    "IndependentEstimator",
    "JohnsonTransform",
    "Kind",
    "Layout",
    "LinearTransform",
    "LogNormalizer",
    "NeighbourMixture",
    "NetworkEstimator",
    "NormalizedEstimator",
    "PartsEstimator",
    "Places",
    "Quadrature",
    "Slice",
    "SliceMixture",
    "Slices",
    "StackedEstimator",
    "SupportTransform",
    "SupportedEstimator",
    "TailTransform",
    "TemperedEstimator",
    "TransformedEstimator",
    "Trial",
    "Weighted",
    "WhitenedPartsEstimator",
    "adapt_heads",
    "as_it_is",
    "bounded",
    "calibrate",
    "check_single",
    "choose",
    "consistency",
    "crossfit",
    "deviation",
    "draw_rows",
    "fall",
    "fit_mixture",
    "gain",
    "heavy_tails",
    "innermost",
    "is_calibrated",
    "load_denoiser",
    "load_network",
    "log_normalizer",
    "log_volume",
    "may_be_independent",
    "mean",
    "mean_error",
    "midranks",
    "outward",
    "proposal",
    "pull_back",
    "quantile",
    "read",
    "read_at_samples",
    "read_supported",
    "settled",
    "shipped_network",
    "shuffled",
    "sparsest",
    "straight",
    "straightened",
    "unbounded",
    "uncalibrated",
    "unnormalized",
    "weigh_again",
    "weights_path",
]
