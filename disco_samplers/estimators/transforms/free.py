"""Coordinates in which the free columns of groups bound one another no more, where the group's others are given."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.draws import Member, Support, groups_of

_NEAREST = 1e-12
"""Least room that a column has."""


class _Step(NamedTuple):
    """One coordinate: of a column, by columns that come before it.

    Arguments:
        column: x.
        low, high: columns that it lies between, if there are such.
        taken: of a simplex, those that leave it what it is a share of.
    """

    column: int
    low: int | None = None
    high: int | None = None
    taken: tuple[int, ...] | None = None


class FreeCoordinates:
    r"""Columns x, some of them given, as columns y of which none bounds another; each as far as those before it are known.

    Given columns come first, and depend on no free one. A free column between bounds l and h is its share of the way,

    .. math:: y = \frac{x - l}{h - l}, \qquad \log \left|\frac{\partial y}{\partial x}\right| = -\log (h - l),

    one with a single bound its difference from it. Of a simplex, columns lie between zero and what those before leave of one,
    and the last free column is the rest. Of ordered columns the free ones lie between their neighbours; those below all given
    ones are taken from above. Columns of no group stay as they are.

    Arguments:
        supports: of the columns x.
        given: numbers of those that are given.

    References:
        Aitchison, *The statistical analysis of compositional data*, 1986, section 2.5: what is left of a simplex where some
        parts are given is one of the others, scaled.

    Example:
        >>> free = FreeCoordinates([Member("simplex", (0, 1, 2))] * 3, given=[2])
        >>> free.columns, free.supports
        ([2, 0], [Support(low=0.0, high=1.0), Support(low=0.0, high=1.0)])
        >>> free(torch.tensor([[0.3, 0.3, 0.4], [torch.nan, torch.nan, 0.4]]).double())
        tensor([[0.4000, 0.5000],
                [0.4000,    nan]], dtype=torch.float64)
    """

    def __init__(self, supports: Sequence[Support], given: Collection[int] = ()) -> None:
        self.dim, self.groups = len(supports), groups_of(supports)
        self.steps = [_Step(i) for i, support in enumerate(supports) if not isinstance(support, Member)]
        bounds = {step.column: supports[step.column] for step in self.steps}
        self._rests: list[tuple[int, tuple[int, ...]]] = []
        for group in self.groups:
            if group.kind == "ordered":
                steps = _ordered(group.columns, given)
                ends = [_end(step) for step in steps]
            else:
                order = [i for i in group.columns if i in given] + [i for i in group.columns if i not in given]
                kept = order[:-1] if group.kind == "simplex" else order
                steps = [_Step(i, taken=tuple(order[:j])) for j, i in enumerate(kept)]
                ends = [Support(0.0, 1.0)] * len(steps)
                if group.kind == "simplex":
                    self._rests.append((order[-1], tuple(kept)))
            self.steps += steps
            bounds |= {step.column: end for step, end in zip(steps, ends, strict=True)}
        self.columns = [step.column for step in self.steps]
        """The column x that each coordinate is of."""
        self.supports = [bounds[i] for i in self.columns]
        """Of the coordinates."""
        self.free = [i not in given for i in self.columns]
        """Which coordinates are of free columns."""

    def __call__(self, x: Tensor) -> Tensor:
        """Coordinates (..., d') of points x (..., d), NaN where they, or what they depend on, are."""
        columns = list(x.double().unbind(-1))
        found = []
        for step in self.steps:
            value, (low, high) = columns[step.column], self._ends(step, columns)
            if low is not None:
                value = value - low if high is None else (value - low) / _room(low, high)
            elif high is not None:
                value = value - high
            found.append(value)
        return torch.stack(found, -1)

    def inverse(self, y: Tensor) -> Tensor:
        """Points x (..., d) of coordinates y (..., d')."""
        columns: list[Tensor] = [y[..., 0]] * self.dim
        left: dict[tuple[int, ...], Tensor] = {}
        for step, value in zip(self.steps, y.double().unbind(-1), strict=True):
            if step.taken is not None:
                # By products: differences from one would be rounded where little is left.
                room = left.get(step.taken, torch.ones_like(value))
                columns[step.column] = value * room
                left[(*step.taken, step.column)] = (1 - value) * room
                continue
            low, high = self._ends(step, columns)
            if low is None:
                columns[step.column] = value if high is None else high + value
            else:
                columns[step.column] = low + value * (1.0 if high is None else _room(low, high))
        for column, taken in self._rests:
            columns[column] = left[taken]
        return torch.stack(columns, -1)

    def log_slopes(self, x: Tensor) -> Tensor:
        """Log-derivatives (..., d') of each coordinate by its column, at points x (..., d)."""
        columns = list(x.double().unbind(-1))
        found = []
        for step in self.steps:
            low, high = self._ends(step, columns)
            bounded = low is not None and high is not None
            found.append(-_room(low, high).log() if bounded else torch.zeros_like(columns[step.column]))
        return torch.stack(found, -1)

    @staticmethod
    def _ends(step: _Step, columns: Sequence[Tensor]) -> tuple[Tensor | None, Tensor | None]:
        """Where a step's column begins and ends."""
        if step.taken is not None:
            zero = torch.zeros_like(columns[step.column])
            return zero, torch.stack([1 + zero, *(-columns[i] for i in step.taken)]).sum(0)
        return tuple(None if i is None else columns[i] for i in (step.low, step.high))  # type: ignore[return-value]


def _ordered(columns: Sequence[int], given: Collection[int]) -> list[_Step]:
    """The steps of a rising order: the given ones, those between and above them, and those below from above."""
    known = [i for i in columns if i in given]
    steps = [_Step(i, low=before) for before, i in zip([None, *known], known, strict=False)]
    first = columns.index(known[0]) if known else 0
    for j in range(first, len(columns)):
        if columns[j] not in given:
            after = next((i for i in columns[j + 1 :] if i in given), None)
            steps.append(_Step(columns[j], low=columns[j - 1] if j else None, high=after))
    return steps + [_Step(columns[j], high=columns[j + 1]) for j in reversed(range(first))]


def _end(step: _Step) -> Support:
    """Where the coordinate of an ordered column lies."""
    if step.low is None:
        return Support() if step.high is None else Support(None, 0.0)
    return Support(0.0, None if step.high is None else 1.0)


def _room(low: Tensor | None, high: Tensor | None) -> Tensor:
    assert low is not None
    assert high is not None
    return (high - low).clamp_min(_NEAREST * high.abs().clamp_min(_NEAREST))
