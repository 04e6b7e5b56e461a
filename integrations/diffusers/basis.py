"""The linear basis in which high-dimensional data are carried."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from disco_samplers.arithmetic import full_precision

_ROWS_A_DIRECTION = 4
"""Samples for each direction whose variance is taken from the data as it is."""


class LinearBasis(nn.Module):
    r"""Principal directions that keep a share of the data's variance, and a Gaussian in all others.

    .. math:: x = \mu + V z + r, \qquad z \in \mathbb R^k, \quad r \perp V, \quad
        r \sim \mathcal N\big(0,\; R \Lambda R^\top + \tau^2 (I - V V^\top - R R^\top)\big)

    Only z needs a density estimate; the score of the noised rest is known exactly. The rest has its own principal
    directions R, as far as the data tell their variances (one for every four samples, V included), and one variance elsewhere.

    Arguments:
        size: number of coordinates of the data, D.
        rank: number of directions kept, k.
        rest_rank: number of directions R.

    References:
        Tipping, Bishop, *Probabilistic principal component analysis*, JRSS B 1999, eq. 8 for the variance in the others.

    Example:
        >>> x = torch.randn(100, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 2.0, 0.1, 0.1, 0.1])
        >>> basis = LinearBasis.fit(x, share=0.95)
        >>> z, rest = basis.project(x)
        >>> z.shape, torch.allclose(basis.lift(z) + rest, x, atol=1e-5)
        (torch.Size([100, 2]), True)
    """

    mean: Tensor
    components: Tensor
    rest_components: Tensor
    rest_variances: Tensor
    tail_variance: Tensor

    def __init__(self, size: int, rank: int, rest_rank: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("components", torch.zeros(rank, size))
        self.register_buffer("rest_components", torch.zeros(rest_rank, size))
        self.register_buffer("rest_variances", torch.zeros(rest_rank))
        self.register_buffer("tail_variance", torch.zeros(()))

    @classmethod
    def fit(cls, x: Tensor, share: float, most: int | None = None, counts: Tensor | None = None) -> LinearBasis:
        """The basis of data (n, D) that keeps ``share`` of the variance; with ``share=1`` the coordinates themselves.

        With ``most``, of less of the variance where that takes no more directions. With ``counts`` (n,) a row is worth so many.

        Raises:
            ValueError: if ``share`` does not lie in (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        n, size = len(x) if counts is None else round(float(counts.sum())), x.shape[1]
        if share == 1:
            with x.device:
                basis = cls(size, size).to(x)
            basis.mean, basis.components = _mean(x, counts), torch.eye(size, dtype=x.dtype, device=x.device)
            return basis
        variances, directions = _principal(x, counts)
        rank = min(int((variances.cumsum(0) / variances.sum() < share).sum()) + 1, most or size, size)
        return cls._of(_mean(x, counts), variances, directions, rank, max(rank, n // _ROWS_A_DIRECTION))

    @classmethod
    def above(cls, x: Tensor, variance: float, counts: Tensor | None = None) -> LinearBasis:
        """The principal directions of data (n, D) whose variance is above a number; it may be none of them."""
        variances, directions = _principal(x, counts)
        return cls._of(_mean(x, counts), variances, directions, int((variances > variance).sum()), len(variances))

    @classmethod
    def _of(cls, mean: Tensor, variances: Tensor, directions: Tensor, rank: int, known: int) -> LinearBasis:
        size, known = len(mean), min(known, len(variances))
        with mean.device:
            basis = cls(size, rank, known - rank).to(mean)
        basis.mean, basis.components, basis.rest_components = mean, directions[:rank], directions[rank:known]
        basis.rest_variances = variances[rank:known].to(mean.dtype)
        basis.tail_variance = (variances[known:].sum() / max(size - known, 1)).to(mean.dtype)
        return basis

    @property
    def rank(self) -> int:
        """Number of directions kept, k."""
        return self.components.shape[0]

    @property
    def rest_dim(self) -> int:
        """Number of all other directions, D - k."""
        return self.components.shape[1] - self.rank

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (..., k) of points (..., D), and what is orthogonal to the basis (..., D)."""
        centred = x - self.mean
        z = _product(centred, self.components.T)
        return z, centred - self.turn(z) if self.rest_dim else torch.zeros_like(centred)

    def lift(self, z: Tensor) -> Tensor:
        """Points (..., D) of coordinates (..., k)."""
        return self.mean + self.turn(z)

    def turn(self, z: Tensor) -> Tensor:
        """Vectors (..., D), scores and noise say, of those in coordinates (..., k)."""
        return _product(z, self.components)

    def rest_score(self, rest: Tensor, sigma: Tensor) -> Tensor:
        """Score (m, D) of what is orthogonal to the basis, noised to sigma (m, 1) > 0."""
        inner, tail = self._split(rest)
        known = _product(inner / (self.rest_variances + sigma.square()), self.rest_components)
        return -(known + tail / (self.tail_variance + sigma.square()))

    def rest_log_prob(self, rest: Tensor, sigma: float) -> Tensor:
        """Log-density (m,) of what is orthogonal to the basis (m, D), noised to ``sigma``."""
        inner, tail = self._split(rest)
        known, other = self.rest_variances + sigma**2, self.tail_variance + sigma**2
        count = self.rest_dim - len(known)
        squared = (inner.square() / known).sum(1) + (tail.square().sum(1) / other if count else 0.0)
        logs = (2 * math.pi * known).log().sum() + (count * (2 * math.pi * other).log() if count else 0.0)
        return -0.5 * (squared + logs)

    def _split(self, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates along R, and what is left."""
        inner = _product(rest, self.rest_components.T)
        return inner, rest - _product(inner, self.rest_components)


class Coordinates(nn.Module):
    """Data (n, D) as they are, in the place of a :class:`LinearBasis`: there is no rest.

    Arguments:
        size: number of coordinates, D.
    """

    mean: Tensor
    rest_dim = 0
    rest_variances: tuple[float, ...] = ()

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float32))

    @property
    def rank(self) -> int:
        """Number of coordinates, D."""
        return len(self.mean)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The points, and a rest of zero."""
        return x - self.mean, torch.zeros_like(x)

    def lift(self, z: Tensor) -> Tensor:
        """The points."""
        return z + self.mean

    def turn(self, z: Tensor) -> Tensor:
        """The vectors."""
        return z

    def rest_score(self, rest: Tensor, sigma: Tensor) -> Tensor:
        """Zero, of shape (m, D)."""
        return torch.zeros_like(rest)

    def rest_log_prob(self, rest: Tensor, sigma: float) -> Tensor:
        """Zero, of shape (m,)."""
        return torch.zeros_like(rest[:, 0])


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product, whatever autocast or precision is set around."""
    with full_precision(a.device):
        return a @ b


def _mean(x: Tensor, counts: Tensor | None) -> Tensor:
    """The mean (D,) of data (n, D), of which each row is worth so many."""
    return x.mean(0) if counts is None else _product((counts / counts.sum()).to(x), x)


def _principal(x: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Variances, falling, in float64, and unit directions, one a row, of data (n, D)."""
    centred = (x - _mean(x, counts)).double()
    if counts is not None:
        centred = centred * (counts / counts.mean()).double().sqrt()[:, None]
    _, values, directions = torch.linalg.svd(centred, full_matrices=False)
    return values.square() / len(x), directions.to(x.dtype)
