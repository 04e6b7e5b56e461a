"""Corner picture: the marginals of one and two variables, of one or several posteriors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from disco_samplers.extras import optional
from disco_samplers.pictures.figure import brief, figure_of, saved, widened
from disco_samplers.pictures.style import CYCLE, DARK, styled

_SHADES = (0.25, 0.6)
"""How opaque the outer and the inner region are."""

_NARROW = 5.0
"""Inches below which a picture is one column of a paper wide, with smaller letters."""

_ROOM = 1.1
"""Inches that a panel must be wide for the numbers of its ticks to lie side by side."""


class Plane(NamedTuple):
    """A log-density (l, k) at places x (k,) and y (l,), and its levels at the edges of the outer and the inner region."""

    x: np.ndarray
    y: np.ndarray
    log_prob: np.ndarray
    levels: tuple[float, float]


class Posterior(NamedTuple):
    """What it is called, for each variable places (m,) and the density (m,) there, and the plane of each (column, row)."""

    label: str
    curves: Sequence[tuple[np.ndarray, np.ndarray]]
    planes: Mapping[tuple[int, int], Plane]


@styled
def plot_corner(
    posteriors: Sequence[Posterior],
    names: Sequence[str],
    truth: Mapping[int, float],
    *,
    title: str = "",
    width: float = 7.0,
    path: str | None = None,
) -> Any:
    """Draws each variable's density on the diagonal, and below it the regions of every two; curves are as high as their panel.

    Arguments:
        posteriors: drawn over one another, the first at the bottom; with labels there is a legend.
        names: of the d variables.
        truth: values to mark, by the number of the variable.
        title: of the picture, in one line.
        width: in inches; of a paper one column is 3.4 wide, two are 7.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    d = len(names)
    size = 7.0 if width < _NARROW else 9.0
    panel = (width - 0.6) / d
    figure = figure_of(width, width if d > 1 else 0.7 * width, path)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    grid = figure.add_gridspec(d, d)
    limits = [_limits([one.curves[i][0] for one in posteriors], truth.get(i)) for i in range(d)]
    for i in range(d):
        for j in range(i + 1):
            axis = figure.add_subplot(grid[i, j])
            for color, posterior in zip(_colors(len(posteriors)), posteriors, strict=True):
                if i == j:
                    places, density = posterior.curves[i]
                    axis.plot(places, density / density.max(), color=color, lw=1.2)
                else:
                    _draw_regions(axis, posterior.planes[j, i], color)
            marked = {"color": DARK, "ls": "--", "lw": 0.8}
            if j in truth:
                axis.axvline(truth[j], **marked)
            if i != j and i in truth:
                axis.axhline(truth[i], **marked)
            axis.set_xlim(*limits[j])
            axis.set_ylim(*((0, 1.08) if i == j else limits[i]))
            _label(axis, names, (i, j), panel, size)
    figure.align_labels()
    if title:
        figure.suptitle(title, fontsize=size + 1)
    _legend(figure, posteriors, bool(truth), size, (d - 1) * panel, below=1.8 * (size + 1) * bool(title))
    return saved(figure, path)


def _draw_regions(axis: Any, plane: Plane, color: str) -> None:
    """Fills the two regions, the inner one darker, and draws their edges."""
    outer, inner = plane.levels
    log_prob = plane.log_prob.clip(outer - 20)
    if log_prob.max() <= outer:
        return
    levels = [outer, max(inner, outer + 1e-6)]
    shades = [optional("matplotlib.colors", "plot").to_rgba(color, shade) for shade in _SHADES]
    axis.contourf(plane.x, plane.y, log_prob, [*levels, max(levels[1], log_prob.max()) + 1], colors=shades)
    edges = [level for level in levels if level < log_prob.max()]
    axis.contour(plane.x, plane.y, log_prob, edges, colors=color, linewidths=0.8, linestyles="solid")


def _label(axis: Any, names: Sequence[str], place: tuple[int, int], panel: float, size: float) -> None:
    """Names and numbers at the rim only, as many and as long as there is room for."""
    (i, j), ticker = place, optional("matplotlib.ticker", "plot")
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(ticker.MaxNLocator(3 if panel > _ROOM / 2 else 2, prune="both"))
    axis.tick_params(labelsize=size - 1, length=2, pad=2, labelbottom=i == len(names) - 1, labelleft=i > j == 0)
    if panel < _ROOM:
        axis.tick_params(axis="x", labelrotation=90)
    for one in (axis.xaxis, axis.yaxis):
        one.offsetText.set_visible(False)
    most = max(5, int(panel * 72 / (0.55 * size)))
    shown = [name if "$" in name else brief(name, most) for name in names]
    if i == j:
        axis.yaxis.set_visible(False)
        axis.spines["left"].set_visible(False)
    if i == len(names) - 1:
        axis.set_xlabel(shown[j] + _common(axis.xaxis), fontsize=size)
    if i > j == 0:
        axis.set_ylabel(shown[i] + _common(axis.yaxis), fontsize=size)


def _common(axis: Any) -> str:
    """What is common to the numbers of an axis, as 1e-9 or +3e8, in a line below the name: at the axis' end it would be over
    the neighbour's."""
    formatter = axis.get_major_formatter()
    formatter.set_locs(axis.get_majorticklocs())
    said = formatter.get_offset()
    return f"\n{said}" if said else ""


def _legend(figure: Any, posteriors: Sequence[Posterior], truth: bool, size: float, room: float, below: float) -> None:
    """In the empty corner, so many inches wide and so many points below the edge, or below a single panel: what has a label."""
    most = max(8, min(28, int((room - 0.6) * 72 / (0.55 * size)))) if room else 28
    artists, lines = optional("matplotlib.patches", "plot"), optional("matplotlib.lines", "plot")
    colors = _colors(len(posteriors))
    handles = [
        artists.Patch(color=color, alpha=_SHADES[1], label=brief(one.label, most))
        for color, one in zip(colors, posteriors, strict=True)
        if one.label
    ]
    if truth:
        handles.append(lines.Line2D([], [], color=DARK, ls="--", lw=0.8, label="truth"))
    if handles:
        top = 1 - below / (72 * figure.get_figheight())
        place = {"loc": "upper right", "bbox_to_anchor": (1, top)} if room else {"loc": "outside lower left", "ncols": 3}
        figure.legend(handles=handles, fontsize=size, **place)


def _limits(places: Sequence[np.ndarray], truth: float | None) -> tuple[float, float]:
    """Where all the curves are, and the true value."""
    low, high = min(one[0] for one in places), max(one[-1] for one in places)
    if truth is None or low < truth < high:
        return float(low), float(high)
    return widened((min(low, truth), max(high, truth)), 0.05)


def _colors(count: int) -> list[str]:
    return [CYCLE[i % len(CYCLE)] for i in range(count)]
