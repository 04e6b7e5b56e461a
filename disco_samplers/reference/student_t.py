"""Multivariate Student-t distributions and their mixtures, with exact density, score and draws."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.arrays import check_positive, check_tensors
from disco_samplers.reference.gaussian import GaussianMixture


class StudentTMixture(GaussianMixture):
    r"""A mixture of K multivariate Student-t distributions.

    .. math::
        f(y) = \sum_k w_k \frac{\Gamma((\nu_k + d)/2)}{\Gamma(\nu_k/2) (\nu_k \pi)^{d/2} |\Sigma_k|^{1/2}}
               \Big(1 + \frac{(y-\mu_k)^\top \Sigma_k^{-1} (y-\mu_k)}{\nu_k}\Big)^{-(\nu_k + d)/2}

    Arguments:
        weights: (..., K).
        means: (..., K, d).
        scales: the matrices Sigma, full (..., K, d, d) or diagonal (..., K, d).
        df: degrees of freedom nu, (..., K), positive.

    Raises:
        ValueError: if ``df`` is not positive, or as for :class:`GaussianMixture`.

    Example:
        >>> f = StudentTMixture(torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1))
        >>> bool((f.log_prob(torch.zeros(1, 1)).exp() * torch.pi - 1).abs() < 1e-6)
        True
    """

    def __init__(self, weights: Tensor, means: Tensor, scales: Tensor, df: Tensor) -> None:
        super().__init__(weights, means, scales)
        check_tensors(df=df)
        if df.shape != weights.shape or not (df > 0).all():
            raise ValueError(f"df must be positive with shape {tuple(weights.shape)}, got {tuple(df.shape)}")
        self.df = df
        d = self.dim
        self._constant = (
            self._offset
            + 0.5 * d * math.log(2 * math.pi)
            + torch.lgamma((df + d) / 2)
            - torch.lgamma(df / 2)
            - 0.5 * d * (df * math.pi).log()
        )

    def _terms(self, q: Tensor) -> Tensor:
        df = self.df[..., None, :]
        return self._constant[..., None, :] - 0.5 * (df + self.dim) * torch.log1p(q / df)

    def evaluate(self, y: Tensor) -> Tensor:
        return self._terms(self._whitened(y).square().sum(-1)).logsumexp(-1)

    def evaluate_score(self, y: Tensor) -> Tensor:
        z = self._whitened(y)
        q, df = z.square().sum(-1), self.df[..., None, :]
        pull = self._terms(q).softmax(-1) * (df + self.dim) / (df + q)  # (..., m, K)
        if self.diagonal:
            return -(pull[..., None] * z * self._inverse[..., None, :, :]).sum(-2)
        return -torch.einsum("...mk,...mke,...ked->...md", pull, z, self._inverse)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        # A Student-t is a Gaussian whose spread about its centre is divided by sqrt(chi2(nu) / nu), so the component of
        # each draw is needed: one component is drawn at a time and kept where it was chosen.
        batch, (k, d) = self.means.shape[:-2], self.means.shape[-2:]
        index = torch.multinomial(self.weights.reshape(-1, k), num_samples, replacement=True, generator=generator)
        index = index.view(*batch, num_samples, 1)
        z = torch.randn(*batch, num_samples, d, dtype=self.dtype, device=self.device, generator=generator)
        df = self.df.gather(-1, index[..., 0])
        gamma = torch._standard_gamma(df / 2, generator=generator)
        z = z / (2 * gamma / df).sqrt()[..., None]
        out = torch.zeros_like(z)
        for j in range(k):
            factor = self._factor[..., j, :].unsqueeze(-2) if self.diagonal else self._factor[..., j, :, :].mT
            moved = z * factor if self.diagonal else z @ factor
            out = torch.where(index == j, self.means[..., j, :].unsqueeze(-2) + moved, out)
        return out


class StudentT(StudentTMixture):
    """One multivariate Student-t with location (..., d), scale matrix (..., d, d) or (..., d) and ``df`` > 0.

    Example:
        >>> StudentT(torch.zeros(2), torch.eye(2), 3.0).score(torch.zeros(1, 2)).abs()
        tensor([[0., 0.]])
    """

    def __init__(self, mean: Tensor, scale: Tensor, df: float | Tensor) -> None:
        check_tensors(mean=mean, scale=scale)
        if not isinstance(df, Tensor):
            check_positive("df", df)
        one = torch.ones(*mean.shape[:-1], 1, dtype=mean.dtype, device=mean.device)
        df = torch.as_tensor(df, dtype=mean.dtype, device=mean.device)[..., None].expand_as(one)
        super().__init__(one, mean.unsqueeze(-2), scale.unsqueeze(mean.ndim - 1), df)
