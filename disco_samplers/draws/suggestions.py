"""Supports that columns look as if they had."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from disco_samplers.draws.draws import Draws
from disco_samplers.draws.supports import ROUNDING, TURN, Support
from disco_samplers.draws.worth import DrawsWarning

_FEWEST = 50
"""Rows that show a law's ends."""

_SKEWED = 1.0
"""Skewness above which a positive column piles up at zero; an exponential law has 2, a normal one 0."""

_CLOSE = 0.05
"""How close to both ends of [0, 1] the values must come."""

_CROSSED = 0.005
"""Share of new draws beyond zero that are no accident."""


class SuggestedSupportWarning(DrawsWarning):
    """Columns look as if they ended, or were angles."""


def suggest_supports(draws: Draws) -> dict[Any, str]:
    """Supports that columns without one look as if they had: nothing is done with them.

    A column of at least 50 rows that comes within .05 of 0 and 1 and never leaves them is "unit"; one that is above zero
    throughout, skewed by more than 1, and has its smallest value below a fifth of its median, "positive". One that fills a
    turn, from 0 to 2 pi or 360 or from half a turn below zero, and has as many rows at its end as at its start, is circular.
    Columns theta[0], theta[1], ... that sum to one in each row are a "simplex"; those that never fall from one to the next, and
    come close to it, are "ordered": of these the key is a tuple. Names alone are no evidence.

    Example:
        >>> import torch
        >>> x = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
        >>> columns = [x[:, 0], -x[:, 1].log(), x[:, 0] - 0.5, 360 * x[:, 1]]
        >>> suggest_supports(Draws(torch.stack(columns, 1), names=["p", "tau", "x", "angle"]))
        {'p': 'unit', 'tau': 'positive', 'angle': 'circular:360'}
    """
    if len(draws) < _FEWEST:
        return {}
    known = draws.support or [Support()] * draws.dim
    columns = zip(draws.names, known, draws.values.double().unbind(1), strict=True)
    free = {name: column for name, support, column in columns if not support}
    groups = {names: look for names in _families(list(free)) if (look := _look_of(torch.stack([free[n] for n in names], 1)))}
    grouped = {name for names in groups for name in names}
    looks = {name: _look(column) for name, column in free.items() if name not in grouped}
    return {name: look for name, look in looks.items() if look} | groups


def warn_of_supports(draws: Draws) -> None:
    """Warns of the supports that columns look as if they had, in the words to write for them."""
    if looks := suggest_supports(draws):
        told = f"columns look as if they ended, and are read as if they did not: if so, write support={looks}"
        warnings.warn(told, SuggestedSupportWarning, stacklevel=4)


def suggest_after(draws: Draws, new: Tensor) -> dict[str, tuple[int, str]]:
    """Supports that new draws (m, d) of an estimate suggest: they cross zero where none of its own draws does.

    By column how many have crossed, and the support that would hold them: "positive", or "negative" for (None, 0). Columns with
    a support, and those in which fewer than one in two hundred have, are left out.

    Example:
        >>> import torch
        >>> x = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
        >>> suggest_after(Draws(x, names=["tau", "p"]), x - torch.tensor([0.1, 0.0]))
        {'tau': (20, 'positive')}
    """
    known, found = draws.support or [Support()] * draws.dim, {}
    for name, support, old, column in zip(draws.names, known, draws.values.unbind(1), new.unbind(1), strict=True):
        for sign, look in ((1, "positive"), (-1, "negative")):
            crossed = int((sign * column < 0).sum())
            if not support and bool((sign * old > 0).all()) and crossed >= _CROSSED * len(column):
                found[name] = crossed, look
    return found


def _look(x: Tensor) -> str:
    low, high, middle = float(x.min()), float(x.max()), float(x.median())
    if 0 <= low < _CLOSE and 1 - _CLOSE < high <= 1 and len(x.unique()) > 0.5 * len(x):
        return "unit"
    for word, turn in (("circular", TURN), ("circular:360", 360.0)):
        if any(_fills(x, start, turn) for start in (0.0, -turn / 2)):
            return word
    z = (x - x.mean()) / x.std()
    return "positive" if 0 < low < 0.2 * middle and float(z.pow(3).mean()) > _SKEWED else ""


def _fills(x: Tensor, start: float, turn: float) -> bool:
    """Whether values fill a turn, and are as many at its end as at its beginning."""
    share = (x - start) / turn
    if not (0 <= float(share.min()) < _CLOSE and 1 - _CLOSE < float(share.max()) <= 1 + ROUNDING):
        return False
    first, last = (float((part < 2 * _CLOSE).sum()) for part in (share, 1 - share))
    return min(first, last) > 0.02 * len(x) and abs(first - last) < 4 * math.sqrt(first + last)


def _families(names: list[str]) -> list[tuple[str, ...]]:
    """Names of the columns theta[0], theta[1], ... of one theta."""
    found: dict[str, list[str]] = {}
    for name in names:
        if "[" in name:
            found.setdefault(name.split("[")[0], []).append(name)
    return [tuple(family) for family in found.values() if len(family) > 1]


def _look_of(x: Tensor) -> str:
    """What rows (n, k) of a family of columns look like."""
    if bool((x >= 0).all()) and bool(((x.sum(1) - 1).abs() < ROUNDING * x.shape[1]).all()):
        return "simplex"
    gaps = x.diff(dim=1)
    return "ordered" if bool((gaps > 0).all()) and bool((gaps.amin(0) < _CLOSE * gaps.median(0).values).all()) else ""
