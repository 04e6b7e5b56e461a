"""What all pictures share: figures made without pyplot, so that no global state changes, and saving them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disco_samplers.extras import optional
from disco_samplers.files import check_place, write


def writable(path: str | Path) -> None:
    """Says before any work is done whether a picture could be saved there.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
        OSError: if its folder is no folder, or may not be written to.
    """
    kinds = sorted(optional("matplotlib.backend_bases", "plot").FigureCanvasBase.get_supported_filetypes())
    if Path(path).suffix[1:] not in kinds:
        raise ValueError(f"{path}: the extension of a picture must be one of {', '.join(kinds)}")
    check_place(path)


def widened(ends: Sequence[float], margin: float = 0.0) -> tuple[float, float]:
    """A range with a margin on both sides; a range of no width gets one."""
    low, high = ends
    margin = margin * (high - low) if high > low else max(0.1 * abs(low), 1e-3)
    return low - margin, high + margin


def some_of(count: int, most: int) -> list[int]:
    """At most so many of ``count`` things, evenly chosen."""
    return [int(i) for i in np.linspace(0, count - 1, min(count, most)).round()]


def brief(name: str, most: int = 16) -> str:
    """A name that fits beside a small panel: of a longer one its beginning and its end.

    Example:
        >>> brief("mu"), brief("log_relaxation_time[12]")
        ('mu', 'log_rela…ime[12]')
    """
    return name if len(name) <= most else f"{name[: most // 2]}…{name[1 - most // 2 :]}"


def figure_of(width: float, height: float, path: str | None) -> Any:
    """An empty figure of a size in inches, where one could be saved at the path.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    if path is not None:
        writable(path)
    return optional("matplotlib.figure", "plot").Figure(figsize=(width, height), layout="constrained")


def legend_below(figure: Any, axis: Any, columns: int = 6) -> None:
    """One legend for the whole figure, below it, of what stands in the axes."""
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower left", ncols=columns)


def saved(figure: Any, path: str | None) -> Any:
    """The figure, written to the path if there is one."""
    if path is not None:
        write(path, lambda temporary: figure.savefig(temporary, dpi=130))
    return figure
