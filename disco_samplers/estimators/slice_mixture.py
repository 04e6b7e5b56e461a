"""Slices of many free columns: a mixture close to them that is drawn from at once, and integrals by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.estimators.moments import moments
from disco_samplers.estimators.proposal import FREEDOM, NeighbourMixture
from disco_samplers.estimators.slices import Slices
from disco_samplers.estimators.transforms import SupportTransform
from disco_samplers.model import Whitening, whiten

_TILE = 2**19
"""Numbers held at a time."""


class _Rows(NamedTuple):
    """What a mixture is made of."""

    samples: Tensor
    counts: Tensor | None
    whitening: Whitening


class Weighted(NamedTuple):
    """Draws (b, n, k) of the free columns with log-weights (b, n): their means are integrals over the slices."""

    draws: Tensor
    log_weights: Tensor

    @property
    def log_z(self) -> Tensor:
        """Logs of the integrals, (b,)."""
        return self.log_weights.logsumexp(1) - math.log(self.log_weights.shape[1])

    @property
    def error(self) -> Tensor:
        """Their standard errors, (b,)."""
        relative = (self.log_weights - self.log_z[:, None]).exp()
        return relative.std(1) / math.sqrt(self.log_weights.shape[1])

    def moments(self, periods: Sequence[float] | None = None) -> tuple[Tensor, Tensor]:
        """Means and variances of the free columns, both (b, k); ``periods`` as of :func:`.moments.moments`."""
        return moments(self.draws, torch.softmax(self.log_weights, 1), periods)


class SliceMixture:
    r"""The conditional laws of a :class:`NeighbourMixture`, in the real coordinates of the columns' supports.

    Given :math:`x`, a component :math:`t_\nu(m, S)` of weight p is a Student-t law of :math:`\nu + g` degrees of freedom with

    .. math:: p' \propto p\, t_\nu(x; m_x, S_{xx}), \qquad m_y + S_{yx} S_{xx}^{-1} (x - m_x), \qquad
        \frac{\nu + \delta}{\nu + g} \big(S_{yy} - S_{yx} S_{xx}^{-1} S_{xy}\big), \qquad
        \delta = (x - m_x)^\top S_{xx}^{-1} (x - m_x).

    Arguments:
        slices: of b given values.
        rows: (n, d).
        counts: (n,), how many draws each row is worth; one if not given.
        change: of each column to the real line.
        generator: chooses the rows that components lie at.

    References:
        Ding, *On the conditional distribution of the multivariate t distribution*, The American Statistician 2016.
    """

    def __init__(
        self,
        slices: Slices,
        rows: Tensor,
        counts: Tensor | None,
        change: SupportTransform,
        generator: torch.Generator | None,
    ) -> None:
        self.slices, free, given = slices, slices.free, slices.given
        self.change, to_given = (SupportTransform([change.forms[i] for i in columns]) for columns in (free, given))
        z = change(rows.double())
        mixture = NeighbourMixture(
            _Rows(z, counts, whiten(z[None], None if counts is None else counts[None])), generator=generator
        )
        means, roots = mixture.laws()
        g, self.freedom = len(given), FREEDOM + len(given)
        # With a the given columns' rows of a root, turned such that only the first g of its columns are not zero.
        turn, triangle = torch.linalg.qr(roots[:, given].mT, mode="complete")
        triangle, turned = triangle[:, :g], roots[:, free] @ turn
        known = to_given(slices.values)[None] - means[:, None, given]
        inner = torch.linalg.solve_triangular(triangle.mT, known.mT, upper=False)  # (c, g, b)
        distance = inner.square().sum(1).T
        volume = triangle.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        log_t = -self.freedom / 2 * (distance / FREEDOM).log1p() - volume
        self.log_weights = torch.log_softmax(mixture.weights.log() + log_t, 1)
        self.means = means[:, free] + (turned[..., :g] @ inner).movedim(2, 0)
        self.widths = ((FREEDOM + distance) / self.freedom).sqrt()
        self.roots = turned[..., g:]
        self._inverses = torch.linalg.inv(self.roots)

    @torch.no_grad()
    def weighted(self, num_samples: int, generator: torch.Generator | None) -> Weighted:
        """Draws, weighted by the slices' density over the mixture's."""
        found = [self._weighted(i, num_samples, generator) for i in range(len(self.means))]
        return Weighted(*(torch.stack(parts) for parts in zip(*found, strict=True)))

    def _weighted(self, i: int, num_samples: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        options: dict[str, Any] = {"dtype": self.means.dtype, "device": self.means.device, "generator": generator}
        which = torch.multinomial(self.log_weights[i].exp(), num_samples, replacement=True, generator=generator)
        noise = torch.randn(num_samples, self.means.shape[-1], 1, **options)
        heavy = torch.randn(num_samples, self.freedom, **options).square().mean(1, keepdim=True).rsqrt()
        z = self.means[i, which] + self.widths[i, which, None] * heavy * (self.roots[which] @ noise)[..., 0]
        y = self.change.inv(z)
        row = torch.tensor([i], device=z.device)
        log_density = self.slices.log_prob(y[None], row)[0].double() - self.change.log_abs_det_jacobian(y, z)
        return y, log_density.nan_to_num(nan=-math.inf) - self._log_prob(i, z)

    def _log_prob(self, i: int, z: Tensor) -> Tensor:
        """The mixture's log-density (n,) at z (n, k)."""
        (c, k), freedom = self.means.shape[1:], self.freedom
        offsets = self._inverses @ self.means[i][..., None]
        constant = math.lgamma((freedom + k) / 2) - math.lgamma(freedom / 2) - k / 2 * math.log(freedom * math.pi)
        scale = constant + self.log_weights[i] - torch.linalg.slogdet(self.roots)[1] - k * self.widths[i].log()
        parts = []
        for part in z.split(max(1, _TILE // (c * k))):
            distance = ((self._inverses.flatten(0, 1) @ part.T).view(c, k, -1) - offsets).square().sum(1)
            log_t = -(freedom + k) / 2 * (distance / (self.widths[i, :, None].square() * freedom)).log1p()
            parts.append((log_t + scale[:, None]).logsumexp(0))
        return torch.cat(parts)
