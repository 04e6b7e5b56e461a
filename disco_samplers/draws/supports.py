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

TURN = 2 * math.pi
"""The period of "circular" without a number: angles in radians."""

_NAMES = {"real": (None, None), "positive": (0.0, None), "unit": (0.0, 1.0)}
_GROUPS = {"simplex": (0.0, 1.0), "ordered": (None, None)}
_WANTED = (
    'must be "real", "positive", "unit", "circular:PERIOD", (low, high) with None where there is no bound, or a torch '
    "constraint of numbers"
)


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
        if isinstance(given, Support):
            return given
        if isinstance(given, str):
            word, colon, period = given.partition(":")
            if word == "circular":
                return Circle.of_period(TURN if not colon else period, name)
            if given in _GROUPS:
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

        Raises:
            ValueError: if they span more than a turn.
        """
        least, most, period = float(values.min()), float(values.max()), self.period
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

    Arguments:
        kind: "simplex" or "ordered".
        columns: the numbers of all columns of the group, in its order.

    Example:
        >>> Member("simplex", (0, 2)), tuple(Member("simplex", (0, 2)))
        (Member('simplex', (0, 2)), (0.0, 1.0))
    """

    kind: str
    columns: tuple[int, ...]

    def __new__(cls, kind: str, columns: tuple[int, ...]) -> Member:
        self = super().__new__(cls, *_GROUPS[kind])
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


def supports_of(given: Any, names: Sequence[str], values: Tensor | None = None) -> list[Support]:
    """A support for each of the columns called so.

    Arguments:
        given: a mapping of names or numbers of columns, or of tuples of these for a group of columns, the others being real; or
            a sequence with one entry a column.
        names: of the columns.
        values: rows (n, d), which say in which turn circular columns are given.

    Raises:
        TypeError, ValueError: if a column is unknown or named twice, or there are too many entries or too few.

    Example:
        >>> supports_of({"p": "unit", 0: (None, 2)}, ["x", "y", "p"])
        [Support(low=None, high=2.0), Support(low=None, high=None), Support(low=0.0, high=1.0)]
        >>> supports_of({("a", "b"): "ordered"}, ["a", "b"])[0]
        Member('ordered', (0, 1))
    """
    if isinstance(given, Mapping):
        found: dict[int, Support] = {}
        for key, support in given.items():
            columns = [_number(column, names) for column in (key if isinstance(key, tuple) else (key,))]
            for i in columns:
                if i in found or columns.count(i) > 1:
                    raise ValueError(f"support names column {names[i]} twice")
                found[i] = Support.of(support, names[i]) if not isinstance(key, tuple) else _member(support, columns, names)
        supports = [found.get(i, Support()) for i in range(len(names))]
    else:
        if isinstance(given, (str, constraints.Constraint, Support)) or not isinstance(given, Sequence):
            raise TypeError(f'support must say which column it is of, as {{"{names[0]}": "positive"}} does, got {given!r}')
        if len(given) != len(names):
            raise ValueError(f"support must have an entry for each of the {len(names)} columns, got {len(given)}")
        supports = [Support.of(support, name) for support, name in zip(given, names, strict=True)]
    if values is None:
        return supports
    turns = zip(supports, values.detach().unbind(-1), names, strict=True)
    return [support.around(x, name) if isinstance(support, Circle) else support for support, x, name in turns]


def described(supports: Sequence[Support], names: Sequence[str]) -> dict[Any, Any]:
    """Supports as :func:`supports_of` takes them, by name.

    Example:
        >>> described(supports_of({("a", "b"): "ordered", "t": "circular:360"}, ["t", "a", "b"]), ["t", "a", "b"])
        {'t': 'circular:360.0', ('a', 'b'): 'ordered'}
    """
    found: dict[Any, Any] = {}
    for name, support in zip(names, supports, strict=True):
        if isinstance(support, Member):
            found[tuple(names[i] for i in support.columns)] = support.kind
        else:
            found[name] = f"circular:{support.period!r}" if isinstance(support, Circle) else (support.low, support.high)
    return found


def described_of(given: Mapping[Any, Any], names: Sequence[str]) -> dict[Any, Any]:
    """What a mapping says of some of its columns, by name; of a part of a group as :func:`supports_taken` says.

    Example:
        >>> described_of({("a", "b", "c"): "simplex", "t": (0, None)}, ["a", "t"])
        {'a': 'unit', 't': (0, None)}
    """
    found: dict[Any, Any] = {}
    for key, where in given.items():
        left = tuple(name for name in (key if isinstance(key, tuple) else (key,)) if name in names)
        if not isinstance(key, tuple):
            found |= dict.fromkeys(left, where)
        elif left == key or (where == "ordered" and len(left) > 1):
            found[left] = where
        elif where == "simplex":
            found |= dict.fromkeys(left, "unit")
    return found


def supports_taken(supports: Sequence[Support], index: Sequence[int]) -> list[Support]:
    """The supports of some columns, by number: what is left of an ordered group is ordered, of a simplex each is in [0, 1].

    Example:
        >>> supports_taken(supports_of({("a", "b", "c"): "simplex"}, ["a", "b", "c"]), [2, 0])
        [Support(low=0.0, high=1.0), Support(low=0.0, high=1.0)]
    """
    place = {i: j for j, i in enumerate(index)}
    found = []
    for i in index:
        support = supports[i]
        if isinstance(support, Member):
            left = tuple(place[k] for k in support.columns if k in place)
            whole = len(left) == len(support.columns) or (support.kind == "ordered" and len(left) > 1)
            support = Member(support.kind, left) if whole else Support(support.low, support.high)
        found.append(support)
    return found


def groups_of(supports: Sequence[Support]) -> list[Member]:
    """One of the members of each group."""
    return list(dict.fromkeys(support for support in supports if isinstance(support, Member)))


def inside(values: Tensor, supports: Sequence[Support], names: Sequence[str]) -> Tensor:
    """Rows (n, d), those that lie outside their supports by no more than rounding put on the edge.

    Rounding is a millionth of the interval or, of a half-line, of the median distance from its end; of ordered columns, of the
    median distance from one to the next; and the sum of a simplex may differ from one by a millionth for each of its columns.
    Angles are brought to their turn.

    Raises:
        ValueError: if rows lie outside by more; the message names column and rows.
    """
    columns = []
    for column, support, name in zip(values.unbind(-1), supports, names, strict=True):
        if isinstance(support, Circle):
            columns.append(support.wrapped(column))
            continue
        moved = column if tuple(support) == (None, None) else column.clamp(support.low, support.high)
        if not torch.equal(moved, column):
            low, high = support
            edge = low if low is not None else high
            assert edge is not None
            scale = high - low if low is not None and high is not None else float((column.double() - edge).abs().median())
            beyond = (column - moved).abs().double() > ROUNDING * scale
            if beyond.any():
                rows = beyond.nonzero()[:, 0].tolist()
                where = f"support {tuple(support)}" if type(support) is Support else "simplex"
                raise ValueError(
                    f"{len(rows)} rows lie outside the {where} of column {name}: {first(rows)}, "
                    f"the first with {float(column[rows[0]]):.6g}"
                )
        columns.append(moved)
    for group in groups_of(supports):
        found = _in_group(torch.stack([columns[i] for i in group.columns], -1), group, [names[i] for i in group.columns])
        for i, column in zip(group.columns, found.unbind(-1), strict=True):
            columns[i] = column
    return torch.stack(columns, -1)


def _in_group(x: Tensor, group: Member, names: Sequence[str]) -> Tensor:
    """Rows (n, k) of a group's columns, those that lie outside by rounding brought back."""
    if group.kind == "simplex":
        total = x.double().sum(-1)
        wrong, first_of = (total - 1).abs() > ROUNDING * len(names), "the first sums to"
        values = total
        found = x if x.dtype == torch.float32 else x / total[:, None]
    else:
        gaps = x.double().diff(dim=-1)
        wrong, first_of = (gaps < -ROUNDING * gaps.abs().median()).any(-1), "the first falls by"
        values = -gaps.amin(-1)
        found = x.cummax(-1).values
    if wrong.any():
        rows = wrong.nonzero()[:, 0].tolist()
        raise ValueError(
            f"{len(rows)} rows are outside the support of columns {', '.join(names)}, {group.kind}: {first(rows)}, "
            f"{first_of} {float(values[rows[0]]):.6g}"
        )
    return found


def off_edges(values: Tensor, supports: Sequence[Support], names: Sequence[str]) -> Tensor:
    """Rows (n, d) strictly inside their supports: those on an edge, where a file rounded them to, a little away from it.

    That is half the smallest distance from it of all others, with an :class:`EdgeRowsWarning`.

    Raises:
        ValueError: if rows lie outside, as :func:`inside` says, or all rows of a column on its edges.
    """
    rows = inside(values, supports, names)
    told: list[str] = []
    columns = list(rows.unbind(-1))
    for i, (support, name) in enumerate(zip(supports, names, strict=True)):
        if isinstance(support, Circle):
            continue
        low, high = support
        for edge, sign in ((low, 1), (None if isinstance(support, Member) else high, -1)):
            if edge is not None:
                columns[i] = _off(columns[i], edge, sign, f"column {name}", told)
    for group in groups_of(supports):
        own = [columns[i] for i in group.columns]
        if group.kind == "simplex":
            own = list((torch.stack(own, -1) / torch.stack(own, -1).sum(-1, keepdim=True)).unbind(-1))
        for j in range(1, len(own) if group.kind == "ordered" else 0):
            pair = [names[i] for i in group.columns[j - 1 : j + 1]]
            gap = own[j] - columns[group.columns[j - 1]]  # as it was before the one below was moved
            own[j] = own[j - 1] + _off(gap, 0.0, 1, f"the distances of {' and '.join(pair)}", told)
        for i, column in zip(group.columns, own, strict=True):
            columns[i] = column
    if told:
        warnings.warn(f"rows lie on the edge of their support: {'; '.join(told)}", EdgeRowsWarning, stacklevel=4)
    return torch.stack(columns, -1)


def _off(column: Tensor, edge: float, sign: int, name: str, told: list[str]) -> Tensor:
    """A column (n,) with what lies on an edge moved inwards, which is told."""
    distance = sign * (column.double() - edge)
    on = distance <= 0
    if not on.any():
        return column
    if on.all():
        raise ValueError(f"all rows of {name} lie on the edge {edge:.6g} of its support")
    away = (edge + sign * 0.5 * distance[~on].min()).to(column.dtype)
    if float(away) == edge:
        away = torch.nextafter(away, away.new_tensor(sign * math.inf))
    told.append(f"{int(on.sum())} of {name} on {edge:.6g}, read as {float(away):.6g}")
    return torch.where(on, away, column)


def outside(values: Tensor, supports: Sequence[Support]) -> Tensor:
    """Whether rows (n, d) lie outside their supports, (n,); off a simplex only by more than rounding."""
    found = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    for column, support in zip(values.unbind(-1), supports, strict=False):
        if support and not isinstance(support, Circle):
            low, high = support
            found |= column < (-math.inf if low is None else low)
            found |= column > (math.inf if high is None else high)
    for group in groups_of(supports):
        own = values[:, list(group.columns)].double()
        simplex = group.kind == "simplex"
        found |= (own.sum(1) - 1).abs() > ROUNDING * own.shape[1] if simplex else (own.diff(dim=1) < 0).any(1)
    return found


def in_turns(values: Tensor, supports: Sequence[Support] | None) -> Tensor:
    """Values (..., d) with angles in the turns in which they are given."""
    if not any(isinstance(support, Circle) for support in supports or []):
        return values
    columns = zip(values.unbind(-1), supports or [], strict=True)
    return torch.stack([support.wrapped(x) if isinstance(support, Circle) else x for x, support in columns], -1)


def rounded_inside(values: Tensor, dtype: torch.dtype, supports: Sequence[Support]) -> Tensor:
    """Values (n, d) in a precision in which rounding would lead some outside."""
    columns = []
    for given, support in zip(values.to(dtype).unbind(-1), supports, strict=True):
        low, high = support
        column = support.wrapped(given) if isinstance(support, Circle) else given
        for edge, sign in ((low, 1), (high, -1)):
            if edge is not None:
                nearest = column.new_tensor(edge)
                if sign * (float(nearest) - edge) < 0:
                    nearest = torch.nextafter(nearest, nearest.new_tensor(sign * math.inf))
                column = column.clamp_min(nearest) if sign > 0 else column.clamp_max(nearest)
        columns.append(column)
    return torch.stack(columns, -1)


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


def _member(given: Any, columns: Sequence[int], names: Sequence[str]) -> Member:
    """What a user wrote for several columns."""
    kind = "simplex" if given is constraints.simplex else given
    kind = "ordered" if given is getattr(constraints, "ordered_vector", None) else kind
    told = ", ".join(names[i] for i in columns)
    if not isinstance(kind, str) or kind not in _GROUPS:
        raise ValueError(f'support of columns {told} must be "simplex" or "ordered", got {given!r}')
    if len(columns) < 2:
        raise ValueError(f"support of columns {told}: {kind} is of two columns or more")
    return Member(kind, tuple(columns))


def _number(column: Any, names: Sequence[str]) -> int:
    if isinstance(column, str):
        if column not in names:
            raise ValueError(f"support names a column {column!r}, and there are {', '.join(names)}")
        return names.index(column)
    if not (isinstance(column, int) and 0 <= column < len(names)):
        raise ValueError(f"support names a column {column!r}, and they are numbered from 0 to {len(names) - 1}")
    return column
