"""The law by which missing cells are filled in given a row's others."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import ComposeTransform, Transform

from disco_samplers.draws import Circle, Support
from disco_samplers.estimators import AtomTransform, FreeCoordinates, JohnsonTransform, SupportTransform, sparsest

_ROUNDS = 50
_ROWS = 4096
"""Rows that the law is fitted to, a random part of more."""

_TILE = 2**22
"""Numbers held at a time."""

_FLOOR = 1e-6
"""Least variance of a column in its own scale: one may be constant."""

_INSIDE = 1e-12
"""Cells are drawn no closer to an edge than this share of the column's scale."""


class Filling:
    r"""The law q of a row's missing cells given its others: normal in coordinates z of the columns.

    Mean and covariance are by EM of all rows, with the correlations shrunk as by d further rows without any.

    Arguments:
        rows: (n, d), NaN where a cell is missing.
        counts: (n,), weights of the rows, in any unit; equal ones if not given.
        seed: of the choice of rows, where there are many.
        columns: makes the coordinates, of rows and what these are worth.
    """

    def __init__(self, rows: Tensor, counts: Tensor | None, seed: int, columns: Callable[[Tensor, Tensor | None], Any]) -> None:
        # Weights sum to Kish's effective size, whatever they are in.
        worth = rows.new_ones(len(rows)) if counts is None else counts * (counts.sum() / counts.square().sum())
        if len(rows) > _ROWS:
            some = _some(rows, seed)
            rows, worth = rows[some], worth[some]
        self.columns = columns(rows, None if counts is None else worth)
        z = self.columns(rows)
        weight = worth[:, None] * ~z.isnan()
        # A coordinate may never be seen, where columns are never seen together.
        total = weight.sum(0).clamp_min(torch.finfo(weight.dtype).tiny)
        self._centre = (weight * z.nan_to_num()).sum(0) / total
        spread = ((weight * (z - self._centre).nan_to_num().square()).sum(0) / total).sqrt()
        self._scale = torch.where(spread > 0, spread, 1.0)
        self._mean, self._covariance = _fitted((z - self._centre) / self._scale, worth)

    def draws(self, rows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (m, d) filled in k times, (m, k, d), and log-densities (m, k) of that; noise is normal, (k, d) or (m, k, d)."""
        z = (self.columns(rows) - self._centre) / self._scale - self._mean
        seen = ~z.isnan()
        noise = noise[..., : z.shape[1]].expand(len(rows), -1, -1)
        filled, log_q = torch.empty_like(noise), noise.new_empty(noise.shape[:2])
        for here, kind, gain, rest in _patterns(seen, self._covariance):
            lacks = ~seen[here]
            free = torch.where(lacks[:, :, None] & lacks[:, None], rest[kind], 0.0) + torch.diag_embed(seen[here].to(z))
            root = torch.linalg.cholesky(free)
            mean = self._mean + (gain[kind] @ z[here].nan_to_num()[..., None])[..., 0]
            eps = noise[here] * lacks[:, None]
            filled[here] = mean[:, None] + eps @ root.mT
            log_normal = -0.5 * (eps.square() + math.log(2 * math.pi) * lacks[:, None]).sum(-1)
            log_q[here] = log_normal - root.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
        x = self.columns.inverse(self._centre + self._scale * filled, rows)
        slope = self.columns.log_slopes(x) - self._scale.log()
        return x, log_q + (slope * ~seen[:, None]).sum(-1)


class Real:
    """Columns that end nowhere, by their own coordinates: Johnson's, each fitted to the cells that there are.

    Arguments:
        atoms: what opens the columns' atoms, if there are some.
        rows: (n, d).
        worth: of the rows, (n,), or equal.
    """

    def __init__(self, atoms: AtomTransform | None, rows: Tensor, worth: Tensor | None) -> None:
        self._transform: Transform = _johnson(rows if atoms is None else atoms(rows), worth)
        if atoms is not None:
            self._transform = ComposeTransform([atoms, self._transform])

    def __call__(self, rows: Tensor) -> Tensor:
        """Coordinates (..., d), NaN where a cell is missing."""
        z: Tensor = self._transform(rows)
        return z

    def inverse(self, z: Tensor, rows: Tensor) -> Tensor:
        """Rows (m, d) with their missing cells by coordinates (m, k, d)."""
        return torch.where(rows.isnan()[:, None], self._transform.inv(z), rows[:, None])

    def log_slopes(self, rows: Tensor) -> Tensor:
        """Logs of the coordinates' derivatives, (..., d)."""
        slopes: Tensor = self._transform.log_abs_det_jacobian(rows, rows)
        return slopes

    def gradient(self, x: Tensor, score: Tensor) -> Tensor:
        """What a score (..., d) at filled rows is to the cells that there are, where the missing ones go with them."""
        return score


class Supported:
    r"""Columns with supports: those of groups free of one another, each then on the real line.

    A missing cell of a simplex is its share of what the others leave, one of ordered columns of the way between its neighbours,
    as :class:`~disco_samplers.estimators.FreeCoordinates` has them; an angle lies on the turn that begins where angles are
    sparsest.

    Arguments:
        supports: of the columns.
        given: numbers of the columns of groups that are there.
        rows: (n, d).
        worth: of the rows, (n,), or equal.
    """

    def __init__(self, supports: Sequence[Support], given: Collection[int], rows: Tensor, worth: Tensor | None) -> None:
        self._circles = {i: one for i, one in enumerate(supports) if isinstance(one, Circle)}
        self._turns = {i: _cut(one, rows[:, i], worth) for i, one in self._circles.items()}
        lines = [self._turns.get(i, one) for i, one in enumerate(supports)]
        self._free = FreeCoordinates(lines, given)
        y = self._free(self._turned(rows))
        supports = [Support(one.low, one.high) for one in self._free.supports]
        self._least = [_inside(one) for one in supports]
        self._seen = [_seen(column, support) for column, support in zip(y.unbind(1), supports, strict=True)]
        forms = []
        for column, support in zip(y.unbind(1), supports, strict=True):
            there = ~column.isnan()
            cells = column[there][:, None] if there.any() else _somewhere(support, rows)
            weight = worth[there] if worth is not None and there.any() else None
            others = None if support else JohnsonTransform.fit(cells, weight)
            forms += SupportTransform.fit(cells, [support], weight, others).forms
        self._lines = SupportTransform(forms)

    def __call__(self, rows: Tensor) -> Tensor:
        """Coordinates (..., d'), NaN where they depend on a missing cell.

        Between the outermost rows and an end they stay those of the outermost: they go to infinity there, and what they say of
        other columns would, too.
        """
        columns = zip(self._free(self._turned(rows)).unbind(-1), self._seen, strict=True)
        z: Tensor = self._lines(torch.stack([column.clamp(low, high) for column, (low, high) in columns], -1))
        return z

    def inverse(self, z: Tensor, rows: Tensor) -> Tensor:
        """Rows (m, d) with their missing cells by coordinates (m, k, d')."""
        known = self._free(self._turned(rows))[:, None]
        columns = zip(torch.where(known.isnan(), self._lines.inv(z), known).unbind(-1), self._least, strict=True)
        x = self._free.inverse(torch.stack([column.clamp(low, high) for column, (low, high) in columns], -1))
        for i, circle in self._circles.items():
            x[..., i] = circle.wrapped(x[..., i])
        return torch.where(rows.isnan()[:, None], x, rows[:, None])

    def log_slopes(self, rows: Tensor) -> Tensor:
        """Logs of the coordinates' derivatives by their columns, (..., d')."""
        x = self._turned(rows)
        return self._lines.log_slopes(self._free(x)) + self._free.log_slopes(x)

    def gradient(self, x: Tensor, score: Tensor) -> Tensor:
        """What a score (..., d) at filled rows is to the cells that there are, where the missing ones go with them."""
        if not self._free.groups:
            return score
        with torch.inference_mode(False), torch.enable_grad():
            leaf = self._turned(x).detach().clone().requires_grad_()
            y = self._free(leaf)
            moved = self._free.inverse(torch.where(torch.tensor(self._free.free, device=x.device), y.detach(), y))
            volume = (self._free.log_slopes(moved) * torch.tensor(self._free.free, device=x.device)).sum()
            (found,) = torch.autograd.grad((moved * score).sum() - volume, leaf)
        return found

    def _turned(self, rows: Tensor) -> Tensor:
        """Rows with angles on the turns that are cut where they are sparsest."""
        columns = list(rows.double().unbind(-1))
        for i, turn in self._turns.items():
            columns[i] = turn.start + torch.remainder(columns[i] - turn.start, turn.period)
        return torch.stack(columns, -1)


def _some(rows: Tensor, seed: int) -> Tensor:
    """Numbers of a random part of the rows, in which every column has a cell."""
    order = torch.randperm(len(rows), device="cpu", generator=torch.Generator().manual_seed(seed)).to(rows.device)
    first = (~rows[order].isnan()).to(torch.uint8).argmax(0)  # the first that has it, of each column
    return torch.cat([order[:_ROWS], order[first[first >= _ROWS]]])


def _fitted(z: Tensor, worth: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of rows (n, d) in their columns' scales, by EM."""
    seen, d, total = ~z.isnan(), z.shape[1], worth.sum()
    mean, covariance = z.new_zeros(d), torch.eye(d, dtype=z.dtype, device=z.device)
    for _ in range(_ROUNDS):
        first, second = z.new_zeros(d), z.new_zeros(d, d)
        for here, kind, gain, rest in _patterns(seen, covariance):
            centred = (z[here] - mean).nan_to_num()
            filled = torch.where(seen[here], centred, (gain[kind] @ centred[..., None])[..., 0])
            first += worth[here] @ filled
            second += (worth[here, None] * filled).T @ filled
            second += (worth.new_zeros(len(rest)).index_add(0, kind, worth[here])[:, None, None] * rest).sum(0)
        step = first / total
        new = second / total - torch.outer(step, step)
        new = (total * new + d * torch.diag(new.diagonal())) / (total + d)
        new = new + torch.diag((_FLOOR - new.diagonal()).clamp_min(0))
        change = max(float(step.abs().max()), float((new - covariance).abs().max()))
        mean, covariance = mean + step, new
        if change < 1e-3:
            break
    return mean, covariance


def _patterns(seen: Tensor, covariance: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Rows (n, d) by their patterns, in parts: their numbers, and which pattern each is of; and of each pattern (p, d, d) what
    the cells that are seen say of the others, S_o S_oo^-1, and what is left of the covariance."""
    patterns, kinds = torch.unique(seen, dim=0, return_inverse=True)
    most = max(1, _TILE // seen.shape[1] ** 2)
    for start in range(0, len(patterns), most):
        part = patterns[start : start + most]
        own = torch.where(part[:, :, None] & part[:, None], covariance, 0.0) + torch.diag_embed((~part).to(covariance))
        across = covariance * part[:, None]
        gain = torch.linalg.solve(own, across.mT).mT
        rest = covariance - gain @ across.mT
        for here in ((kinds >= start) & (kinds < start + most)).nonzero()[:, 0].split(most):
            yield here, kinds[here] - start, gain, rest


def _johnson(rows: Tensor, counts: Tensor | None) -> JohnsonTransform:
    """Each column's coordinate, by the cells that there are; of whole rows all at once, which is faster."""
    if not rows.isnan().any():
        return JohnsonTransform.fit(rows, counts)
    fits = [
        JohnsonTransform.fit(column[there][:, None], None if counts is None else counts[there])
        for column, there in zip(rows.T, ~rows.isnan().T, strict=True)
    ]
    return JohnsonTransform(torch.cat([one.location for one in fits]), torch.cat([one.width for one in fits]))


def _cut(circle: Circle, angles: Tensor, worth: Tensor | None) -> Circle:
    """A circle that begins where angles (n,), NaN where missing, are sparsest."""
    there = ~angles.isnan()
    unit = circle.period / (2 * math.pi)
    radians = (angles[there].double() - circle.start) / unit
    low = circle.start + unit * sparsest(radians, None if worth is None else worth[there])
    return Circle(low, low + circle.period)


def _inside(support: Support) -> tuple[float, float]:
    """A little within the ends of a coordinate."""
    low, high = support
    away = _INSIDE * (1.0 if low is None or high is None else high - low)
    return -math.inf if low is None else low + away, math.inf if high is None else high - away


def _seen(column: Tensor, support: Support) -> tuple[float, float]:
    """The outermost cells of a coordinate (n,), NaN where missing, on the sides where it ends; infinity on the others."""
    there = column[~column.isnan()]
    low, high = (edge is not None and len(there) > 0 for edge in support)
    return float(there.min()) if low else -math.inf, float(there.max()) if high else math.inf


def _somewhere(support: Support, rows: Tensor) -> Tensor:
    """Cells (k, 1) of a coordinate that no row has: evenly in an interval, else as wide as the rows' columns."""
    share = torch.linspace(0.05, 0.95, 19, dtype=torch.float64, device=rows.device)[:, None]
    low, high = support
    if low is not None and high is not None:
        return low + (high - low) * share
    width = float((rows - rows.nanmean(0)).abs().nanmean())
    if low is None and high is None:
        return width * (share - 0.5)
    return high + width * share.log() if low is None else low - width * share.log()  # type: ignore[operator]
