"""The Gaussian kernel density estimate, with the bandwidth rules people use."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from disco_samplers.arrays import as_points, check_positive
from disco_samplers.draws import names_of
from disco_samplers.reference.base import ReferenceDensity
from disco_samplers.types import ArrayLike

_TILE = 2**24
"""Kernel matrix entries held at a time."""

Bandwidth = Literal["scott", "loo"]


class KDE(ReferenceDensity):
    r"""A Gaussian kernel density estimate, evaluated in tiles.

    .. math:: f_h(y) = \frac1n \sum_j \mathcal N(y; x_j, h^2 C), \qquad
        \nabla \log f_h(y) = (h^2 C)^{-1} \Big(\sum_j p_j(y) x_j - y\Big)

    with C the identity, or the sample covariance with ``whiten=True`` (what scipy's ``gaussian_kde`` does).

    Arguments:
        samples: (n, d).
        bandwidth: h > 0; "scott" for :math:`h = n^{-1/(d+4)}` times the mean standard deviation (1 when whitened); or "loo"
            for the h of highest leave-one-out likelihood.
        whiten: whether kernels take the samples' covariance.

    Raises:
        ValueError: if ``bandwidth`` is not positive or not one of the rules, or there are fewer than two samples.

    References:
        Scott, *Multivariate Density Estimation*, 1992, eq. 6.42.

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> KDE(x, bandwidth=0.5).score(torch.zeros(1, 1))
        tensor([[0.]])
    """

    def __init__(self, samples: ArrayLike, bandwidth: float | Bandwidth = "loo", *, whiten: bool = False) -> None:
        x = as_points(samples, "samples")
        if x.ndim != 2 or x.shape[0] < 2:
            raise ValueError(f"samples must have shape (n, d) with n >= 2, got {tuple(x.shape)}")
        n, self.dim = x.shape
        self.dtype, self.device = x.dtype, x.device
        self.samples, self.names = x, names_of(samples)
        self._matrix: Tensor
        if whiten:
            covariance = x.T.cov().reshape(self.dim, self.dim)
            factor, info = torch.linalg.cholesky_ex(covariance)
            # What is left of a column's variance given the columns before it; of a dependent column, rounding errors.
            rounding = 10 * self.dim * torch.finfo(x.dtype).eps * covariance.diagonal()
            if info != 0 or (factor.diagonal().square() <= rounding).any():
                raise ValueError("samples has no variance in some direction: whiten=True needs a full-rank covariance")
            eye = torch.eye(self.dim, dtype=x.dtype, device=x.device)
            self._matrix = torch.linalg.solve_triangular(factor, eye, upper=False).T
        else:
            self._matrix = torch.eye(self.dim, dtype=x.dtype, device=x.device)
        self._log_det: Tensor = torch.linalg.slogdet(self._matrix)[1]
        self._center = x.mean(0)
        self._white = (x - self._center) @ self._matrix
        scott = n ** (-1 / (self.dim + 4)) * float(self._white.std(0).mean())
        if isinstance(bandwidth, str) and bandwidth not in ("scott", "loo"):
            raise ValueError(f'bandwidth must be positive, "scott" or "loo", got {bandwidth!r}')
        if isinstance(bandwidth, str) and not scott > 0:
            raise ValueError("samples has no variance: all its rows are the same; give the bandwidth as a number")
        if bandwidth == "scott":
            self.bandwidth = scott
        elif bandwidth == "loo":
            self.bandwidth = self._leave_one_out(scott)
        else:
            check_positive("bandwidth", bandwidth)
            self.bandwidth = float(bandwidth)

    def _log_norm(self, h: float) -> float:
        return -math.log(len(self.samples)) - self.dim * math.log(h) - 0.5 * self.dim * math.log(2 * math.pi)

    def _squared_distances(self, white: Tensor) -> Tensor:
        # Differences first: the expanded square loses what a small bandwidth needs.
        return torch.cdist(white, self._white, compute_mode="donot_use_mm_for_euclid_dist").square()

    def _tiles(self, white: Tensor) -> list[Tensor]:
        return list(white.split(max(1, _TILE // len(self.samples))))

    def evaluate(self, y: Tensor) -> Tensor:
        white: Tensor = (y - self._center) @ self._matrix
        parts = [(self._squared_distances(t) / (-2 * self.bandwidth**2)).logsumexp(-1) for t in self._tiles(white)]
        return torch.cat(parts) + self._log_norm(self.bandwidth) + self._log_det

    def evaluate_score(self, y: Tensor) -> Tensor:
        white: Tensor = (y - self._center) @ self._matrix
        parts = []
        for tile in self._tiles(white):
            p = (self._squared_distances(tile) / (-2 * self.bandwidth**2)).softmax(-1)
            parts.append((p @ self._white - tile) / self.bandwidth**2)
        return torch.cat(parts) @ self._matrix.T

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        index = torch.randint(len(self.samples), (num_samples,), generator=generator, device=self.device)
        z = torch.randn(num_samples, self.dim, dtype=self.dtype, device=self.device, generator=generator)
        moved: Tensor = self.samples[index] + self.bandwidth * torch.linalg.solve(self._matrix.T, z.T).T
        return moved

    def _leave_one_out(self, scott: float) -> float:
        """The bandwidth of highest leave-one-out likelihood: a grid around Scott's rule, then a finer one around its best."""
        low, high = 0.05 * scott, 4 * scott
        for _ in range(3):
            grid = torch.logspace(math.log10(low), math.log10(high), 12, dtype=torch.float32, device="cpu").tolist()
            values = self._leave_one_out_likelihood(grid)
            best = int(torch.tensor(values, dtype=torch.float32, device="cpu").argmax())
            low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        return float(grid[best])

    def _leave_one_out_likelihood(self, grid: list[float]) -> list[float]:
        totals, start = torch.zeros(len(grid), dtype=torch.float64, device="cpu"), 0
        for tile in self._tiles(self._white):
            squared = self._squared_distances(tile)
            rows = torch.arange(len(tile), device=self.device)
            squared[rows, start + rows] = torch.inf
            # A duplicate row would otherwise reward an ever smaller bandwidth without bound.
            squared = torch.where(squared == 0, torch.inf, squared)
            for i, h in enumerate(grid):
                totals[i] += ((squared / (-2 * h**2)).logsumexp(-1) - self.dim * math.log(h)).double().sum().cpu()
            start += len(tile)
        return totals.tolist()
