"""Picture of the densities of one variable, one for each of some conditions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from disco_samplers.pictures.figure import figure_of, legend_below, saved, some_of
from disco_samplers.pictures.style import CYCLE, styled


class Law(NamedTuple):
    """What it is called, its density (m,) at places (m,), and the interval to shade."""

    label: str
    places: np.ndarray
    density: np.ndarray
    interval: tuple[float, float]


@styled
def plot_laws(laws: list[Law], name: str, title: str = "", path: str | None = None) -> Any:
    """Draws densities of a variable as curves, each with its interval shaded; of more than eight some.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    figure = figure_of(6.4, 3.8, path)
    axis = figure.subplots()
    for color, i in zip(CYCLE, some_of(len(laws), min(len(laws), len(CYCLE))), strict=False):
        label, places, density, (low, high) = laws[i]
        axis.plot(places, density, color=color, label=label)
        inner = (places >= low) & (places <= high)
        axis.fill_between(places[inner], density[inner], color=color, alpha=0.2, lw=0)
    axis.set_ylim(bottom=0)
    axis.set(xlabel=name, ylabel=f"density (per unit of {name})", title=title)
    legend_below(figure, axis, 4)
    return saved(figure, path)
