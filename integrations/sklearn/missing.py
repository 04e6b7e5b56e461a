"""Rows that lack cells: filled in by draws of what would stand there, and judged by the average over them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine
from torch.special import ndtri
from tqdm import tqdm

from disco_samplers.draws import Support, groups_of
from disco_samplers.estimators import AtomTransform

from .filling import Filling, Real, Supported

_DRAWS, _MANY = 32, 256
"""Times that a row is filled in; and one that lacks more than half of its cells, of which little tells the others."""

_PART = 1024
"""Rows that are filled in at a time."""

_LONG, _PAIRS = 4096, 4e9
"""Rows filled in from which on there is a progress bar, and pairs of a filled row and one it is judged by that take about ten
minutes of one core."""

_LEAST = -1e30
"""Instead of minus infinity, whose product with a weight of zero is no number."""


class ManyMissingWarning(UserWarning):
    """So many rows lack cells that to draw these takes long."""


class MissingCells:
    r"""What a density of whole rows says of rows that have the cells o and lack the cells m.

    .. math:: \log f(x_o) = \log \int f(x_o, x_m)\,dx_m
        \approx \log \frac1K \sum_k \frac{f(x_o, x_m^k)}{q(x_m^k \mid x_o)}, \qquad x_m^k \sim q(\cdot \mid x_o)

    by importance sampling: one estimate of whole rows answers for every pattern of missing cells. q is normal in coordinates
    that are Johnson's, column by column: each is fitted to the cells that there are, mean and covariance by EM to all rows,
    with the correlations shrunk as by d further rows without any. With supports they are those of :class:`.Supported`, in which
    no cell is drawn outside.

    Arguments:
        rows: (n, d), NaN where a cell is missing; every column has some cell.
        counts: (n,), weights of the rows, in any unit; equal ones if not given.
        generator: of the randomness, on the CPU.
        atoms: what opens the columns' atoms, if there are some.
        supports: of the columns, if they have some.

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
        self,
        rows: Tensor,
        counts: Tensor | None,
        generator: torch.Generator,
        atoms: AtomTransform | None = None,
        supports: Sequence[Support] | None = None,
    ) -> None:
        self._rows, self._counts, self._atoms, self._supports = rows, counts, atoms, supports
        self._bound = [i for group in groups_of(supports or []) for i in group.columns]
        self._seed = int(torch.randint(2**31, (), device="cpu", generator=generator))
        self._made: dict[tuple[int, ...], Filling] = {}

    def _fillings(self, rows: Tensor) -> Iterator[tuple[Tensor, Filling]]:
        """The numbers of rows (m, d) that have the same columns of groups, and q for them; only made where one is asked for."""
        there = ~rows[:, self._bound].isnan()
        # Torch does not take the unique rows of no columns.
        patterns, kinds = (
            torch.unique(there, dim=0, return_inverse=True) if self._bound else (there[:1], there.new_zeros(len(rows)))
        )
        for kind, pattern in enumerate(patterns.tolist()):
            given = tuple(i for i, there in zip(self._bound, pattern, strict=True) if there)
            if given not in self._made:
                columns = partial(Real, self._atoms) if self._supports is None else partial(Supported, self._supports, given)
                self._made[given] = Filling(self._rows, self._counts, self._seed, columns)
            yield (kinds == kind).nonzero()[:, 0], self._made[given]

    def _drawn(self, rows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (m, d) filled in k times, and log-densities (m, k) of that; noise is (k, d), or (m, k, d)."""
        noise = noise.expand(len(rows), *noise.shape[-2:])
        x, log_q = torch.empty_like(noise), noise.new_empty(noise.shape[:2])
        for here, filling in self._fillings(rows):
            x[here], log_q[here] = filling.draws(rows[here], noise[here])
        return x, log_q

    @cached_property
    def _noise(self) -> Tensor:
        """Normal numbers (k, d): the same for all rows, so that answers do not depend on which are asked together."""
        sobol = SobolEngine(self._rows.shape[1], scramble=True, seed=self._seed).draw(_MANY, dtype=torch.float64)
        normal: Tensor = ndtri(sobol.clamp(1e-6, 1 - 1e-6)).to(self._rows)
        return normal

    def warn(self, context_size: int) -> None:
        """Warns if :meth:`filled`, by an estimate of so many rows at most, takes long."""
        lacking = self._rows.isnan()
        count, by = int(lacking.any(1).sum()), min(len(self._rows), context_size)
        if _DRAWS * count * by > _PAIRS:
            warnings.warn(
                f"{count:,} of {len(self._rows):,} rows lack cells, in {len(torch.unique(lacking, dim=0)):,} patterns: to fill "
                f"them in takes as long as to score {_DRAWS * count:,} whole rows by {by:,}; fit fewer rows, or give a smaller "
                "context_size",
                ManyMissingWarning,
                stacklevel=4,
            )

    def filled(self, condition: Callable[[Tensor], Any], generator: torch.Generator, *, progress: bool = False) -> Tensor:
        """The rows (n, d) with every missing cell drawn given the row's others.

        First by q; the estimate of these rows then says which of some draws are likely, and by that one is taken.

        Arguments:
            condition: makes an estimate of rows (n, d).
            generator: source of randomness, on the CPU.
            progress: whether to show a bar, if there are many.
        """
        rows = self._rows
        lacking = rows.isnan().any(1).nonzero()[:, 0]
        if not len(lacking):
            return rows

        def noise(count: int, k: int) -> Tensor:
            return torch.randn(count, k, rows.shape[1], dtype=torch.float64, device="cpu", generator=generator).to(rows)

        full = rows.clone()
        full[lacking] = self._drawn(rows[lacking], noise(len(lacking), 1))[0][:, 0]
        estimate, again = condition(full), full.clone()
        quiet = not progress or _DRAWS * len(lacking) < _LONG
        for part in tqdm(lacking.split(_PART), desc="missing cells", disable=quiet):
            x, log_q = self._drawn(rows[part], noise(len(part), _DRAWS))
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
            x, log_q = self._drawn(rows[part], self._noise[:count])
            log_prob = _of_each(estimate.log_prob, x)
            log_weight = log_prob - log_q
            found = log_weight.logsumexp(1) - math.log(count)
            found = torch.where(rows[part].isnan().all(1), 0.0, found)
            value = _added(log_prob.flatten(), x.flatten(0, 1), units).view(log_prob.shape).clamp_min(_LEAST)
            mean = (log_weight.softmax(1) * value).sum(1).nan_to_num(nan=-math.inf)  # cells that are there lie outside
            answer[part] = mean if whole else found
        return answer

    def log_prob_and_score(self, estimate: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`log_prob` (m,) and its gradient (m, d), which is NaN where a cell is missing."""
        lacking = rows.isnan().any(1)
        answer, gradient = rows.new_zeros(len(rows)), torch.full_like(rows, torch.nan)
        if (~lacking).any():
            log_prob, score = estimate.log_prob_and_score(rows[~lacking])
            answer[~lacking], gradient[~lacking] = log_prob.to(rows), score.to(rows)
        for part, count in _parts(rows, lacking & ~rows.isnan().all(1)):
            x, log_q = self._drawn(rows[part], self._noise[:count])
            log_prob, score = estimate.log_prob_and_score(x.flatten(0, 1))
            log_weight = log_prob.to(x).view(log_q.shape) - log_q
            answer[part] = log_weight.logsumexp(1) - math.log(count)
            score = score.to(x).view(x.shape)
            for here, filling in self._fillings(rows[part]):
                score[here] = filling.columns.gradient(x[here], score[here])
            mean = (log_weight.softmax(1).nan_to_num(0.0)[..., None] * score).sum(1)
            gradient[part] = torch.where(rows[part].isnan(), torch.nan, mean)
        return answer, gradient


def _parts(rows: Tensor, chosen: Tensor) -> Iterator[tuple[Tensor, int]]:
    """The numbers of the rows chosen of (n, d), some at a time, and how often these are filled in."""
    sparse = rows.isnan().double().mean(1) > 0.5
    for kind, count in ((chosen & ~sparse, _DRAWS), (chosen & sparse, _MANY)):
        for part in kind.nonzero()[:, 0].split(_PART * _DRAWS // count):
            if len(part):
                yield part, count


def _of_each(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Log-densities (m, k) of points (m, k, d)."""
    return log_prob(x.flatten(0, 1)).to(x).view(x.shape[:2])


def _added(log_prob: Tensor, rows: Tensor, units: Callable[[Tensor], Tensor] | None) -> Tensor:
    return log_prob if units is None else log_prob + units(rows)
