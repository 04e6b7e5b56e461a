"""Supports of columns: what users write for them, and which rows lie inside."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints

from disco_samplers.arrays import first
from disco_samplers.draws.worth import DrawsWarning

ROUNDING = 1e-6
"""How far outside a row may lie and be taken for a rounded one on the edge: a share of the column's own scale there."""

_NAMES = {"real": (None, None), "positive": (0.0, None), "unit": (0.0, 1.0)}
_WANTED = 'must be "real", "positive", "unit", (low, high) with None where there is no bound, or a torch constraint of numbers'


class EdgeRowsWarning(DrawsWarning):
    """Rows on the edge of their support, as rounding makes them."""


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
        if isinstance(given, str):
            if given not in _NAMES:
                raise ValueError(f"{name} {_WANTED}, got {given!r}")
            return cls(*_NAMES[given])
        if isinstance(given, constraints.Constraint):
            return cls._of_constraint(given, name)
        if given is None:
            return cls()
        try:
            low, high = (None if edge is None else float(edge) for edge in given)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} {_WANTED}, got {given!r}") from error
        low, high = None if low == -math.inf else low, None if high == math.inf else high
        if not all(edge is None or math.isfinite(edge) for edge in (low, high)):
            raise ValueError(f"{name} must have bounds that are finite, or None, got {given!r}")
        if low is not None and high is not None and not low < high:
            raise ValueError(f"{name} must have its lower bound first, and below the upper one, got {given!r}")
        return cls(low, high)

    @classmethod
    def _of_constraint(cls, given: Any, name: str) -> Support:
        while isinstance(given, constraints.independent):
            given = given.base_constraint
        bounds = [getattr(given, side, None) for side in ("lower_bound", "upper_bound")]
        if given.is_discrete or given.event_dim or (bounds == [None, None] and given is not constraints.real):
            raise ValueError(f"{name} {_WANTED}, got {given}")
        try:
            return cls.of([None if edge is None else float(edge) for edge in bounds])
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name} must have one lower bound below one upper bound, got {given}") from error

    def __bool__(self) -> bool:
        """Whether there is a bound."""
        return self.low is not None or self.high is not None


def supports_of(given: Any, names: Sequence[str]) -> list[Support]:
    """A support for each of the columns called so.

    Arguments:
        given: a mapping of names or numbers of columns, the others being real; or a sequence with one entry a column.

    Raises:
        TypeError, ValueError: if a column is unknown or named twice, or there are too many entries or too few.

    Example:
        >>> supports_of({"p": "unit", 0: (None, 2)}, ["x", "y", "p"])
        [Support(low=None, high=2.0), Support(low=None, high=None), Support(low=0.0, high=1.0)]
    """
    if isinstance(given, Mapping):
        found: dict[int, Support] = {}
        for column, support in given.items():
            i = _number(column, names)
            if i in found:
                raise ValueError(f"support names column {names[i]} twice")
            found[i] = Support.of(support, names[i])
        return [found.get(i, Support()) for i in range(len(names))]
    if isinstance(given, (str, constraints.Constraint)) or not isinstance(given, Sequence):
        raise TypeError(f'support must say which column it is of, as {{"{names[0]}": "positive"}} does, got {given!r}')
    if len(given) != len(names):
        raise ValueError(f"support must have an entry for each of the {len(names)} columns, got {len(given)}")
    return [Support.of(support, name) for support, name in zip(given, names, strict=True)]


def inside(values: Tensor, supports: Sequence[Support], names: Sequence[str]) -> Tensor:
    """Rows (n, d), those that lie outside their supports by no more than rounding put on the edge.

    Rounding is a millionth of the interval or, of a half-line, of the median distance from its end.

    Raises:
        ValueError: if rows lie outside by more; the message names column and rows.
    """
    columns = []
    for column, support, name in zip(values.unbind(-1), supports, names, strict=True):
        moved = column.clamp(support.low, support.high) if support else column
        if not torch.equal(moved, column):
            low, high = support
            edge = low if low is not None else high
            assert edge is not None
            scale = high - low if low is not None and high is not None else float((column.double() - edge).abs().median())
            beyond = (column - moved).abs().double() > ROUNDING * scale
            if beyond.any():
                rows = beyond.nonzero()[:, 0].tolist()
                raise ValueError(
                    f"{len(rows)} rows lie outside the support {tuple(support)} of column {name}: {first(rows)}, "
                    f"the first with {float(column[rows[0]]):.6g}"
                )
        columns.append(moved)
    return torch.stack(columns, -1)


def off_edges(values: Tensor, supports: Sequence[Support], names: Sequence[str]) -> Tensor:
    """Rows (n, d) strictly inside their supports: those on an edge, where a file rounded them to, a little away from it.

    That is half the smallest distance from it of all others, with an :class:`EdgeRowsWarning`.

    Raises:
        ValueError: if rows lie outside, as :func:`inside` says, or all rows of a column on its edges.
    """
    rows, told = inside(values, supports, names), []
    columns = list(rows.unbind(-1))
    for i, (support, name) in enumerate(zip(supports, names, strict=True)):
        for edge, sign in ((support.low, 1), (support.high, -1)):
            if edge is None or not (on := sign * (columns[i].double() - edge) <= 0).any():
                continue
            distance = sign * (rows[:, i].double() - edge)
            if on.all():
                raise ValueError(f"all rows of column {name} lie on the edge {edge:.6g} of its support")
            away = (edge + sign * 0.5 * distance[distance > 0].min()).to(rows.dtype)
            if float(away) == edge:
                away = torch.nextafter(away, away.new_tensor(sign * math.inf))
            columns[i] = torch.where(on, away, columns[i])
            told.append(f"{int(on.sum())} of column {name} on {edge:.6g}, read as {float(away):.6g}")
    if told:
        warnings.warn(f"rows lie on the edge of their support: {'; '.join(told)}", EdgeRowsWarning, stacklevel=4)
    return torch.stack(columns, -1)


def rounded_inside(values: Tensor, dtype: torch.dtype, supports: Sequence[Support]) -> Tensor:
    """Values (n, d) in a precision in which rounding would lead some outside."""
    columns = []
    for given, (low, high) in zip(values.to(dtype).unbind(-1), supports, strict=True):
        column = given
        for edge, sign in ((low, 1), (high, -1)):
            if edge is not None:
                nearest = column.new_tensor(edge)
                if sign * (float(nearest) - edge) < 0:
                    nearest = torch.nextafter(nearest, nearest.new_tensor(sign * math.inf))
                column = column.clamp_min(nearest) if sign > 0 else column.clamp_max(nearest)
        columns.append(column)
    return torch.stack(columns, -1)


def _number(column: Any, names: Sequence[str]) -> int:
    if isinstance(column, str):
        if column not in names:
            raise ValueError(f"support names a column {column!r}, and there are {', '.join(names)}")
        return names.index(column)
    if not (isinstance(column, int) and 0 <= column < len(names)):
        raise ValueError(f"support names a column {column!r}, and they are numbered from 0 to {len(names) - 1}")
    return column
