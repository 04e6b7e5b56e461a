"""Picture of the distribution of values, with places marked in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from disco_samplers.pictures.figure import BLUE, DARK, ORANGE, figure_of, saved, widened


def plot_distribution(
    values: np.ndarray,
    label: str,
    marks: dict[str, float],
    *,
    others: dict[str, np.ndarray] | None = None,
    band: tuple[float, float] | None = None,
    path: str | None = None,
) -> Any:
    """Draws the distribution of values with marked places, for instance scores with their threshold.

    Arguments:
        values: (n,).
        label: what they are.
        marks: places to mark, by what they are called.
        others: further values to compare with, by what they are called.
        band: ends of a shaded range.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    figure = figure_of(6.4, 3.8, path)
    axis = figure.subplots()
    others = others or {}
    pooled = np.concatenate([values, *others.values()])
    # One far value would leave a single bar: the ends are cut and what lies beyond stands in the outermost bars.
    quartiles = np.quantile(pooled, (0.25, 0.75))
    reach = 6 * (quartiles[1] - quartiles[0])
    inside = pooled[(pooled >= quartiles[0] - reach) & (pooled <= quartiles[1] + reach)]
    places = [*marks.values(), *(band or ())]
    low, high = widened((min(inside.min(), *places), max(inside.max(), *places)), 0.03)
    bins = np.linspace(low, high, 51)
    axis.hist(np.clip(values, low, high), bins, color=BLUE, alpha=0.75, label=f"{len(values)} rows")
    for name, other in others.items():
        # As many as there are values, so that the shapes can be compared.
        scale = np.full(len(other), len(values) / len(other))
        axis.hist(np.clip(other, low, high), bins, weights=scale, histtype="step", color=DARK, label=name)
    if band is not None:
        axis.axvspan(*band, color=ORANGE, alpha=0.3, lw=0)
    for name, place in marks.items():
        axis.axvline(place, color=ORANGE, lw=1.6, label=name)
    axis.set_xlabel(label)
    axis.set_ylabel("rows")
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize="small")
    return saved(figure, path)
