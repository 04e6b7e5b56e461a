"""Pictures of what happens without space: relaxation of velocities, and transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from disco_samplers.pictures import BLUE, DARK, GREY, ORANGE, figure_of, saved, styled

_MOST = 4
"""Components drawn."""
_TIME = "time (the run's units)"
_TITLES = {"fourth moment": "fourth moment", "entropy": "entropy (nats per particle)"}


@styled
def plot_relaxation(
    history: Mapping[str, np.ndarray], exact: Mapping[str, Callable[[float], float]] | None, path: str | None
) -> Any:
    """Draws temperatures, fourth moment and, where recorded, entropy of a homogeneous run against time.

    Arguments:
        history: columns by name.
        exact: functions of time for columns of the history, drawn dashed.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if ``exact`` names no column, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    columns = list(history)
    if unknown := set(exact or {}) - set(columns):
        raise ValueError(f"exact names no column: {', '.join(sorted(unknown))}; there are {', '.join(columns)}")
    panels = [[name for name in columns if name.startswith("temperature ")][:_MOST], ["fourth moment"]]
    if "entropy" in columns:
        panels.append(["entropy"])
    figure = figure_of(3.6 * len(panels), 3.2, path)
    time = history["time"]
    for axis, names in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, colour in zip(names, (BLUE, ORANGE, GREY, DARK), strict=False):
            axis.plot(time, history[name], color=colour, lw=1.6, label=name)
            if exact and name in exact:
                axis.plot(time, [exact[name](t) for t in time], color=DARK, ls=(0, (4, 3)), lw=1.1, label="exact", zorder=3)
        legend_once(axis)
        axis.set(title=_TITLES.get(names[0], "temperature by component"), xlabel=_TIME)
        axis.margins(x=0)
    return saved(figure, path)


def legend_once(axis: Any) -> None:
    """A legend with every label once, "exact" last."""
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    once |= {"exact": once.pop("exact")} if "exact" in once else {}
    axis.legend(once.values(), once.keys())


@styled
def plot_trajectory(
    times: Sequence[float],
    mean: np.ndarray,
    variance: np.ndarray,
    exact: Callable[[float], tuple[Tensor, Tensor]] | None,
    path: str | None,
) -> Any:
    """Draws means and variances of the first components against time.

    Arguments:
        times: (k,).
        mean: (k, d).
        variance: (k, d).
        exact: maps a time to mean (d,) and covariance (d, d), drawn dashed.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    figure = figure_of(7.2, 3.2, path)
    left, right = figure.subplots(1, 2)
    time = list(times)
    truth = [exact(t) for t in time] if exact else []
    for i, colour in zip(range(min(mean.shape[1], _MOST)), (BLUE, ORANGE, GREY, DARK), strict=False):
        left.plot(time, mean[:, i], color=colour, label=f"x{i}")
        right.plot(time, variance[:, i], color=colour, label=f"x{i}")
        dashed = {"color": DARK, "ls": (0, (4, 3)), "lw": 1.1, "label": "exact" if i == 0 else None}
        if truth:
            left.plot(time, [float(m[i]) for m, _ in truth], **dashed)
            right.plot(time, [float(c[i, i]) for _, c in truth], **dashed)
    for axis, title in ((left, "mean"), (right, "variance")):
        axis.set(title=f"{title} of the first components", xlabel=_TIME)
        axis.margins(x=0)
    right.legend()
    return saved(figure, path)
