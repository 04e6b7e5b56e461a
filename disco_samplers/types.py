"""What every part of the library agrees on: a score is a callable, a log-density is a callable."""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor

ArrayLike: TypeAlias = "Tensor | np.ndarray"


@runtime_checkable
class ScoreFunction(Protocol):
    r"""A score :math:`\nabla \log f`: maps points (m, d) to gradients (m, d)."""

    def __call__(self, points: Tensor, /) -> Tensor: ...


@runtime_checkable
class LogDensity(Protocol):
    r"""A log-density :math:`\log f`, normalised or not: maps points (m, d) to values (m,)."""

    def __call__(self, points: Tensor, /) -> Tensor: ...


@runtime_checkable
class Density(Protocol):
    """A density that can be evaluated and drawn from: what an estimate, a KDE and an exact mixture have in common.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> isinstance(Gaussian(torch.zeros(2), torch.eye(2)), Density)
        True
    """

    @property
    def dim(self) -> int: ...

    def log_prob(self, points: ArrayLike, /) -> ArrayLike: ...

    def score(self, points: ArrayLike, /) -> ArrayLike: ...

    def sample(self, num_samples: int, /, *, generator: torch.Generator | None = None) -> ArrayLike: ...
