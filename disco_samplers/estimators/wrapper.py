"""What wraps an estimator without changing its points: the fields that it passes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from disco_samplers.estimators.base import Estimator
from disco_samplers.model import Network


class Wrapper(ABC):
    """Passes on what is the inner estimator's.

    Arguments:
        base: an estimator.
    """

    def __init__(self, base: Any) -> None:
        self.base = base

    @property
    def core(self) -> Estimator:
        """The estimator inside."""
        core: Estimator = self.base.core
        return core

    def from_core(self, points: Tensor) -> Tensor:
        """The data's points of the core's points."""
        return self.from_base(self.base.from_core(points))

    def from_base(self, points: Tensor) -> Tensor:
        """The data's points of the inner estimator's points."""
        return points

    def whiten(self, points: Tensor) -> Tensor:
        """Whitened coordinates of the core."""
        white: Tensor = self.base.whiten(points)
        return white

    def unwhitened(self, z: Tensor) -> Tensor:
        """The core's points (m, d) of whitened coordinates (1, m, rank)."""
        whitening = self.core.whitening
        white = torch.nn.functional.pad(z[0], (0, len(whitening.center[0, 0]) - z.shape[-1]))
        points: Tensor = whitening.center[0] + torch.linalg.solve(whitening.matrix[0].T, white.T).T
        return points

    @abstractmethod
    def with_base(self, base: Any) -> Any:
        """The same around another estimator."""

    def with_network(self, network: Network) -> Any:
        """The same reading by another network, where that is."""
        return self.with_base(self.base.with_network(network))
