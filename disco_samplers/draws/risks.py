"""Rows that can be read, but that make an estimate worse than it need be: said, with the row or column."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from disco_samplers.draws.worth import DrawsWarning

_FAR = 50.0
"""Robust standard deviations from the median at which a row is far."""

_GAP = 10.0
"""How many times as far as all other rows; what lies closer is the law's own tail."""

_FEW = 0.01
"""Most far rows, as a share."""

_MANY = 10
"""Rows from which on some can be said to be far from the others."""

_STEPS = 16.0
"""Least standard deviation of a column, in steps of its numbers' precision."""


class FarRowsWarning(DrawsWarning):
    """A few rows so far from all others that these are read as one point."""


class GranularColumnWarning(DrawsWarning):
    """A column that varies by little more than the precision of its numbers."""


def warn_of_risks(samples: Tensor, counts: Tensor | None, names: Sequence[str] | None) -> None:
    r"""Warns of rows (n, d) that an estimate would suffer from, each of them worth so many draws (n,).

    A row is far if it is more than 50 robust standard deviations :math:`\operatorname{med} |x - \operatorname{med} x| / 0.6745`
    from the median of a column, and ten times as far as all others but one in a hundred; of fewer than ten rows none is. A
    column is granular where its standard deviation is less than 16 steps between neighbouring numbers of its precision.

    Example:
        >>> x = torch.tensor([*range(-5, 6), 1e4])[:, None]
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_of_risks(x, None, None)
        >>> print(str(caught[0].message).partition(",")[0])
        samples: row 11 is 2.25e+03 robust standard deviations from column 0's median
    """
    rows = samples if counts is None else samples[counts > 0]
    x = rows.double()
    where = x.median(0).values
    distance = (x - where).abs()
    robust = distance.median(0).values / 0.6745
    deviation = (x - x[:1]).std(0)

    def name(k: int) -> str:
        return f"column {k}" if names is None else f"column {names[k]!r}"

    step = torch.finfo(rows.dtype).eps * x.abs().amax(0)
    granular = (deviation > 0) & (deviation < _STEPS * step)
    if granular.any():
        k = int(granular.nonzero()[0])
        warnings.warn(
            f"samples: {name(k)} has values of about {float(where[k]):.4g} and a standard deviation of "
            f"{float(deviation[k]):.2g}, {float(deviation[k] / step[k]):.0f} steps of {str(rows.dtype)[6:]}: it is read as the "
            "few values it has, or as constant; subtract an offset in a higher precision first",
            GranularColumnWarning,
            stacklevel=4,
        )
    if len(x) < _MANY:
        return
    most = distance.topk(min(max(1, int(_FEW * len(x))) + 1, len(x)), dim=0).values
    gap = (most[:-1] > _GAP * most[1:]) & (most[:-1] > _FAR * robust) & (robust > 0)
    least = torch.where(gap, most[:-1], torch.inf).amin(0)
    far = distance >= least
    many = int(far.any(1).sum())
    if many:
        ratio = torch.where(far, distance / robust.clamp_min(torch.finfo(x.dtype).tiny), 0.0)
        row, k = divmod(int(ratio.argmax()), x.shape[1])
        place = row if counts is None else int((counts > 0).nonzero()[row])
        others = f" (and {many - 1} more rows are far out)" if many > 1 else ""
        warnings.warn(
            f"samples: row {place} is {float(ratio[row, k]):.3g} robust standard deviations from {name(k)}'s median{others}, "
            "and makes the others look like one point: leave it out, or transform the column, if it is an error; "
            "estimate.adapt() reads heavy tails",
            FarRowsWarning,
            stacklevel=4,
        )
