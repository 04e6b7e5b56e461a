"""Columns with names: tables of them, and the rule that what has the same names is matched by them, whatever its order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from disco_samplers.arrays import as_tensor
from disco_samplers.frames import frame_names, is_frame


def as_table(values: Any, name: str) -> tuple[Tensor, list[str] | None]:
    """An array as a tensor and None, or a pandas or polars data frame as a tensor and the names of its columns.

    Raises:
        TypeError: if the values, or those of a column, are not real numbers.
        ValueError: if two columns have one name.
    """
    return as_tensor(values, name), frame_names(values, name) if is_frame(values) else None


def names_of(*sources: Any) -> list[str] | None:
    """The names of the first of these that has some: a data frame, draws, an estimate or a method of it; else None."""
    for source in sources:
        if is_frame(source):
            return [str(label) for label in source.columns]
        holder = getattr(source, "__self__", source)
        names = getattr(holder, "names", None)
        if isinstance(names, list) and getattr(holder, "has_names", True):  # a tensor's names are a tuple, of dimensions
            return [*names]
    return None


def align(points: Any, name: str, names: Sequence[str] | None, others: str = "the samples have") -> Any:
    """Points as they are, but a data frame as an array and draws with names, with their columns in the order of ``names``.

    Arguments:
        points: an array, a data frame or draws.
        name: of the argument.
        names: that the columns are to have; None leaves their order.
        others: what has these names, for the error.

    Raises:
        TypeError: if a column of a data frame is not numeric.
        ValueError: if there are other columns, or one occurs twice.
    """
    found = names_of(points)
    if found is None or names is None:
        return points
    if sorted(found) != sorted(names):
        raise ValueError(f"{name} has the columns {', '.join(found)}; {others} {', '.join(names)}")
    if is_frame(points):
        return as_tensor(points, name).numpy()[:, [found.index(column) for column in names]]
    return points if found == [*names] else points.columns(names)
