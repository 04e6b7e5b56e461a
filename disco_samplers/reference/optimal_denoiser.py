"""The exact optimal denoiser of a finite training set: what a diffusion model of unlimited capacity would learn."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.arrays import as_points

_TILE = 2**22
"""Kernel matrix entries held at a time."""


class OptimalDenoiser:
    r"""The minimiser of the denoising loss on a training set, which can only give the training set back.

    .. math::
        D(y, \sigma) = \sum_i p_i(y)\, x_i, \qquad p_i(y) \propto w_i\, e^{-|y - x_i|^2 / 2 \sigma^2}, \qquad
        \nabla \log f_\sigma(y) = \frac{D(y, \sigma) - y}{\sigma^2}

    with :math:`f_\sigma` the training set's empirical measure blurred by noise of standard deviation sigma, a kernel density
    estimate of that bandwidth. At large sigma nothing is better; at small sigma it pulls to the nearest training sample.
    Evaluated in tiles and differentiable in y.

    Arguments:
        samples: the training set (n, d).
        weights: w, (n,), of any sum; all alike if not given.

    Raises:
        ValueError: if ``samples`` is not (n, d) with at least one row, or not finite, or there is not one weight a row.

    References:
        Karras, Aittala, Aila, Laine, *Elucidating the design space of diffusion-based generative models*, NeurIPS 2022,
        appendix B.3, eq. 57.

    Example:
        >>> denoiser = OptimalDenoiser(torch.tensor([[-1.0], [1.0]]))
        >>> denoiser(torch.tensor([[0.0], [0.5]]), 0.1)
        tensor([[0.],
                [1.]])
    """

    def __init__(self, samples: Tensor, weights: Tensor | None = None) -> None:
        self.samples = as_points(samples, "samples")
        if self.samples.ndim != 2 or len(self.samples) < 1:
            raise ValueError(f"samples must have shape (n, d) with n >= 1, got {tuple(self.samples.shape)}")
        if weights is not None and weights.shape != self.samples.shape[:1]:
            raise ValueError(f"weights must have shape ({len(self.samples)},), one a row, got {tuple(weights.shape)}")
        self._log_weights = None if weights is None else (weights / weights.mean()).log().to(self.samples)

    def __call__(self, y: Tensor, sigma: float) -> Tensor:
        """The mean (m, d) of the training samples that y (m, d) may have come from, given noise ``sigma``."""
        return torch.cat([logits.softmax(-1) @ self.samples for logits in self._logits(y, sigma)])

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Score (m, d) of the blurred training set at y (m, d)."""
        return (self(y, sigma) - y) / sigma**2

    def log_prob(self, y: Tensor, sigma: float) -> Tensor:
        """Log-density (m,) of the blurred training set at y (m, d)."""
        n, d = self.samples.shape
        norm = math.log(n) + d * math.log(sigma) + 0.5 * d * math.log(2 * math.pi)
        return torch.cat([logits.logsumexp(-1) for logits in self._logits(y, sigma)]) - norm

    def _logits(self, y: Tensor, sigma: float) -> list[Tensor]:
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        if y.ndim != 2 or y.shape[1] != self.samples.shape[1]:
            raise ValueError(f"y must have shape (m, {self.samples.shape[1]}), got {tuple(y.shape)}")
        # Differences first: the expanded square loses what a small sigma needs.
        tiles = y.to(self.samples.dtype).split(max(1, _TILE // len(self.samples)))
        logits = [
            torch.cdist(t, self.samples, compute_mode="donot_use_mm_for_euclid_dist").square() / (-2 * sigma**2) for t in tiles
        ]
        return logits if self._log_weights is None else [part + self._log_weights for part in logits]
