"""Pictures of a density: as a curve over a line, or by its contours and arrows of its score on a plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from disco_samplers.pictures.figure import figure_of, legend_below, saved
from disco_samplers.pictures.histogram import draw_histogram
from disco_samplers.pictures.style import BLUE, DARK, GREY, ORANGE, styled


@styled
def plot_line(
    samples: np.ndarray, x: np.ndarray, log_prob: np.ndarray, score: np.ndarray, name: str = "x", path: str | None = None
) -> Any:
    """Draws samples (n,), and log-density and score (m,) at places x (m,) of a variable.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    figure = figure_of(6.4, 5.0, path)
    top, bottom = figure.subplots(2, 1, sharex=True)
    draw_histogram(top, samples, np.linspace(x[0], x[-1], 81), color=GREY, label=f"{len(samples)} samples")
    top.plot(x, np.exp(log_prob), color=BLUE, label="estimated density")
    top.set(title=f"density and score of {name}", ylabel=f"density (per unit of {name})")
    bottom.plot(x, score, color=ORANGE, label="score, d log p / dx")
    bottom.axhline(0, color=GREY, lw=0.5)
    bottom.set(xlabel=name, ylabel=f"score (nats per unit of {name})")
    legend_below(figure, top)
    return saved(figure, path)


@styled
def plot_plane(
    samples: np.ndarray,
    grid: tuple[np.ndarray, np.ndarray, np.ndarray],
    arrows: tuple[np.ndarray, np.ndarray],
    names: tuple[str, str],
    *,
    total: int | None = None,
    kind: str = "samples",
    slice_through: str = "",
    path: str | None = None,
) -> Any:
    """Draws samples (n, 2) on the contours of a log-density, with arrows of its score.

    Arguments:
        samples: (n, 2).
        grid: places a (k,) and b (l,) on the two axes and the log-density (l, k) there.
        arrows: where they stand and the score there, both (m, 2).
        names: of the axes.
        total: how many samples there are, if not all are shown.
        kind: what they are called.
        slice_through: what the plane goes through, where there are more than two dimensions.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    figure = figure_of(6.4, 5.0, path)
    axis = figure.subplots()
    a, b, log_prob = grid
    top = float(np.ceil(2 * float(log_prob.max())) / 2)
    # The darkest blues are left out, so that samples can be seen on them.
    colours = {"cmap": "Blues", "vmin": top - 8, "vmax": top + 4}
    filled = axis.contourf(a, b, log_prob, levels=np.linspace(top - 8, top, 17), extend="min", **colours)
    figure.colorbar(filled, label="log-density (nats)")
    axis.scatter(*samples.T, s=4, color=DARK, alpha=0.6, linewidths=0)
    places, score = arrows
    length = np.linalg.norm(score, axis=1, keepdims=True)
    # Long arrows are shortened, or those at the rim would hide the picture.
    score = score / length.clip(1e-12) * np.tanh(length / np.median(length))
    axis.quiver(*places.T, *score.T, color=ORANGE, width=0.0028, scale=26)
    axis.set(xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    axis.set_xlabel(names[0])
    axis.set_ylabel(names[1])
    cut = f", on a slice through {slice_through}" if slice_through else ""
    count = f"{len(samples):,}" if total in (None, len(samples)) else f"{len(samples):,} of {total:,}"
    axis.set_title(f"{count} {kind}, log-density and score (arrows){cut}")
    return saved(figure, path)
