"""Linear coordinates: a part's own, as its component of a mixture has them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints

from disco_samplers.estimators.transforms.base import ClosedForm


class LinearTransform(ClosedForm):
    """The map :math:`z = (x - c) A`.

    Arguments:
        center: c, (d,).
        matrix: A, (d, d), invertible.

    Example:
        >>> map = LinearTransform(torch.ones(2), 2 * torch.eye(2))
        >>> map(torch.ones(1, 2)), map.log_abs_det_jacobian(torch.ones(1, 2), torch.zeros(1, 2)).exp()
        (tensor([[0., 0.]]), tensor([4.]))
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, center: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.center, self.matrix = center, matrix

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-volume (...,), the same at all points x (..., d)."""
        log_det: Tensor = torch.linalg.slogdet(self.matrix).logabsdet
        return log_det.expand(x.shape[:-1])

    def pull_back(self, x: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_abs_det_jacobian(x, x), score @ self.matrix.mT

    def _call(self, x: Tensor) -> Tensor:
        return (x.to(self.matrix.dtype) - self.center) @ self.matrix

    def _inverse(self, y: Tensor) -> Tensor:
        points: Tensor = self.center + torch.linalg.solve(self.matrix.mT, y.to(self.matrix.dtype).mT).mT
        return points
