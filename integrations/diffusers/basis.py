"""The linear basis in which high-dimensional data are carried."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LinearBasis(nn.Module):
    r"""Principal directions that keep a share of the data's variance, and a Gaussian of one variance in all others.

    .. math:: x = \mu + V z + r, \qquad z \in \mathbb R^k, \quad r \perp V, \quad r \sim \mathcal N(0, \tau^2 I)

    Only z needs a density estimate. The score of the noised rest is known exactly, :math:`-r / (\tau^2 + \sigma^2)`.

    Arguments:
        size: number of coordinates of the data, D.
        rank: number of directions kept, k.

    References:
        Tipping, Bishop, *Probabilistic principal component analysis*, JRSS B 1999, eq. 8 for the rest's variance.

    Example:
        >>> x = torch.randn(100, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 2.0, 0.1, 0.1, 0.1])
        >>> basis = LinearBasis.fit(x, share=0.95)
        >>> z, rest = basis.project(x)
        >>> z.shape, torch.allclose(basis.lift(z) + rest, x, atol=1e-5)
        (torch.Size([100, 2]), True)
    """

    mean: Tensor
    components: Tensor
    rest_variance: Tensor

    def __init__(self, size: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("components", torch.zeros(rank, size))
        self.register_buffer("rest_variance", torch.zeros(()))

    @classmethod
    def fit(cls, x: Tensor, share: float) -> LinearBasis:
        """The basis of data (n, D) that keeps ``share`` of the variance; with ``share=1`` the coordinates themselves.

        Raises:
            ValueError: if ``share`` does not lie in (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        size = x.shape[1]
        mean = x.mean(0)
        if share == 1:
            basis = cls(size, size)
            components, rest = torch.eye(size, dtype=x.dtype, device=x.device), x.new_zeros(())
        else:
            _, values, directions = torch.linalg.svd((x - mean).double(), full_matrices=False)
            variance = values.square() / len(x)
            kept = variance.cumsum(0) / variance.sum()
            rank = min(int((kept < share).sum()) + 1, size)
            basis = cls(size, rank)
            components = directions[:rank].to(x.dtype)
            rest = (variance[rank:].sum() / max(size - rank, 1)).to(x.dtype)
        basis.mean, basis.components, basis.rest_variance = mean, components, rest
        return basis

    @property
    def rank(self) -> int:
        """Number of directions kept, k."""
        return self.components.shape[0]

    @property
    def rest_rank(self) -> int:
        """Number of the other directions, D - k."""
        return self.components.shape[1] - self.rank

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (..., k) of points (..., D), and what is orthogonal to the basis (..., D)."""
        centred = x - self.mean
        z = centred @ self.components.T
        return z, centred - z @ self.components if self.rest_rank else torch.zeros_like(centred)

    def lift(self, z: Tensor) -> Tensor:
        """Points (..., D) of coordinates (..., k)."""
        return self.mean + z @ self.components

    def rest_log_prob(self, rest: Tensor, sigma: float) -> Tensor:
        """Log-density (m,) of what is orthogonal to the basis (m, D), noised to ``sigma``."""
        variance = self.rest_variance + sigma**2
        return -0.5 * (rest.square().sum(1) / variance + self.rest_rank * (2 * math.pi * variance).log())
