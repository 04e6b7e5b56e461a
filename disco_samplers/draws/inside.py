"""Which rows lie inside their supports, and rows on the edge."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from disco_samplers.arrays import first
from disco_samplers.draws.columns import groups_of
from disco_samplers.draws.supports import ROUNDING, Circle, Member, Support
from disco_samplers.draws.worth import DrawsWarning


class EdgeRowsWarning(DrawsWarning):
    """Rows on the edge of their support, as rounding makes them."""


def inside(values: Tensor, supports: Sequence[Support], names: Sequence[str]) -> Tensor:
    """Rows (n, d), those that lie outside their supports by no more than rounding put on the edge; missing cells stay NaN.

    Rounding is a millionth of the interval or, of a half-line, of the median distance from its end; of ordered columns, of the
    median distance from one to the next; and the sum of a simplex may differ from one by a millionth for each of its columns,
    that of a subsimplex be above one by as much.
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
        if bool((moved != column).logical_and(~column.isnan()).any()):
            low, high = support
            edge = low if low is not None else high
            assert edge is not None
            scale = high - low if low is not None and high is not None else float((column.double() - edge).abs().nanmedian())
            beyond = (column - moved).abs().double() > ROUNDING * scale
            if beyond.any():
                rows = beyond.nonzero()[:, 0].tolist()
                where = support.kind if isinstance(support, Member) else f"support {tuple(support)}"
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
    missing = x.isnan()
    if group.kind != "ordered":
        values, first_of = x.double().nansum(-1), "the first sums to"
        # What some columns of a simplex are.
        part = missing.any(-1) if group.kind == "simplex" else torch.ones_like(missing[:, 0])
        over = torch.where(part, values - 1, (values - 1).abs())
        wrong = over > ROUNDING * len(names)
        total = torch.where(part, values.clamp_min(1.0), values)
        found = x if x.dtype == torch.float32 else x / total[:, None]
    else:
        highest = x.nan_to_num(-math.inf).cummax(-1).values
        falls = torch.nn.functional.pad(highest[:, :-1], (1, 0), value=-math.inf).double() - x
        usual = falls[falls.isfinite()].abs().median() if falls.isfinite().any() else 0.0
        wrong, first_of = (falls > ROUNDING * usual).any(-1), "the first falls by"
        values = falls.nan_to_num(-math.inf).amax(-1)
        found = torch.where(missing, x, highest)
    if wrong.any():
        rows = wrong.nonzero()[:, 0].tolist()
        raise ValueError(
            f"{len(rows)} rows are outside the support of columns {', '.join(names)}, {group.kind}: {first(rows)}, "
            f"{first_of} {float(values[rows[0]]):.6g}"
        )
    return found


def mirrored(values: Tensor, supports: Sequence[Support]) -> Tensor:
    """Values (n, d) of cells that reach beyond the ends of their columns, mirrored there; groups and circles stay."""
    columns = []
    for column, support in zip(values.unbind(-1), supports, strict=True):
        found = column
        for edge, sign in ((support.low, 1), (support.high, -1)):
            if edge is not None and type(support) is Support:
                found = edge + sign * (found - edge).abs()
        columns.append(found)
    return torch.stack(columns, -1)


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
        if group.kind == "subsimplex":
            total = torch.stack(own, -1).double().sum(-1)
            left = _off(1 - total, 0.0, 1, f"what {', '.join(names[i] for i in group.columns)} leave of one", told)
            own = [(column * torch.where(total < 1, 1.0, (1 - left) / total)).to(column.dtype) for column in own]
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
    """Whether rows (n, d) lie outside their supports, (n,); off a simplex or subsimplex only by more than rounding."""
    found = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    for column, support in zip(values.unbind(-1), supports, strict=False):
        if support and not isinstance(support, Circle):
            low, high = support
            found |= column < (-math.inf if low is None else low)
            found |= column > (math.inf if high is None else high)
    for group in groups_of(supports):
        own = values[:, list(group.columns)].double()
        if group.kind == "ordered":
            found |= (own.diff(dim=1) < 0).any(1)
        else:
            over = own.sum(1) - 1
            found |= (over if group.kind == "subsimplex" else over.abs()) > ROUNDING * own.shape[1]
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
