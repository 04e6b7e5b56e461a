"""A merge by diffusion, as people build it: a score network for each shard, their scores added, annealed Langevin draws.

The noised product is not the product of the noised shards: scores are added at each level of noise all the same, and only the
last, where noise is small, is right. No weights, priors or chains; a network of two hidden layers for each shard.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

_WIDTH, _STEPS, _BATCH, _RATE = 128, 2000, 512, 2e-3
_HIGH, _LOW, _LEVELS = 3.0, 0.05, 20
"""Noise, in standard deviations of the pooled draws."""

_MOVES, _SHARE = 30, 0.2
"""Langevin steps at each level, and their size as a share of its variance."""


def diffusion(shards: list[Tensor], num_samples: int, generator: torch.Generator) -> Tensor:
    """Draws of the product of shards (n_k, d).

    References:
        Vincent, *A connection between score matching and denoising autoencoders*, 2011; Song, Ermon, *Generative modeling by
        estimating gradients of the data distribution*, NeurIPS 2019, algorithm 1; Karras et al., *Elucidating the design space
        of diffusion-based generative models*, NeurIPS 2022, table 1, what the networks are multiplied by.
    """
    pooled = torch.cat(shards)
    centre, lower = pooled.mean(0), torch.linalg.cholesky(pooled.T.cov())
    white = [torch.linalg.solve_triangular(lower, (x - centre).T, upper=False).T.float() for x in shards]
    scores = [_trained(x, generator) for x in white]
    k, d = len(shards), pooled.shape[1]
    z = (1 + _HIGH**2) ** 0.5 / k**0.5 * torch.randn(num_samples, d, generator=generator)
    for level in torch.linspace(math.log(_HIGH), math.log(_LOW), _LEVELS).exp():
        step = float(_SHARE * level**2 / k)
        for _ in range(_MOVES):
            total = torch.stack([score(z, level.expand(num_samples, 1)) for score in scores]).sum(0)
            z = z + 0.5 * step * total + step**0.5 * torch.randn(num_samples, d, generator=generator)
    return z.double() @ lower.T + centre


def _trained(x: Tensor, generator: torch.Generator) -> Callable[[Tensor, Tensor], Tensor]:
    """The score of draws (n, d) at noise (m, 1), by denoising score matching."""
    d = x.shape[1]
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        network = nn.Sequential(
            *(nn.Linear(d + 1, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, d))
        )

    def score(y: Tensor, noise: Tensor) -> Tensor:
        total = (1 + noise.square()).sqrt()
        denoised = y / total.square() + noise / total * network(torch.cat([y / total, noise.log()], 1))
        return (denoised - y) / noise.square()

    optimizer = torch.optim.Adam(network.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        rows = x[torch.randint(len(x), (_BATCH,), generator=generator)]
        u = torch.rand(_BATCH, 1, generator=generator)
        noise = (math.log(_LOW) + u * math.log(_HIGH / _LOW)).exp()
        unit = torch.randn(rows.shape, generator=generator)
        # The denoiser's error over the factor of the network: each level of noise counts alike.
        error = (noise * score(rows + noise * unit, noise) + unit) * (1 + noise.square()).sqrt()
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
        schedule.step()

    def trained(y: Tensor, noise: Tensor) -> Tensor:
        with torch.no_grad():
            return score(y, noise)

    return trained
