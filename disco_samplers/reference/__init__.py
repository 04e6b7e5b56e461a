"""Exact distributions and classical estimators with the interface of a DiScoFormer estimate: the tests' oracles."""

from disco_samplers.reference.base import ReferenceDensity
from disco_samplers.reference.gaussian import Gaussian, GaussianMixture
from disco_samplers.reference.kde import KDE
from disco_samplers.reference.kernel_score import SSGE, NuMethod
from disco_samplers.reference.laplace import Laplace
from disco_samplers.reference.optimal_denoiser import OptimalDenoiser
from disco_samplers.reference.sdkde import SDKDE
from disco_samplers.reference.student_t import StudentT, StudentTMixture

__all__ = [
    "KDE",
    "SDKDE",
    "SSGE",
    "Gaussian",
    "GaussianMixture",
    "Laplace",
    "NuMethod",
    "OptimalDenoiser",
    "ReferenceDensity",
    "StudentT",
    "StudentTMixture",
]
