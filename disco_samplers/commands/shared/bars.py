"""Rows answered in parts, with a progress bar where there are many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

_ROWS = 4096
"""Answered at a time: a second or so of one core in a few columns."""


def in_parts(answer: Callable[[np.ndarray], Any], rows: np.ndarray, what: str, *, quiet: bool) -> Any:
    """What ``answer`` gives for rows (n, d), an array (n, ...) or a tuple of such, a part of the rows at a time."""
    parts = np.array_split(rows, max(1, -(-len(rows) // _ROWS)))
    found = [answer(part) for part in tqdm(parts, desc=what, disable=quiet or len(parts) == 1)]
    if isinstance(found[0], tuple):
        return tuple(np.concatenate(column) for column in zip(*found, strict=True))
    return np.concatenate(found)
