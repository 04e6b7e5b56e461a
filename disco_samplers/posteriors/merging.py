"""Merges posteriors that were sampled from shards of the data: their scores add."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import check_count, check_number, device_of
from disco_samplers.draws import Draws, align, names_of
from disco_samplers.estimate import DiScoFormer
from disco_samplers.estimators import DEFAULTS, draw_rows
from disco_samplers.posteriors.subposterior import Subposterior, as_shard, subposterior
from disco_samplers.randomness import generator_on
from disco_samplers.reference import Gaussian
from disco_samplers.samplers import Callback, LangevinSampler, SamplerResult
from disco_samplers.scores import Score, combine, from_log_prob
from disco_samplers.types import ArrayLike

_CANDIDATES = 8192


@dataclasses.dataclass(frozen=True)
class MergedPosterior:
    r"""The product of subposteriors over the repeated prior, as a density up to a constant.

    .. math:: \nabla \log p(\theta) = \sum_k \nabla \log p_k(\theta) - r\, \nabla \log p_0(\theta)

    Arguments:
        score: of the product, with ``log_prob``.
        shards: the subposteriors p_k.
    """

    score: Score
    shards: list[Subposterior]

    def gaussian_product(self) -> Gaussian:
        """The product of the shards' Gaussians: exact where all are Gaussian and the prior is not repeated."""
        gaussians = [shard.base.gaussian for shard in self.shards]
        precisions = [torch.linalg.inv(g.covariances[0]) for g in gaussians]
        covariance = torch.linalg.inv(torch.stack(precisions).sum(0))
        pull = torch.stack([p @ g.means[0] for p, g in zip(precisions, gaussians, strict=True)]).sum(0)
        return Gaussian(covariance @ pull, 0.5 * (covariance + covariance.T))

    def start(self, num_chains: int, generator: torch.Generator | None) -> Tensor:
        """Starting points (num_chains, d): candidates of the Gaussian product and of the shards, resampled by their weight."""
        product = self.gaussian_product()
        candidates = torch.cat(
            [product.sample(_CANDIDATES // 2, generator=generator)]
            + [_rows(s.estimate, _CANDIDATES // (2 * len(self.shards)), generator) for s in self.shards]
        )
        log_shards = torch.stack([s.estimate.log_prob(candidates) for s in self.shards])
        shards = log_shards.logsumexp(0) - math.log(len(self.shards))
        proposal = torch.logaddexp(shards, product.evaluate(candidates))
        weight = (self.score.log_prob(candidates) - proposal).softmax(0)
        # Systematic resampling, in the order of a coordinate in which the posterior is wide: each mode gets its share.
        order = (candidates @ torch.linalg.eigh(candidates.T.cov().reshape([candidates.shape[1]] * 2))[1][:, -1]).argsort()
        u = torch.rand((), dtype=weight.dtype, device=weight.device, generator=generator)
        levels = (torch.arange(num_chains, device=weight.device) + u) / num_chains
        return candidates[order[torch.searchsorted(weight[order].cumsum(0), levels).clamp_max(len(order) - 1)]]


def merge_subposteriors(
    shards: Sequence[ArrayLike | Draws],
    *,
    prior: Any = None,
    prior_power: float | None = None,
    model: DiScoFormer | None = None,
    num_samples: int = 10,
    num_chains: int = 200,
    num_warmup: int = 150,
    thinning: int = 5,
    adapt: int = 0,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    names: Sequence[str] | None = None,
    callback: Callback | None = None,
    progress: bool = True,
) -> SamplerResult:
    """Draws from the posterior given all data, from draws given each part of the data; see :class:`MergedPosterior`.

    Many Metropolis-adjusted chains start at candidates of the Gaussian product and of the shards, resampled by the merged
    density, so that modes get their mass before chains settle in them.

    Long runs of the shards pay: the error that n draws leave in a shard's covariance enters the product's mean as many times
    larger as the shard's mean is away from it. For nearly Gaussian shards in nine dimensions it takes tens of thousands of
    draws each to be as good as a run on all data (``benchmarks/merging.py``).

    Arguments:
        shards: draws (n_k, d) of each subposterior, a chain's in their order, or :class:`~disco_samplers.Draws` with weights or
            chains; lengths may differ, columns must be the same parameters, in the same order where they have no names.
        prior: the prior that the shards used, a differentiable log-density (m, d) -> (m,) or a density with ``log_prob`` and
            ``score``; not needed where each shard used the prior to the power 1/K.
        prior_power: power of the prior in each shard: 1, the default, where each used all of it, 1/K where they shared it.
        model: the shipped one if not given.
        num_samples: draws of each chain.
        num_chains: number of chains.
        num_warmup: discarded steps before.
        thinning: steps between two draws.
        adapt: steps of on-the-fly adaptation of each shard's estimate.
        seed: of the randomness; give this or ``generator``.
        generator: source of randomness, on the device of the shards.
        names: of the parameters; those of the shards' draws if not given.
        callback: called after each step, as in :meth:`LangevinSampler.run`.
        progress: whether to show progress bars.

    Raises:
        ValueError: if there are fewer than two shards, their columns differ, one has fewer draws than parameters, or the
            prior's options do not fit.

    References:
        Neiswanger, Wang, Xing, *Asymptotically exact, embarrassingly parallel MCMC*, UAI 2014, eq. 1.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> shards = [torch.randn(200, 1, generator=g) + shift for shift in (0.0, 1.0)]
        >>> result = merge_subposteriors(shards, num_samples=1, num_warmup=20, num_chains=50, seed=0, progress=False)
        >>> abs(float(result.flat.mean()) - 0.5) < 0.4, float(result.flat.var()) < 0.8
        (True, True)
    """
    check_count("num_chains", num_chains, 1)
    generator = generator_on(device_of(model, *shards) or "cpu", seed=seed, generator=generator)
    merged = merged_posterior(shards, prior=prior, prior_power=prior_power, model=model, adapt=adapt, generator=generator)
    start = merged.start(num_chains, generator)
    return LangevinSampler(score=merged.score, method="mala").run(
        num_samples,
        initial=start,
        num_warmup=num_warmup,
        thinning=thinning,
        generator=generator,
        names=_named(shards)[1] if names is None else names,
        callback=callback,
        progress=progress,
    )


def merged_posterior(
    shards: Sequence[ArrayLike | Draws],
    *,
    prior: Any = None,
    prior_power: float | None = None,
    model: DiScoFormer | None = None,
    adapt: int = 0,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> MergedPosterior:
    """The density that :func:`merge_subposteriors` samples; arguments and errors are the same."""
    if model is not None and not isinstance(model, DiScoFormer):
        raise TypeError(f"model must be a DiScoFormer, such as DiScoFormer.from_pretrained() gives, got {type(model).__name__}")
    if len(shards) < 2:
        raise ValueError(f"shards must be at least two sets of draws, got {len(shards)}")
    if prior is None and prior_power is not None:
        raise ValueError("prior_power is the power of prior=, which is not given: give the prior, or leave it out")
    prior_power = 1.0 if prior_power is None else prior_power
    check_number("prior_power", prior_power)
    if not (math.isfinite(prior_power) and prior_power >= 0):
        raise ValueError(f"prior_power must be finite and not negative, got {prior_power}")
    device = device_of(model, *shards)
    draws = [as_shard(x, f"shards[{k}]", device) for k, x in enumerate(_named(shards)[0])]
    here = draws[0].rows.device
    generator = generator_on(here, seed=seed, generator=generator)
    d = draws[0].rows.shape[-1]
    for k, (x, _, _) in enumerate(draws):
        if x.shape[1] != d:
            raise ValueError(f"shards must hold draws (n, {d}) of the same parameters, shards[{k}] has shape {tuple(x.shape)}")
    if model is None:
        model = DiScoFormer.from_pretrained(DEFAULTS["shard"], map_location=str(here))
    parts = [subposterior(x, model, adapt=adapt, generator=generator) for x in draws]
    terms: list[tuple[float, Any]] = [(1.0, part.score) for part in parts]
    repeated = len(draws) * prior_power - 1
    if prior is not None and repeated:
        density = Score(prior) if hasattr(prior, "score") else from_log_prob(prior)
        _check_prior(density, draws[0].rows)
        terms.append((-repeated, density))
    return MergedPosterior(combine(terms), parts)


def _rows(estimate: Any, count: int, generator: torch.Generator | None) -> Tensor:
    x: Tensor = estimate.samples
    return x[draw_rows(x, estimate.counts, count, generator, replacement=True)]


def _named(shards: Sequence[ArrayLike | Draws]) -> tuple[list[ArrayLike | Draws], list[str] | None]:
    """The shards with their columns in the order of the first that has names, and these."""
    names = names_of(*shards)
    return [align(x, f"shards[{k}]", names, "another has") for k, x in enumerate(shards)], names


def _check_prior(prior: Score, points: Tensor) -> None:
    """Says what is wrong with the user's function before it is added to others."""
    if not hasattr(prior, "log_prob"):
        raise ValueError("prior must have a log-density: give a function (m, d) -> (m,) or a density with log_prob and score")
    values = prior.log_prob(points[:2])
    if not isinstance(values, Tensor) or values.shape != (2,):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"prior must return log-densities of shape (m,) for points (m, d), it returned {got} for (2, d)")
    if not torch.isfinite(prior.log_prob(points)).all():
        raise ValueError(
            "prior is not finite at draws of a shard: draws lie outside the prior's support, or it is not the shard's"
        )
