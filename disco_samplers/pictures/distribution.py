"""Picture of the distribution of values, with places marked in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from disco_samplers.pictures.figure import figure_of, legend_below, saved
from disco_samplers.pictures.histogram import draw_histogram, edges
from disco_samplers.pictures.style import BLUE, DARK, ORANGE, styled


@styled
def plot_distribution(
    values: np.ndarray,
    label: str,
    marks: dict[str, float],
    *,
    others: dict[str, np.ndarray] | None = None,
    flagged: np.ndarray | None = None,
    band: tuple[float, float] | None = None,
    title: str = "",
    path: str | None = None,
) -> Any:
    """Draws the distribution of values with marked places, for instance scores with their threshold.

    Values far out stand in a hatched bar beyond either end, with their count.

    Arguments:
        values: (n,).
        label: what they are.
        marks: places to mark, by what they are called.
        others: further values to compare with, by what they are called.
        flagged: (n,), True for values drawn in another colour.
        band: ends of a shaded range.
        title: of the picture.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    figure = figure_of(6.4, 3.8, path)
    axis = figure.subplots()
    others = others or {}
    bins = edges(np.concatenate([values, *others.values()]), 50, marks=[*marks.values(), *(band or ())])
    flagged = np.zeros(len(values), bool) if flagged is None else flagged
    for name, color, part in (("rows", BLUE, values[~flagged]), ("flagged rows", ORANGE, values[flagged])):
        if len(part):
            draw_histogram(axis, part, bins, color=color, label=f"{len(part)} {name}", total=len(part))
    for name, other in others.items():
        # As high as the values are, so that the shapes can be compared; how many lie beyond is written on the values' bar.
        draw_histogram(axis, other, bins, color=DARK, label=name, filled=False, total=len(values), counted=False)
    if band is not None:
        axis.axvspan(*band, color=ORANGE, alpha=0.3, lw=0)
    for name, place in marks.items():
        axis.axvline(place, color=DARK if flagged.any() else ORANGE, ls="--", lw=1.4, label=name)
    axis.set(xlabel=label, ylabel="rows", title=title or f"{label}, {len(values)} rows")
    legend_below(figure, axis, 4)
    return saved(figure, path)
