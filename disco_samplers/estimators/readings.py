"""The ways in which samples are read: as they are, column by column, in parts, or in coordinates that draw their tails in."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from disco_samplers.estimators.independent import IndependentEstimator
from disco_samplers.estimators.network import NetworkEstimator
from disco_samplers.estimators.parts import PartsEstimator, WhitenedPartsEstimator
from disco_samplers.estimators.transformed import TransformedEstimator
from disco_samplers.estimators.transforms import TailTransform
from disco_samplers.model import Network
from disco_samplers.reference import GaussianMixture

Kind = tuple[str, float]
"""How samples are read: a name, and the strength of tail coordinates or 0."""

PLAIN: Kind = ("plain", 0.0)
INDEPENDENT, PARTS, WHITENED_PARTS = ("independent", 0.0), ("parts", 0.0), ("whitened parts", 0.0)
MIXTURE: Kind = ("mixture", 0.0)
"""A mixture of Gaussians, which no network reads: beside those that one does."""


def read(
    network: Network,
    rows: Tensor,
    kind: Kind,
    *,
    counts: Tensor | None = None,
    keys: int | None,
    mixture: GaussianMixture | None = None,
) -> Any:
    """The estimator of rows (n, d) read in one of these ways, with what it needs fitted to them.

    With ``counts`` (n,) a row is worth so many independent draws. Parts are those of ``mixture``, which is fitted if not given.
    """
    name, strength = kind
    if kind == INDEPENDENT:
        return IndependentEstimator(network, rows, keys, counts)
    if kind == PARTS:
        return PartsEstimator(network, rows, keys, counts, mixture=mixture)
    if kind == WHITENED_PARTS:
        return WhitenedPartsEstimator(network, rows, keys, counts, mixture=mixture)
    if not strength:
        return NetworkEstimator(network, rows, counts, keys)
    tails = TailTransform.fit(rows, strength, radial=name == "radius", counts=counts)
    return TransformedEstimator(NetworkEstimator(network, tails(rows), counts, keys), tails, validate_args=False)
