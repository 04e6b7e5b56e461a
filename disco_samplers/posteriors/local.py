"""The density of a shard's draws as a sum over regions, each with the mass that the draws have there."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.estimators import deviation, mean, shuffled
from disco_samplers.posteriors.copies import Copies, groups, shrunk
from disco_samplers.posteriors.edgeworth import Edgeworth
from disco_samplers.posteriors.images import Images
from disco_samplers.posteriors.regions import Regions
from disco_samplers.posteriors.shard import Shard
from disco_samplers.reference import Gaussian, GaussianMixture

_ROUNDS = 20
_ENDED = 1e-6
"""Share of the rows that a round moves to other regions below which the rounds end."""

_NONE = 1e-4
"""Share of a row in a region below which it does not count there."""

_FEW = 20
"""Draws a column that a region has to have."""

_CORE = 0.95
"""Share of a region's rows by which it is told whether it is a copy of another."""

_FLOOR = 1e-9
"""Added to variances, in units of the columns' own."""

_MOST_ROWS = 4096
_CLEAR = 2.0
"""Standard errors by which held-out draws must be likelier."""

_TOLERATED = 0.1
"""Nats a draw by which they may be less likely where all modes are copies: unlike modes are weighed wrong in a product."""


class LocalEdgeworth:
    r"""A mixture of an :class:`Edgeworth` for each region in which there are draws.

    .. math:: \log f = \log \sum_j w_j \frac{f_j(\theta)}{Z_j}, \qquad
        w_j = \frac1n \sum_i \frac{w_j f_j(\theta_i) / Z_j}{f(\theta_i)}

    Rows are shared out by rounds of expectation maximisation of Gaussians, which begin with the regions' shares; Z are means
    over draws of the Gaussians. The masses are a fixed point: in every region the density has the mass that the draws have.
    Regions that are copies of each other (:func:`~disco_samplers.posteriors.copies.groups`) share what is known of their
    shape, so that its errors weigh no mode against another.

    Arguments:
        shard: draws (n, d), n > d, with what they are worth.
        regions: in which they lie; those of the shard's own draws if not given.

    References:
        Dempster, Laird, Rubin, *Maximum likelihood from incomplete data via the EM algorithm*, 1977.

    Example:
        >>> x = torch.randn(2000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> x[:500] += 8
        >>> f = LocalEdgeworth(Shard(x))
        >>> [round(float(w), 2) for w in f.weights.sort().values]
        [0.25, 0.75]
    """

    def __init__(self, shard: Shard, regions: Regions | Images | None = None) -> None:
        rows, worth = shard.rows, shard.worth
        shares = (regions or Regions(shard)).shares(rows)
        shares = shares if isinstance(regions, Images) else shared_out(rows, worth, shares)
        self.parts, numbers = _parts(rows, worth[:, None] * shares, regions.orders if isinstance(regions, Images) else None)
        self.weights = (worth @ shares)[numbers] / worth.sum()
        log_parts = torch.cat([part.log_prob_and_score(rows)[0] for part in self.parts]).T
        for _ in range(_ROUNDS if len(self.weights) > 1 else 0):
            self.weights = worth @ (self.weights.log() + log_parts).softmax(1) / worth.sum()

    @property
    def mixture(self) -> GaussianMixture:
        """The Gaussians of the regions."""
        means, covariances = (torch.cat(parts) for parts in zip(*(part.gaussians for part in self.parts), strict=True))
        return GaussianMixture(self.weights, means, covariances)

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, d) at points (m, d)."""
        values, scores = (torch.cat(parts) for parts in zip(*(p.log_prob_and_score(points) for p in self.parts), strict=True))
        joint = values + self.weights.log()[:, None]
        return joint.logsumexp(0), (joint.softmax(0)[..., None] * scores).sum(0)

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density (m,) at points (m, d)."""
        return self.log_prob_and_score(points)[0]

    def score(self, points: Tensor) -> Tensor:
        """Gradient of the log-density, (m, d) at points (m, d)."""
        return self.log_prob_and_score(points)[1]

    __call__ = score


class LocalGaussians:
    """A Gaussian mixture of all draws, begun at that of some: for shapes that are curved, and no third cumulant describes.

    Arguments:
        shard: draws (n, d), with what they are worth.
        regions: whose mixture is the start.

    Example:
        >>> x = torch.randn(2000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> x[:500] += 8
        >>> LocalGaussians(Shard(x), Regions(Shard(x))).mixture.weights.numel()
        2
    """

    def __init__(self, shard: Shard, regions: Regions) -> None:
        rows, worth = shard.rows, shard.worth
        own = worth[:, None] * shared_out(rows, worth, regions.mixture.responsibilities(rows))
        found = [gaussian_of(rows, column) for column in own.T]
        means, covariances = (torch.cat([getattr(g, name) for g in found]) for name in ("means", "covariances"))
        self.mixture = GaussianMixture(own.sum(0), means, covariances)

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, d) at points (m, d)."""
        return self.mixture.evaluate(points), self.mixture.evaluate_score(points)

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density (m,) at points (m, d)."""
        return self.mixture.evaluate(points)

    def score(self, points: Tensor) -> Tensor:
        """Gradient of the log-density, (m, d) at points (m, d)."""
        return self.mixture.evaluate_score(points)

    __call__ = score


Local = LocalEdgeworth | LocalGaussians


def local(shard: Shard) -> Local:
    """Of the two that in which draws are likelier that it did not see; Gaussians only where they clearly are.

    Where some regions are copies of each other and others are not, all become copies if that costs next to nothing.

    Example:
        >>> x = torch.randn(2000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> type(local(Shard(x))).__name__
        'LocalEdgeworth'
        >>> x[:, 1] += x[:, 0] ** 2
        >>> type(local(Shard(x))).__name__
        'LocalGaussians'
    """
    regions = Regions(shard)
    if len(regions.mixture.weights) == 1:
        return LocalEdgeworth(shard, regions)
    order = shuffled(len(shard.rows), torch.Generator().manual_seed(0), shard.blocks, shard.rows.device)
    half = torch.zeros(len(order), dtype=torch.bool, device=order.device).index_fill(0, order[: len(order) // 2], True)
    seen, other = shard.part(half), shard.part(~half)
    found, log_prob = LocalEdgeworth(shard, regions), LocalEdgeworth(seen, regions).log_prob(other.rows)
    if 1 < len(found.parts) < len(found.weights):
        tied = LocalEdgeworth(seen, Images(seen, found.parts, found.weights)).log_prob(other.rows)
        if float(mean(tied - log_prob, other.counts)) > -_TOLERATED:
            found, log_prob = LocalEdgeworth(shard, Images(shard, found.parts, found.weights)), tied
    gain = LocalGaussians(seen, regions).log_prob(other.rows) - log_prob
    error = deviation(gain, other.counts) / other.worth.sum().sqrt()
    if float(mean(gain, other.counts)) > _CLEAR * float(error):
        return LocalGaussians(shard, Regions(shard, _MOST_ROWS))
    return found


def shared_out(rows: Tensor, worth: Tensor, shares: Tensor) -> Tensor:
    """The share (n, j) of each row in each region; regions of few rows are left out."""
    for _ in range(_ROUNDS):
        size = worth @ shares
        shares = shares[:, size > _FEW * rows.shape[1]] if len(size) > 1 else shares
        if shares.shape[1] < 2:
            return torch.ones_like(rows[:, :1])
        own, before = worth[:, None] * shares, shares
        joint = torch.stack([gaussian_of(rows, column).evaluate(rows) + column.sum().log() for column in own.T], 1)
        shares = joint.softmax(1)
        if float(worth @ (shares - before).abs().sum(1)) < _ENDED * float(worth.sum()):
            break
    return shares


def _parts(rows: Tensor, own: Tensor, orders: Tensor | None) -> tuple[list[Copies], list[int]]:
    """The densities of the regions, from what rows are worth in each, (n, j), and which regions they are of.

    With orders (j, d) of columns all are copies of each other by these.
    """
    if own.shape[1] == 1:
        d = rows.shape[1]
        return [Copies(Edgeworth(rows, own[:, 0]), rows.new_zeros(1, d), torch.arange(d, device=rows.device)[None])], [0]
    gaussians, size = [_core(rows, column) for column in own.T], own.sum(0)
    parts, found = [], []
    for group in groups(gaussians, size.tolist()) if orders is None else [list(enumerate(orders))]:
        first = gaussians[group[0][0]]
        lower = torch.linalg.cholesky(first.covariances[0])
        numbers, own_orders = [j for j, _ in group], torch.stack([order for _, order in group])
        in_frame = torch.stack([gaussians[j].means[0][order] for j, order in group])
        white = torch.linalg.solve_triangular(lower, (in_frame - first.means[0]).T, upper=False).T
        centres = shrunk(white, size[numbers]) @ lower.T + first.means[0] if len(group) > 1 else in_frame
        kept = [own[:, j] > _NONE * own.max() for j in numbers]
        shifts = torch.cat([(rows[k] - gaussians[j].means[0])[:, order] for k, (j, order) in zip(kept, group, strict=True)])
        base = Edgeworth(shifts, torch.cat([own[k, j] for k, j in zip(kept, numbers, strict=True)]))
        parts.append(Copies(base, centres.gather(1, own_orders.argsort(1)), own_orders))
        found += numbers
    return parts, found


def _core(rows: Tensor, worth: Tensor) -> Gaussian:
    """The Gaussian of rows without the outermost: which of two regions has some lone rows far from both is chance."""
    whole = gaussian_of(rows, worth)
    order = whole.evaluate(rows).argsort(descending=True)
    inner = order[worth[order].cumsum(0) <= _CORE * worth.sum()]
    return gaussian_of(rows[inner], worth[inner])


def gaussian_of(rows: Tensor, worth: Tensor) -> Gaussian:
    """The Gaussian of rows (n, d) by what they are worth."""
    covariance = rows.T.cov(correction=0, aweights=worth).reshape([rows.shape[1]] * 2)
    floor = _FLOOR * torch.diag(rows.var(0))
    return Gaussian(mean(rows, worth), covariance + floor)
