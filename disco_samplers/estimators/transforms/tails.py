"""Coordinates in which heavy tails are drawn in, by column or by radius."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from disco_samplers.estimators.judge import mean
from disco_samplers.estimators.transforms.base import ClosedForm
from disco_samplers.estimators.transforms.quantiles import quantile
from disco_samplers.model import whiten

_FAR = 1e150
"""Centred coordinates end here, so that their squares stay finite."""

_ROUNDS = 12
"""Of the fit of an elliptical Student-t law."""


class TailTransform(ClosedForm):
    r"""The map :math:`z = u\, g(s)` with :math:`u = (x - c) A` and

    .. math:: g(s) = \sqrt{\frac{\log(1 + \tau s)}{\tau s}}, \qquad
        s = u_k^2 \text{ for each column, or } s = |u|^2 \text{ for the radius.}

    Points near the centre stay where they are. A power tail becomes a Gaussian one: where :math:`-\log f` grows as
    :math:`\log(1 + \tau s)`, as a Student-t law's of :math:`1/\tau` degrees of freedom does, it grows as :math:`|z|^2`. The
    Jacobian has the eigenvalues :math:`1 / (g (1 + \tau s))` outwards and g across.

    Arguments:
        center: c, (d,).
        matrix: A, (d, d); diagonal for columns.
        strength: tau, positive.
        radial: whether s is the squared radius.

    References:
        Jaini, Kobyzev, Yu, Brubaker, *Tails of Lipschitz triangular flows*, ICML 2020: why a map that is to take heavy tails
        to normal ones must bend them.

    Example:
        >>> x = torch.tan(torch.linspace(-1.5, 1.5, 101, dtype=torch.float64))[:, None]  # quantiles of the Cauchy law
        >>> z = TailTransform.fit(x, 1.0, radial=False)(x)
        >>> float(z.max()) < 3
        True
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, center: Tensor, matrix: Tensor, strength: float, radial: bool) -> None:
        super().__init__()
        self.center, self.matrix, self.strength, self.radial = center, matrix, strength, radial

    @classmethod
    @torch.inference_mode(False)  # or what is made of it could not be differentiated
    def fit(cls, samples: Tensor, strength: float, *, radial: bool, counts: Tensor | None = None) -> TailTransform:
        r"""Fits centre and matrix to samples (n, d) of full rank, each worth so many independent draws (n,), or one.

        For columns they are medians and median deviations. For the radius they are those of the elliptical Student-t law of
        :math:`\nu = 1/\tau` degrees of freedom and highest likelihood, by rounds of
        :math:`c = \sum_i w_i x_i / \sum_i w_i` and :math:`(A A^T)^{-1} = \tfrac1n \sum_i w_i (x_i - c)(x_i - c)^T` with
        :math:`w_i = (\nu + d) / (\nu + |u_i|^2)`, shrunk for few rows as by
        :func:`whiten <disco_samplers.model.whitening.whiten>`.

        References:
            Kent, Tyler, Vardi, *A curious likelihood identity for the multivariate t-distribution*, 1994.
        """
        x = samples.detach().double()
        if radial:
            worth = x.new_ones(len(x), 1) if counts is None else counts.double()[:, None]
            weights = x.new_ones(len(x), 1)
            for _ in range(_ROUNDS):
                center = (worth * weights * x).sum(0) / (worth * weights).sum()
                counted = None if counts is None else counts[None]
                matrix = whiten((weights.sqrt() * (x - center))[None], counted).matrix[0]
                r2 = ((x - center) @ matrix).square().sum(-1, keepdim=True)
                weights = (1 + strength * x.shape[1]) / (1 + strength * r2)
            return cls(center, matrix, strength, radial)
        center = _median(x, counts)
        scale = _median((x - center).abs(), counts) / 0.6745
        # Most values of a column may be the same one.
        scale = torch.where(scale > 0, scale, x.std(0))
        return cls(center, torch.diag(1 / scale), strength, radial)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-volume (...,) at points x (..., d)."""
        _, s = self._centered(x)
        g, t = self._shrinkage(s), self.strength * s
        return self._log_det(g, 1 / (g * (1 + t)))

    def pull_back(self, x: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        u, s = self._centered(x)
        g, t = self._shrinkage(s), self.strength * s
        slope = 1 / (g * (1 + t))
        across = x.shape[-1] - 1 if self.radial else 0
        # d log g / ds; the difference is a series where it would cancel.
        near = t < 1e-4
        safe = torch.where(near, 1.0, t)
        bend = torch.where(near, -0.5 + 5 * t / 12, 1 / ((1 + safe) * safe.log1p()) - 1 / safe) * (self.strength / 2)
        gradient = 2 * u * ((across - 1) * bend - self.strength / (1 + t))
        if self.radial:
            outward = (slope - g) / s.clamp_min(torch.finfo(s.dtype).tiny)
            through = g * score + outward * (u * score).sum(-1, keepdim=True) * u
        else:
            through = slope * score
        return self._log_det(g, slope), (through + gradient) @ self.matrix.mT

    def _call(self, x: Tensor) -> Tensor:
        u, s = self._centered(x)
        return u * self._shrinkage(s)

    def _inverse(self, y: Tensor) -> Tensor:
        z = y.double()
        t = self.strength * (z.square().sum(-1, keepdim=True) if self.radial else z.square())
        stretch = torch.where(t > 0, torch.expm1(t.clamp_max(2 * math.log(_FAR))) / t, 1.0).sqrt()
        points: Tensor = self.center + torch.linalg.solve(self.matrix.mT, (z * stretch).mT).mT
        return points

    def _log_det(self, g: Tensor, slope: Tensor) -> Tensor:
        across = len(self.center) - 1 if self.radial else 0
        log_det: Tensor = torch.linalg.slogdet(self.matrix).logabsdet
        return (across * g.log() + slope.log()).sum(-1) + log_det

    def _centered(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u = ((x.double() - self.center) @ self.matrix).clamp(-_FAR, _FAR)
        return u, u.square().sum(-1, keepdim=True) if self.radial else u.square()

    def _shrinkage(self, s: Tensor) -> Tensor:
        t = self.strength * s
        return torch.where(t > 1e-12, t.log1p() / t.clamp_min(1e-12), 1.0).sqrt()


def _median(x: Tensor, counts: Tensor | None) -> Tensor:
    return x.median(0).values if counts is None else quantile(x, counts, x.new_tensor([0.5]))[0]


def heavy_tails(samples: Tensor, *, radial: bool, counts: Tensor | None = None) -> float:
    r"""By how many standard errors the fourth moments of samples (n, d) exceed those of a normal law.

    .. math:: \frac{\frac1n \sum_i |u_i|^4 - d (d + 2)}{\sqrt{8 d (d + 2) / n}}
        \quad\text{or}\quad \sum_k \frac{\frac1n \sum_i v_{ik}^4 - 3}{\sqrt{24 d / n}}

    with u the whitened samples, for the radius, and v the standardised ones, for columns. Where rows are worth ``counts`` (n,)
    independent draws, the means and n are over these.

    References:
        Mardia, *Measures of multivariate skewness and kurtosis with applications*, Biometrika 1970, eq. 3.12 and 3.20.

    Example:
        >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> abs(heavy_tails(x, radial=True)) < 3, heavy_tails(x.pow(3), radial=False) > 100
        (True, True)
    """
    d = samples.shape[1]
    n = len(samples) if counts is None else float(counts.sum())
    if radial:
        r2 = whiten(samples[None], None if counts is None else counts[None])(samples[None])[0].square().sum(-1)
        return float((mean(r2.square(), counts) - d * (d + 2)) / math.sqrt(8 * d * (d + 2) / n))
    x = samples.double() - mean(samples.double(), counts)
    excess = mean((x / mean(x.square(), counts).sqrt()).pow(4), counts) - 3
    return float(excess.sum() / math.sqrt(24 * d / n))
