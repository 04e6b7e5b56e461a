"""What all pictures share: colours, figures made without pyplot, so that no global state changes, and saving them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disco_samplers.extras import optional
from disco_samplers.files import write

BLUE, ORANGE, GREY, DARK = "#2563a8", "#d1661b", "#8a8f98", "#20242c"


def writable(path: str | Path) -> None:
    """Says before any work is done whether a picture could be saved there.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    kinds = sorted(optional("matplotlib.backend_bases", "plot").FigureCanvasBase.get_supported_filetypes())
    if Path(path).suffix[1:] not in kinds:
        raise ValueError(f"{path}: the extension of a picture must be one of {', '.join(kinds)}")


def widened(ends: Sequence[float], margin: float = 0.0) -> tuple[float, float]:
    """A range with a margin on both sides; a range of no width gets one."""
    low, high = ends
    margin = margin * (high - low) if high > low else max(0.1 * abs(low), 1e-3)
    return low - margin, high + margin


def figure_of(width: float, height: float, path: str | None) -> Any:
    """An empty figure of a size in inches, where one could be saved at the path.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    if path is not None:
        writable(path)
    return optional("matplotlib.figure", "plot").Figure(figsize=(width, height), layout="constrained")


def saved(figure: Any, path: str | None) -> Any:
    """The figure, written to the path if there is one."""
    if path is not None:
        write(path, lambda temporary: figure.savefig(temporary, dpi=130))
    return figure
