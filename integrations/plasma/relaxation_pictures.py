"""Pictures of what happens without space: relaxation of velocities, and transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from disco_samplers.plotting import _BLUE, _DARK, _GREY, _ORANGE, _figure, _saved

if TYPE_CHECKING:
    from .homogeneous import Homogeneous
    from .transport import Trajectory

_MOST = 4
"""Components drawn."""


def plot_relaxation(run: Homogeneous, exact: Mapping[str, Callable[[float], float]] | None, path: str | None) -> Any:
    """Draws temperatures, fourth moment and, where recorded, entropy of a homogeneous run against time.

    Arguments:
        run: with at least one row of history.
        exact: functions of time for columns of the history, drawn dashed.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if there is no history, ``exact`` names no column, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    if not run.history:
        raise ValueError("nothing to draw: call run() first")
    columns = list(run.history[0])
    if unknown := set(exact or {}) - set(columns):
        raise ValueError(f"exact names no column: {', '.join(sorted(unknown))}; there are {', '.join(columns)}")
    panels = [[name for name in columns if name.startswith("temperature ")][:_MOST], ["fourth moment"]]
    if "entropy" in columns:
        panels.append(["entropy"])
    figure = _figure(3.6 * len(panels), 3.2, path)
    time = run.column("time")
    for axis, names in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, colour in zip(names, (_BLUE, _ORANGE, _GREY, _DARK), strict=False):
            axis.plot(time, run.column(name), color=colour, lw=1.6, label=name)
            if exact and name in exact:
                axis.plot(time, [exact[name](t) for t in time], color=_DARK, ls=(0, (4, 3)), lw=1.1, label="exact", zorder=3)
        handles, labels = axis.get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        once |= {"exact": once.pop("exact")} if "exact" in once else {}  # last
        axis.legend(
            once.values(), once.keys(), frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2
        )
        axis.set_xlabel("time")
        axis.margins(x=0)
    return _saved(figure, path)


def plot_trajectory(trajectory: Trajectory, exact: Callable[[float], tuple[Tensor, Tensor]] | None, path: str | None) -> Any:
    """Draws means and variances of the first components against time.

    Arguments:
        trajectory: of particles.
        exact: maps a time to mean (d,) and covariance (d, d), drawn dashed.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    figure = _figure(7.2, 3.2, path)
    left, right = figure.subplots(1, 2)
    time = trajectory.times.tolist()
    truth = [exact(t) for t in time] if exact else []
    mean, variance = trajectory.mean.cpu(), trajectory.covariance.diagonal(dim1=-2, dim2=-1).cpu()
    for i, colour in zip(range(min(trajectory.x.shape[2], _MOST)), (_BLUE, _ORANGE, _GREY, _DARK), strict=False):
        left.plot(time, mean[:, i], color=colour, label=f"x{i}")
        right.plot(time, variance[:, i], color=colour, label=f"x{i}")
        dashed = {"color": _DARK, "ls": (0, (4, 3)), "lw": 1.1, "label": "exact" if i == 0 else None}
        if truth:
            left.plot(time, [float(m[i]) for m, _ in truth], **dashed)
            right.plot(time, [float(c[i, i]) for _, c in truth], **dashed)
    for axis, title in ((left, "mean"), (right, "variance")):
        axis.set(title=title, xlabel="time")
        axis.margins(x=0)
    right.legend(frameon=False, fontsize="small")
    return _saved(figure, path)
