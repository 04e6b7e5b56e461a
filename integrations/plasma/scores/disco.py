"""The score that DiScoFormer reads off the particles themselves."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from disco_samplers import DensityEstimate, DiScoFormer
from disco_samplers.arrays import check_count, check_flag, check_positive
from disco_samplers.estimate import check_model
from disco_samplers.estimators import DEFAULTS, read_at_samples
from disco_samplers.reference import StudentT

from ..cells import FEWEST, padded, shuffled, spread
from .calibrated import calibrate
from .maxwellian import Maxwellian

_TOKENS = 2**15
"""Particles conditioned on at a time, padding included."""

_TOGETHER = 2**13
"""The same of particles that are shown to the network and asked about in one pass."""

_NORMALISED = 5
"""Velocity components up to which a thousand points are enough to integrate a density over."""

_POINTS, _FREEDOM = 1024, 3


class DiscoScore:
    """Velocity score and density of every cell from one pretrained network, conditioned on all cells at once.

    No network is trained and no bandwidth is chosen. Cells of similar size go through the network together. Particles of
    unequal weight are read as weighted draws, worth Kish's effective size. A cell with fewer than 16 particles, or whose
    particles do not spread in every direction, gets the score of its Maxwellian.

    A wave of small amplitude is less than the noise of as many independent draws, and is then taken for noise in part. The
    particles of a quiet start lie far more evenly than draws: ``worth`` says by how much, until collisions or chaos have mixed
    them.

    Arguments:
        model: the network; by default the shipped "velocities", the same in any frame, as velocity space has no axes.
        keys: the most particles of a cell that the network is shown, chosen at random but the same way at every call; all of
            them if not given. With keys the cost is O(n keys), else O(n m) for cells of m particles, a key at half the price
            as scores at particles that are shown come with their encoding.
        adapt: whether the estimate is adapted in each cell at each call; see :func:`disco_samplers.estimate.adapt`. Slow: for
            the case of one cell.
        calibrate: whether scores are brought to keep the moment identities of any distribution; see
            :func:`~disco_samplers.integrations.plasma.scores.calibrated.calibrate`.
        worth: how many independent draws a particle is worth, from 1 on.

    Raises:
        TypeError: if ``keys`` is not an integer, ``adapt`` not True or False, or ``worth`` no number.
        ValueError: if ``keys`` is below 16 or ``worth`` below 1, or above it together with ``keys`` or
            ``adapt``: some particles of a cell, chosen at random, lie as draws do.

    References:
        DiScoFormer (https://arxiv.org/abs/2511.05924), whose experiments use it for the Fokker-Planck equation.

    Example:
        >>> v = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> score = DiscoScore()(v, torch.ones(500), torch.arange(500) % 2, 2)
        >>> bool((score + v).square().mean() < 0.1)
        True
    """

    def __init__(
        self,
        model: DiScoFormer | None = None,
        *,
        keys: int | None = None,
        adapt: bool = False,
        calibrate: bool = True,
        worth: float = 1.0,
    ) -> None:
        if keys is not None:
            check_count("keys", keys, FEWEST)
        check_flag("adapt", adapt)
        if model is not None:
            check_model(model)
        self.model = DiScoFormer.from_pretrained(DEFAULTS["velocity"]) if model is None else model
        check_positive("worth", worth)
        if worth < 1 or (worth > 1 and (adapt or keys is not None)):
            raise ValueError(
                f"worth must be at least 1, that of a particle drawn at random, and 1 beside keys or adapt, got {worth}"
            )
        self.keys, self.adapt, self.calibrate, self.worth = keys, adapt, calibrate, worth

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """The score (n, dv); see :class:`~disco_samplers.integrations.plasma.types.VelocityScore`."""
        score = self._read(v, w, cell, num_cells, density=False)[1]
        return calibrate(score, v, w, cell, num_cells) if self.calibrate else score

    def log_prob(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """Log-density of the velocity in its cell (n,); of up to five components, normalised in each cell by quadrature."""
        return self._read(v, w, cell, num_cells, density=True)[0]

    def _read(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int, density: bool) -> tuple[Tensor, Tensor]:
        """Log-densities (n,), normalised where ``density`` is asked for, and scores (n, dv)."""
        self._follow(v.device)
        few = ~spread(v, w, cell, num_cells)
        maxwellian = Maxwellian()
        log_prob, score = maxwellian.log_prob(v, w, cell, num_cells), maxwellian(v, w, cell, num_cells)
        many = (~few[cell]).nonzero().squeeze(1)
        if len(many) == 0:
            return log_prob, score
        all_shown = self.keys is None or int(torch.bincount(cell[many]).max()) <= self.keys
        if all_shown and not self.adapt and not density and v.shape[1] > 1:
            score[many] = self._at_samples(v[many], w[many], cell[many], num_cells)
            return log_prob, score
        context, count = self._contexts(cell[many], num_cells)
        start = count.cumsum(0) - count
        for part, mask in padded(cell[many], num_cells, _TOKENS):
            rows, cells = many[part], cell[many[part[:, 0]]]
            slot = torch.arange(int(count[cells].max()), device=v.device)
            shown = slot < count[cells, None]
            particle = many[context[start[cells, None] + torch.where(shown, slot, 0)]]
            found = self._evaluate(v[particle], torch.where(shown, w[particle], 0.0), v[rows], mask, density)
            log_prob[rows[mask]], score[rows[mask]] = found[0][mask], found[1][mask]
        return log_prob, score

    def _at_samples(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """The scores (n, dv) of cells whose particles are all shown."""
        score = torch.zeros_like(v)
        for rows, mask in padded(cell, num_cells, _TOGETHER):
            weights = torch.where(mask, w[rows], 0.0).double()
            counts = self.worth * weights * (weights.sum(1) / weights.square().sum(1))[:, None]
            found = read_at_samples(self.model.network, v[rows], counts)[1]
            score[rows[mask]] = found[mask].to(v.dtype)
        return score

    def _follow(self, device: torch.device) -> None:
        """Has a model where the particles are; the one that was given stays where it is."""
        if self.model.device != device:
            self.model = copy.deepcopy(self.model).to(device)

    def _contexts(self, cell: Tensor, num_cells: int) -> tuple[Tensor, Tensor]:
        """Particles shown to the network, cell after cell, and how many of each cell, (c,): all, or a random part."""
        present = torch.bincount(cell, minlength=num_cells)
        count = present if self.keys is None else present.clamp_max(self.keys)
        # Neighbours in memory may be neighbours in velocity, as in a quiet start.
        order = torch.argsort(cell, stable=True) if self.keys is None else shuffled(cell, num_cells, key=0)
        place_cell = torch.repeat_interleave(count)
        place = torch.arange(len(place_cell), device=cell.device) - (count.cumsum(0) - count)[place_cell]
        return order[(present.cumsum(0) - present)[place_cell] + place], count

    def _evaluate(self, context: Tensor, w: Tensor, queries: Tensor, mask: Tensor, density: bool) -> tuple[Tensor, Tensor]:
        """Log-densities (b, m) and scores (b, m, dv) in b cells, of contexts (b, k, dv) with weights (b, k)."""
        if not self.adapt:
            size = None if self.worth == 1 else self.worth * w.sum(1).square() / w.square().sum(1)
            estimate = self.model.condition(context, weights=w, effective_size=size)
            return _answers(estimate, queries, density)
        log_prob, score = queries.new_zeros(queries.shape[:2]), torch.zeros_like(queries)
        for i, here in enumerate(mask):
            shown = w[i] > 0
            equal = bool((w[i, shown] == w[i, shown][0]).all())
            estimate = self.model.condition(context[i, shown], weights=None if equal else w[i, shown])
            adapted = estimate.adapt()
            log_prob[i, here], score[i, here] = _answers(adapted, queries[i, here], density)
        return log_prob, score


def _answers(estimate: DensityEstimate, queries: Tensor, density: bool) -> tuple[Tensor, Tensor]:
    log_prob, score = estimate.log_prob_and_score(queries)
    if density and estimate.dim <= _NORMALISED:
        log_prob = log_prob - _log_integral(estimate).to(log_prob)
    return log_prob, score


def _log_integral(estimate: DensityEstimate) -> Tensor:
    """Log of the integral of each cell's density (b, 1), or () of one, over the same quasi-random points of a Student-t law.

    Importance sampling in whitened coordinates; heavy tails keep the weights bounded. For an estimate of one data set there is
    :meth:`DensityEstimate.log_normalizer`, whose proposal fits the data better; this one serves all cells at once.
    """
    d = estimate.dim
    with torch.device("cpu"):
        points = torch.quasirandom.SobolEngine(d + _FREEDOM, scramble=True, seed=0).draw(_POINTS, dtype=torch.float64)
    normal = torch.special.ndtri(points.clamp(2.0**-31, 1 - 2.0**-31)).to(estimate.device)
    z = normal[:, :d] / normal[:, d:].square().mean(1, keepdim=True).sqrt()
    law = StudentT(torch.zeros_like(z[0]), torch.eye(d, dtype=z.dtype, device=z.device), float(_FREEDOM))
    batch = 1 if estimate.samples.ndim == 2 else len(estimate.samples)
    log_weight = estimate.white_log_prob(z.expand(batch, -1, -1)) - law.evaluate(z)
    log_z = log_weight.logsumexp(1, keepdim=True) - math.log(_POINTS)
    return log_z.squeeze() if estimate.samples.ndim == 2 else log_z
