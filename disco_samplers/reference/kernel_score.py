"""Kernel score estimators: the spectral Stein gradient estimator and the nu-method."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.arrays import as_points, check_count, like
from disco_samplers.draws import align, names_of
from disco_samplers.types import ArrayLike

_TILE = 2**24
"""Kernel matrix entries held at a time in answering queries."""


class _KernelScore:
    r"""A score :math:`\hat s(y) = a\,\hat\zeta(y) + \sum_m k(y, x_m) c_m` with a Gaussian kernel k of bandwidth h.

    :math:`\hat\zeta(y) = \frac1n \sum_m \nabla_{x_m} k(y, x_m)`.
    """

    def __init__(self, samples: ArrayLike, bandwidth: float | None) -> None:
        x = as_points(samples, "samples")
        if x.ndim != 2 or x.shape[0] < 2:
            raise ValueError(f"samples must have shape (n, d) with n >= 2, got {tuple(x.shape)}")
        self.samples = x.double()
        self.dim, self.device, self.names = x.shape[1], x.device, names_of(samples)
        squared = torch.cdist(self.samples, self.samples).square()
        if bandwidth is None:
            n = len(x)
            # The median of distances between different rows; the diagonal's zeros stand first.
            median = float(squared.flatten().kthvalue(n + n * (n - 1) // 2).values)
            bandwidth = math.sqrt(median)
            if not bandwidth > 0:
                raise ValueError("bandwidth: more than half of the samples are duplicates; give it as a number")
        if not (bandwidth > 0 and math.isfinite(bandwidth)):
            raise ValueError(f"bandwidth must be positive, got {bandwidth!r}")
        self.bandwidth = bandwidth
        self._gram = (squared / (-2 * bandwidth**2)).exp()
        self._zeta_weight: float
        self._coefficients: Tensor

    def _zeta(self, y: Tensor, gram: Tensor) -> Tensor:
        """The mean over samples of the kernel's gradient in its second argument, (m, d)."""
        return (y * gram.mean(1, keepdim=True) - gram @ self.samples / len(self.samples)) / self.bandwidth**2

    def score(self, points: ArrayLike) -> ArrayLike:
        """Estimated gradient of the log-density at points (m, d), as (m, d)."""
        points = align(points, "points", self.names)
        y = as_points(points, "points", self.dim, self.device).double()
        parts = []
        for tile in y.split(max(1, _TILE // len(self.samples))):
            gram = (torch.cdist(tile, self.samples).square() / (-2 * self.bandwidth**2)).exp()
            parts.append(self._zeta_weight * self._zeta(tile, gram) + gram @ self._coefficients)
        return like(torch.cat(parts), points)

    def __call__(self, points: ArrayLike) -> ArrayLike:
        """The score."""
        return self.score(points)


class SSGE(_KernelScore):
    r"""The spectral Stein gradient estimator: the score in the leading eigenfunctions of the kernel.

    .. math:: \hat s(y) = \sum_{j \le J} \beta_j \psi_j(y), \quad \beta_j = -\frac1n \sum_m \nabla \psi_j(x_m), \quad
        \psi_j(y) = \frac{\sqrt n}{\lambda_j} \sum_m u_{jm} k(y, x_m)

    with :math:`\lambda_j, u_j` the eigenvalues and eigenvectors of the kernel's Gram matrix.

    Arguments:
        samples: (n, d).
        bandwidth: of the Gaussian kernel; the median distance when None.
        share: J is the least number of eigenvalues that make up this share of their sum.

    Raises:
        ValueError: if there are fewer than two samples, or ``bandwidth`` or ``share`` is out of range.

    References:
        Shi, Sun, Zhu, *A Spectral Approach to Gradient Estimation for Implicit Distributions*, ICML 2018, eqs. 12 and 16.

    Example:
        >>> x = torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
        >>> bool(SSGE(x).score(torch.ones(1, 1)) < 0)
        True
    """

    def __init__(self, samples: ArrayLike, bandwidth: float | None = None, *, share: float = 0.99) -> None:
        super().__init__(samples, bandwidth)
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, got {share!r}")
        values, vectors = torch.linalg.eigh(self._gram)
        values, vectors = values.flip(0), vectors.flip(1)
        j = int((values.cumsum(0) < share * values.sum()).sum()) + 1
        values, vectors = values[:j], vectors[:, :j]
        # sum over m of the gradient of psi_j at x_m, through the gradient of k in its first argument.
        gradient = -self._zeta(self.samples, self._gram) * len(self.samples)  # of sum_m k(x_m, x_l) in x_m, for each l
        beta = (vectors / values).T @ gradient / math.sqrt(len(self.samples))  # minus signs of beta and of the gradient cancel
        self._zeta_weight = 0.0
        self._coefficients = math.sqrt(len(self.samples)) * (vectors / values) @ beta


class NuMethod(_KernelScore):
    r"""The nu-method: an accelerated iterative solution of the score's integral equation, stopped early.

    .. math:: s_t = s_{t-1} + u_t (s_{t-1} - s_{t-2}) - \omega_t (\hat L s_{t-1} + \hat\zeta), \qquad
        \hat L s = \frac1n \sum_m k(\cdot, x_m)\, s(x_m)

    with a Gaussian kernel that acts on each coordinate alike, and the weights of the nu-method of regularisation theory.

    Arguments:
        samples: (n, d).
        bandwidth: of the Gaussian kernel; the median distance when None.
        iterations: t; the regularisation is about :math:`1/t^2`.
        nu: the method's qualification.

    Raises:
        ValueError: if there are fewer than two samples, or a number is out of range.

    References:
        Zhou, Shi, Zhu, *Nonparametric Score Estimators*, ICML 2020 (https://arxiv.org/abs/2005.10099), example 3.4.

    Example:
        >>> x = torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
        >>> bool(NuMethod(x).score(torch.ones(1, 1)) < 0)
        True
    """

    def __init__(self, samples: ArrayLike, bandwidth: float | None = None, *, iterations: int = 50, nu: float = 1.0) -> None:
        super().__init__(samples, bandwidth)
        check_count("iterations", iterations, 1)
        if not nu > 0:
            raise ValueError(f"nu must be positive, got {nu!r}")
        n = len(self.samples)
        zeta = self._zeta(self.samples, self._gram)
        a = a_before = 0.0
        c = c_before = torch.zeros_like(self.samples)
        for t in range(1, iterations + 1):
            u = (t - 1) * (2 * t - 3) * (2 * t + 2 * nu - 1) / ((t + 2 * nu - 1) * (2 * t + 4 * nu - 1) * (2 * t + 2 * nu - 3))
            omega = 4 * (2 * t + 2 * nu - 1) * (t + nu - 1) / ((t + 2 * nu - 1) * (2 * t + 4 * nu - 1))
            at_samples = a * zeta + self._gram @ c
            a, a_before = a + u * (a - a_before) - omega, a
            c, c_before = c + u * (c - c_before) - omega / n * at_samples, c
        self._zeta_weight, self._coefficients = a, c
