"""Whether a scheduler and a score model mean the same noise: tried on data whose denoiser and law are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import check_count
from disco_samplers.estimate import DiScoFormer
from disco_samplers.model import DiScoFormerConfig
from disco_samplers.randomness import seed_of

from .conventions import is_inverse
from .pipeline import DiscoPipeline
from .score_model import DiscoScoreModel

_MEAN = (0.3, -0.2)
_SPREAD = (1.0, 0.5)
"""Mean and standard deviations of the data."""

_TOLERANCE = 0.1


@dataclasses.dataclass(frozen=True)
class SchedulerCheck:
    """What a scheduler makes of an exact denoiser.

    Arguments:
        parameterization: what the scheduler's model returns, as :class:`DiscoScoreModel` has it.
        start: size of the first sample over that of the noise level at which the model was asked; 1 is right.
        worst: the same at the step where it is farthest from 1. Coarse steps come near the end to 0.9 or so.
        distance: Wasserstein-2 distance between the samples' normal law and the true one, over the latter's root mean variance;
            what discretisation and the number of samples leave.
    """

    parameterization: str
    start: float
    worst: float
    distance: float

    @property
    def right(self) -> bool:
        """Whether the noise at the start and the samples' law are right within a tenth."""
        return abs(self.start - 1) < _TOLERANCE and self.distance < _TOLERANCE


class _Normal(DiscoScoreModel):
    """The exact score model of independent normals, which notes how large the samples are that it is asked about."""

    sizes: list[Tensor]

    @classmethod
    def of(cls, data: Tensor) -> _Normal:
        """With mean and variances of the data."""
        with torch.random.fork_rng(devices=[]):  # for weights that nobody asks
            network = DiScoFormer(DiScoFormerConfig(layers=1, width=8, vector_channels=2, heads=2, head_width=2, hidden=8))
        model: _Normal = cls.from_data(data, model=network, replicas=1, calibrate=False)
        model.sizes = []
        return model

    def noise(
        self, y: Tensor, sigma: Tensor, class_labels: Any = None, guidance_scale: float = 1.0, trajectory_steps: int = 0
    ) -> Tensor:
        s = sigma[:, None].clamp_min(1e-6)
        clean = self.data.double().square().mean(0)
        z, variance = y.double() - self.basis.mean.double(), clean + s**2
        self.sizes.append((z.square() / variance).mean(0).sqrt())
        if trajectory_steps:  # whose end is in the data, as many deviations from the mean
            return ((1 - (clean / variance).sqrt()) * z / s).to(y)
        return (s * z / variance).to(y)


def check_scheduler(
    scheduler: Any,
    num_inference_steps: int = 100,
    *,
    num_samples: int = 2048,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> SchedulerCheck:
    r"""Runs a scheduler with the exact denoiser of two normal columns, and compares every step with what must come.

    At noise level :math:`\sigma` samples must have the law :math:`\mathcal N(m, C + \sigma^2 I)`, and the scheduler's at the
    end :math:`\mathcal N(m, C)`; those of an inverse scheduler, which is given the data, :math:`\mathcal N(0, I)`.

    Arguments:
        scheduler: of any class.
        num_inference_steps: of the scheduler.
        num_samples: that the laws are measured on; their start has the exact mean and covariance.
        seed: of the start and the steps' noise, 0 if neither is given; give this or ``generator``.
        generator: source of randomness.
        options: of :class:`DiscoPipeline`'s call, as ``mu``.

    Raises:
        TypeError: if a count is not an integer.
        ValueError: if a count is wrong, the scheduler belongs to none of the families or is configured such that no denoiser
            can serve it.

    Example:
        >>> from diffusers import FlowMatchHeunDiscreteScheduler
        >>> check_scheduler(FlowMatchHeunDiscreteScheduler(), 20).right
        True
    """
    check_count("num_samples", num_samples, 16)
    with torch.device("cpu"):
        generator = torch.Generator().manual_seed(seed_of(seed=seed, generator=generator))
        standard = _whitened(torch.randn(num_samples, 2, generator=generator, dtype=torch.float64))
        mean, spread = (torch.tensor(values, dtype=torch.float64) for values in (_MEAN, _SPREAD))
        model = _Normal.of(mean + spread * standard)
        pipe = DiscoPipeline(model, scheduler)
        pipe.set_progress_bar_config(disable=True)
        inverse = is_inverse(scheduler)
        start = mean + spread * standard if inverse else standard
        samples = pipe(num_samples, num_inference_steps, generator=generator, latents=start.float(), **options).samples
        sizes = torch.stack(model.sizes)
        law = (torch.zeros(2), torch.ones(2)) if inverse else (mean, spread)
        return SchedulerCheck(
            parameterization=model.matching(scheduler).config.parameterization,
            start=float(sizes[0].mean()),
            worst=float(sizes.flatten()[sizes.log().abs().argmax()]),
            distance=_distance(samples.double(), *(part.double() for part in law)),
        )


def _whitened(x: Tensor) -> Tensor:
    centered = x - x.mean(0)
    factor = torch.linalg.cholesky(torch.cov(centered.T, correction=0))
    whitened: Tensor = torch.linalg.solve_triangular(factor, centered.T, upper=False).T
    return whitened


def _distance(x: Tensor, mean: Tensor, spread: Tensor) -> float:
    """Between the normal laws of rows x and of independent columns; Dowson, Landau, J. Multivariate Analysis 1982."""
    if not bool(torch.isfinite(x).all()):
        return float("nan")
    covariance = torch.cov(x.T, correction=0)
    shared = torch.linalg.eigvalsh(spread[:, None] * covariance * spread).clamp_min(0).sqrt().sum()
    squared = (x.mean(0) - mean).square().sum() + covariance.trace() + spread.square().sum() - 2 * shared
    return float((squared.clamp_min(0) / spread.square().sum()).sqrt())
