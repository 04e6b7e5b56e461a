"""Where columns are looked at for pictures: within their supports, and not on their edges, where a density may diverge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from disco_samplers.draws import Circle, Support

T = TypeVar("T", np.ndarray, Tensor)


def within(ends: Sequence[float], support: Support) -> tuple[float, float]:
    """A range cut at the ends of a support.

    Example:
        >>> within((-0.3, 4.0), Support(0.0, None))
        (0.0, 4.0)
    """
    low, high = support
    return max(ends[0], -math.inf if low is None else low), min(ends[1], math.inf if high is None else high)


def off_edges(places: T, support: Support) -> T:
    """Evenly spaced places (..., m), those on the edge of a support half a step within it.

    Example:
        >>> off_edges(np.linspace(0, 1, 5), Support(0.0, None))
        array([0.125, 0.25 , 0.5  , 0.75 , 1.   ])
    """
    if isinstance(support, Circle):
        return places
    half = (places[..., 1] - places[..., 0]) / 2
    found = places + 0
    found[..., 0] += half * (support.low == places[..., 0])
    found[..., -1] -= half * (support.high == places[..., -1])
    return found
