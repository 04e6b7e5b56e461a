"""Histograms that hide nothing: what lies far out stands in a bar of its own, with its count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from disco_samplers.pictures.figure import widened

_REACH = 6
"""Quartile ranges beyond the quartiles within which values are shown one by one: of a Gaussian all, of heavy tails most."""


def edges(values: np.ndarray, count: int, *, marks: Sequence[float] = ()) -> np.ndarray:
    """Edges of ``count`` bins, of the values that are not far out, and of the ``marks``; one far value would leave one bar."""
    low, high = np.quantile(values, (0.25, 0.75))
    reach = _REACH * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)] if reach > 0 else values
    return np.linspace(*widened((min(inside.min(), *marks, np.inf), max(inside.max(), *marks, -np.inf)), 0.02), count + 1)


def draw_histogram(
    axis: Any,
    values: np.ndarray,
    bins: np.ndarray,
    *,
    color: Any,
    label: str | None = None,
    filled: bool = True,
    total: float | None = None,
    counted: bool = True,
) -> None:
    """Draws a histogram, with a hatched bar beyond either end for the values that lie there.

    Arguments:
        axis: where.
        values: (n,).
        bins: edges, of equal width.
        color: of the bars.
        label: for a legend.
        filled: or an outline.
        total: what the heights add up to; an area of one, as of a density, if not given.
        counted: whether the number of values beyond is written on the bar.
    """
    width = bins[1] - bins[0]
    scale = (1 / width if total is None else total) / len(values)
    heights = np.histogram(values, bins)[0] * scale
    look = {"fill": True, "alpha": 0.55, "lw": 0} if filled else {"fill": False, "lw": 1.4}
    axis.stairs(heights, bins, color=color, label=label, **look)
    for beyond, left, outer, side in (
        (int((values < bins[0]).sum()), bins[0] - 3 * width, bins[0] - 3 * width, "left"),
        (int((values > bins[-1]).sum()), bins[-1] + width, bins[-1] + 3 * width, "right"),
    ):
        if not beyond:
            continue
        # Never out of the picture, however many there are.
        height = min(beyond * scale, 1.05 * heights.max())
        axis.bar(left, height, 2 * width, align="edge", fill=False, edgecolor=color, hatch="////", lw=0.8)
        if counted:
            # From the bar's outer end inwards and a little above it, so that it crosses no axis.
            text = {"ha": side, "va": "bottom", "fontsize": "x-small", "color": color, "zorder": 5}
            around = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            place = {"xytext": (0, 3), "textcoords": "offset points"}
            axis.annotate(f"{beyond} beyond", (outer, height), bbox=around, **place, **text)
