r"""Mutual information of normal scores: the normal part in closed form, the rest by estimates or by nearest neighbours.

In many columns three estimates of different dimension err by more than there is to find. Normal laws of the same rows are a
control: their mutual information is known without bias, so that only what is left to find is left to the estimates; and these
are read once more with the rows of one side shuffled, where the truth is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.special import digamma

from disco_samplers.draws import distinct_rows
from disco_samplers.measures.neighbours import neighbour_information
from disco_samplers.measures.quantity import Rows

MOST = 20
"""Columns that estimates read together: beyond, those pairs of directions that are most correlated."""

_CONTROLS = 4
"""Sets of draws of a normal law by which nearest neighbours are corrected."""

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

    .. math:: \hat I = \hat I_0 + w\, \hat R, \qquad w = \max(0, 1 - s^2 / \hat R^2)

    with the mutual information :math:`I_0` of normal laws g of the rows' covariances, without bias, and what is left,
    :math:`\hat R`, as far as it is larger than its standard error s: of a normal law, mostly nothing. It is found in two ways,
    each of which misses some, and the larger :math:`w \hat R` is taken. Estimates see the shape of the law, in many columns,
    too:

    .. math:: \hat R = \frac1n \sum_i \Big[r(x_i, y_i) - r(x_i, y_{\pi(i)})\Big], \qquad
        r = \log \frac{\hat f_{XY}}{\hat f_X \hat f_Y} - \log \frac{\hat g_{XY}}{\hat g_X \hat g_Y},

    with a permutation :math:`\pi`, for which the joint density is estimated anew; ``read`` gives the estimates of rows. Nearest
    neighbours see what is local, thin sheets and edges, of independent rows:

    .. math:: \hat R = (\hat I_K - \hat I_0) - \operatorname{mean} (\hat I_K - \hat I_0)(g)

    with their estimate :math:`I_K` (:func:`.neighbour_information`), less what it is off by for draws of g. How far both are
    from what is taken counts as an error.

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
    rests = [_estimated(x._replace(values=u), y._replace(values=v), read, share, worth, generator)]
    if x.counts is None and len(distinct_rows(torch.cat([u, v], 1))[0]) == len(u):
        rests.append(_neighbouring(Normal.of(u, v, share), share, generator))
    rows, left = normal.pointwise() - normal.plug_in + unbiased, [rest.mean(share) for rest in rests]
    weights = [rest.weight(share, worth) for rest in rests]
    best = max(range(len(rests)), key=lambda i: weights[i] * left[i])
    # How far the ways are from what is taken, of the mean square, counts as an error.
    gap = sum((own - weights[best] * left[best]) ** 2 for own in left) / len(left)
    variance = weights[best] ** 2 * rests[best].variance + gap
    return Dependence(rows + weights[best] * rests[best].rows, variance)


class _Rest(NamedTuple):
    """What each row (n,) adds to what is left beside the normal part, and the variance of what is common to all."""

    rows: Tensor
    variance: float

    def mean(self, share: Tensor) -> float:
        return float((share * self.rows).sum())

    def weight(self, share: Tensor, worth: float) -> float:
        """How much of it is left when it is taken as far as it is larger than its error."""
        mean = self.mean(share)
        square = float((share * (self.rows - mean).square()).sum()) / worth + self.variance
        return max(0.0, 1 - square / mean**2) if mean > 0 else 0.0


def _estimated(
    left: Rows, right: Rows, read: Callable[[Rows], Read], share: Tensor, worth: float, generator: torch.Generator
) -> _Rest:
    """By estimates of both sides and of their pairs, less what these find where the rows of one side are shuffled."""
    u, v = left.values, right.values
    of_u, of_v = read(left), read(right)
    alone = of_u.log_prob(u), of_v.log_prob(v)

    def rest(order: Tensor) -> _Rest:
        w = v[order]
        joint = read(left._replace(values=torch.cat([u, w], 1)))
        rows = joint.log_prob(torch.cat([u, w], 1)) - alone[0] - alone[1][order]
        return _Rest(rows - Normal.of(u, w, share).pointwise(), joint.variance)

    here = torch.arange(len(u), device=u.device)
    found, null = rest(here), rest(_shuffled(share, left.counts is not None, generator))
    zero = null.mean(share)
    error = float((share * (null.rows - zero).square()).sum()) / worth
    # Half of what was taken off counts as an error: the estimates are wrong by as much where the truth is known.
    return _Rest(found.rows - zero, error + float(zero / 2) ** 2 + found.variance + null.variance)


def _neighbouring(normal: Normal, share: Tensor, generator: torch.Generator) -> _Rest:
    """By nearest neighbours, less what these find too much for draws of a normal law of the same mutual information."""
    n, (p, q) = len(share), (normal.x.shape[1], normal.y.shape[1])
    k = len(normal.correlations)
    unbiased = normal.plug_in - normal.bias(n)
    correlations = normal.shrunk(unbiased)
    off = []
    for _ in range(_CONTROLS):
        u, v = (torch.randn(n, d, generator=generator, device=generator.device, dtype=share.dtype).to(share) for d in (p, q))
        v[:, :k] = correlations * u[:, :k] + (1 - correlations.square()).sqrt() * v[:, :k]
        law = Normal.of(u, v, share)
        off.append(float(neighbour_information(law.x, law.y).mean()) - law.plug_in + law.bias(n))
    mean, spread = float(np.mean(off)), float(np.var(off, ddof=1))
    rows = neighbour_information(normal.x, normal.y) - normal.pointwise() + normal.plug_in - unbiased - mean
    return _Rest(rows, spread / _CONTROLS)


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

    def shrunk(self, least: float) -> Tensor:
        """The correlations by one factor smaller, so that normal laws of them have a mutual information that is no larger."""
        low, high = 0.0, 1.0
        for _ in range(50):
            factor = (low + high) / 2
            above = float(-0.5 * (1 - (factor * self.correlations).square()).clamp_min(_CLOSE).log().sum()) > max(least, 0.0)
            low, high = (low, factor) if above else (factor, high)
        return low * self.correlations

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
        degrees = torch.arange(p + q, dtype=torch.float64, device="cpu")
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
