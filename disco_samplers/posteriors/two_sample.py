"""Whether two sets of draws follow one law, and where they do not: a permutation test."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import as_points, check_count, device_of, like
from disco_samplers.draws import Draws, align
from disco_samplers.estimate import DiScoFormer
from disco_samplers.estimators import midranks
from disco_samplers.posteriors.fit import Fit, Proposal, check_proposal, fit
from disco_samplers.posteriors.rows import Rows
from disco_samplers.posteriors.tension import matched
from disco_samplers.randomness import generator_on
from disco_samplers.types import ArrayLike

_INDEPENDENT = 4.0
"""Independent draws that a block of a chain is worth: those of neighbours then hardly know of each other."""

_FEWEST = 8
"""Blocks of either side below which permutations tell nothing."""


@dataclasses.dataclass(frozen=True)
class TwoSample:
    """The outcome of a two-sample test.

    Arguments:
        p_value: the share of permutations with as large a difference; below ``alpha`` by chance in ``alpha`` of the cases.
        alpha: the false-alarm rate asked for.
        differences: what differs, "density", "location of NAME" or "spread of NAME", with its p-value, already corrected for
            how many there are; the smallest first, and those up to ``alpha`` only.
        densities: of a and b, by one half of each.
        names: of the columns, where they have some.
    """

    p_value: float
    alpha: float
    differences: dict[str, float]
    densities: tuple[Fit, Fit]
    names: list[str] | None = None

    @property
    def differ(self) -> bool:
        """Whether they differ, at the false-alarm rate asked for."""
        return self.p_value <= self.alpha

    def log_ratio(self, points: ArrayLike) -> Any:
        """Log-density of a less that of b (m,) at points (m, d): positive where a has more draws."""
        points = align(points, "points", self.names)
        x = as_points(points, "points", device=self.densities[0].device).double()
        return like(self.densities[0].log_prob(x) - self.densities[1].log_prob(x), points)

    def __repr__(self) -> str:
        said = f"differ (p = {self.p_value:.3g})" if self.differ else f"no difference seen (p = {self.p_value:.3g})"
        where = "; ".join(f"{name} (p = {p:.3g})" for name, p in self.differences.items())
        return f"{said} at a false-alarm rate of {self.alpha:g}" + (f": {where}" if where else "")


def two_sample(
    a: ArrayLike | Draws,
    b: ArrayLike | Draws,
    *,
    alpha: float = 0.05,
    num_permutations: int = 999,
    proposal: Proposal = "mixture",
    model: DiScoFormer | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> TwoSample:
    r"""Tests whether two sets of draws, of two runs or codes, are of one law.

    One half of either set gives densities :math:`\hat f_a, \hat f_b`. On the other halves the means of these features are
    compared: the log-ratio :math:`\log \hat f_a - \log \hat f_b` (a classifier, which sees differences of any shape), and of
    each column its rank and the rank's distance from the middle (which see shifts and spreads of single columns best). With
    :math:`t_j` the difference of the means of feature j over its standard deviation,

    .. math:: p = \frac{1 + \#\{\pi : \max_j |t_j^\pi| \ge \max_j |t_j|\}}{1 + B}

    over B permutations of the sets' labels, so that the chance of :math:`p \le \alpha` is at most :math:`\alpha` where the laws
    are one; the same maximum corrects the p-value of each feature. Labels of chains are permuted in blocks worth about four
    independent draws; weighted draws are resampled to as many as they are worth. Chains must have converged:
    a run stuck in one mode differs from one stuck in another.

    Arguments:
        a: (n, d), or :class:`~disco_samplers.Draws`; columns with names are matched by them.
        b: (m, d), or draws of the same columns.
        alpha: the false-alarm rate.
        num_permutations: B.
        proposal: densities by a "mixture", an "estimate" of DiScoFormer's, or "auto" for the better.
        model: DiScoFormer, of all but "mixture"; the shipped one if not given.
        seed: of the randomness; give this or ``generator``.
        generator: source of randomness, on the device of the model or, without one, of the draws.

    Raises:
        TypeError, ValueError: if draws are not numeric, are of other parameters, have fewer than ten distinct rows a column or
            are worth too few for blocks, or ``alpha`` is not between 1 / (1 + B) and 1; if a model is given
            for "mixture".

    References:
        Westfall, Young, *Resampling-based multiple testing*, 1993, the maximum; Kim, Ramdas, Singh, Wasserman, *Classification
        accuracy as a proxy for two-sample testing*, Annals of Statistics 2021 (https://arxiv.org/abs/1602.02210).

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> a, b = torch.randn(300, 2, generator=g), torch.randn(300, 2, generator=g)
        >>> b[:, 1] *= 2
        >>> print(str(two_sample(a, b, seed=0)).partition(":")[0])
        differ (p = 0.001) at a false-alarm rate of 0.05
    """
    check_proposal(proposal, model)
    check_count("num_permutations", num_permutations, 19)
    if not 1 / (1 + num_permutations) <= alpha < 1:
        raise ValueError(f"alpha must lie between 1 / (1 + num_permutations) and 1, got {alpha}")
    first, second = matched(a, b, device_of(model, a, b))
    generator = generator_on(first.values.device, seed=seed, generator=generator)
    sides = [_even(Rows.of(draws, generator), generator) for draws in (first, second)]
    halves = [[rows.take(times) for times in rows.parts(2)] for rows in sides]
    densities = [fit(fitted, tested, proposal, model, generator) for fitted, tested in halves]
    tested = [half[1] for half in halves]
    x = torch.cat([rows.flat for rows in tested])
    even = torch.full_like(x[:, 0], 1 / len(x))
    ranks = torch.stack([midranks(column, even) for column in x.T], 1)  # by place, equal values of a would come before b's
    features = torch.cat([(densities[0].log_prob(x) - densities[1].log_prob(x))[:, None], ranks, ranks.abs()], 1)
    names = ["density", *(f"{what} of {name}" for what in ("location", "spread") for name in first.names)]
    blocks = [_blocks(rows, name) for rows, name in zip(tested, "ab", strict=True)]
    owner = torch.cat([blocks[0], blocks[1] + int(blocks[0].max()) + 1])
    many = int(owner.max()) + 1
    sums = torch.zeros(many, features.shape[1], dtype=x.dtype, device=x.device).index_add_(
        0, owner, features - features.mean(0)
    )
    sizes = torch.bincount(owner, minlength=many).to(x)
    of_a = torch.arange(many, device=x.device) < int(blocks[0].max()) + 1
    orders = [torch.arange(many, device=x.device)] + [
        torch.randperm(many, generator=generator, device=x.device) for _ in range(num_permutations)
    ]
    labels = of_a[torch.stack(orders)].to(x)  # (1 + B, blocks)
    t = _differences(labels, sums, sizes)
    largest = t.amax(1)
    p_values = ((largest[1:, None] >= t[0] * (1 - 1e-9)).double().sum(0) + 1) / (1 + num_permutations)
    found = sorted(((float(p), -float(size), name) for p, size, name in zip(p_values, t[0], names, strict=True)))
    differences = {name: p for p, _, name in found if p <= alpha}
    known = first.names if first.has_names else None
    return TwoSample(found[0][0], alpha, differences, (densities[0], densities[1]), known)


def _differences(labels: Tensor, sums: Tensor, sizes: Tensor) -> Tensor:
    """|t| (B, k) of the features for labels (B, blocks), with sums (blocks, k) of centred features and sizes (blocks,)."""
    in_a, in_b = labels @ sizes, (1 - labels) @ sizes
    mean_a, mean_b = labels @ sums / in_a[:, None], (1 - labels) @ sums / in_b[:, None]
    # The scatter of blocks about their own side's mean, so that two sides of unequal spread are compared rightly.
    squares, cross, size2 = sums.square(), sums * sizes[:, None], sizes.square()[:, None]

    def scatter(side: Tensor, mean: Tensor, count: Tensor) -> Tensor:
        return (side @ squares - 2 * mean * (side @ cross) + mean.square() * (side @ size2)) / count[:, None].square()

    variance = scatter(labels, mean_a, in_a) + scatter(1 - labels, mean_b, in_b)
    return (mean_a - mean_b).abs() / variance.clamp_min(1e-300).sqrt()


def _even(rows: Rows, generator: torch.Generator | None) -> Rows:
    """Rows of equal weight: weighted ones resampled."""
    if float(rows.share.max() / rows.share.min()) < 1 + 1e-9:
        return rows
    values = rows.equal(generator)[None]
    share = torch.full(values.shape[:2], 1 / values.shape[1], dtype=values.dtype, device=values.device)
    return Rows(values, share, float(values.shape[1]), chains=False)


def _blocks(rows: Rows, name: str) -> Tensor:
    """The number of the block of each row (n,): runs of a chain that are worth a few independent draws, or single rows."""
    chains, draws = rows.share.shape
    if not rows.chains:
        return torch.arange(draws, device=rows.share.device)
    length = max(1, math.ceil(_INDEPENDENT * chains * draws / rows.size))
    per_chain = draws // length
    if chains * per_chain < _FEWEST:
        raise ValueError(f"{name} is worth {2 * rows.size:.0f} draws: too few for blocks of chains to be permuted; draw more")
    block = (torch.arange(draws, device=rows.share.device) * per_chain // draws)[None]
    return (torch.arange(chains, device=rows.share.device)[:, None] * per_chain + block).flatten()
