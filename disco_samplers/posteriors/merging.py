"""Merges posteriors that were sampled from shards of the data: their scores add."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions.transforms import ComposeTransform, StackTransform, Transform

from disco_samplers.arrays import as_points, check_count, check_number, device_of
from disco_samplers.convergence import Periods
from disco_samplers.draws import Circle, Draws, DrawsWarning, Support, align, inside, names_of, periods_of
from disco_samplers.estimate import DiScoFormer
from disco_samplers.estimators import fit_mixture
from disco_samplers.posteriors.annealing import anneal
from disco_samplers.posteriors.products import product
from disco_samplers.posteriors.rows import Turn, as_draws, check_enough, ends, real_coordinates, straightened, to_real, volume
from disco_samplers.posteriors.shard import Shard
from disco_samplers.posteriors.subposterior import Subposterior, as_shard, subposterior
from disco_samplers.randomness import generator_on
from disco_samplers.reference import GaussianMixture
from disco_samplers.samplers import Callback, LangevinSampler, SamplerResult
from disco_samplers.scores import Score, combine, from_log_prob, transform
from disco_samplers.types import ArrayLike

_SINGULAR = 1e-12
"""Share of a column's variance that other columns must leave open."""

_PARTICLES = 1000
_WIDE = 0.25
"""Share of the shards' own mixtures in what annealing starts from; the rest is of their product."""

_COMPARED, _POINTS = 2000, 500
"""Draws of a shard and points that tell the overlap."""

_LITTLE = 0.01
"""Overlap below which a warning is due, over the number of shards: that of good shards is anything between 0 and 1."""


class OverlapWarning(DrawsWarning):
    """Shards whose draws hardly reach to where the merged posterior is."""


@dataclasses.dataclass(frozen=True)
class MergedPosterior:
    r"""The product of subposteriors over the repeated prior, as a density up to a constant.

    .. math:: \nabla \log p(\theta) = \sum_k \nabla \log p_k(\theta) - r\, \nabla \log p_0(\theta)

    Arguments:
        score: of the product, with ``log_prob``.
        shards: the subposteriors p_k, where the parameters have a support in real coordinates.
        draws: of the shards, in these coordinates.
        names: of the parameters, if they have some.
        to_support: the transform from real coordinates to the support; None where there is none.
        periods: of columns of angles, None for others, by that support.
    """

    score: Score
    shards: list[Subposterior]
    draws: list[Shard] = dataclasses.field(repr=False)
    names: list[str] | None = None
    to_support: Transform | None = None
    periods: Periods | None = None

    def sample(
        self,
        num_samples: int = 50,
        *,
        num_chains: int = 200,
        num_warmup: int = 30,
        thinning: int = 2,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        names: Sequence[str] | None = None,
        callback: Callback | None = None,
        progress: bool = True,
    ) -> SamplerResult:
        """Draws of it; see :func:`merge_subposteriors`.

        Raises:
            TypeError, ValueError: as :meth:`LangevinSampler.run`, and if it is zero wherever the shards have mass.
        """
        check_count("num_chains", num_chains, 1)
        generator = generator_on(self.draws[0].rows.device, seed=seed, generator=generator)
        real = self.score if self.to_support is None else transform(self.score, self.to_support)
        mixtures = [shard.base.mixture for shard in self.shards]
        centres = product(mixtures)
        factor = torch.linalg.cholesky(centres.covariances[centres.weights.argmax()])
        particles = anneal(real.log_prob_and_score, _mixed(centres, mixtures), max(_PARTICLES, num_chains), factor, generator)
        order = torch.randperm(len(particles), generator=generator, device=particles.device)
        proposal: Any = fit_mixture(particles, generator=generator)
        result = LangevinSampler(score=real, method="jumps", proposal=proposal).run(
            num_samples,
            initial=particles[order[:num_chains]],
            num_warmup=num_warmup,
            thinning=thinning,
            generator=generator,
            names=self.names if names is None else names,
            callback=callback,
            progress=progress,
        )
        if self.to_support is None:
            return result
        drawn = {"draws": self.to_support(result.draws), "start": self.to_support(result.start)}
        return dataclasses.replace(result, checkpoint=None, periods=self.periods, **drawn)

    def overlap(self, points: ArrayLike) -> Tensor:
        r"""How far in each shard's draws the points lie, (k,): 1/2 as far out as these, 1 in their midst, near 0 beyond all.

        .. math:: o_k = \frac1m \sum_j \frac1n \sum_i 1\big[p_k(\theta_{ki}) \le p_k(y_j)\big]

        the mean share of a shard's draws that its density holds for no likelier than points of the merged posterior. Of good
        shards it is 1/2 on average, and of each anything between 0 and 1, as its data have it. Where
        it is small the merged posterior lies where the shard has hardly any draws: the density there is told by extrapolation.

        Arguments:
            points: y (m, d), draws of the merged posterior.

        Raises:
            TypeError, ValueError: if they are no points of these parameters.
        """
        rows = self.draws[0].rows
        y = as_points(align(points, "points", self.names), "points", rows.shape[1], rows.device).double()
        y = y[:: -(-len(y) // _POINTS)]
        y = y if self.to_support is None else self.to_support.inv(y)
        found = []
        for shard, part in zip(self.draws, self.shards, strict=True):
            step = -(-len(shard.rows) // _COMPARED)
            own, order = part.score.log_prob(shard.rows[::step]).sort()
            worth = shard.worth[::step][order].cumsum(0)
            place = torch.searchsorted(own, part.score.log_prob(y), right=True)
            found.append((torch.cat([worth.new_zeros(1), worth])[place] / worth[-1]).mean())
        return torch.stack(found)


def _mixed(centres: GaussianMixture, mixtures: list[GaussianMixture]) -> GaussianMixture:
    """What annealing starts from: the product of the shards' mixtures, and these."""
    parts = [centres, *mixtures]
    shares = [1 - _WIDE] + [_WIDE / len(mixtures)] * len(mixtures)
    weights = torch.cat([share * m.weights for share, m in zip(shares, parts, strict=True)])
    return GaussianMixture(weights, torch.cat([m.means for m in parts]), torch.cat([m.covariances for m in parts]))


def merge_subposteriors(
    shards: Sequence[ArrayLike | Draws],
    *,
    prior: Any = None,
    prior_power: float | None = None,
    model: DiScoFormer | None = None,
    num_samples: int = 50,
    num_chains: int = 200,
    num_warmup: int = 30,
    thinning: int = 2,
    adapt: bool = False,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    names: Sequence[str] | None = None,
    callback: Callback | None = None,
    progress: bool = True,
) -> SamplerResult:
    """Draws from the posterior given all data, from draws given each part of the data; see :class:`MergedPosterior`.

    Each shard's density has the moments and the mass that its draws have in each of their modes; modes that label switching
    makes share what is known of their shape. Particles are brought along a path to the product, and chains go on from there
    that jump between its modes.

    Arguments:
        shards: draws (n_k, d) of each subposterior, a chain's in their order, or :class:`~disco_samplers.Draws` with weights,
            chains or a support, which the merged draws keep; lengths may differ, columns must be the same parameters, in the
            same order where they have no names.
        prior: the prior that the shards used, a differentiable log-density (m, d) -> (m,) or a density with ``log_prob`` and
            ``score``; not needed where each shard used the prior to the power 1/K.
        prior_power: power of the prior in each shard: 1, the default, where each used all of it, 1/K where they shared it.
        model: whose estimate of a shard is followed beyond moments and masses as far as held-out draws say; by default none.
        num_samples: draws of each chain.
        num_chains: number of chains.
        num_warmup: discarded steps before.
        thinning: steps between two draws.
        adapt: whether each shard's estimate by the model is adapted.
        seed: of the randomness; give this or ``generator``.
        generator: source of randomness, on the device of the shards.
        names: of the parameters; those of the shards' draws if not given.
        callback: called after each step, as in :meth:`LangevinSampler.run`.
        progress: whether to show progress bars.

    Warns:
        OverlapWarning: if the merged posterior lies where a shard has hardly any draws (:meth:`MergedPosterior.overlap`).

    Raises:
        TypeError: if shards are in no list, or the prior is no function.
        ValueError: if there are fewer than two shards, their columns or supports differ, one has fewer than ten draws a
            parameter or a column that follows from others, the prior is zero at draws of a shard, not differentiable, or so
            narrow that no density is left without it, or its options do not fit.

    References:
        Neiswanger, Wang, Xing, *Asymptotically exact, embarrassingly parallel MCMC*, UAI 2014, eq. 1.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> shards = [torch.randn(200, 1, generator=g) + shift for shift in (0.0, 1.0)]
        >>> result = merge_subposteriors(shards, num_samples=2, num_chains=200, seed=0, progress=False)
        >>> abs(float(result.flat.mean()) - 0.5) < 0.4, float(result.flat.var()) < 0.8
        (True, True)
    """
    check_count("num_chains", num_chains, 1)
    _check_list(shards)
    generator = generator_on(device_of(model, *shards) or "cpu", seed=seed, generator=generator)
    merged = merged_posterior(shards, prior=prior, prior_power=prior_power, model=model, adapt=adapt, generator=generator)
    result = merged.sample(
        num_samples,
        num_chains=num_chains,
        num_warmup=num_warmup,
        thinning=thinning,
        generator=generator,
        names=names,
        callback=callback,
        progress=progress,
    )
    if result.draws.shape[1]:
        warn_of_overlap(merged.overlap(result.flat), [f"shards[{k}]" for k in range(len(shards))])
    return result


def warn_of_overlap(overlap: Tensor, names: Sequence[str]) -> None:
    """Warns of the shards, by these names, whose overlap (k,) is below what chance explains."""
    few = [f"{name} ({float(o):.2g})" for name, o in zip(names, overlap, strict=True) if o < _LITTLE / len(overlap)]
    if few:
        warnings.warn(
            f"the merged posterior lies where hardly any draws are of {', '.join(few[:8])}{', ...' * (len(few) > 8)}: the "
            "effective overlap, .5 on average of good shards, is the share of a shard's draws that lie as far out. There its "
            "density is extrapolated; the shards may not be of one model",
            OverlapWarning,
            stacklevel=3,
        )


def merged_posterior(
    shards: Sequence[ArrayLike | Draws],
    *,
    prior: Any = None,
    prior_power: float | None = None,
    model: DiScoFormer | None = None,
    adapt: bool = False,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> MergedPosterior:
    """The density that :func:`merge_subposteriors` samples; arguments and errors are the same."""
    if model is not None and not isinstance(model, DiScoFormer):
        raise TypeError(f"model must be a DiScoFormer, such as DiScoFormer.from_pretrained() gives, got {type(model).__name__}")
    _check_list(shards)
    if len(shards) < 2:
        raise ValueError(f"shards must be at least two sets of draws, got {len(shards)}")
    if prior is None and prior_power is not None:
        raise ValueError("prior_power is the power of prior=, which is not given: give the prior, or leave it out")
    prior_power = 1.0 if prior_power is None else prior_power
    check_number("prior_power", prior_power)
    if not (math.isfinite(prior_power) and prior_power >= 0):
        raise ValueError(f"prior_power must be finite and not negative, got {prior_power}")
    device = device_of(model, *shards)
    aligned, names = _named(shards)
    given, to_support = _real(aligned, device)
    draws = [as_shard(x, f"shards[{k}]", device) for k, x in enumerate(given)]
    here = draws[0].rows.device
    generator = generator_on(here, seed=seed, generator=generator)
    d = draws[0].rows.shape[-1]
    for k, rows in enumerate(x.rows for x in draws):
        if rows.shape[1] != d:
            got = tuple(rows.shape)
            raise ValueError(f"shards must hold draws (n, {d}) of the same parameters, shards[{k}] has shape {got}")
        check_enough(as_draws(given[k], f"shards[{k}]", device), f"shards[{k}]")
        _check_spread(draws[k], names, f"shards[{k}]")
    repeated = 0.0 if prior is None else len(draws) * prior_power - 1
    terms: list[tuple[float, Any]] = []
    if repeated:
        density = _prior_of(prior)
        for k, x in enumerate(draws):
            _check_prior(density, x.rows if to_support is None else to_support(x.rows), f"shards[{k}]")
        terms.append((-repeated, density if to_support is None else transform(density, to_support)))
    if to_support is not None:  # each density has brought the volume along, and once is enough
        terms.append((1 - len(draws) + repeated, from_log_prob(lambda t: volume(to_support, t))))
    parts = [subposterior(x, model, adapt=adapt, generator=generator) for x in draws]
    score = combine([*((1.0, part.score) for part in parts), *terms])
    score = score if to_support is None else transform(score, to_support.inv)
    support = next((x.support for x in aligned if isinstance(x, Draws) and x.support is not None), None)
    return MergedPosterior(score, parts, draws, names, to_support, periods_of(support))


def _real(shards: list[ArrayLike | Draws], device: torch.device | None) -> tuple[list[Any], Transform | None]:
    """The shards in real coordinates, and the transform from there to the support that some of them have."""
    supports = [getattr(x, "support", None) for x in shards]
    known = [(k, s) for k, s in enumerate(supports) if s is not None and any(edge is not None for pair in s for edge in pair)]
    if not known:
        return list(shards), None
    first, support = known[0]
    for k, other in known:
        if ends(other) != ends(support):
            raise ValueError(
                f"shards must have one support, shards[{k}] has {_told(other)}, shards[{first}] {_told(support)}: posteriors "
                "of one model have the same bounds"
            )
    draws = [as_draws(x, f"shards[{k}]", device) for k, x in enumerate(shards)]
    for k, x in enumerate(draws):
        if x.dim != draws[first].dim:
            raise ValueError(
                f"shards must hold draws (n, {draws[first].dim}) of the same parameters, shards[{k}] has {x.dim} columns"
            )
        try:
            within = inside(x.values, support, x.names)
        except ValueError as error:
            raise ValueError(f"shards[{k}]: {error}") from error
        draws[k] = x.replaced(within, names=x.names if x.has_names else None, support=support)
    draws = straightened(draws)
    to_straight = real_coordinates(draws[0])
    found = []
    for k, x in enumerate(draws):
        try:
            found.append(to_real(x, to_straight))
        except ValueError as error:
            raise ValueError(f"shards[{k}]: {error}") from error
    return found, _turned(to_straight, draws[0].support or [], support)


def _turned(to_straight: Any, straight: Sequence[Support], support: Sequence[Support]) -> Transform:
    """The transform to a support, of angles in the turn in which they are given."""
    columns = list(to_straight.transforms)
    for i, (own, one) in enumerate(zip(straight, support, strict=True)):
        if isinstance(one, Circle):
            assert own.low is not None
            columns[i] = ComposeTransform([columns[i], Turn(own.low, one)])
    return StackTransform(columns, dim=-1)


def _told(support: Sequence[Support]) -> str:
    return ", ".join(f"({low}, {high})" for low, high in support)


def _named(shards: Sequence[ArrayLike | Draws]) -> tuple[list[ArrayLike | Draws], list[str] | None]:
    """The shards with their columns in the order of the first that has names, and these."""
    names = names_of(*shards)
    return [align(x, f"shards[{k}]", names, "another has") for k, x in enumerate(shards)], names


def _check_list(shards: object) -> None:
    """Raises TypeError where the sets of draws are not in a list."""
    if not isinstance(shards, (Sequence, Tensor, np.ndarray)):
        raise TypeError(f"shards must be a list of sets of draws, one for each part of the data, got {type(shards).__name__}")


def _check_spread(shard: Shard, names: list[str] | None, name: str) -> None:
    """Raises ValueError where a column follows from those before it: such draws have no density."""
    covariance = shard.rows.T.cov(correction=0, aweights=shard.counts).reshape([shard.rows.shape[1]] * 2)
    variance = covariance.diagonal()
    lower, _ = torch.linalg.cholesky_ex(covariance)
    same = ~(lower.diagonal().square() > _SINGULAR * variance)
    if same.any():
        j = int(same.nonzero()[0])
        told = f"column {j}" if names is None else f"column {names[j]}"
        what = "a linear combination of others" if float(variance[j]) > 0 else "constant"
        raise ValueError(f"{name}: {told} is {what}, and the draws have no density: leave the column out")


def _prior_of(prior: Any) -> Score:
    """The user's function or density, with a score."""
    if hasattr(prior, "score"):
        return Score(prior)
    if not callable(prior):
        hint = ": give its log_prob, if that is (m,)" if hasattr(prior, "log_prob") else ""
        raise TypeError(
            f"prior must be a differentiable log-density (m, d) -> (m,) or have log_prob and score, got {prior!r}{hint}"
        )
    return from_log_prob(prior)


def _check_prior(prior: Score, points: Tensor, name: str) -> None:
    """Says what is wrong with the user's function before it is added to others."""
    if not hasattr(prior, "log_prob"):
        raise ValueError("prior must have a log-density: give a function (m, d) -> (m,) or a density with log_prob and score")
    values = prior.log_prob(points[:2])
    if not isinstance(values, Tensor) or values.shape != (2,):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"prior must return log-densities of shape (m,) for points (m, d), it returned {got} for (2, d)")
    if not torch.isfinite(prior.log_prob(points)).all():
        raise ValueError(
            f"prior is not finite at draws of {name}: draws lie outside the prior's support, or it is not the shard's"
        )
    try:
        prior(points[:2])
    except RuntimeError as error:
        raise ValueError(
            f"prior must be differentiable in the points, by torch's automatic differentiation: {error}"
        ) from error
