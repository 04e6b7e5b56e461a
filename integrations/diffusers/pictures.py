"""Pictures of generated samples: a matrix of scatter plots for vectors, curves for series, a mosaic for images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from disco_samplers.arrays import default_names
from disco_samplers.pictures import BLUE, GREY, draw_histogram, edges, figure_of, legend_below, saved, some_of, styled

_MOST_COLUMNS, _MOST_POINTS, _MOST_CURVES, _MOST_IMAGES = 5, 2000, 40, 64


@styled
def plot_samples(
    samples: np.ndarray,
    reference: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    path: str | None = None,
) -> Any:
    """Draws samples (N, d), (N, C, L) or (N, C, H, W), with reference samples of the same shape beside or behind them.

    Arguments:
        samples: what was generated.
        reference: data to compare with.
        names: of the columns of vectors; the first five are shown.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the samples have another shape, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    draw = {2: _vectors, 3: _series, 4: _images}.get(samples.ndim)
    if draw is None:
        raise ValueError(f"samples must have shape (N, d), (N, C, L) or (N, C, H, W), got {samples.shape}")
    figure = figure_of(6.4, 4.8, path)
    draw(figure, samples, reference, names)
    return saved(figure, path)


def _vectors(figure: Any, samples: np.ndarray, reference: np.ndarray | None, names: Sequence[str] | None) -> None:
    shown = min(samples.shape[1], _MOST_COLUMNS)
    names = names or default_names(samples.shape[1])
    figure.set_size_inches(2.2 * max(shown, 2), 2.2 * max(shown, 2))
    axes = figure.subplots(shown, shown, squeeze=False, sharex="col")
    sets = [(samples, BLUE, "generated")] if reference is None else [(reference, GREY, "data"), (samples, BLUE, "generated")]
    for i in range(shown):
        pooled = np.concatenate([values[:, i] for values, *_ in sets])
        bins = edges(pooled, 40)
        for j in range(shown):
            axis = axes[i, j]
            axis.set_yticks([])
            if j > i:
                axis.set_visible(False)
                continue
            for values, colour, label in sets:
                if i == j:
                    draw_histogram(axis, values[:, i], bins, color=colour, label=label, filled=colour == GREY)
                else:
                    some = values[some_of(len(values), _MOST_POINTS)]
                    axis.scatter(some[:, j], some[:, i], s=3, color=colour, linewidths=0, alpha=0.6)
            if i == shown - 1:
                axis.set_xlabel(names[j])
            if j == 0:
                axis.set_ylabel(names[i])
    legend_below(figure, axes[0, 0])
    first = f"first {shown} of {samples.shape[1]}" if shown < samples.shape[1] else f"{shown}"
    figure.suptitle(f"{len(samples)} generated samples, {first} columns, two at a time")


def _series(figure: Any, samples: np.ndarray, reference: np.ndarray | None, names: Sequence[str] | None) -> None:
    figure.set_size_inches(7.0, 1.8 * samples.shape[1] + 0.5)
    axes = figure.subplots(samples.shape[1], 1, squeeze=False, sharex=True)[:, 0]
    for channel, axis in enumerate(axes):
        if reference is not None:
            axis.plot(reference[:_MOST_CURVES, channel].T, color=GREY, lw=0.6, alpha=0.6)
        axis.plot(samples[:_MOST_CURVES, channel].T, color=BLUE, lw=0.6, alpha=0.6)
        axis.margins(x=0)
        axis.set_ylabel(f"channel {channel}")
    count = min(len(samples), _MOST_CURVES)
    axes[0].set_title(f"{count} of {len(samples)} generated" + ("" if reference is None else " (blue) and data (grey)"))
    axes[-1].set_xlabel("place in the series")


def _images(figure: Any, samples: np.ndarray, reference: np.ndarray | None, names: Sequence[str] | None) -> None:
    sets = [("generated", samples)] if reference is None else [("generated", samples), ("data", reference)]
    figure.set_size_inches(4.0 * len(sets), 4.2)
    for axis, (title, images) in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        shown = images[:_MOST_IMAGES]
        columns = math.ceil(math.sqrt(len(shown)))
        white = 1.0 if shown.shape[1] == 3 else np.nan
        room = ((0, -len(shown) % columns), (0, 0), (0, 1), (0, 1))  # a line between two images
        padded = np.pad(shown.astype(np.float64), room, constant_values=white)
        rows = [np.concatenate(padded[i : i + columns], 2) for i in range(0, len(padded), columns)]
        whole = np.concatenate(rows, 1)
        if len(whole) == 3:
            axis.imshow((whole.transpose(1, 2, 0) / 2 + 0.5).clip(0, 1))
        else:
            axis.imshow(whole[0], cmap="gray_r")
        axis.set_title(f"{title}, {len(shown)} of {len(images)}")
        axis.axis("off")
