"""Regions that are copies of one another but for an exchange of columns, as label switching makes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disco_samplers.posteriors.edgeworth import Edgeworth
from disco_samplers.reference import Gaussian

_NEAR = 0.5
"""Standard deviations by which the centres of copies may differ, root mean square over columns."""

_CLEAR = 6.0
"""Standard errors by which covariances must differ for regions not to be copies; of skewed draws these are rough."""

_SAME, _ROUGHLY = 0.15, 2.0
"""Standard deviations between centres that chance does not bring about, and the squares of the whitened covariances' entries
less one which may then add up to so much."""


class Exchanged:
    r"""A density with its columns exchanged, at another place.

    .. math:: f(\theta) = f_0\big((\theta - \mu)_\pi\big)

    Arguments:
        base: f_0, around zero.
        centre: mu, (d,).
        order: pi, (d,): which columns the columns of ``base`` are.
    """

    def __init__(self, base: Edgeworth, centre: Tensor, order: Tensor) -> None:
        self.base, self.centre, self.order = base, centre, order
        self.back = order.argsort()
        own = base.gaussian
        covariance = own.covariances[0][self.back][:, self.back]
        self.gaussian = Gaussian(centre + own.means[0][self.back], covariance)

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, d) at points (m, d)."""
        value, score = self.base.log_prob_and_score((points - self.centre)[:, self.order])
        return value, score[:, self.back]

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density (m,) at points (m, d)."""
        return self.log_prob_and_score(points)[0]


def groups(gaussians: list[Gaussian], sizes: list[float]) -> list[list[tuple[int, Tensor]]]:
    """Regions in groups of copies: the number of each and the order of columns in which it looks like the first of its group.

    Centres may differ by half a standard deviation, for a weak prior may tell the labels apart; covariances by no more than
    draws of these numbers let them, or, where the centres hardly differ, by a little more: a lobe between two modes may have
    been dealt to one of them.

    Example:
        >>> eye = torch.diag(torch.tensor([1.0, 4.0]).double())
        >>> one, other = (Gaussian(torch.tensor(m).double(), c) for m, c in (([0.0, 9.0], eye), ([9.0, 0.0], eye.flip(0, 1))))
        >>> [[(j, order.tolist()) for j, order in group] for group in groups([one, other], [500.0, 500.0])]
        [[(0, [0, 1]), (1, [1, 0])]]
    """
    found: list[list[tuple[int, Tensor]]] = []
    for j, own in enumerate(gaussians):
        for group in found:
            order = _order(gaussians[group[0][0]], own, sizes[group[0][0]], sizes[j])
            if order is not None:
                group.append((j, order))
                break
        else:
            found.append([(j, torch.arange(own.dim, device=own.device))])
    return found


def shrunk(shifts: Tensor, sizes: Tensor) -> Tensor:
    r"""Centres (j, d) of copies, in units of the standard deviations, as far as they differ by more than by chance.

    .. math:: \bar\delta + (1 - (J - 1)\, d / S)_+ \,(\delta_j - \bar\delta), \qquad S = \sum_j n_j |\delta_j - \bar\delta|^2

    References:
        James, Stein, *Estimation with quadratic loss*, 1961; Efron, Morris, *Data analysis using Stein's estimator*, JASA 1975,
        the form around a mean.
    """
    middle = (sizes[:, None] * shifts).sum(0) / sizes.sum()
    scatter = (sizes[:, None] * (shifts - middle).square()).sum().clamp_min(1e-300)
    keep = (1 - (len(shifts) - 1) * shifts.shape[1] / scatter).clamp_min(0.0)
    return middle + keep * (shifts - middle)


def _order(first: Gaussian, other: Gaussian, n_first: float, n_other: float) -> Any:
    """The order of the columns of ``other`` in which it is like ``first``; None where there is none."""
    (m, c), (n, e) = ((g.means[0], g.covariances[0]) for g in (first, other))
    scale = c.diagonal().sqrt()
    mean_cost = ((n[None, :] - m[:, None]) / scale[:, None]).square()
    # Columns that are in the same place are told apart by their spread.
    log_scale = 0.5 * (e.diagonal().log()[None, :] - c.diagonal().log()[:, None])
    order = _matched(mean_cost + log_scale.square())
    apart = float(((n[order] - m) / scale).square().mean().sqrt())
    if apart > _NEAR:
        return None
    lower = torch.linalg.cholesky(c)
    inner = torch.linalg.solve_triangular(lower, e[order][:, order], upper=False)
    ratio = torch.linalg.solve_triangular(lower, inner.T, upper=False) - torch.eye(len(m), dtype=m.dtype, device=m.device)
    # Of whitened covariances an entry has a variance of 1/n, one of the diagonal of 2/n.
    statistic = 0.5 * float(ratio.square().sum()) / (1 / n_first + 1 / n_other)
    freedom = len(m) * (len(m) + 1) / 2
    alike = statistic < freedom + _CLEAR * (2 * freedom) ** 0.5
    return order if alike or (apart < _SAME and float(ratio.square().sum()) < _ROUGHLY) else None


def _matched(cost: Tensor) -> Tensor:
    """For each row of (d, d) a column of its own, the cheapest pairs first: of copies the right ones cost next to nothing."""
    left, order = cost.clone(), torch.zeros(len(cost), dtype=torch.long, device=cost.device)
    for _ in range(len(cost)):
        row, column = divmod(int(left.argmin()), len(cost))
        order[row] = column
        left[row], left[:, column] = torch.inf, torch.inf
    return order
