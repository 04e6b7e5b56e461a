"""A Gaussian with what its skewness is: the density of draws that are nearly Gaussian."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.arrays import as_points, as_tensor, like
from disco_samplers.draws import align, evenly, names_of
from disco_samplers.estimators import mean
from disco_samplers.posteriors.directions import Exponents, directions
from disco_samplers.reference import Gaussian
from disco_samplers.types import ArrayLike

_BATCHES = 16
"""Runs of successive rows whose cumulants' scatter says how noisy the cumulants of all rows are."""

_CLEAR = 2.0
"""Squared standard errors that cumulants must have together to be kept: those of less explain nothing in other draws."""

_SINGULAR = 1e-12
"""Share of a column's variance that other columns must leave open for the covariance to be taken as it is."""


class Edgeworth:
    r"""The Gaussian of some draws' moments, with the densities along its skewest directions and third cumulants between them.

    .. math::
        \log f = \log g + \sum_a h_a(u_a) + \tfrac16 T_{ijk}\, c_i c_j c_k - \tfrac12 T_{ijj}\, c_i
        - \tfrac14 T_{ikl} S_{jkl}\, u_i u_j, \qquad c = u \min(1, R / |u|), \qquad u = W L^{-1} (x - \mu)

    W are the directions (:func:`~disco_samplers.posteriors.directions.directions`), h polynomials of the highest likelihood
    (:class:`~disco_samplers.posteriors.directions.Exponents`), S the sample's cumulants :math:`E[u_i u_j u_k]`, and T what is
    kept of those with different indices. The quadratic term is what score matching adds: with it
    :math:`E[\nabla \log f\, u^\top] = -1` over the draws, as for their own density. Beyond R, the largest radius of a draw, the
    cubic term is constant along rays, so that f can be normalised. (It is not; to first order in T its integral is 1.)

    T is kept where two indices agree, and where none do, if :math:`|T|^2` is more than twice its squared standard error v from
    batch means, which holds for successive draws of a chain too. Where no h is likely enough, :math:`T_{aaa}` is kept by the
    part :math:`(1 - v / |T|^2)_+`. Draws whose columns are independent, in whatever frame, keep little of T, and a Gaussian's
    none of h, so that little of its noise gets into f.

    Arguments:
        draws: (n, d), n > d.
        counts: (n,), how many independent draws each is worth; moments are weighted by them.

    Raises:
        TypeError: if draws or counts are not numeric.
        ValueError: if there are not more draws than columns, all rows are the same, a value is not finite, or ``counts`` are
            not one number a row, zero or positive.

    References:
        McCullagh, *Tensor Methods in Statistics*, 1987, section 5.3, the expansion; James, Stein, *Estimation with quadratic
        loss*, 1961, the shrinkage.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> x = torch.randn(4000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> x[:, 0] = (0.2 * x[:, 0]).exp()  # log-normal, whose density falls more slowly to the right
        >>> f, y = Edgeworth(x), torch.tensor([[1.5, 0.0]], dtype=torch.float64)
        >>> bool(f.score(y)[0, 0] > f.gaussian.score(y)[0, 0])
        True
    """

    def __init__(self, draws: ArrayLike, counts: ArrayLike | None = None) -> None:
        self.names = names_of(draws)
        draws = rows_of(draws, "draws")
        counts = None if counts is None else _worth(counts, draws)
        if counts is not None:  # a run of rows that are worth nothing has no cumulants
            draws, counts = draws[counts > 0], counts[counts > 0]
        covariance = draws.T.cov(correction=0, aweights=counts).reshape([draws.shape[1]] * 2)
        lower, failed = torch.linalg.cholesky_ex(covariance)
        singular = failed or (lower.diagonal().square() <= _SINGULAR * covariance.diagonal()).any()
        lower = preconditioners.factor(evenly(draws, counts)) if singular else lower
        self.mean = mean(draws, counts)
        self.gaussian = Gaussian(self.mean, lower @ lower.T)
        z = torch.linalg.solve_triangular(lower, (draws - self.mean).T, upper=False).T
        worth = z.new_ones(len(z)) if counts is None else counts
        batches = min(_BATCHES, len(z))
        shares = torch.stack([part.sum() for part in worth.tensor_split(batches)]) / worth.sum()
        of_batches = torch.stack(
            [_hermite(part, own) for part, own in zip(z.tensor_split(batches), worth.tensor_split(batches), strict=True)]
        )
        found = torch.einsum("b,bijk->ijk", shares, of_batches)
        turn = directions(found)
        self.root = lower @ turn.T  # its columns are the directions
        self._inverse = torch.linalg.inv(self.root)
        self._height = float(self.gaussian.evaluate(self.mean[None]))
        u = z @ turn.T
        self.radius = float(u.norm(dim=1).max())
        self.along = Exponents(u, worth)
        found, of_batches = _turned(found, turn), _turned(of_batches, turn)
        scatter = torch.einsum("b,bijk->ijk", shares, (of_batches - found).square())
        noise = scatter * (shares.square().sum() / (1 - shares.square().sum()))
        self.cumulants = torch.zeros_like(found)
        for kind in _kinds(found):
            if float(found[kind].square().sum()) > _CLEAR * float(noise[kind].sum()):
                self.cumulants[kind] = found[kind]
        own = (self.along.flat,) * 3
        if len(own[0]):
            kept = 1 - noise[own].sum() / found[own].square().sum().clamp_min(1e-300)
            self.cumulants[own] = kept.clamp_min(0.0) * found[own]
        self._between = bool(self.cumulants.any())
        self.trace = self.cumulants.diagonal(dim1=1, dim2=2).sum(-1)
        slopes = self.along.value_and_slope(u)[1]
        product = 0.5 * self.cumulants.flatten(1) @ found.flatten(1).T + slopes.T @ (u * worth[:, None]) / worth.sum()
        self.curvature = 0.5 * (product + product.T)

    def white(self, points: Tensor) -> Tensor:
        """u (m, d) of points (m, d)."""
        white: Tensor = (points - self.mean) @ self._inverse.T
        return white

    def white_score(self, u: Tensor) -> Tensor:
        """The gradient of log f with respect to u, (m, d)."""
        return self._correction(u)[1] - u

    def log_prob_and_score(self, points: ArrayLike) -> tuple[Any, Any]:
        """Log-density (m,), normalised to first order, and score (m, d) at points (m, d)."""
        points = align(points, "points", self.names)
        y = as_points(points, "points", len(self.mean), self.mean.device).to(self.mean)
        u = self.white(y)
        value, gradient = self._correction(u)
        return like(value - 0.5 * u.square().sum(1) + self._height, points), like((gradient - u) @ self._inverse, points)

    def log_prob(self, points: ArrayLike) -> Any:
        """Log-density (m,), normalised to first order, at points (m, d)."""
        return self.log_prob_and_score(points)[0]

    def score(self, points: ArrayLike) -> Any:
        """Gradient of the log-density, (m, d) at points (m, d)."""
        return self.log_prob_and_score(points)[1]

    __call__ = score

    def _correction(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """What log f adds to log g (m,), and its gradient (m, d)."""
        pull = u @ self.curvature
        along, slopes = self.along.value_and_slope(u)
        value, gradient = along - 0.5 * (u * pull).sum(1), slopes - pull
        if not self._between:
            return value, gradient
        shrink = (self.radius / u.norm(dim=1, keepdim=True).clamp_min(1e-300)).clamp_max(1.0)
        c = u * shrink
        twice = torch.zeros_like(c)  # T c c; one slice after the other, for (m, d, d) may be large
        for i, part in enumerate(self.cumulants):
            twice = twice + c[:, i : i + 1] * (c @ part)
        slope = 0.5 * (twice - self.trace)
        radial = u * (slope * u).sum(1, keepdim=True) / u.square().sum(1, keepdim=True).clamp_min(1e-300)
        value = value + (c * twice).sum(1) / 6 - 0.5 * c @ self.trace
        return value, gradient + shrink * torch.where(shrink < 1, slope - radial, slope)


def rows_of(draws: ArrayLike, name: str, device: torch.device | None = None) -> Tensor:
    """Draws (n, d) in float64 from which a covariance can be had.

    Raises:
        TypeError: if they are not numeric.
        ValueError: if there are not more draws than columns, all rows are the same, a value is not finite, or a tensor is on
            another device.
    """
    x = as_points(draws, name, device=device).double()
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d), got {tuple(x.shape)}")
    if len(x) <= x.shape[1]:
        raise ValueError(f"{name} has {len(x)} draws of {x.shape[1]} parameters: more draws than parameters are needed")
    if (x == x[:1]).all():
        raise ValueError(f"{name} has no variance: all its rows are the same; at least two distinct rows are needed")
    return x


def _worth(counts: ArrayLike, draws: Tensor) -> Tensor:
    found = as_tensor(counts, "counts").to(draws)
    if found.shape != draws.shape[:1]:
        raise ValueError(f"counts must have one value for each of the {len(draws)} rows, got shape {tuple(found.shape)}")
    if not (found >= 0).all() or not 0 < float(found.sum()) < torch.inf:
        raise ValueError("counts must be finite and not negative, and not all zero")
    return found


def _hermite(u: Tensor, counts: Tensor | None = None) -> Tensor:
    """The mean of the third Hermite polynomials of rows (n, d), (d, d, d): E[u u u] less what a shift of the mean does."""
    share = u.new_full((len(u),), 1 / len(u)) if counts is None else counts / counts.sum()
    third = torch.stack([(u * (share * column)[:, None]).T @ u for column in u.T])
    return third - _symmetric(mean(u, counts))


def _turned(third: Tensor, rows: Tensor) -> Tensor:
    """Tensors (..., d, d, d) in the coordinates along orthonormal rows (d, d)."""
    for _ in range(3):
        third = (third @ rows.T).movedim(-1, -3)
    return third


def _kinds(third: Tensor) -> list[Tensor]:
    """Where two indices of (d, d, d) agree, and where none do."""
    i, j, k = torch.meshgrid([torch.arange(len(third), device=third.device)] * 3, indexing="ij")
    agree = (i == j).int() + (j == k).int() + (i == k).int()
    return [agree == 1, agree == 0]


def _symmetric(a: Tensor) -> Tensor:
    """a_i 1_jk + a_j 1_ik + a_k 1_ij."""
    product = a[:, None, None] * torch.eye(len(a), dtype=a.dtype, device=a.device)
    return product + product.movedim(0, 1) + product.movedim(0, 2)
