"""Columns whose values tie, as codes, counts and rounded numbers do: no density has such draws."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.special import ndtri

from disco_samplers.draws import distinct_rows
from disco_samplers.estimators import midranks

CODES = 10
"""Most values of a column that are codes wherever they lie: more say something only if they are on a grid."""

_COUNTED = 5
"""Draws for each pair of codes from which on pairs are counted."""

_TIED, _ON_GRID = 2, 1e-3
"""Rows for each value from which on these tie; how far from its place on the grid one may be, in steps."""

_END = 1e-15
"""Rank, from 0 to 1, that none is nearer to an end."""

_ATOM = 10, 0.05, 10.0
"""An atom's rows: how many at least, the least share of all, and how many times those of a value that is none, on average."""


def steps_of(values: Tensor) -> Tensor:
    """The step (d,) in which each column of (n, d) was recorded where its values tie, 0 where they do not.

    They tie if there are two rows or more for each, and they lie on a grid, as those of a chain that stood still do not; or if
    they are ten at most, and there are ten rows for each.

    Example:
        >>> x = torch.rand(100, 2, generator=torch.Generator().manual_seed(0))
        >>> steps_of(torch.stack([x[:, 0], (8 * x[:, 1]).floor() / 2], 1))
        tensor([0.0000, 0.5000])
    """
    found = values.new_zeros(values.shape[1])
    for k, column in enumerate(values.unbind(1)):
        known = column.unique()
        gaps = known.diff()
        gaps = gaps[gaps > 1e-9 * known.abs().max()]
        if not len(gaps) or len(known) * _TIED > len(column):
            continue
        place = (known - known[0]) / gaps.min()
        if (place - place.round()).abs().max() < _ON_GRID or len(known) <= min(CODES, len(column) // CODES):
            found[k] = gaps.min()
    return found


def spread(values: Tensor, steps: Tensor, seed: int) -> Tensor:
    """Values (n, d) with a uniform draw in each one's cell, plus or minus half a step; of copies of a row the same.

    References:
        Theis, van den Oord, Bethge, *A note on the evaluation of generative models*, ICLR 2016, section 3.1.

    Example:
        >>> x = torch.tensor([[0.0], [0.0], [1.0]])
        >>> spread(x, torch.ones(1), 0).round().abs().flatten()
        tensor([0., 0., 1.])
    """
    tied = steps > 0
    if not tied.any():
        return values
    generator = torch.Generator().manual_seed(seed)
    cell = torch.rand(values.shape, generator=generator, device=generator.device, dtype=values.dtype).to(values.device) - 0.5
    if not tied.all():
        cell = cell[distinct_rows(values[:, ~tied])[1]]
    return values + steps * cell


def normal_scores(values: Tensor, seed: int, weights: Tensor | None = None, *, copies: bool = False) -> Tensor:
    """Each column of (n, d) by its ranks as a standard normal one, ties in random order: mutual information stays what it is.

    Ties are codes, and atoms: values that many rows share, and hardly any other. With ``copies`` equal rows stay so.

    Example:
        >>> x = (torch.arange(1000.0) % 3)[:, None]
        >>> normal_scores(x, 0).std().round(decimals=2)
        tensor(1.)
    """
    share = values.new_full((len(values),), 1 / len(values)) if weights is None else weights.to(values)
    whole = distinct_rows(values)[1] if copies else None
    values = spread(values, steps_of(values), seed)
    tied = torch.stack([_in_atoms(column) for column in values.unbind(1)], 1)
    if tied.any():
        generator = torch.Generator().manual_seed(seed)
        place = torch.rand(values.shape, generator=generator, device=generator.device, dtype=values.dtype).to(values.device)
        if whole is None and not (has := tied.any(0)).all():
            whole = distinct_rows(values[:, ~has])[1]
        own = torch.stack([column.unique(return_inverse=True)[1] for column in values.unbind(1)], 1)
        values = own + torch.where(tied, place if whole is None else place[whole], 0.0)
    return _scores(values, share)


def tied_scores(values: Tensor, weights: Tensor | None = None) -> Tensor | None:
    """The normal scores of (n, d) with ties unbroken, where codes or atoms are among other columns; else None.

    Example:
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> tied_scores(x) is None, tied_scores(x.clamp_min(0))[:, 0].unique().numel() == 1 + int((x[:, 0] > 0).sum())
        (True, True)
    """
    codes = steps_of(values) > 0
    if codes.all() or not (codes.any() or any(_in_atoms(column).any() for column in values.unbind(1))):
        return None
    return _scores(values, values.new_full((len(values),), 1 / len(values)) if weights is None else weights.to(values))


def _scores(values: Tensor, share: Tensor) -> Tensor:
    """Each column of (n, d) by its midranks as a standard normal one, of rows that count by their share (n,)."""
    ranks = (1 + torch.stack([midranks(column, share) for column in values.unbind(1)], 1)) / 2
    # Of a row of next to no share the rank is that of the end itself.
    scores: Tensor = ndtri(ranks.clamp(_END, 1 - _END))
    return scores


def _in_atoms(column: Tensor) -> Tensor:
    """Which of the values (n,) are atoms; none where they have no others."""
    own, rows = column.unique(return_inverse=True, return_counts=True)[1:]
    least, part, times = _ATOM
    shared = (rows >= least) & (rows >= part * len(column))
    found: Tensor = (shared & (rows >= times * rows[~shared].double().mean()))[own]
    return found


def entropy_of_codes(values: Tensor, share: Tensor) -> float:
    """Discrete entropy of rows (n, d), in nats, if all their columns are codes; infinite if not.

    Example:
        >>> x = (torch.arange(400.0) % 2)[:, None]
        >>> round(entropy_of_codes(x, torch.full((400,), 1 / 400)), 4)
        0.6931
    """
    if not (steps_of(values) > 0).all() or any(len(column.unique()) > CODES for column in values.unbind(1)):
        return math.inf
    own = values.unique(dim=0, return_inverse=True)[1]
    found = share.new_zeros(int(own.max()) + 1).index_add_(0, own, share)
    return float(torch.special.entr(found).sum())


def counted_information(x: Tensor, y: Tensor, share: Tensor, worth: float) -> tuple[Tensor, float] | None:
    r"""What each row of codes (n, k) and (n, m) adds to their mutual information, and the variance of what is common to all.

    .. math:: \log \frac{p(x_i, y_i)}{p(x_i)\, p(y_i)} - \frac{f}{2N}, \qquad f = K_{XY} - K_X - K_Y + 1

    with the shares p of rows, the numbers K of values that occur, and N independent draws. Where x and y are independent the
    mean is 0 and its error that of chi-square with f degrees of freedom over 2N; the variance given is this and the square of
    what was taken off, which is too much where they depend on one another. None where there are fewer than five draws a pair.

    References:
        Miller, *Note on the bias of information estimates*, 1955.

    Example:
        >>> x = (torch.arange(400.0) % 2)[:, None]
        >>> rows, _ = counted_information(x, x, torch.full((400,), 1 / 400), 400.0)
        >>> rows.mean()  # log 2
        tensor(0.6931)
    """
    of_x, of_y = (part.unique(dim=0, return_inverse=True)[1] for part in (x, y))
    pair = torch.stack([of_x, of_y], 1).unique(dim=0, return_inverse=True)[1]
    share_of = [share.new_zeros(int(own.max()) + 1).index_add_(0, own, share) for own in (pair, of_x, of_y)]
    cells, kinds_x, kinds_y = (int((found > 0).sum()) for found in share_of)
    if cells * _COUNTED > worth:
        return None
    joint, alone_x, alone_y = (found[own] for found, own in zip(share_of, (pair, of_x, of_y), strict=True))
    freedom = max(0, cells - kinds_x - kinds_y + 1)
    rows = torch.where(joint > 0, (joint / (alone_x * alone_y)).log(), 0.0) - freedom / (2 * worth)
    return rows, (freedom / 2 + freedom**2 / 4) / worth**2


def check_no_codes(values: Tensor, name: str) -> None:
    """Raises ValueError if a column of (n, d) holds codes: no more than ten values."""
    for k, step in enumerate(steps_of(values).tolist()):
        if step and len(known := values[:, k].unique()) <= CODES:
            raise ValueError(
                f"{name}: column {k} holds codes, {len(known)} values in {len(values)} rows: their density has no gradient; "
                "leave it out"
            )
