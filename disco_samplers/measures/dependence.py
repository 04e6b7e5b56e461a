r"""Mutual information of normal scores: the normal part in closed form, the rest by estimates and against shuffled rows.

In many columns three estimates of different dimension err by more than there is to find. Normal laws of the same rows are a
control: their mutual information is known without bias, so that only what is left to find is left to the estimates; and these
are read once more with the rows of one side shuffled, where the truth is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.special import digamma

from disco_samplers.measures.quantity import Rows

MOST = 20
"""Columns that estimates read together: beyond, those pairs of directions that are most correlated."""

_FLAT, _CLOSE = 1e-9, 1e-12
"""Variance of normal scores below which a direction has none; least of 1 - rho^2."""


class Read(Protocol):
    """A normalised log-density, and the variance of the log of its integral."""

    @property
    def variance(self) -> float: ...

    def log_prob(self, rows: Tensor, /) -> Tensor: ...


class Dependence(NamedTuple):
    """What each row (n,) adds to the mutual information, and the variance of what is common to all."""

    rows: Tensor
    variance: float


def dependence(x: Rows, y: Rows, read: Callable[[Rows], Read], generator: torch.Generator) -> Dependence:
    r"""Mutual information of normal scores x (n, p) and y (n, q), row by row.

    .. math:: \hat I = \hat I_0 + \frac1n \sum_i \Big[r(x_i, y_i) - r(x_i, y_{\pi(i)})\Big], \qquad
        r = \log \frac{\hat f_{XY}}{\hat f_X \hat f_Y} - \log \frac{\hat g_{XY}}{\hat g_X \hat g_Y},

    with normal laws g of the rows' covariances, their mutual information :math:`I_0` without bias, and a permutation
    :math:`\pi`, for which the joint density is estimated anew. ``read`` gives the estimates of rows.

    Raises:
        ValueError: if one side does not vary, or the rows are worth fewer independent draws than there are columns.

    References:
        Goodman, *The distribution of the determinant of a complex Wishart distributed matrix*, 1963, for the real case's mean
        logarithm; Czyz, Grabowski, Vogt, Beerenwinkel, Marx, *Beyond normal: on the evaluation of mutual information
        estimators*, NeurIPS 2023, for what such estimators get wrong.
    """
    share = _share(x)
    worth = float(len(share)) if x.counts is None else float(x.counts.sum())
    normal = Normal.of(x.values, y.values, share)
    unbiased = normal.plug_in - normal.bias(worth)
    u, v = x.values, y.values
    if u.shape[1] + v.shape[1] > MOST:
        first = min(normal.x.shape[1], max(MOST // 2, MOST - normal.y.shape[1]))
        u, v = normal.x[:, :first], normal.y[:, : MOST - first]
    left, right = x._replace(values=u), y._replace(values=v)
    of_u, of_v = read(left), read(right)
    alone = of_u.log_prob(u), of_v.log_prob(v)

    def rest(order: Tensor) -> Dependence:
        w = v[order]
        joint = read(left._replace(values=torch.cat([u, w], 1)))
        rows = joint.log_prob(torch.cat([u, w], 1)) - alone[0] - alone[1][order]
        return Dependence(rows - Normal.of(u, w, share).pointwise(), joint.variance)

    here = torch.arange(len(u), device=u.device)
    found, null = rest(here), rest(_shuffled(share, x.counts is not None, generator))
    zero = (share * null.rows).sum()
    error = float((share * (null.rows - zero).square()).sum()) / worth
    rows = normal.pointwise() - normal.plug_in + unbiased + found.rows - zero
    return Dependence(rows, error + found.variance + null.variance)


class Normal(NamedTuple):
    """Two sides in canonical coordinates (n, p) and (n, q), and the correlations of their pairs."""

    x: Tensor
    y: Tensor
    correlations: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, share: Tensor) -> Normal:
        """Canonical coordinates of rows that count by their share."""
        a, b = _white(x, share, "x"), _white(y, share, "y")
        left, correlations, right = torch.linalg.svd(a.T @ (share[:, None] * b))
        return cls(a @ left, b @ right.mT, correlations)

    @property
    def plug_in(self) -> float:
        """Mutual information of normal laws of these correlations."""
        return float(-0.5 * (1 - self.correlations.square()).clamp_min(_CLOSE).log().sum())

    def pointwise(self) -> Tensor:
        """What each row adds to it, (n,)."""
        k = len(self.correlations)
        u, v, rho = self.x[:, :k], self.y[:, :k], self.correlations
        rest = (1 - rho.square()).clamp_min(_CLOSE)
        rows: Tensor = -(rest.log() + (rho.square() * (u.square() + v.square()) - 2 * rho * u * v) / rest).sum(1) / 2
        return rows

    def bias(self, worth: float) -> float:
        """By how much the mutual information of correlations of so many draws comes out high, for normal laws exactly."""
        p, q = self.x.shape[1], self.y.shape[1]
        if worth <= p + q + 1:
            raise ValueError(
                f"x and y have {p} and {q} columns that vary, the rows are worth {worth:.0f} independent draws: "
                f"more than {p + q + 1} are needed"
            )
        degrees = torch.arange(p + q, dtype=torch.float64)
        logarithms = digamma((worth - 1 - degrees) / 2)
        return float(logarithms[:p].sum() + logarithms[:q].sum() - logarithms.sum()) / 2


def _white(x: Tensor, share: Tensor, name: str) -> Tensor:
    centred = x - share @ x
    values, vectors = torch.linalg.eigh(centred.T @ (share[:, None] * centred))
    kept = values > _FLAT
    if not kept.any():
        raise ValueError(f"{name} does not vary: it tells nothing of anything")
    white: Tensor = centred @ (vectors[:, kept] / values[kept].sqrt())
    return white


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
