"""Changes of variables, one a file, as :mod:`torch.distributions.transforms` has them; from the data to where they are read."""

from disco_samplers.estimators.transforms.atoms import AtomTransform
from disco_samplers.estimators.transforms.base import ClosedForm, log_volume, pull_back, settled
from disco_samplers.estimators.transforms.free import FreeCoordinates
from disco_samplers.estimators.transforms.groups import GroupTransform
from disco_samplers.estimators.transforms.johnson import JohnsonTransform
from disco_samplers.estimators.transforms.linear import LinearTransform
from disco_samplers.estimators.transforms.quantiles import quantile
from disco_samplers.estimators.transforms.supports import Interval, SupportTransform
from disco_samplers.estimators.transforms.tails import TailTransform, heavy_tails

__all__ = [
    "AtomTransform",
    "ClosedForm",
    "FreeCoordinates",
    "GroupTransform",
    "Interval",
    "JohnsonTransform",
    "LinearTransform",
    "SupportTransform",
    "TailTransform",
    "heavy_tails",
    "log_volume",
    "pull_back",
    "quantile",
    "settled",
]
