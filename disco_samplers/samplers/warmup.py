"""Warm-up's windows, and the history from which preconditioner and estimate are learnt."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_ROWS = 2**14
"""Rows of history handed on; thousands of chains would otherwise keep gigabytes."""


def windows(num_warmup: int) -> list[int]:
    """The steps after which a window of warm-up ends; the first and last steps belong to none.

    The windows double in length, so that each is learnt from draws better than the last; an eighth of the warm-up before them
    lets chains find the target, another after them lets the step size settle.

    References:
        Stan Development Team, *Stan Reference Manual*, section on automatic parameter tuning.

    Example:
        >>> windows(400)
        [100, 350]
        >>> windows(10)
        []
    """
    first, last = num_warmup // 8, num_warmup - num_warmup // 8
    length = max(20, num_warmup // 8)
    ends = []
    end = first + length
    while end <= last:
        # What would be left after it is too short for a window of its own.
        end = last if end + 2 * length > last else end
        ends.append(end)
        length *= 2
        end += length
    return ends


class History:
    """Positions of all chains in the current window."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def add(self, position: Tensor) -> None:
        """Remembers the chains' positions (c, d)."""
        self._rows.append(position)

    def take(self) -> Tensor:
        """The window's rows (n, d), evenly thinned to at most a number that fits memory; starts a new window."""
        rows, steps = torch.cat(self._rows), len(self._rows)
        self._rows = []
        # Counted chain by chain: every so many-th row of a step after step may always be the same chain's. Each chain begins at
        # another of its steps, by the golden ratio: every so many-th row of a chain after chain may always be the same step's.
        chains = torch.arange(len(rows) // steps, device=rows.device)[:, None]
        first = (chains * 0.6180339887498949 % 1 * steps).long()
        places = ((torch.arange(steps, device=rows.device) + first) % steps * len(chains) + chains).flatten()
        return rows[places[:: -(-len(rows) // _MOST_ROWS)].sort().values]
