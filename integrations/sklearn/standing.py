"""Which rows of a table stand out so far that they should not say what is usual."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.estimators import quantile

_DEGREES = 3.0
"""Of the Student law that centre and covariance are fitted by."""

_ROUNDS = 30
_STEPS, _MORE = 2, 8
"""Times that the law is fitted anew without the rows that stood out, and at most where cells are missing: by few of them rows
come out later."""

_FAR, _LOW = 3.0, 2.5
"""Standard deviations beyond which a distance, or a score, stands out."""

_MOST = 0.3
"""Largest share of the rows."""

_FEWEST = 25
"""Fewer rows do not tell what stands out."""

_ROWS_A_COLUMN = 3
"""Fewer rows a column say nothing of distances."""

_PART = 1024
"""Rows that lack cells and are judged at a time."""

_USUAL = 0.01
"""Share of the rows that may stand out a little, less than twice as far as it takes: of a clean table as many do."""


def standing_out(z: Tensor, scores: Tensor, counts: Tensor | None = None, spiked: Tensor | None = None) -> Tensor:
    r"""Whether each row (n,) lies far from the bulk, or where hardly any row is.

    Of a clean table few rows do, of a contaminated one its anomalies: those that are alone by their scores, and those that make
    each other look usual, in a tight cluster of their own, by their distance

    .. math:: D^2 = (z - m)^\top \Sigma^{-1} (z - m)

    from the bulk, whose m and Sigma are those of a Student law of three degrees of freedom. They are fitted first to the half
    of the rows nearest to the columns' medians, then without the rows that stood out, as in the concentration steps of the fast
    MCD algorithm. Squared distances of a normal law are nearly
    normal in their cube root, and so are deficits of its log-density; its middle and its near side, which anomalies do not
    reach, say how far the far side may go: three standard deviations, and more where rows are few. Of a row that lacks cells it
    is the distance in those that it has, brought to the law of d of them.

    Arguments:
        z: rows, in coordinates without heavy tails, (n, d), NaN where a cell is missing.
        scores: log-densities by estimates that did not see the row, (n,).
        counts: what the rows are worth, (n,).
        spiked: which columns have so many rows at one place that the first half of the rows is not taken by them, (d,).

    References:
        Wilson, Hilferty, *The distribution of chi-square*, PNAS 1931; Maronna, *Robust M-estimators of multivariate location
        and scatter*, Ann. Stat. 1976; Rousseeuw, Van Driessen, *A fast algorithm for the minimum covariance determinant
        estimator*, Technometrics 1999.

    Example:
        >>> z = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
        >>> z[:10] = z[:10] / 20 + 6  # ten rows close together
        >>> out = standing_out(z, torch.zeros(200).double())
        >>> bool(out[:10].all()), int(out[10:].sum()) < 3
        (True, True)
    """
    weight = torch.ones_like(scores) if counts is None else counts.to(scores)
    if len(z) < _FEWEST:
        return weight < 0
    slack = 1 + 2 / math.sqrt(len(z))
    low = _deviations(scores.max() - scores, weight, torch.ones_like(weight, dtype=torch.bool)) / (_LOW * slack)
    found = torch.zeros_like(low)
    smooth = z if spiked is None else z[:, ~spiked]
    if len(z) >= _ROWS_A_COLUMN * z.shape[1]:
        if smooth.shape[1]:
            middle, scale = _middle(smooth, weight)
            own = ((smooth - middle) / scale).square().nanmean(1)
            own = torch.where(own.isnan(), torch.inf, own)
            found = _deviations(_distances(smooth, weight * (own <= own.median())), weight, weight > 0) / (_FAR * slack)
        before = None
        for _ in range((_MORE if z.isnan().any() else _STEPS) + 1):
            seen = ~_at_most(torch.maximum(low, found))
            if before is not None and bool((seen == before).all()):
                break
            before = seen
            found = _deviations(_distances(z, weight * seen), weight, seen) / (_FAR * slack)
    excess = torch.maximum(low, found)
    few = bool((excess > 1).sum() <= _USUAL * len(z)) and float(excess.max()) < 2
    return excess > torch.inf if few else _at_most(excess)


def _at_most(excess: Tensor) -> Tensor:
    """Rows (n,) whose excess is above one, but no more than the largest share of them."""
    most = max(1, int(_MOST * len(excess)))
    return (excess > 1) & (excess >= excess.sort(descending=True).values[most - 1])


def _deviations(squared: Tensor, weight: Tensor, seen: Tensor) -> Tensor:
    """By how many standard deviations of those seen cube roots (n,) lie beyond their median, by the near side."""
    root = squared.clamp_min(0).pow(1 / 3)
    near, middle = quantile(root[seen][:, None], weight[seen], root.new_tensor([0.1, 0.5]))[:, 0]
    spread = (middle - near) / 1.2816
    found: Tensor = (root - middle) / spread.clamp_min(1e-9 * middle.abs().clamp_min(1e-9))
    return found


def _distances(z: Tensor, weight: Tensor) -> Tensor:
    """Squared distances (n,) from the centre of rows (n, d) by what they are worth, in a Student law's covariance."""
    d = z.shape[1]
    seen = weight > 0
    middle, scale = _middle(z[seen], weight[seen])
    z, total = (z - middle) / scale, weight.sum()
    cells = (~z.isnan()).sum(1).to(z)
    centre, unit = torch.zeros_like(z[0]), torch.eye(d, dtype=z.dtype, device=z.device)
    covariance = unit
    for _ in range(_ROUNDS):
        whole, squared, lost = completed(z - centre, covariance, weight)
        own = weight * (_DEGREES + cells) / (_DEGREES + squared)
        shift = own @ whole / own.sum()
        centre = centre + shift
        # By the sum of these weights, which is that of the rows in the end: it takes a third of the rounds.
        new = ((own[:, None] * (whole - shift)).T @ (whole - shift) + lost) / own.sum()
        # Shrunk to its diagonal as by d further rows, and never singular.
        new = (total * new + d * new.diagonal().diag()) / (total + d) + 1e-6 * unit
        change, covariance = (new - covariance).abs().max(), new
        if change < 1e-3 * covariance.abs().max():
            break
    return _of_all(completed(z - centre, covariance, weight)[1], cells, d)


def completed(z: Tensor, covariance: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (n, d) with the mean of what they lack, squared distances (n,), and the sum (d, d) of its covariances."""
    lacks = z.isnan()
    if not lacks.any():
        unit = torch.eye(len(covariance), dtype=z.dtype, device=z.device)
        root = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), unit, upper=False)
        return z, (z @ root.T).square().sum(1), torch.zeros_like(covariance)
    parts, lost = [], torch.zeros_like(covariance)
    unit = torch.eye(len(covariance), dtype=z.dtype, device=z.device)
    for some, none, worth in zip(z.split(_PART), lacks.split(_PART), weight.split(_PART), strict=True):
        there, own = (~none).to(z), some.nan_to_num()
        # Of the cells that are missing a unit matrix: they have no part in the answers.
        block = covariance * there[:, :, None] * there[:, None, :] + unit * (1 - there)[:, :, None]
        lower = torch.linalg.cholesky(block)
        answer = torch.cholesky_solve(own[..., None], lower)[..., 0]
        told = torch.cholesky_solve(there[:, :, None] * covariance, lower)
        rest = (covariance - (covariance * there[:, None, :]) @ told) * (1 - there)[:, :, None] * (1 - there)[:, None, :]
        lost = lost + torch.einsum("n,nij->ij", worth, rest)
        parts.append((own + (answer @ covariance) * (1 - there), (own * answer).sum(1)))
    whole, squared = (torch.cat(part) for part in zip(*parts, strict=True))
    return whole, squared, lost


def _of_all(squared: Tensor, cells: Tensor, d: int) -> Tensor:
    """Squared distances (n,) in so many cells as they would be in d, by the cube root's normal law, up to a common factor."""
    if bool((cells == d).all()):
        return squared
    some, all_of = 2 / (9 * cells.clamp_min(1)), 2 / (9 * d)
    root = (squared / cells.clamp_min(1)).pow(1 / 3) / (1 - some)
    # A Student law's scale is not that of the squares: the middle row is where it should be.
    root = root / root[cells > 0].median().clamp_min(1e-12)
    normal = (root - 1) * (1 - some) / some.sqrt() * (cells > 0)
    return (1 - all_of + math.sqrt(all_of) * normal).clamp_min(0).pow(3)


def _middle(z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Medians (d,) of columns (n, d), and deviations by their quartiles or, where those are equal, by their squares."""
    shares = z.new_tensor([0.25, 0.5, 0.75])
    there = ~z.isnan()
    if bool(there.all()):
        quartiles = quantile(z, weight, shares)
    else:
        none = z.new_tensor([[-0.6745], [0.0], [0.6745]])  # of a column that none of these rows has: of a normal law
        columns = zip(z.T, there.T, strict=True)
        quartiles = torch.cat([quantile(x[own][:, None], weight[own], shares) if own.any() else none for x, own in columns], 1)
    worth, known = weight[:, None] * there, z.nan_to_num()
    total = worth.sum(0).clamp_min(1e-300)
    spread = ((worth * (known - (worth * known).sum(0) / total).square()).sum(0) / total).sqrt()
    scale = (quartiles[2] - quartiles[0]) / 1.349
    return quartiles[1], torch.where(scale > 0, scale, torch.where(spread > 0, spread, 1.0))
