"""What may be given to a conditional law: the checks of columns and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor, check_finite, placed
from disco_samplers.draws import ROUNDING, Circle, Member, Support, groups_of, index_of
from disco_samplers.estimators import GroupSlices, Slices, deviation, mean

_ZERO = 87.0
"""Nats below the density at the rows from which on a density is zero: e^-87 is the smallest normal number of float32."""

_NEAR = 16
"""Rows nearest to a given value whose free columns say where its slice may be dense."""

_ROWS = 256
"""Rows at which the density is usual."""

_TILE = 2**22
"""Distances held at a time."""


def values_of(given: Mapping[str | int, Any], names: list[str], device: torch.device) -> tuple[list[int], Tensor, bool]:
    """Numbers of the given columns, their values (b, g) in float64, and whether they are arrays."""
    if not isinstance(given, Mapping):
        raise TypeError(f'given must be a mapping of columns to values, as {{"{names[0]}": 1.0}}, got {type(given).__name__}')
    index = [index_of(column, names) for column in given]
    if not index:
        raise ValueError("given must name at least one column")
    if len(set(index)) < len(index):
        raise ValueError(f"given names a column twice, by name and by number: {', '.join(map(str, given))}")
    columns = []
    for i, value in zip(index, given.values(), strict=True):
        name = f"given {names[i]}"
        column = placed(as_tensor(value, name).detach(), name, device, free=not isinstance(value, Tensor)).double()
        if column.ndim > 1 or not column.numel():
            raise ValueError(f"{name} must be a number or an array (b,), got shape {tuple(column.shape)}")
        check_finite(column.reshape(-1, 1), name)
        columns.append(column)
    lengths = sorted({len(column) for column in columns if column.ndim})
    if len(lengths) > 1:
        raise ValueError(f"given arrays must have one length, got {', '.join(map(str, lengths))}")
    b = lengths[0] if lengths else 1
    return index, torch.stack([column.expand(b) for column in columns], 1), bool(lengths)


def check_inside(index: list[int], values: Tensor, support: Sequence[Support], names: Sequence[str]) -> None:
    """Raises ValueError where values (b, g) of columns lie outside their supports."""
    for i, column in zip(index, values.unbind(1), strict=True):
        if not support[i] or isinstance(support[i], (Circle, Member)):
            continue
        outside = column != column.clamp(support[i].low, support[i].high)
        if outside.any():
            first = float(column[outside][0])
            raise ValueError(f"given {names[i]} = {first:.6g} lies outside its support {tuple(support[i])}")
    for group in groups_of(support):
        place = [index.index(i) for i in group.columns if i in index]
        own, ordered = values[:, place], group.kind == "ordered"
        over, slack = own.sum(1) - 1, ROUNDING * len(group.columns)
        whole = group.kind == "simplex" and len(place) == len(group.columns)
        if ordered:
            wrong, why = (own.diff(dim=1) < 0).any(1), "must rise"
        else:
            wrong = (own < 0).any(1) | ((over.abs() if whole else over) > slack)
            why = "must not be negative, and sum to one" + " at most" * (not whole)
        if wrong.any():
            row = int(wrong.nonzero()[0, 0])
            told = ", ".join(f"{names[index[j]]} = {float(values[row, j]):.6g}" for j in place)
            of = ", ".join(names[i] for i in group.columns)
            raise ValueError(f"given {told}: outside the {'order' if ordered else group.kind} of {of}, for they {why}")


def check_dense(
    slices: Slices, samples: Tensor, counts: Tensor | None, names: list[str], inner: GroupSlices | None = None
) -> None:
    """Raises ValueError where the density of given values is numerically zero; ``inner`` are the slices of groups."""
    x = samples.double()
    y = x if inner is None else inner.coordinates(x)
    free = slices.free if inner is None else inner.free
    center, width = mean(x, counts), deviation(x, counts).clamp_min(torch.finfo(x.dtype).tiny)
    unit, wanted = ((part - center[slices.given]) / width[slices.given] for part in (x[:, slices.given], slices.values))
    some = torch.linspace(0, len(x) - 1, min(len(x), _ROWS), dtype=torch.float64, device=x.device).round().long()
    usual = slices.estimator.log_prob(x[some]).double().median()
    for start, part in enumerate(wanted.split(max(1, _TILE // len(x)))):
        rows = start * max(1, _TILE // len(x)) + torch.arange(len(part), device=x.device)
        near = torch.cdist(part, unit).topk(min(_NEAR, len(x)), largest=False).indices
        points = y[near][..., free]
        top = slices.log_prob(points if inner is None else inner.outward(points, rows), rows).double().amax(1)
        zero = ~(top > usual - _ZERO)
        if zero.any():
            i = int(zero.nonzero()[0, 0])
            far = int(part[i].abs().argmax())
            said, nearest = (
                ", ".join(f"{names[c]} = {float(v):.6g}" for c, v in zip(slices.given, values, strict=True))
                for values in (slices.values[rows[i]], x[near[i, 0], slices.given])
            )
            c = slices.given[far]
            raise ValueError(
                f"the density where {said} is numerically zero, e^{float(top[i] - usual):.0f} of that at the rows: "
                f"{names[c]} lies {float(part[i, far].abs()):.1f} standard deviations from its mean {float(center[c]):.6g}; "
                f"the nearest row has {nearest}"
            )
