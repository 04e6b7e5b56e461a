"""How an estimate is drawn from: its rows, jittered, are moved until they are draws of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arithmetic import full_precision
from disco_samplers.estimators import draw_rows
from disco_samplers.samplers import LangevinSampler


def moved_rows(
    estimate: Any,
    num_samples: int,
    *,
    num_steps: int,
    names: Sequence[str] | None,
    generator: torch.Generator | None,
    progress: bool,
) -> Tensor:
    r"""Draws (num_samples, d) from an estimate by the sampler "jumps", begun at rows drawn with replacement.

    They start with a jitter of half of Scott's bandwidth for as many draws N as the rows are worth, in whitened coordinates,

    .. math:: z_0 = z_i + \tfrac12 N^{-1/(d + 4)} \xi, \qquad \xi \sim \mathcal N(0, I)

    Arguments:
        estimate: in the coordinates that its rows are read in, and calibrated, or "jumps" would make it so.
        num_samples: how many.
        num_steps: of the sampler, which warns if 64 draws or more still tell the rows that they started from.
        names: of the variables, for that warning.
        generator: source of randomness.
        progress: whether to show a progress bar.

    References:
        Scott, *Multivariate Density Estimation*, 1992, for the bandwidth.
    """
    core = estimate.estimator.core
    d, matrix = core.samples.shape[1], core.whitening.matrix[0]
    rows = draw_rows(core.samples, core.counts, num_samples, generator, replacement=True)
    noise = torch.randn(num_samples, d, generator=generator, device=matrix.device, dtype=matrix.dtype)
    jitter = 0.5 * estimate.effective_size ** (-1 / (d + 4)) * torch.linalg.solve(matrix.T, noise.T).T
    initial = estimate.estimator.from_core((core.samples[rows].double() + jitter).to(core.samples.dtype))
    sampler = LangevinSampler(score=estimate, method="jumps")
    with full_precision(matrix.device):
        run = sampler.run(1, initial=initial, num_warmup=num_steps - 1, names=names, generator=generator, progress=progress)
    return run.draws[:, 0]
