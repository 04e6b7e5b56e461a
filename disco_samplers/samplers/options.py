"""What a sampler is told: its method and that method's options, checked once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.arrays import check_callable, check_number, check_positive
from disco_samplers.samplers.algorithms import ALGORITHMS, Algorithm, Method
from disco_samplers.samplers.steps import Proposal
from disco_samplers.types import ScoreFunction

BIAS, TRAJECTORY = 0.05, 1.5
_DEFAULTS = {"preconditioner": "dense", "bias": BIAS, "trajectory": TRAJECTORY}

_HEEDED: dict[str, tuple[str, ...]] = {
    "preconditioner": tuple(name for name in ALGORITHMS if name != "flow"),
    "target_acceptance": ("jumps", "mala", "malt", "exact"),
    "bias": ("ula", "baoab", "annealed"),
    "friction": ("baoab", "malt"),
    "trajectory": ("malt",),
    "levels": ("annealed",),
    "condition": ("flow",),
    "proposal": ("jumps",),
}
"""The methods that heed an option."""


@dataclasses.dataclass(frozen=True)
class Options:
    """A method with its options, None where they are not given; see :class:`~disco_samplers.LangevinSampler`.

    Raises:
        TypeError: if an option is no number where one is wanted.
        ValueError: if the method is unknown, or an option is out of range or one that the method ignores.
    """

    method: Method
    preconditioner: preconditioners.Kind | None = None
    target_acceptance: float | None = None
    bias: float | None = None
    friction: float | None = None
    trajectory: float | None = None
    levels: Sequence[Any] | None = None
    condition: Callable[[Tensor], ScoreFunction] | None = None
    proposal: Proposal | None = None

    def __post_init__(self) -> None:
        if self.method not in ALGORITHMS:
            raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {self.method!r}")
        if self.preconditioner not in (None, *get_args(preconditioners.Kind)):
            raise ValueError(f'preconditioner must be "dense", "diagonal" or "identity", got {self.preconditioner!r}')
        for name in ("target_acceptance", "bias", "friction", "trajectory"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name))
        if self.target_acceptance is not None and not 0 < self.target_acceptance < 1:
            raise ValueError(f"target_acceptance must lie in (0, 1), got {self.target_acceptance}")
        if self.bias is not None and not 0 < self.bias < 1:
            raise ValueError(f"bias must lie in (0, 1), got {self.bias}")
        if self.friction is not None and not (self.friction >= 0 and math.isfinite(self.friction)):
            raise ValueError(f"friction must not be negative, got {self.friction}")
        if self.friction == 0 and self.method == "baoab":
            raise ValueError('friction must be positive: without it "baoab" keeps the energy it starts with, and has no limit')
        if self.trajectory is not None and not (self.trajectory > 0 and math.isfinite(self.trajectory)):
            raise ValueError(f"trajectory must be positive, got {self.trajectory}")
        self._check_callables()
        if self.levels is not None:
            self._check_levels(self.levels)
        for name, methods in _HEEDED.items():
            if getattr(self, name) is not None and self.method not in methods:
                raise ValueError(
                    f'{name} is not an option of method "{self.method}", only of {", ".join(methods)}: leave it out'
                )

    def _check_callables(self) -> None:
        check_callable("condition", self.condition, "of particles (n, d)", optional=True)
        if self.proposal is not None:
            check_callable("proposal.sample", getattr(self.proposal, "sample", None), "of num_samples")
            check_callable("proposal.log_prob", getattr(self.proposal, "log_prob", None), "(m, d) -> (m,)")

    @staticmethod
    def _check_levels(levels: Any) -> None:
        if not isinstance(levels, (list, tuple)):
            raise TypeError(f"levels must be a list of noise levels, largest first, or of scores, got {levels!r}")
        if len({callable(level) for level in levels}) > 1:
            raise TypeError("levels must be noise levels, or scores, not some of each")
        for i, level in enumerate(levels):
            if not callable(level) and not isinstance(level, Tensor):
                check_positive(f"levels[{i}]", level)

    def check_run(self, step_size: float | None, num_warmup: int | None) -> None:
        """Raises ValueError where a run with these would ignore an option."""
        for name in ("target_acceptance", "bias"):
            if step_size is not None and getattr(self, name) is not None:
                raise ValueError(f"{name} has no effect where step_size is given: leave one out")
        if num_warmup == 0 and self.target_acceptance is not None:
            raise ValueError("target_acceptance has no effect without warm-up: leave it out, or give num_warmup")

    @property
    def algorithm(self) -> Algorithm:
        """The table's entry."""
        return ALGORITHMS[self.method]


def differences(one: Options, other: Options) -> list[str]:
    """The names of the options in which two samplers of a method differ; what is not given is as its default."""
    given = ({**_DEFAULTS, **{k: v for k, v in vars(options).items() if v is not None}} for options in (one, other))
    mine, theirs = given
    return [name for name in _HEEDED if not _alike(mine.get(name), theirs.get(name))]


def _alike(a: Any, b: Any) -> bool:
    """Whether two options are the same; noise levels may be numbers or tensors."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)
    return bool(a == b)
