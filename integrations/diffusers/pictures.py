"""Pictures of generated samples: a matrix of scatter plots for vectors, curves for series, a mosaic for images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from disco_samplers.arrays import default_names
from disco_samplers.pictures import BLUE, GREY, figure_of, saved

_MOST_COLUMNS, _MOST_POINTS, _MOST_CURVES, _MOST_IMAGES = 5, 2000, 40, 64


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
        low, high = np.quantile(pooled, (0.001, 0.999)).tolist()
        bins = np.linspace(low, high, 40).tolist()
        for j in range(shown):
            axis = axes[i, j]
            axis.set_yticks([])
            if j > i:
                axis.set_visible(False)
                continue
            for values, colour, label in sets:
                if i == j:
                    filled = {"alpha": 0.5} if colour == GREY else {"histtype": "step", "lw": 1.4}
                    axis.hist(values[:, i], bins, density=True, color=colour, label=label, **filled)
                else:
                    axis.scatter(values[:_MOST_POINTS, j], values[:_MOST_POINTS, i], s=3, color=colour, linewidths=0, alpha=0.6)
            if i == shown - 1:
                axis.set_xlabel(names[j])
            if j == 0 and i > 0:
                axis.set_ylabel(names[i])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper right", frameon=False, fontsize="small")


def _series(figure: Any, samples: np.ndarray, reference: np.ndarray | None, names: Sequence[str] | None) -> None:
    figure.set_size_inches(7.0, 1.8 * samples.shape[1] + 0.5)
    axes = figure.subplots(samples.shape[1], 1, squeeze=False, sharex=True)[:, 0]
    for channel, axis in enumerate(axes):
        if reference is not None:
            axis.plot(reference[:_MOST_CURVES, channel].T, color=GREY, lw=0.6, alpha=0.6)
        axis.plot(samples[:_MOST_CURVES, channel].T, color=BLUE, lw=0.6, alpha=0.6)
        axis.margins(x=0)
    axes[0].set_title("generated" if reference is None else "generated (blue) and data (grey)", fontsize=10)


def _images(figure: Any, samples: np.ndarray, reference: np.ndarray | None, names: Sequence[str] | None) -> None:
    sets = [("generated", samples)] if reference is None else [("generated", samples), ("data", reference)]
    figure.set_size_inches(4.0 * len(sets), 4.2)
    for axis, (title, images) in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        shown = images[:_MOST_IMAGES]
        columns = math.ceil(math.sqrt(len(shown)))
        padded = np.concatenate([shown, np.full((-len(shown) % columns, *shown.shape[1:]), shown.min())])
        rows = [np.concatenate(padded[i : i + columns], 2) for i in range(0, len(padded), columns)]
        whole = np.concatenate(rows, 1)
        if len(whole) == 3:
            axis.imshow((whole.transpose(1, 2, 0) / 2 + 0.5).clip(0, 1))
        else:
            axis.imshow(whole[0], cmap="gray_r")
        axis.set_title(title, fontsize=10)
        axis.axis("off")
