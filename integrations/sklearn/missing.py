"""Rows that lack cells: filled in by draws of what would stand there, and judged by the average over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import ComposeTransform, Transform
from torch.quasirandom import SobolEngine
from torch.special import ndtri

from disco_samplers.estimators import AtomTransform, JohnsonTransform

_DRAWS, _MANY = 32, 256
"""Times that a row is filled in; and one that lacks more than half of its cells, of which little tells the others."""

_PART = 1024
"""Rows that are filled in at a time."""

_ROUNDS = 50
_ROWS = 4096
"""Rows that the law is fitted to, a random part of more."""

_LEAST = -1e30
"""Instead of minus infinity, whose product with a weight of zero is no number."""

_TILE = 2**22
"""Numbers held at a time."""

_FLOOR = 1e-6
"""Least variance of a column in its own scale: one may be constant."""


class MissingCells:
    r"""What a density of whole rows says of rows that have the cells o and lack the cells m.

    .. math:: \log f(x_o) = \log \int f(x_o, x_m)\,dx_m
        \approx \log \frac1K \sum_k \frac{f(x_o, x_m^k)}{q(x_m^k \mid x_o)}, \qquad x_m^k \sim q(\cdot \mid x_o)

    by importance sampling: one estimate of whole rows answers for every pattern of missing cells. q is normal in coordinates
    that are Johnson's, column by column: each is fitted to the cells that there are, mean and covariance by EM to all rows,
    with the correlations shrunk as by d further rows without any.

    Arguments:
        rows: (n, d), NaN where a cell is missing; every column has some cell.
        counts: (n,), weights of the rows, in any unit; equal ones if not given.
        generator: of the randomness, on the CPU.
        atoms: what opens the columns' atoms, if there are some.

    References:
        Dempster, Laird, Rubin, *Maximum likelihood from incomplete data via the EM algorithm*, J. R. Stat. Soc. B 1977,
        section 4.1.3, for q; Rubin, *Multiple imputation for nonresponse in surveys*, Wiley 1987, for filling in by draws.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> law = Gaussian(torch.zeros(2).double(), torch.tensor([[1.0, 0.8], [0.8, 1.0]]).double())
        >>> cells = MissingCells(law.sample(300, seed=0), None, torch.Generator().manual_seed(0))
        >>> found = cells.log_prob(law, torch.tensor([[0.0, torch.nan]]).double())
        >>> round(float(found), 1)  # the first column alone is standard normal
        -0.9
    """

    def __init__(
        self, rows: Tensor, counts: Tensor | None, generator: torch.Generator, atoms: AtomTransform | None = None
    ) -> None:
        self._rows, self._counts, self._atoms = rows, counts, atoms
        self._seed = int(torch.randint(2**31, (), device="cpu", generator=generator))

    @cached_property
    def _filling(self) -> _Filling:
        """Only made where a cell is missing."""
        return _Filling(self._rows, self._counts, self._seed, self._atoms)

    @cached_property
    def _noise(self) -> Tensor:
        """Normal numbers (k, d): the same for all rows, so that answers do not depend on which are asked together."""
        sobol = SobolEngine(self._rows.shape[1], scramble=True, seed=self._seed).draw(_MANY, dtype=torch.float64)
        normal: Tensor = ndtri(sobol.clamp(1e-6, 1 - 1e-6)).to(self._rows)
        return normal

    def filled(self, condition: Callable[[Tensor], Any], generator: torch.Generator) -> Tensor:
        """The rows (n, d) with every missing cell drawn given the row's others.

        First by q; the estimate of these rows then says which of some draws are likely, and by that one is taken.

        Arguments:
            condition: makes an estimate of rows (n, d).
            generator: source of randomness, on the CPU.
        """
        rows = self._rows
        lacking = rows.isnan().any(1).nonzero()[:, 0]
        if not len(lacking):
            return rows

        def noise(count: int, k: int) -> Tensor:
            return torch.randn(count, k, rows.shape[1], dtype=torch.float64, device="cpu", generator=generator).to(rows)

        full = rows.clone()
        full[lacking] = self._filling.draws(rows[lacking], noise(len(lacking), 1))[0][:, 0]
        estimate, again = condition(full), full.clone()
        for part in lacking.split(_PART):
            x, log_q = self._filling.draws(rows[part], noise(len(part), _DRAWS))
            log_weights = _of_each(estimate.log_prob, x) - log_q
            taken = torch.multinomial(log_weights.softmax(1).cpu(), 1, generator=generator)[:, 0].to(rows.device)
            again[part] = x[torch.arange(len(part), device=rows.device), taken]
        return again

    def log_prob(
        self, estimate: Any, rows: Tensor, *, whole: bool = False, units: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        r"""Log-density (m,) of the cells that each row (m, d) has, 0 where it has none.

        With ``whole`` on the scale of whole rows, whatever is missing: what whole rows with these cells have on average,
        :math:`E[\log f(x_o, x_m) \mid x_o]`. To log-densities of whole rows, averaged or not, is added what ``units`` gives.
        """
        lacking = rows.isnan().any(1)
        answer = rows.new_empty(len(rows))
        if (~lacking).any():
            answer[~lacking] = _added(estimate.log_prob(rows[~lacking]).to(rows), rows[~lacking], units)
        for part, count in _parts(rows, lacking):
            x, log_q = self._filling.draws(rows[part], self._noise[:count])
            log_prob = _of_each(estimate.log_prob, x)
            log_weight = log_prob - log_q
            found = log_weight.logsumexp(1) - math.log(count)
            found = torch.where(rows[part].isnan().all(1), 0.0, found)
            value = _added(log_prob.flatten(), x.flatten(0, 1), units).view(log_prob.shape).clamp_min(_LEAST)
            answer[part] = (log_weight.softmax(1) * value).sum(1) if whole else found
        return answer

    def log_prob_and_score(self, estimate: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`log_prob` (m,) and its gradient (m, d), which is NaN where a cell is missing."""
        lacking = rows.isnan().any(1)
        answer, gradient = rows.new_zeros(len(rows)), torch.full_like(rows, torch.nan)
        if (~lacking).any():
            log_prob, score = estimate.log_prob_and_score(rows[~lacking])
            answer[~lacking], gradient[~lacking] = log_prob.to(rows), score.to(rows)
        for part, count in _parts(rows, lacking & ~rows.isnan().all(1)):
            x, log_q = self._filling.draws(rows[part], self._noise[:count])
            log_prob, score = estimate.log_prob_and_score(x.flatten(0, 1))
            log_weight = log_prob.to(x).view(log_q.shape) - log_q
            answer[part] = log_weight.logsumexp(1) - math.log(count)
            mean = (log_weight.softmax(1)[..., None] * score.to(x).view(x.shape)).sum(1)
            gradient[part] = torch.where(rows[part].isnan(), torch.nan, mean)
        return answer, gradient


def _parts(rows: Tensor, chosen: Tensor) -> Iterator[tuple[Tensor, int]]:
    """The numbers of the rows chosen of (n, d), some at a time, and how often these are filled in."""
    sparse = rows.isnan().double().mean(1) > 0.5
    for kind, count in ((chosen & ~sparse, _DRAWS), (chosen & sparse, _MANY)):
        for part in kind.nonzero()[:, 0].split(_PART * _DRAWS // count):
            if len(part):
                yield part, count


class _Filling:
    """The law q of a row's missing cells given its others, fitted to rows (n, d) with weights (n,), or equal ones."""

    def __init__(self, rows: Tensor, counts: Tensor | None, seed: int, atoms: AtomTransform | None) -> None:
        # Weights sum to Kish's effective size, whatever they are in.
        worth = rows.new_ones(len(rows)) if counts is None else counts * (counts.sum() / counts.square().sum())
        if len(rows) > _ROWS:
            some = _some(rows, seed)
            rows, worth = rows[some], worth[some]
        self._marginals: Transform = _johnson(rows if atoms is None else atoms(rows), None if counts is None else worth)
        if atoms is not None:
            self._marginals = ComposeTransform([atoms, self._marginals])
        z, weight = self._marginals(rows), worth[:, None] * ~rows.isnan()
        self._centre = (weight * z.nan_to_num()).sum(0) / weight.sum(0)
        spread = ((weight * (z - self._centre).nan_to_num().square()).sum(0) / weight.sum(0)).sqrt()
        self._scale = torch.where(spread > 0, spread, 1.0)
        self._mean, self._covariance = _fitted((z - self._centre) / self._scale, worth)

    def draws(self, rows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (m, d) filled in k times, (m, k, d), and log-densities (m, k) of that; noise is normal, (k, d) or (m, k, d)."""
        seen = ~rows.isnan()
        z = (self._marginals(rows) - self._centre) / self._scale - self._mean
        noise = noise.expand(len(rows), *noise.shape[-2:])
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
        image = self._centre + self._scale * filled
        x = self._marginals.inv(image)
        slope = self._marginals.log_abs_det_jacobian(x, image) - self._scale.log()
        return torch.where(seen[:, None], rows[:, None], x), log_q + (slope * ~seen[:, None]).sum(-1)


def _johnson(rows: Tensor, counts: Tensor | None) -> JohnsonTransform:
    """Each column's coordinate, by the cells that there are; of whole rows all at once, which is faster."""
    if not rows.isnan().any():
        return JohnsonTransform.fit(rows, counts)
    fits = [
        JohnsonTransform.fit(column[there][:, None], None if counts is None else counts[there])
        for column, there in zip(rows.T, ~rows.isnan().T, strict=True)
    ]
    return JohnsonTransform(torch.cat([one.location for one in fits]), torch.cat([one.width for one in fits]))


def _of_each(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Log-densities (m, k) of points (m, k, d)."""
    return log_prob(x.flatten(0, 1)).to(x).view(x.shape[:2])


def _added(log_prob: Tensor, rows: Tensor, units: Callable[[Tensor], Tensor] | None) -> Tensor:
    return log_prob if units is None else log_prob + units(rows)


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
