"""A density that is drawn from at once and lies close to an estimate: what independent proposals are made of."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from disco_samplers.estimators.base import draw_rows
from disco_samplers.estimators.circular import CircularEstimator
from disco_samplers.estimators.transformed import TransformedEstimator
from disco_samplers.model import Whitening, log_standard_normal
from disco_samplers.randomness import generator_on

_COMPONENTS = 512
_MOST_ROWS = 2**14
"""Rows among which neighbours are looked for."""

_NEIGHBOURS = 50
FREEDOM = 7
"""Degrees of freedom of each component."""

_WIDER = 1.1
_GLOBAL = 0.2
"""Share of the one component that has the moments of all rows, so that no region is left without proposals.

Of the importance weights of an estimate over this mixture, the effective share of proposals was .2 or more for posteriors,
funnels, bananas, modes far apart, heavy tails and ridges in 2 to 25 dimensions. Rows with the covariance of their neighbours
around them, a kernel density estimate, gave .1 in ten dimensions and .03 in 25: they are wider than the density by what the
kernel adds, these are not.
"""

_TILE = 2**19


class Rows(Protocol):
    """Rows (n, d) with what they are worth and their whitening, as estimators have them."""

    @property
    def samples(self) -> Tensor: ...
    @property
    def counts(self) -> Tensor | None: ...
    @property
    def whitening(self) -> Whitening: ...


class NeighbourMixture:
    r"""A mixture of Student-t laws, each with mean and covariance of a row's 50 nearest rows.

    .. math:: q(z) = 0.8 \sum_i p_i\, t_7(z;\, m_i,\, 1.1\, S_i) + 0.2\, t_7(z;\, m,\, 1.1\, S)

    in whitened coordinates, with weights p_i by what a row is worth and m, S of all rows. In directions of no variance it is
    the estimate's own Gaussian.

    Arguments:
        core: an estimator of one data set, whose rows these are, or what else has rows.
        seed: of the choice of up to 512 rows; give this or ``generator``.
        generator: source of randomness.

    References:
        West, *Approximating posterior distributions by mixtures*, JRSS B 1993, for mixtures of local moments as proposals.
    """

    def __init__(self, core: Rows, *, seed: int | None = None, generator: torch.Generator | None = None) -> None:
        generator = generator_on(core.samples.device, seed=seed, generator=generator)
        self.whitening, rank = core.whitening, core.whitening.rank
        self.dtype = core.samples.dtype
        counts, rows = core.counts, core.samples
        if len(rows) > _MOST_ROWS:
            kept = draw_rows(rows, counts, _MOST_ROWS, generator, replacement=False)
            rows, counts = rows[kept], None if counts is None else counts[kept]
        white = self.whitening(rows[None])[0, :, :rank]
        worth = torch.ones_like(white[:, 0]) if counts is None else counts.to(white.dtype)
        most = min(_COMPONENTS, max(1, 2**24 // rank**2))
        chosen = torch.arange(len(white), device=white.device)
        if len(white) > most:
            chosen = draw_rows(white, counts, most, generator, replacement=False)
        local = [
            _moments(white[near], worth[near])
            for part in white[chosen].split(max(1, _TILE // max(len(white), _NEIGHBOURS * rank)))
            for near in [torch.cdist(part, white).topk(min(_NEIGHBOURS, len(white)), largest=False).indices]
        ]
        means, covariances = (torch.cat(values) for values in zip(*[*local, _moments(white[None], worth[None])], strict=True))
        self.weights = torch.cat([(1 - _GLOBAL) * worth[chosen] / worth[chosen].sum(), worth.new_tensor([_GLOBAL])])
        self.means, self.factors = means, torch.linalg.cholesky(_WIDER * covariances)
        eye = torch.eye(rank, dtype=white.dtype, device=white.device)
        self._inverses = torch.linalg.solve_triangular(self.factors, eye.expand_as(self.factors), upper=False)
        self._offsets = self._inverses @ means[..., None]
        constant = math.lgamma((FREEDOM + rank) / 2) - math.lgamma(FREEDOM / 2) - rank / 2 * math.log(FREEDOM * math.pi)
        self._log_scale = constant + self.weights.log() - self.factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def laws(self) -> tuple[Tensor, Tensor]:
        """Means (c, d) and roots (c, d, d) of the scale matrices of the components, in the coordinates of the rows."""
        (components, rank), d = self.means.shape, self.whitening.matrix.shape[-1]
        whole = torch.eye(d, dtype=self.means.dtype, device=self.means.device).repeat(components, 1, 1)
        whole[:, :rank, :rank] = self.factors
        means = torch.nn.functional.pad(self.means, (0, d - rank))
        back = torch.linalg.inv(self.whitening.matrix[0].T)
        return self.whitening.center[0] + means @ back.T, back @ whole

    @torch.no_grad()
    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density (m,) at points (m, d)."""
        components, rank = self.means.shape
        z = self.whitening(points[None])[0]
        parts = []
        for part in z[:, :rank].split(max(1, _TILE // (components * rank))):
            distance = (self._inverses.flatten(0, 1) @ part.T).view(components, rank, -1) - self._offsets
            log_t = -(FREEDOM + rank) / 2 * (distance.square().sum(1) / FREEDOM).log1p()
            parts.append((log_t + self._log_scale[:, None]).logsumexp(0))
        null = z[:, rank:]
        flat = log_standard_normal(null.square().sum(-1), null.shape[-1])
        return torch.cat(parts) + flat + self.whitening.log_det[0]

    @torch.no_grad()
    def sample(self, num_samples: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draws (num_samples, d); give ``seed`` or ``generator``."""
        generator = generator_on(self.means.device, seed=seed, generator=generator)
        d = self.whitening.matrix.shape[-1]
        which = torch.multinomial(self.weights, num_samples, replacement=True, generator=generator)
        options: dict[str, Any] = {"dtype": self.means.dtype, "device": self.means.device, "generator": generator}
        z = torch.randn(num_samples, d, **options)
        rank = self.means.shape[1]
        scale = (torch.randn(num_samples, FREEDOM, **options).square().mean(1, keepdim=True)).rsqrt()
        z[:, :rank] = self.means[which] + scale * (self.factors[which] @ z[:, :rank, None])[..., 0]
        points: Tensor = self.whitening.center[0] + torch.linalg.solve(self.whitening.matrix[0].T, z.T).T
        return points.to(self.dtype)


def proposal(estimator: Any, *, seed: int | None = None, generator: torch.Generator | None = None) -> Any:
    """The mixture of an estimator's rows, ``sample`` and ``log_prob``, in the coordinates of its points.

    Arguments:
        estimator: of one data set.
        seed: of the choice of rows; give this or ``generator``.
        generator: source of randomness.
    """
    return _read_as(estimator, NeighbourMixture(estimator.core, seed=seed, generator=generator))


def _read_as(estimator: Any, density: NeighbourMixture) -> Any:
    """A density of the core's points through what is wrapped around the core."""
    if estimator is estimator.core:
        return density
    inner = _read_as(estimator.base, density)
    if isinstance(estimator, CircularEstimator):
        return CircularEstimator(inner, estimator.layout)
    return TransformedEstimator(inner, estimator.transform) if isinstance(estimator, TransformedEstimator) else inner


def _moments(rows: Tensor, worth: Tensor) -> tuple[Tensor, Tensor]:
    """Means (b, d) and covariances (b, d, d) of rows (b, k, d), the correlations shrunk by k / (k + d)."""
    k, d = rows.shape[1:]
    share = (worth / worth.sum(1, keepdim=True))[..., None]
    mean = (share * rows).sum(1)
    centred = rows - mean[:, None]
    covariance = (share * centred).mT @ centred / (1 - share.square().sum(1)).clamp_min(1 / k)[..., None]
    diagonal = covariance.diagonal(dim1=-2, dim2=-1)
    # Among neighbours that are all alike, and in columns that do not vary among them, there still is a width.
    floor = 1e-6 * diagonal.mean(-1, keepdim=True) + 1e-12
    return mean, k / (k + d) * covariance + torch.diag_embed(d / (k + d) * diagonal + floor)
