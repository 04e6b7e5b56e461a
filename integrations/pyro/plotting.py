"""Picture of a guide made of particles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from disco_samplers.plotting import _BLUE, _GREY, _ORANGE, _figure, _saved

if TYPE_CHECKING:
    from .autoguide import AutoDiSco

_MOST = 11


def plot_guide(guide: AutoDiSco, path: str | None = None) -> Any:
    """Draws the loss against the step, and the marginal of each entry of each latent with its median; the first eleven.

    Arguments:
        guide: after it was fitted, or called.
        path: where to save the picture, if anywhere; the extension says the format.

    Raises:
        ValueError: if the guide has no particles yet, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    if guide.prototype_trace is None:
        raise ValueError("the guide has no particles yet: fit it first")
    marginals: dict[str, np.ndarray] = {}
    for name, value in guide.draws().items():
        flat = value.reshape(len(value), -1).cpu().numpy()
        marginals |= {name if value.ndim == 1 else f"{name}[{i}]": flat[:, i] for i in range(flat.shape[1])}
    shown = list(marginals.items())[:_MOST]
    columns = min(4, len(shown) + 1)
    rows = -(-(len(shown) + 1) // columns)
    figure = _figure(2.6 * columns, 2.1 * rows, path)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    axes[0].plot(guide.losses, color=_ORANGE, lw=1.2)
    axes[0].set(title="loss", xlabel="step")
    if len(guide.losses) > 5:  # the first steps come from far away
        low, high = np.quantile(guide.losses[2:], (0.0, 0.95))
        axes[0].set_ylim(low - 0.1 * (high - low) - 1e-3, high + 0.3 * (high - low) + 1e-3)
    for axis, (name, values) in zip(axes[1:], shown, strict=False):
        axis.hist(values, 40, range=tuple(np.quantile(values, (0.005, 0.995))), density=True, color=_BLUE, alpha=0.7)
        axis.axvline(np.median(values), color=_GREY, ls="--", lw=1)
        axis.set(title=name, yticks=[])
    for axis in axes[len(shown) + 1 :]:
        axis.set_axis_off()
    if len(shown) < len(marginals):
        figure.suptitle(f"first {len(shown)} of {len(marginals)} variables")
    return _saved(figure, path)
