"""Supports that columns look as if they had."""

from __future__ import annotations

from torch import Tensor

from disco_samplers.draws.draws import Draws
from disco_samplers.draws.supports import Support

_FEWEST = 50
"""Rows that show a law's ends."""

_SKEWED = 1.0
"""Skewness above which a positive column piles up at zero; an exponential law has 2, a normal one 0."""

_CLOSE = 0.05
"""How close to both ends of [0, 1] the values must come."""


_CROSSED = 0.005
"""Share of new draws beyond zero that are no accident."""


def suggest_supports(draws: Draws) -> dict[str, str]:
    """Supports that columns without one look as if they had: nothing is done with them.

    A column of at least 50 rows that comes within .05 of 0 and 1 and never leaves them is "unit"; one that is above zero
    throughout, skewed by more than 1, and has its smallest value below a fifth of its median, "positive".

    Example:
        >>> import torch
        >>> x = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
        >>> suggest_supports(Draws(torch.stack([x[:, 0], -x[:, 1].log(), x[:, 0] - 0.5], 1), names=["p", "tau", "x"]))
        {'p': 'unit', 'tau': 'positive'}
    """
    known = draws.support or [Support()] * draws.dim
    columns = zip(draws.names, known, draws.values.double().unbind(1), strict=True)
    looks = {name: _look(column) for name, support, column in columns if not support and len(column) >= _FEWEST}
    return {name: look for name, look in looks.items() if look}


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
    z = (x - x.mean()) / x.std()
    return "positive" if 0 < low < 0.2 * middle and float(z.pow(3).mean()) > _SKEWED else ""
