"""Mutual information by trained networks: MINE and InfoNCE, lower bounds that a critic of pairs makes as high as it can.

A critic has two hidden layers of 64 units and is trained by Adam on half of the rows; the bound is that of the other half,
where it is highest in training. Rows are read as normal scores, which leave the information as it is: raw heavy tails, on which
such networks fail, would make too easy peers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from disco_samplers.measures.ties import normal_scores

_UNITS, _RATE = 64, 3e-3
_EVERY = 25
"""Steps between two looks at the half that is not trained on."""


def mine(x: Tensor, y: Tensor, *, steps: int = 600, batch: int = 256, seed: int = 0) -> float:
    """The bound of Donsker and Varadhan (Belghazi and others, 2018), with their running mean in its gradient."""
    mean = torch.ones(())

    def loss(critic: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        nonlocal mean
        joint, apart = _scores(critic, x, y), _scores(critic, x, y[torch.randperm(len(y), generator=generator)])
        mean = 0.99 * mean + 0.01 * apart.detach().exp().mean()
        return -(joint.mean() - apart.exp().mean() / mean)

    def bound(critic: nn.Module, x: Tensor, y: Tensor) -> float:
        apart = torch.cat([_scores(critic, x, y.roll(shift, 0)) for shift in range(1, 17)])
        return float(_scores(critic, x, y).mean() - apart.logsumexp(0) + math.log(len(apart)))

    return _trained(x, y, loss, bound, steps, batch, seed)


def info_nce(x: Tensor, y: Tensor, *, steps: int = 300, batch: int = 64, seed: int = 0) -> float:
    """The bound of van den Oord, Li and Vinyals (2018): which y of a batch goes with x; at most the logarithm of its size."""

    def nce(critic: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        n = len(x)
        scores = _scores(critic, x.repeat_interleave(n, 0), y.repeat(n, 1)).reshape(n, n)
        return scores.diagonal().mean() - scores.logsumexp(1).mean() + math.log(n)

    def bound(critic: nn.Module, x: Tensor, y: Tensor) -> float:
        blocks = list(zip(x.split(250)[:4], y.split(250)[:4], strict=True))
        return sum(float(nce(critic, *block)) * len(block[0]) for block in blocks) / sum(len(block[0]) for block in blocks)

    return _trained(x, y, lambda critic, x, y, _: -nce(critic, x, y), bound, steps, batch, seed)


def _scores(critic: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    scores: Tensor = critic(torch.cat([x, y], 1))[:, 0]
    return scores


def _trained(
    x: Tensor,
    y: Tensor,
    loss: Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor],
    bound: Callable[[nn.Module, Tensor, Tensor], float],
    steps: int,
    batch: int,
    seed: int,
) -> float:
    x, y = normal_scores(x, seed).float(), normal_scores(y, seed).float()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    here, there = order[: len(x) // 2], order[len(x) // 2 :]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        critic = nn.Sequential(
            nn.Linear(x.shape[1] + y.shape[1], _UNITS), nn.ReLU(), nn.Linear(_UNITS, _UNITS), nn.ReLU(), nn.Linear(_UNITS, 1)
        )
    optimizer = torch.optim.Adam(critic.parameters(), lr=_RATE)
    best = 0.0
    for step in range(1, steps + 1):
        rows = here[torch.randint(len(here), (min(batch, len(here)),), generator=generator)]
        optimizer.zero_grad()
        loss(critic, x[rows], y[rows], generator).backward()
        optimizer.step()
        if step % _EVERY == 0:
            with torch.no_grad():
                best = max(best, bound(critic, x[there], y[there]))
    return best
