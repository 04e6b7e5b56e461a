"""Exact mode: an estimated score proposes, the user's own log-density decides, no gradient of it is needed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor
from disco_samplers.types import LogDensity


class Guided:
    r"""Log-density of the target with a proposal's drift in place of its score, for a Metropolis-adjusted kernel.

    .. math::
        x \mapsto \big(\log f(x),\ w(x)\, \hat s(x)\big), \qquad
        w(x) = 1 \text{ where } \log \hat f(x) \ge \min_j \log \hat f(x_j) - 1 \text{, else } 0

    Metropolis-Hastings leaves f invariant with any drift, so the estimate's error costs acceptance only. Where the estimate
    has no data, that is where it is less dense than at any of its own rows x_j, the drift is zero and the proposal a random
    walk. With no estimate at all it is one everywhere; a plain score function is trusted wherever it is finite.

    Arguments:
        log_prob: of the target, (m, d) -> (m,), up to a constant; a black box.
        estimate: a :class:`~disco_samplers.DensityEstimate`, any density with its rows as ``samples``, a score
            function, or None.

    References:
        Strathmann, Sejdinovic, Livingstone, Szabo, Gretton, *Gradient-free Hamiltonian Monte Carlo with efficient kernel
        exponential families*, NeurIPS 2015, for an estimated gradient that proposes.

    Example:
        >>> from disco_samplers.reference import KDE
        >>> x = torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
        >>> guided = Guided(lambda y: -0.5 * y.square().sum(-1), KDE(x, 0.5))
        >>> log_prob, drift = guided.log_prob_and_score(torch.tensor([[1.0], [100.0]]))
        >>> (drift != 0).flatten()
        tensor([ True, False])
    """

    def __init__(self, log_prob: LogDensity, estimate: Any = None) -> None:
        self.log_prob, self.estimate = log_prob, estimate
        self.bounded = hasattr(estimate, "samples") and hasattr(estimate, "log_prob")
        self.floor = float(as_tensor(estimate.log_prob(estimate.samples), "log_prob").min()) - 1 if self.bounded else 0.0

    def log_prob_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) of the target and drift (m, d) of the proposal at points (m, d)."""
        with torch.no_grad():
            log_prob = self.log_prob(x)
        if self.estimate is None:
            return log_prob, torch.zeros_like(x)
        if self.bounded:
            density, score = self.estimate.log_prob_and_score(x)
        else:
            density, score = torch.zeros_like(log_prob), self.estimate(x)
        known = (density >= self.floor) & torch.isfinite(score).all(-1)
        return log_prob, torch.where(known[:, None], score, 0.0)
