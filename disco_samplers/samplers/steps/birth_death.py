"""Birth and death of particles: mass moves between modes that no gradient connects."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.randomness import generator_on

_TILE = 2**22
"""Distances held at a time."""


def survivors(
    position: Tensor, log_ratio: Tensor, *, strength: float = 0.2, generator: torch.Generator | None = None
) -> Tensor:
    r"""Which particles live on, and how often, in one step of birth and death.

    .. math:: w_i \propto e^{\tau \beta_i}, \qquad
        \beta = S_{2 s / \sqrt k}\Big(\tfrac1k \sum_{j \in N_k(i)} \big(\log \pi(x_j) - \log q(x_j)\big) - \text{mean}\Big)

    Particles where the cloud's density q exceeds that of the target die, others take their place. The log ratio, which holds
    the errors of an estimated q, is averaged over the k nearest neighbours (k the root of n, in coordinates whitened by the
    cloud), and what does not exceed twice its standard error counts as nothing (S is the soft threshold, s the standard
    deviation among the neighbours). Resampling is systematic, so that with equal weights every particle survives once.

    Arguments:
        position: particles (n, d).
        log_ratio: log of the target's density, normalised or not, over the cloud's at each of them, (n,).
        strength: tau > 0, the time that passes.
        generator: source of randomness.

    Returns:
        Indices (n,) of the particles that live on, in ascending order.

    References:
        Lu, Lu, Nolen, *Accelerating Langevin sampling with birth-death* (https://arxiv.org/abs/1905.09863), eq. 2.1.

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]]).repeat_interleave(200, 0) + 0.1 * torch.randn(400, 1)
        >>> kept = survivors(x, torch.where(x[:, 0] > 0, 1.0, 0.0), strength=1.0, generator=torch.Generator().manual_seed(0))
        >>> int((x[kept] > 0).sum()) > 250
        True
    """
    generator = generator_on(position.device, generator=generator)
    n = len(position)
    count = max(2, math.isqrt(n))
    white = torch.linalg.solve_triangular(preconditioners.factor(position), position.T, upper=False).T
    near = torch.cat([torch.cdist(part, white).topk(count, largest=False).indices for part in white.split(max(1, _TILE // n))])
    excess = log_ratio[near].mean(1) - log_ratio.mean()
    noise = 2 * log_ratio[near].std(1) / math.sqrt(count)
    excess = excess.sign() * (excess.abs() - noise).clamp_min(0)
    weights = torch.softmax((strength * excess).double(), 0)
    start = torch.rand((), dtype=weights.dtype, device=weights.device, generator=generator)
    ticks = (torch.arange(n, device=weights.device) + start) / n
    return torch.searchsorted(weights.cumsum(0), ticks).clamp_max(n - 1)
