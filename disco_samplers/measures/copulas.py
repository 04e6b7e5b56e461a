r"""Laws of normal scores whose mutual information is known: a normal one, and Student's t.

Both depend on linear maps of either side by nothing but canonical correlations, and Student's t on its degrees of freedom:

.. math:: I = -\frac12 \sum_k \log(1 - \rho_k^2) + h(\nu) + h(\nu + p + q) - h(\nu + p) - h(\nu + q), \qquad
    h(v) = \log \Gamma(v / 2) - \frac{v}{2} \psi(v / 2)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.special import digamma, ndtri

_FLAT, _CLOSE = 1e-9, 1e-12
"""Variance of normal scores below which a direction has none; least of 1 - rho^2."""

_FREEDOM = 0.5, 100.0
"""Degrees of freedom between which they are looked for: with more a law is normal as far as anything can tell."""

_STEPS, _PASSES = 14, 8
"""Steps of the search for degrees of freedom; passes by which a covariance is found."""


class Copula(NamedTuple):
    """Two sides in canonical coordinates (n, p) and (n, q), the correlations of their pairs, and degrees of freedom."""

    x: Tensor
    y: Tensor
    correlations: Tensor
    freedom: float = math.inf

    @classmethod
    def of(cls, x: Tensor, y: Tensor, share: Tensor, freedom: float = math.inf) -> Copula:
        """Of normal scores that count by their share.

        Raises:
            ValueError: if a side does not vary.
        """
        weight = share
        if math.isfinite(freedom):
            p = x.shape[1]
            rows = student_scores(torch.cat([x, y], 1), freedom)
            weight = share * _weights(rows, share, freedom)
            x, y = rows[:, :p], rows[:, p:]
        a, b = _white(x, weight, "x"), _white(y, weight, "y")
        left, correlations, right = torch.linalg.svd(a.T @ (weight[:, None] * b))
        return cls(a @ left, b @ right.mT, correlations.clamp_max(1.0), freedom)

    @property
    def plug_in(self) -> float:
        """Mutual information of laws of these correlations."""
        return float(-0.5 * (1 - self.correlations.square()).clamp_min(_CLOSE).log().sum()) + self._common

    @property
    def _common(self) -> float:
        """What the scale that both sides have in common tells of one by the other."""
        if math.isinf(self.freedom):
            return 0.0
        p, q = self.x.shape[1], self.y.shape[1]
        half = torch.tensor([0.0, p + q, p, q], dtype=torch.float64, device="cpu").add(self.freedom) / 2
        parts = (torch.lgamma(half) - half * digamma(half)).tolist()
        return float(parts[0] + parts[1] - parts[2] - parts[3])

    def bias(self, worth: float) -> float:
        """By how much the mutual information of correlations of so many draws comes out high, for normal laws exactly.

        Raises:
            ValueError: if they are worth fewer draws than there are columns.
        """
        p, q = self.x.shape[1], self.y.shape[1]
        if worth <= p + q + 1:
            raise ValueError(
                f"x and y have {p} and {q} columns that vary, the rows are worth {worth:.0f} independent draws: "
                f"more than {p + q + 1} are needed"
            )
        if math.isfinite(self.freedom):
            # The variance of a correlation is larger by as much.
            worth = max(worth * (self.freedom + p + q) / (self.freedom + p + q + 2), p + q + 1.5)
        degrees = torch.arange(p + q, dtype=torch.float64, device="cpu")
        logarithms = digamma((worth - 1 - degrees) / 2)
        return float(logarithms[:p].sum() + logarithms[:q].sum() - logarithms.sum()) / 2

    def pointwise(self) -> Tensor:
        """What each row adds to it, (n,): the log of the joint density over both sides' own."""
        k = len(self.correlations)
        u, v, rho = self.x[:, :k], self.y[:, :k], self.correlations
        rest = (1 - rho.square()).clamp_min(_CLOSE)
        # By how much the joint quadratic form is larger than the sum of both sides'.
        more = ((rho.square() * (u.square() + v.square()) - 2 * rho * u * v) / rest).sum(1)
        if math.isinf(self.freedom):
            return -(rest.log().sum() + more) / 2
        p, q, nu = self.x.shape[1], self.y.shape[1], self.freedom
        own = self.x.square().sum(1), self.y.square().sum(1)
        rows: Tensor = (nu + p) / 2 * torch.log1p(own[0] / nu) + (nu + q) / 2 * torch.log1p(own[1] / nu)
        rows = rows - (nu + p + q) / 2 * torch.log1p((own[0] + own[1] + more) / nu) - rest.log().sum() / 2
        return (
            rows + math.lgamma((nu + p + q) / 2) + math.lgamma(nu / 2) - math.lgamma((nu + p) / 2) - math.lgamma((nu + q) / 2)
        )

    def draw(self, least: float, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normal scores (n, p) and (n, q) of draws from it, with correlations shrunk to a mutual information no larger."""
        (p, q), k, like = (self.x.shape[1], self.y.shape[1]), len(self.correlations), self.x
        rho = self._shrunk(least)
        u, v = (torch.randn(n, d, generator=generator, device=generator.device, dtype=like.dtype).to(like) for d in (p, q))
        v[:, :k] = rho * u[:, :k] + (1 - rho.square()).sqrt() * v[:, :k]
        if math.isinf(self.freedom):
            return u, v
        half = torch.full((n, 1), self.freedom / 2, dtype=torch.float64, device=generator.device)
        scale = (self.freedom / (2 * torch._standard_gamma(half, generator=generator))).sqrt().to(like)
        return normal_scores_of(u * scale, self.freedom), normal_scores_of(v * scale, self.freedom)

    def _shrunk(self, least: float) -> Tensor:
        low, high = 0.0, 1.0
        for _ in range(50):
            factor = (low + high) / 2
            above = self._replace(correlations=factor * self.correlations).plug_in > max(least, self._common)
            low, high = (low, factor) if above else (factor, high)
        return low * self.correlations


def freedom_of(x: Tensor, y: Tensor, share: Tensor, generator: torch.Generator) -> float:
    """Degrees of freedom of Student's t where it tells more of one side by the other than a normal law does, else infinity.

    They are the likeliest of all rows; whether they tell more is seen on each half by the correlations of the other.
    """
    rows = torch.cat([x, y], 1)
    n, d = rows.shape
    if n < 4 * d or float(torch.linalg.eigvalsh(rows.T @ (share[:, None] * rows))[0]) < 1e-6:
        return math.inf
    low, high = (math.log(end) for end in _FREEDOM)
    golden = (math.sqrt(5) - 1) / 2
    ends = [high - golden * (high - low), low + golden * (high - low)]
    found = [_likelihood(rows, share, math.exp(end)) for end in ends]
    for _ in range(_STEPS):
        if found[0] > found[1]:
            high, ends, found = ends[1], [0.0, ends[0]], [0.0, found[0]]
            ends[0] = high - golden * (high - low)
            found[0] = _likelihood(rows, share, math.exp(ends[0]))
        else:
            low, ends, found = ends[0], [ends[1], 0.0], [found[1], 0.0]
            ends[1] = low + golden * (high - low)
            found[1] = _likelihood(rows, share, math.exp(ends[1]))
    freedom = math.exp((low + high) / 2)
    order = torch.randperm(n, generator=generator, device=generator.device).to(x.device)
    gains, weights = [], []
    for here, there in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        gains.append(_held_out(x, y, share, here, there, freedom) - _held_out(x, y, share, here, there, math.inf))
        weights.append(share[there])
    gain, weight = torch.cat(gains), torch.cat(weights)
    mean = float(weight @ gain)
    error = float((weight.square() * (gain - mean).square()).sum()) ** 0.5
    return freedom if mean > error and freedom < 0.95 * _FREEDOM[1] else math.inf


def _held_out(x: Tensor, y: Tensor, share: Tensor, here: Tensor, there: Tensor, freedom: float) -> Tensor:
    """What each row there adds by the law of the rows here."""
    weight = share.new_zeros(len(share))
    weight[here] = share[here] / share[here].sum()
    return Copula.of(x, y, weight, freedom).pointwise()[there]


def _likelihood(rows: Tensor, share: Tensor, freedom: float) -> float:
    """Mean log-density of the copula of normal scores, beside what all have in common."""
    d = rows.shape[1]
    z = student_scores(rows, freedom)
    weight = share * _weights(z, share, freedom)
    covariance = z.T @ (weight[:, None] * z)
    scale = covariance.diagonal().sqrt()
    correlation = covariance / scale / scale[:, None]
    form = (z * torch.linalg.solve(correlation, z.T).T).sum(1)
    joint = math.lgamma((freedom + d) / 2) - math.lgamma(freedom / 2) - torch.logdet(correlation) / 2
    joint = joint - (freedom + d) / 2 * torch.log1p(form / freedom)
    alone = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - (freedom + 1) / 2 * torch.log1p(z.square() / freedom)
    return float(share @ (joint - alone.sum(1)))


def _weights(rows: Tensor, share: Tensor, freedom: float) -> Tensor:
    """How much each of a Student-t law's rows (n, d) counts in its scale matrix, (n,), by the EM algorithm."""
    d = rows.shape[1]
    weight = torch.full_like(share, freedom / (freedom + 2))
    for _ in range(_PASSES):
        covariance = rows.T @ ((share * weight)[:, None] * rows)
        form = (rows * torch.linalg.solve(covariance, rows.T).T).sum(1)
        weight = (freedom + d) / (freedom + form)
    return weight


def student_scores(scores: Tensor, freedom: float) -> Tensor:
    """Normal scores as Student-t ones, of the same ranks."""
    z, t = _table(freedom, scores)
    return scores.sign() * _interpolated(scores.abs(), z, t)


def normal_scores_of(rows: Tensor, freedom: float) -> Tensor:
    """Student-t scores as normal ones."""
    z, t = _table(freedom, rows)
    return rows.sign() * _interpolated(rows.abs(), t, z)


def _table(freedom: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Quantiles above the median of a normal law and of Student's t, by quadrature from the tail inwards."""
    s = torch.linspace(0, 40, 8001, dtype=torch.float64, device="cpu")
    t = s.sinh()
    density = s.cosh() * (1 + t.square() / freedom) ** (-(freedom + 1) / 2)
    pieces = (density[1:] + density[:-1]) / 2
    tail = torch.cat([pieces.flip(0).cumsum(0).flip(0), pieces.new_zeros(1)])
    z = -ndtri(tail / tail[0] / 2)
    kept = z < 8
    return z[kept].to(like), t[kept].to(like)


def _interpolated(x: Tensor, at: Tensor, values: Tensor) -> Tensor:
    i = torch.searchsorted(at, x.contiguous()).clamp(1, len(at) - 1)
    found: Tensor = values[i - 1] + (x - at[i - 1]) / (at[i] - at[i - 1]) * (values[i] - values[i - 1])
    return found


def _white(x: Tensor, weight: Tensor, name: str) -> Tensor:
    centred = x - weight @ x / weight.sum()
    values, vectors = torch.linalg.eigh(centred.T @ (weight[:, None] * centred))
    kept = values > _FLAT
    if not kept.any():
        raise ValueError(f"{name} does not vary: it tells nothing of anything")
    white: Tensor = centred @ (vectors[:, kept] / values[kept].sqrt())
    return white
