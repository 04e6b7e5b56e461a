"""The supports of a table's columns, as users name them, and those of some of the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.distributions import constraints

from disco_samplers.draws.supports import GROUPS, Circle, Member, Support

_PART = {"simplex": "subsimplex", "subsimplex": "subsimplex", "ordered": "ordered"}
"""What some columns of a group are."""


def supports_of(
    given: Any, names: Sequence[str], values: Tensor | None = None, known: Sequence[Support] | None = None
) -> list[Support]:
    """A support for each of the columns called so.

    Arguments:
        given: a mapping of names or numbers of columns, or of tuples of these for a group of columns, the others being real, or
            as is known; or a sequence with one entry a column.
        names: of the columns.
        values: rows (n, d), which say in which turn circular columns are given.
        known: supports of the columns that a mapping does not name.

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
        rest = [i for i in range(len(names)) if i not in found]
        for i, support in zip(rest, [Support()] * len(rest) if known is None else supports_taken(known, rest), strict=True):
            found[i] = Member(support.kind, tuple(rest[j] for j in support.columns)) if isinstance(support, Member) else support
        supports = [found[i] for i in range(len(names))]
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
        elif left == key:
            found[left] = where
        elif len(left) > 1:
            found[left] = _PART[where]
        elif where != "ordered":
            found |= dict.fromkeys(left, "unit")
    return found


def supports_taken(supports: Sequence[Support], index: Sequence[int]) -> list[Support]:
    """The supports of some columns, by number: what is left of an ordered group is ordered, of a simplex a subsimplex.

    Example:
        >>> simplex = supports_of({("a", "b", "c"): "simplex"}, ["a", "b", "c"])
        >>> supports_taken(simplex, [2, 0]), supports_taken(simplex, [1])
        ([Member('subsimplex', (1, 0)), Member('subsimplex', (1, 0))], [Support(low=0.0, high=1.0)])
    """
    place = {i: j for j, i in enumerate(index)}
    found = []
    for i in index:
        support = supports[i]
        if isinstance(support, Member):
            left = tuple(place[k] for k in support.columns if k in place)
            kind = support.kind if len(left) == len(support.columns) else _PART[support.kind]
            support = Member(kind, left) if len(left) > 1 else Support(support.low, support.high)
        found.append(support)
    return found


def groups_of(supports: Sequence[Support]) -> list[Member]:
    """One of the members of each group."""
    return list(dict.fromkeys(support for support in supports if isinstance(support, Member)))


def _member(given: Any, columns: Sequence[int], names: Sequence[str]) -> Member:
    """What a user wrote for several columns."""
    kind = "simplex" if given is constraints.simplex else given
    kind = "ordered" if given is getattr(constraints, "ordered_vector", None) else kind
    told = ", ".join(names[i] for i in columns)
    if not isinstance(kind, str) or kind not in GROUPS:
        raise ValueError(f'support of columns {told} must be "simplex", "subsimplex" or "ordered", got {given!r}')
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
