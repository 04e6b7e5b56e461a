"""Picture of a guide made of particles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from disco_samplers.pictures import BLUE, GREY, ORANGE, draw_histogram, edges, figure_of, saved, styled

_MOST = 11


@styled
def plot_guide(losses: Sequence[float], draws: Mapping[str, np.ndarray], path: str | None = None) -> Any:
    """Draws the loss against the step, and the marginal of each entry of each latent with its median; the first eleven.

    Arguments:
        losses: after each step.
        draws: of each latent, (n, *shape).
        path: where to save the picture, if anywhere; the extension says the format.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    marginals: dict[str, np.ndarray] = {}
    for name, value in draws.items():
        flat = value.reshape(len(value), -1)
        marginals |= {name if value.ndim == 1 else f"{name}[{i}]": flat[:, i] for i in range(flat.shape[1])}
    shown = list(marginals.items())[:_MOST]
    columns = min(4, len(shown) + 1)
    rows = -(-(len(shown) + 1) // columns)
    figure = figure_of(2.6 * columns, 2.1 * rows, path)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    axes[0].plot(losses, color=ORANGE, lw=1.2)
    axes[0].set(title="loss", xlabel="step", ylabel="nats")
    if len(losses) > 5:  # the first steps come from far away
        low, high = np.quantile(losses[2:], (0.0, 0.95))
        axes[0].set_ylim(low - 0.1 * (high - low) - 1e-3, high + 0.3 * (high - low) + 1e-3)
    for axis, (name, values) in zip(axes[1:], shown, strict=False):
        draw_histogram(axis, values, edges(values, 40), color=BLUE)
        axis.axvline(np.median(values), color=GREY, ls="--", lw=1)
        axis.set(title=name, yticks=[])
    for axis in axes[len(shown) + 1 :]:
        axis.set_axis_off()
    which = f"first {len(shown)} of {len(marginals)}" if len(shown) < len(marginals) else f"{len(shown)}"
    figure.suptitle(f"guide: loss, and marginals with medians (dashed) of {which} variables")
    return saved(figure, path)
