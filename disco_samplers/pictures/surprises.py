"""Picture of why rows are unusual: a map of rows and columns, with what stands in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from disco_samplers.pictures.figure import figure_of, saved
from disco_samplers.pictures.style import DARK, styled

_MOST = 24
"""Columns that are drawn: of more those that surprise most."""

_WRITTEN = 12
"""Most columns whose values are written into the cells."""


@styled
def plot_surprises(
    surprises: np.ndarray,
    values: np.ndarray,
    columns: Sequence[str],
    rows: Sequence[str],
    scores: np.ndarray,
    *,
    path: str | None = None,
) -> Any:
    """Draws by how many nats each cell of some rows is less likely than is usual, given the row's others.

    Arguments:
        surprises: (m, d), in nats; NaN for a missing cell.
        values: (m, d), written into the cells where columns are few.
        columns: names of the columns.
        rows: names of the rows, from the top.
        scores: (m,), how unusual the rows are, in nats; above 0 is flagged.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if there are no rows, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    if not len(surprises):
        raise ValueError("there are no rows to explain")
    highest = np.nan_to_num(surprises, nan=-np.inf).max(0)
    shown = np.sort((-highest).argsort(kind="stable")[:_MOST])
    surprises, values, names = surprises[:, shown], values[:, shown], [columns[k] for k in shown]
    m, d = surprises.shape
    figure = figure_of(2.6 + 0.55 * max(d, 5), 1.7 + 0.27 * max(m, 3), path)
    axis = figure.subplots()
    top = max(1.0, float(np.nanmax(np.r_[surprises.ravel(), 0.0])))
    image = axis.imshow(np.clip(surprises, 0, None), cmap="Oranges", vmin=0, vmax=top, aspect="auto")
    if d <= _WRITTEN:
        for (i, k), value in np.ndenumerate(values):
            text = "" if np.isnan(value) else f"{value:.3g}"
            light = surprises[i, k] > 0.6 * top
            axis.text(k, i, text, ha="center", va="center", fontsize=7, color="white" if light else DARK)
    turned: dict[str, Any] = {"rotation": 35, "ha": "right"} if max(map(len, names)) > 4 else {}
    axis.set_xticks(range(d), names, **turned)
    axis.set_yticks(range(m), [f"{row} ({score:+.1f})" for row, score in zip(rows, scores, strict=True)])
    axis.set(title="why rows are unusual", xlabel="column", ylabel="row (anomaly score in nats)")
    axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axis, label="surprise given the other cells (nats)")
    return saved(figure, path)
