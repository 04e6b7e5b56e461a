"""How all pictures look: colours, and one style sheet that is in force while a picture is drawn and no longer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from disco_samplers.extras import optional

BLUE, ORANGE, GREY, DARK = "#2563a8", "#d1661b", "#8a8f98", "#20242c"
CYCLE = (BLUE, ORANGE, "#2e8b57", "#7b4ea3", "#b8336a", "#b8901f", "#3aa6b9", GREY)
"""Colours of several things of one kind, as chains are."""

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.labelcolor": DARK,
    "axes.labelsize": "medium",
    "axes.prop_cycle": f"cycler('color', {list(CYCLE)})",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": DARK,
    "axes.titlesize": "medium",
    "figure.titlesize": "medium",
    "font.size": 9.0,
    "image.cmap": "Blues",
    "legend.fontsize": "small",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "text.color": DARK,
    "xtick.color": DARK,
    "ytick.color": DARK,
}
_LOCK = threading.RLock()
"""Pictures are drawn one after another: matplotlib's settings belong to the process, and two threads would restore each
other's."""

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """A function that draws, under the style sheet; matplotlib's settings are afterwards what they were before."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with _LOCK, optional("matplotlib", "plot").rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn
