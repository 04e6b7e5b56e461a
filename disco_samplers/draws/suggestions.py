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

_TURNS = {"circular": TURN, "circular:360": 360.0}

_CROSSED = 0.005
"""Share of new draws beyond an end that are no accident."""


class SuggestedSupportWarning(DrawsWarning):
    """Columns look as if they ended, or were angles."""


def suggest_supports(draws: Draws) -> dict[Any, str]:
    """Supports that columns without one look as if they had: nothing is done with them.

    A column of at least 50 rows that comes within .05 of 0 and 1 and never leaves them is "unit"; one that is above zero
    throughout, skewed by more than 1, and has its smallest value below a fifth of its median, "positive". One that fills a
    turn, from 0 to 2 pi or 360 or from half a turn below zero, and has as many rows at its end as at its start, is circular.
    Columns theta[0], theta[1], ..., or all that lie between 0 and 1, that sum to one in each row are a "simplex"; the former,
    if they never fall from one to the next, and come close to it, "ordered": of these the key is a tuple. Names alone are no
    evidence.

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
    shares = tuple(name for name, column in free.items() if bool(((column >= 0) & (column <= 1)).all()))
    if not groups and len(shares) > 1 and _sums_to_one(torch.stack([free[n] for n in shares], 1)):
        groups[shares] = "simplex"
    grouped = {name for names in groups for name in names}
    looks = {name: _look(column) for name, column in free.items() if name not in grouped}
    return {name: look for name, look in looks.items() if look} | groups


def warn_of_supports(draws: Draws, *, stacklevel: int = 4) -> None:
    """Warns of the supports that columns look as if they had, in the words to write for them."""
    if looks := suggest_supports(draws):
        told = f"columns look as if they ended, and are read as if they did not: if so, write support={looks}"
        warnings.warn(told, SuggestedSupportWarning, stacklevel=stacklevel)


def suggest_after(draws: Draws, new: Tensor) -> dict[str, tuple[int, str]]:
    """Supports that new draws (m, d) of an estimate suggest: they cross an end that none of its own draws does.

    By column how many have crossed, and the support that would hold them: "positive", or "negative" for (None, 0); "unit" where
    its own draws lie between zero and one and come close to one, or new ones cross that; "circular", or "circular:360", where
    its own draws come close to both ends of a turn and new ones cross both. Columns with a support, and those in which fewer
    than one in two hundred have crossed, are left out, and so are groups, of which :func:`suggest_supports` tells.

    Example:
        >>> import torch
        >>> x = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
        >>> own = Draws(2 * x, names=["tau", "p"])
        >>> suggest_after(own, torch.stack([2 * x[:, 0] - 0.1, 2 * x[:, 1]], 1))
        {'tau': (11, 'positive')}
    """
    known, found = draws.support or [Support()] * draws.dim, {}
    grouped = {name for names in suggest_supports(draws) if isinstance(names, tuple) for name in names}
    for name, support, old, column in zip(draws.names, known, draws.values.unbind(1), new.unbind(1), strict=True):
        if not support and name not in grouped and (crossed := _crossed(old, column)):
            found[name] = crossed
    return found


def _crossed(old: Tensor, new: Tensor) -> tuple[int, str] | None:
    """How many new values (m,) lie beyond an end of those that there were (n,), and the support that ends there."""
    least, most, few = float(old.min()), float(old.max()), _CROSSED * len(new)
    for word, turn in _TURNS.items():
        for start in (0.0, -turn / 2):
            close = 0 <= (least - start) / turn < _CLOSE and 1 - _CLOSE < (most - start) / turn <= 1
            below, above = int((new < start).sum()), int((new > start + turn).sum())
            if close and min(below, above) >= few / 2 and below + above >= few:
                return below + above, word
    below, above, beyond = int((new < 0).sum()), int((new > 0).sum()), int((new > 1).sum())
    if least > 0 and most < 1 and below + beyond >= few and (beyond >= few or most > 1 - _CLOSE):
        return below + beyond, "unit"
    if least > 0 and below >= few:
        return below, "positive"
    return (above, "negative") if most < 0 and above >= few else None


def _look(x: Tensor) -> str:
    low, high, middle = float(x.min()), float(x.max()), float(x.median())
    if 0 <= low < _CLOSE and 1 - _CLOSE < high <= 1 and len(x.unique()) > 0.5 * len(x):
        return "unit"
    for word, turn in _TURNS.items():
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
    if bool((x >= 0).all()) and _sums_to_one(x):
        return "simplex"
    gaps = x.diff(dim=1)
    return "ordered" if bool((gaps > 0).all()) and bool((gaps.amin(0) < _CLOSE * gaps.median(0).values).all()) else ""


def _sums_to_one(x: Tensor) -> bool:
    """Whether rows (n, k) do, but for rounding."""
    return bool(((x.sum(1) - 1).abs() < ROUNDING * x.shape[1]).all())
