"""Contours of a function of two variables, as lines."""

from __future__ import annotations

import numpy as np

from disco_samplers.extras import optional


def closed_lines(x: np.ndarray, y: np.ndarray, values: np.ndarray, level: float) -> list[np.ndarray]:
    """Lines, each (m, 2), around where values (l, k) at places x (k,) and y (l,) are above a level, closed along the sides.

    Example:
        >>> x = np.linspace(0, 1, 50)
        >>> (line,) = closed_lines(x, x, np.maximum(x[:, None], x), 0.5)  # above in all but a quarter
        >>> bool(np.abs(line).max() == 1), bool((line[0] == line[-1]).all())
        (True, True)
    """
    figure = optional("matplotlib.figure", "plot").Figure()
    # Beyond the sides all is below; what is minus infinity has no height to draw a line by.
    floor = min(level - 1.0, float(values[np.isfinite(values)].min(initial=level))) - 1.0
    framed = np.pad(np.maximum(values, floor), 1, constant_values=floor)
    axes = [np.concatenate([axis[:1], axis, axis[-1:]]) for axis in (x, y)]
    lines = figure.add_subplot().contour(*axes, framed, levels=[level]).allsegs[0]
    return [np.asarray(line, dtype=float) for line in lines if len(line) > 2]
