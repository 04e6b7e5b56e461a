"""Supports of columns: where the values of one lie, and what users write for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints

ROUNDING = 1e-6
"""How far outside a row may lie and be taken for a rounded one on the edge: a share of the column's own scale there."""

TURN = 2 * math.pi
"""The period of "circular" without a number: angles in radians."""

_NAMES = {"real": (None, None), "positive": (0.0, None), "unit": (0.0, 1.0)}
GROUPS = {"simplex": (0.0, 1.0), "subsimplex": (0.0, 1.0), "ordered": (None, None)}
"""Kinds of several columns together, and the bounds of each column."""

_WANTED = (
    'must be "real", "positive", "unit", "circular:PERIOD", (low, high) with None where there is no bound, or a torch '
    "constraint of numbers"
)


class Support(NamedTuple):
    """Where the values of a column lie: (low, high), None where there is no bound.

    Example:
        >>> Support.of("positive"), Support.of((None, 3)), Support.of(constraints.unit_interval)
        (Support(low=0.0, high=None), Support(low=None, high=3.0), Support(low=0.0, high=1.0))
    """

    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, given: Any, column: str = "") -> Support:
        """What a user wrote for a column.

        Raises:
            TypeError, ValueError: if it is no support; the message names the column.
        """
        name = f"support of column {column}" if column else "support"
        if isinstance(given, Support):
            return given
        if isinstance(given, str):
            word, colon, period = given.partition(":")
            if word == "circular":
                return Circle.of_period(TURN if not colon else period, name)
            if given in GROUPS:
                raise ValueError(f'{name} is that of several columns: write {{("a", "b", "c"): "{given}"}} with their names')
            if given not in _NAMES:
                raise ValueError(f"{name} {_WANTED}, got {given!r}")
            return Support(*_NAMES[given])
        if isinstance(given, constraints.Constraint):
            return _of_constraint(given, name)
        if given is None:
            return Support()
        try:
            low, high = (None if edge is None else float(edge) for edge in given)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} {_WANTED}, got {given!r}") from error
        low, high = None if low == -math.inf else low, None if high == math.inf else high
        if not all(edge is None or math.isfinite(edge) for edge in (low, high)):
            raise ValueError(f"{name} must have bounds that are finite, or None, got {given!r}")
        if low is not None and high is not None and not low < high:
            raise ValueError(f"{name} must have its lower bound first, and below the upper one, got {given!r}")
        return Support(low, high)

    def __bool__(self) -> bool:
        """Whether it is not all of the real numbers."""
        return self.low is not None or self.high is not None


class Circle(Support):
    """A column of angles: values that differ by whole turns are the same; low and high are where draws are given.

    Example:
        >>> Support.of("circular:360")
        Circle(low=0.0, high=360.0)
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Circle) and tuple(self) == tuple(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((Circle, *self))

    @classmethod
    def of_period(cls, given: Any, name: str = "support") -> Circle:
        """With a period.

        Raises:
            ValueError: if it is not a positive number.
        """
        try:
            period = float(given)
        except (TypeError, ValueError):
            period = math.nan
        if not 0 < period < math.inf:
            raise ValueError(f"{name} must have a period, as circular:360 has, got {given!r}")
        return cls(0.0, period)

    @property
    def start(self) -> float:
        """Where the turn begins."""
        assert self.low is not None
        return self.low

    @property
    def period(self) -> float:
        """A turn."""
        assert self.high is not None
        return self.high - self.start

    def around(self, values: Tensor, name: str) -> Circle:
        """The turn in which values (n,) are given: from zero, or from half a turn below it, or from the smallest one.

        Missing ones are NaN.

        Raises:
            ValueError: if they span more than a turn.
        """
        there = values[~values.isnan()]
        least, most, period = float(there.min()), float(there.max()), self.period
        slack = ROUNDING * period
        if most - least > period + slack:
            raise ValueError(
                f"column {name} spans {most - least:.6g}, more than the turn of its support, {period:.6g}: write its period, "
                f"as circular:360, or take it modulo {period:.6g}"
            )
        for low in (0.0, -period / 2):
            if low - slack <= least and most <= low + period + slack:
                return Circle(low, low + period)
        return Circle(least, least + period)

    def wrapped(self, values: Tensor) -> Tensor:
        """The same angles from low to below high."""
        return self.start + torch.remainder(values - self.start, self.period)


class Member(Support):
    """One of several columns that lie on a simplex, or in a rising order; low and high are its own bounds.

    Of a simplex the sum is one, of a subsimplex, which is what some columns of a simplex are, at most one.

    Arguments:
        kind: "simplex", "subsimplex" or "ordered".
        columns: the numbers of all columns of the group, in its order.

    Example:
        >>> Member("simplex", (0, 2)), tuple(Member("simplex", (0, 2)))
        (Member('simplex', (0, 2)), (0.0, 1.0))
    """

    kind: str
    columns: tuple[int, ...]

    def __new__(cls, kind: str, columns: tuple[int, ...]) -> Member:
        self = super().__new__(cls, *GROUPS[kind])
        self.kind, self.columns = kind, columns
        return self

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and (self.kind, self.columns) == (other.kind, other.columns)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((Member, self.kind, self.columns))

    def __repr__(self) -> str:
        return f"Member({self.kind!r}, {self.columns})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.kind, self.columns


def _of_constraint(given: constraints.Constraint, name: str) -> Support:
    while isinstance(given, constraints.independent):
        given = given.base_constraint
    bounds = [getattr(given, side, None) for side in ("lower_bound", "upper_bound")]
    if given.is_discrete or given.event_dim or (bounds == [None, None] and given is not constraints.real):
        raise ValueError(f"{name} {_WANTED}, got {given}")
    try:
        return Support.of([None if edge is None else float(edge) for edge in bounds])
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must have one lower bound below one upper bound, got {given}") from error


def periods_of(supports: Sequence[Support] | None) -> list[float | None] | None:
    """The turn of each column of angles, None for others; None where nothing is circular.

    Example:
        >>> periods_of([Support(), Support.of("circular:360")])
        [None, 360.0]
    """
    found = [support.period if isinstance(support, Circle) else None for support in supports or []]
    return found if any(period is not None for period in found) else None
