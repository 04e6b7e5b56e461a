r"""Mutual information of normal scores: that of a known law in closed form, the rest by estimates or by nearest neighbours.

In many columns three estimates of different dimension err by more than there is to find. Normal and Student-t laws of the
same rows are a control: their mutual information is known, so that only what is left to find is left to the estimates; and
these are read once more with the rows of one side shuffled, where the truth is zero.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from disco_samplers.draws import distinct_rows
from disco_samplers.measures.copulas import Copula, freedom_of
from disco_samplers.measures.neighbours import neighbour_information
from disco_samplers.measures.quantity import Rows
from disco_samplers.measures.screening import nested_columns

MOST = 20
"""Columns that estimates read together: beyond, those pairs of directions that are most correlated."""

_CONTROLS = 2048
"""Draws of a law by which nearest neighbours are corrected, in sets of as many as there are rows: one set at least."""

_SURE = 1.96
"""Standard errors by which an estimate of what is left may be off: the way that surely finds most is taken."""

_SAME = 1 - 1e-9
"""Correlation beyond which one column is a function of the other."""


class InfiniteInformationWarning(UserWarning):
    """One side determines columns of the other: what is found is as large as rounding allows, and means nothing."""


class Read(Protocol):
    """A normalised log-density, and the variance of the log of its integral."""

    @property
    def variance(self) -> float: ...

    def log_prob(self, rows: Tensor, /) -> Tensor: ...


class Dependence(NamedTuple):
    """What each row (n,) adds to the mutual information, and the variance of what is common to all."""

    rows: Tensor
    variance: float


def dependence(
    x: Rows,
    y: Rows,
    read: Callable[[Rows], Read],
    generator: torch.Generator,
    tied: tuple[Tensor, Tensor] | None = None,
) -> Dependence:
    r"""Mutual information of normal scores x (n, p) and y (n, q), row by row.

    .. math:: \hat I = \hat I_0 + w\, \hat R, \qquad w = \max(0, 1 - s^2 / \hat R^2)

    with the mutual information :math:`I_0` of a law g of the rows' correlations, without bias, normal or Student-t
    (:class:`.Copula`), and what is left, :math:`\hat R`, as far as it is larger than its standard error s: of such a law,
    mostly nothing. It is found in two ways, each of which misses some, and the one whose interval of 95 % begins highest is
    taken. Estimates see the shape of the law, in many columns, too:

    .. math:: \hat R = \frac1n \sum_i \Big[r(x_i, y_i) - r(x_i, y_{\pi(i)})\Big], \qquad
        r = \log \frac{\hat f_{XY}}{\hat f_X \hat f_Y} - \log \frac{\hat g_{XY}}{\hat g_X \hat g_Y},

    with a permutation :math:`\pi`, for which the joint density is estimated anew; ``read`` gives the estimates of rows. Nearest
    neighbours see what is local, thin sheets and edges, of independent rows:

    .. math:: \hat R = (\hat I_K - \hat I_0) - \operatorname{mean} (\hat I_K - \hat I_0)(g)

    with their estimate :math:`I_K` (:func:`.neighbour_information`), less what it is off by for draws of g; of all columns, and
    of fewer that depend most (:func:`.nested_columns`), beside which the others only blur. Codes and atoms among other columns
    are neighbours where they are the same: ``tied`` are both sides' scores with ties unbroken, of independent rows, which may
    have weights; they are read without a control.
    How far the ways, of all columns, are from what is taken counts as an error.

    Raises:
        ValueError: if one side does not vary, or the rows are worth fewer independent draws than there are columns.

    References:
        Goodman, *The distribution of the determinant of a complex Wishart distributed matrix*, 1963, for the real case's mean
        logarithm; Czyz, Grabowski, Vogt, Beerenwinkel, Marx, *Beyond normal: on the evaluation of mutual information
        estimators*, NeurIPS 2023, for what such estimators get wrong.
    """
    share = _share(x)
    worth = float(len(share)) if x.counts is None else float(x.counts.sum())
    freedom = freedom_of(x.values, y.values, share, generator)
    law, normal = (Copula.of(x.values, y.values, share, each) for each in (freedom, math.inf))
    unbiased = law.plug_in - law.bias(worth)
    # With no more rows than columns the largest correlation is one, whatever the law.
    if worth > x.values.shape[1] + y.values.shape[1] + 1 and float(normal.correlations[0]) > _SAME:
        warnings.warn(
            "columns of one side determine columns of the other but for rounding: their mutual information is infinite",
            InfiniteInformationWarning,
            stacklevel=5,
        )
    u, v = x.values, y.values
    if u.shape[1] + v.shape[1] > MOST:
        first = min(normal.x.shape[1], max(MOST // 2, MOST - normal.y.shape[1]))
        u, v = normal.x[:, :first], normal.y[:, : MOST - first]
    rests = [_estimated(x._replace(values=u), y._replace(values=v), read, share, worth, freedom, generator)]
    if x.counts is None and len(distinct_rows(torch.cat([u, v], 1))[0]) == len(u):
        for of_u, of_v in nested_columns(u, v):
            pairs = u.shape[1] * v.shape[1] if len(of_u) + len(of_v) < u.shape[1] + v.shape[1] else 1
            rests.append(_neighbouring(u[:, of_u], v[:, of_v], share, freedom, generator)._replace(tried=pairs))
    pointwise = law.pointwise()
    if tied is not None:
        of_neighbours = neighbour_information(*tied, share=None if x.counts is None else share)
        rests.append(_Rest(of_neighbours - pointwise + share @ pointwise - unbiased, 0.0))
    rows, left = pointwise - share @ pointwise + unbiased, [rest.mean(share) for rest in rests]
    errors = [rest.error(share, worth) for rest in rests]
    best = max(range(len(rests)), key=lambda i: left[i] - _SURE * errors[i])
    # The largest of m normal errors is about sqrt(2 log m) of them.
    error = errors[best] * math.sqrt(1 + 2 * math.log(rests[best].tried))
    weight = max(0.0, 1 - (error / left[best]) ** 2) if left[best] > 0 else 0.0
    # How far the ways are from what is taken, of the mean square, counts as an error.
    whole = [own for own, rest in zip(left, rests, strict=True) if rest.tried == 1]
    gap = sum((own - weight * left[best]) ** 2 for own in whole) / len(whole)
    variance = weight**2 * rests[best].variance + gap
    return Dependence(rows + weight * rests[best].rows, variance)


class _Rest(NamedTuple):
    """What each row (n,) adds to what is left beside the normal part, and the variance of what is common to all."""

    rows: Tensor
    variance: float
    tried: int = 1

    def mean(self, share: Tensor) -> float:
        return float((share * self.rows).sum())

    def error(self, share: Tensor, worth: float) -> float:
        """Standard error of the mean."""
        return math.sqrt(float((share * (self.rows - self.mean(share)).square()).sum()) / worth + self.variance)


def _estimated(
    left: Rows,
    right: Rows,
    read: Callable[[Rows], Read],
    share: Tensor,
    worth: float,
    freedom: float,
    generator: torch.Generator,
) -> _Rest:
    """By estimates of both sides and of their pairs, less what these find where the rows of one side are shuffled."""
    u, v = left.values, right.values
    of_u, of_v = read(left), read(right)
    alone = of_u.log_prob(u), of_v.log_prob(v)

    def rest(order: Tensor, freedom: float) -> _Rest:
        w = v[order]
        joint = read(left._replace(values=torch.cat([u, w], 1)))
        rows = joint.log_prob(torch.cat([u, w], 1)) - alone[0] - alone[1][order]
        return _Rest(rows - Copula.of(u, w, share, freedom).pointwise(), joint.variance)

    here = torch.arange(len(u), device=u.device)
    found, null = rest(here, freedom), rest(_shuffled(share, left.counts is not None, generator), math.inf)
    zero = null.mean(share)
    error = float((share * (null.rows - zero).square()).sum()) / worth
    # Half of what was taken off counts as an error: the estimates are wrong by as much where the truth is known.
    return _Rest(found.rows - zero, error + float(zero / 2) ** 2 + found.variance + null.variance)


def _neighbouring(u: Tensor, v: Tensor, share: Tensor, freedom: float, generator: torch.Generator) -> _Rest:
    """By nearest neighbours, less what these find too much for draws of a law of the same mutual information."""
    n, law = len(share), Copula.of(u, v, share, freedom)

    def beyond(u: Tensor, v: Tensor) -> Tensor:
        normal, law = Copula.of(u, v, share), Copula.of(u, v, share, freedom)
        own = law.pointwise()
        return neighbour_information(normal.x, normal.y) - own + own.mean() - law.plug_in + law.bias(n)

    off = [beyond(*law.draw(law.plug_in - law.bias(n), n, generator)) for _ in range(max(1, _CONTROLS // n))]
    rows = torch.cat(off)
    return _Rest(beyond(u, v) - rows.mean(), float(rows.var()) / len(rows))


def _share(rows: Rows) -> Tensor:
    n = len(rows.values)
    return rows.values.new_full((n,), 1 / n) if rows.counts is None else (rows.counts / rows.counts.sum()).to(rows.values)


def _shuffled(share: Tensor, weighted: bool, generator: torch.Generator) -> Tensor:
    """Numbers of rows, in an order that knows nothing of the rows': by their share where this differs."""
    if weighted:
        order = torch.multinomial(share.to(generator.device), len(share), replacement=True, generator=generator)
    else:
        order = torch.randperm(len(share), generator=generator, device=generator.device)
    return order.to(share.device)
