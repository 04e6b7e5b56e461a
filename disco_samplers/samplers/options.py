"""What a sampler is told: its method and that method's options, checked once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.samplers.algorithms import ALGORITHMS, Algorithm, Method
from disco_samplers.types import ScoreFunction

BIAS, TRAJECTORY = 0.05, 1.5

_HEEDED: dict[str, tuple[str, ...]] = {
    "target_acceptance": ("mala", "malt", "exact"),
    "bias": ("ula", "baoab", "annealed"),
    "friction": ("baoab", "malt"),
    "trajectory": ("malt",),
    "levels": ("annealed",),
    "condition": ("flow",),
}
"""The methods that heed an option."""


@dataclasses.dataclass(frozen=True)
class Options:
    """A method with its options, None where they are not given; see :class:`~disco_samplers.LangevinSampler`.

    Raises:
        ValueError: if the method is unknown, or an option is out of range or one that the method ignores.
    """

    method: Method
    preconditioner: preconditioners.Kind = "dense"
    target_acceptance: float | None = None
    bias: float | None = None
    friction: float | None = None
    trajectory: float | None = None
    levels: Sequence[Any] | None = None
    condition: Callable[[Tensor], ScoreFunction] | None = None

    def __post_init__(self) -> None:
        if self.method not in ALGORITHMS:
            raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {self.method!r}")
        if self.preconditioner not in get_args(preconditioners.Kind):
            raise ValueError(f'preconditioner must be "dense", "diagonal" or "identity", got {self.preconditioner!r}')
        if self.target_acceptance is not None and not 0 < self.target_acceptance < 1:
            raise ValueError(f"target_acceptance must lie in (0, 1), got {self.target_acceptance}")
        if self.bias is not None and not 0 < self.bias < 1:
            raise ValueError(f"bias must lie in (0, 1), got {self.bias}")
        if self.friction is not None and not (self.friction >= 0 and math.isfinite(self.friction)):
            raise ValueError(f"friction must not be negative, got {self.friction}")
        if self.trajectory is not None and not (self.trajectory > 0 and math.isfinite(self.trajectory)):
            raise ValueError(f"trajectory must be positive, got {self.trajectory}")
        for name, methods in _HEEDED.items():
            if getattr(self, name) is not None and self.method not in methods:
                raise ValueError(f'method "{self.method}" ignores {name}=: it is an option of {", ".join(methods)}')

    @property
    def algorithm(self) -> Algorithm:
        """The table's entry."""
        return ALGORITHMS[self.method]
