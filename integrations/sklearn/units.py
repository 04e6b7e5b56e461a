"""The units in which a detector compares log-densities: neither a column's own nor those in which it is normal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions.transforms import ComposeTransform, Transform

from disco_samplers.estimators import AtomTransform, JohnsonTransform


def log_units(transform: Transform | None, points: Tensor) -> Tensor:
    r"""What is added to a log-density at points (m, d), (m,), to be one in scaled columns u.

    .. math:: \log f_u = \log f - \sum_k \log a_k(x_k) - \tfrac12 \sum_k \log \frac{dz_k}{dx_k}, \qquad
        du_k = a_k \sqrt{dz_k/dx_k}\, dx_k,

    with a the slope at atoms, and z the Johnson coordinate: u lies halfway between the column, in which whatever is beyond its
    bulk is unusual and a collapsed marginal ranks the rows, and z, in which a long tail is usual: of a lognormal column near a
    square root. An atom counts as a value of a cell as wide as its column's other rows spread.
    """
    total, x = points.new_zeros(len(points), dtype=torch.float64), points
    parts = transform.parts if isinstance(transform, ComposeTransform) else [transform]
    for part in parts:
        if isinstance(part, (AtomTransform, JohnsonTransform)):
            z = part(x)
            total = total - part.log_abs_det_jacobian(x, z).sum(-1) * (1.0 if isinstance(part, AtomTransform) else 0.5)
            x = z
    return total
