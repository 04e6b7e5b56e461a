"""Regions that are copies of one another but for an exchange of columns, as label switching makes them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from disco_samplers.posteriors.edgeworth import Edgeworth
from disco_samplers.reference import Gaussian

_PROPOSALS = 4096
_NEAR = 0.5
"""Standard deviations by which the centres of copies may differ, root mean square over columns."""

_CLEAR = 6.0
"""Standard errors by which covariances must differ for regions not to be copies; of skewed draws these are rough."""

_SAME, _ROUGHLY = 0.15, 2.0
"""Standard deviations between centres that chance does not bring about, and the squares of the whitened covariances' entries
less one which may then add up to so much."""


class Copies:
    r"""A density at several places, its columns exchanged at each.

    .. math:: f_j(\theta) = \frac{1}{Z} f_0\big((\theta - \mu_j)_{\pi_j}\big)

    Arguments:
        base: f_0, around zero.
        centres: mu, (j, d).
        orders: pi, (j, d): which columns the columns of ``base`` are.
    """

    def __init__(self, base: Edgeworth, centres: Tensor, orders: Tensor) -> None:
        self.base, self.centres, self.orders = base, centres, orders
        self.back = orders.argsort(1)
        self.log_z = log_normaliser(base)

    @property
    def gaussians(self) -> tuple[Tensor, Tensor]:
        """Means (j, d) and covariances (j, d, d)."""
        own = self.base.gaussian
        return self.centres + own.means[0][self.back], own.covariances[0][self.back[:, :, None], self.back[:, None]]

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-densities (j, m) and scores (j, m, d) at points (m, d)."""
        moved = (points - self.centres[:, None]).gather(2, self.orders[:, None].expand(-1, len(points), -1))
        value, score = (part.unflatten(0, moved.shape[:2]) for part in self.base.log_prob_and_score(moved.flatten(0, 1)))
        return value - self.log_z, score.gather(2, self.back[:, None].expand_as(moved))


def log_normaliser(base: Edgeworth) -> float:
    """Log of the integral of a density close to its Gaussian."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(_PROPOSALS, len(base.mean), generator=generator, dtype=torch.float64, device=generator.device)
    y = torch.cat([z, -z]).to(base.mean) @ base.root.T + base.mean
    log_ratio: Tensor = base.log_prob(y) - base.gaussian.evaluate(y)
    return float(log_ratio.logsumexp(0)) - math.log(len(y))


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
