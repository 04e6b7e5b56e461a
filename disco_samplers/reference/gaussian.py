"""Gaussians and Gaussian mixtures with exact density, score and draws."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.arrays import check_tensors
from disco_samplers.reference.base import ReferenceDensity


class GaussianMixture(ReferenceDensity):
    r"""A mixture of K Gaussians.

    .. math::
        f(y) = \sum_k w_k\, \mathcal N(y; \mu_k, \Sigma_k), \qquad
        \nabla \log f(y) = \sum_k r_k(y)\, \Sigma_k^{-1} (\mu_k - y)

    Arguments:
        weights: (..., K), positive; brought to sum to one.
        means: (..., K, d).
        covariances: full (..., K, d, d) or diagonal (..., K, d).

    Raises:
        ValueError: if the shapes do not fit, a weight is negative or a covariance is not positive definite.

    Example:
        >>> f = GaussianMixture(torch.ones(2), torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1))
        >>> f.score(torch.zeros(1, 1)).abs()
        tensor([[0.]])
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        check_tensors(weights=weights, means=means, covariances=covariances)
        if means.ndim < 2 or weights.shape != means.shape[:-1]:
            raise ValueError(
                f"weights must have shape (..., K) and means (..., K, d), got {tuple(weights.shape)} and {tuple(means.shape)}"
            )
        if (weights < 0).any() or not (weights.sum(-1) > 0).all():
            raise ValueError("weights must not be negative and must not all be zero")
        self.dim, self.dtype, self.device = means.shape[-1], means.dtype, means.device
        self.weights = weights / weights.sum(-1, keepdim=True)
        self.means, self.covariances = means, covariances
        self.diagonal = covariances.shape == means.shape
        if self.diagonal:
            if not (covariances > 0).all():
                raise ValueError("covariances must be positive")
            self._factor = covariances.sqrt()
            self._inverse = 1 / self._factor
            log_det = self._factor.log().sum(-1)
        elif covariances.shape == (*means.shape, self.dim):
            factor, info = torch.linalg.cholesky_ex(covariances)
            if (info != 0).any():
                raise ValueError("covariances must be positive definite")
            self._factor = factor
            eye = torch.eye(self.dim, dtype=self.dtype, device=self.device).expand_as(factor)
            self._inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
            log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        else:
            raise ValueError(f"covariances must have shape (..., K, d) or (..., K, d, d), got {tuple(covariances.shape)}")
        self._offset = self.weights.log() - log_det - 0.5 * self.dim * math.log(2 * math.pi)

    def _whitened(self, y: Tensor) -> Tensor:
        shift = y[..., None, :] - self.means[..., None, :, :]  # (..., m, K, d)
        if self.diagonal:
            return shift * self._inverse[..., None, :, :]
        return torch.einsum("...mkd,...ked->...mke", shift, self._inverse)

    def _joint(self, y: Tensor) -> Tensor:
        return self._offset[..., None, :] - 0.5 * self._whitened(y).square().sum(-1)

    def responsibilities(self, y: Tensor) -> Tensor:
        """The probability (..., m, K) that each of the points (..., m, d) came from each component."""
        return self._joint(y).softmax(-1)

    def shares(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Responsibilities (..., m, K) and log-density (..., m) together, for half the time."""
        joint = self._joint(y)
        return joint.softmax(-1), joint.logsumexp(-1)

    def evaluate(self, y: Tensor) -> Tensor:
        return self._joint(y).logsumexp(-1)

    def evaluate_score(self, y: Tensor) -> Tensor:
        z = self._whitened(y)
        r = (self._offset[..., None, :] - 0.5 * z.square().sum(-1)).softmax(-1)
        if self.diagonal:
            return -(r[..., None] * z * self._inverse[..., None, :, :]).sum(-2)
        return -torch.einsum("...mk,...mke,...ked->...md", r, z, self._inverse)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        batch, (k, d) = self.means.shape[:-2], self.means.shape[-2:]
        index = torch.multinomial(self.weights.reshape(-1, k), num_samples, replacement=True, generator=generator)
        index = index.view(*batch, num_samples)
        z = torch.randn(*batch, num_samples, d, dtype=self.dtype, device=self.device, generator=generator)
        wide = index[..., None].expand(*batch, num_samples, d)
        means = self.means.gather(-2, wide)
        if self.diagonal:
            return means + z * self._factor.gather(-2, wide)
        # One component at a time: a factor per sample would take num_samples * d^2.
        for j in range(k):
            moved = z @ self._factor[..., j, :, :].mT
            means = torch.where((index == j)[..., None], means + moved, means)
        return means


class Gaussian(GaussianMixture):
    r"""One Gaussian :math:`\mathcal N(\mu, \Sigma)`.

    Arguments:
        mean: (..., d).
        covariance: (..., d, d) or diagonal (..., d).

    Example:
        >>> Gaussian(torch.zeros(2), torch.eye(2)).score(torch.ones(1, 2))
        tensor([[-1., -1.]])
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        check_tensors(mean=mean, covariance=covariance)
        if mean.ndim < 1:
            raise ValueError("mean must have shape (..., d), got ()")
        one = torch.ones(*mean.shape[:-1], 1, dtype=mean.dtype, device=mean.device)
        batch = mean.ndim - 1
        super().__init__(one, mean.unsqueeze(-2), covariance.unsqueeze(batch))
