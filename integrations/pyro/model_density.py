"""A Pyro model as a log-density and score of packed real vectors: what samplers and particles see of it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide.initialization import InitMessenger, init_to_sample, init_to_uniform
from pyro.infer.mcmc.util import initialize_model
from pyro.ops.integrator import potential_grad
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.func import grad_and_value, vmap

from disco_samplers.draws import Draws

Parameters = dict[str, Tensor]

_TRIES = 100
"""Draws of a starting point before the model counts as one without any."""


class ModelDensity:
    r"""The unnormalised log-density of a model's latents, carried to real vectors and packed into one.

    .. math:: \log f(u) = \log p(T(u), y) + \log |\det J_T(u)|

    Any sampler of this library takes it as its score, with thousands of chains at once: points are evaluated together by
    ``torch.func.vmap`` where the model allows it, else one by one. Discrete latents that can be enumerated are summed out.

    Arguments:
        potential_fn: minus the log-density, as a function of a dict of real tensors.
        shapes: of the tensors, in the order they are packed.
        transforms: from each latent's support to the real numbers; none where there is no constraint.

    Example:
        >>> import pyro.distributions as dist
        >>> def model(y):
        ...     scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        ...     pyro.sample("y", dist.Normal(0.0, scale), obs=y)
        >>> density = ModelDensity.of(model, torch.tensor(2.0))
        >>> density.dim, density.log_prob(torch.zeros(5, 1)).shape, density.constrain(torch.zeros(5, 1))["scale"]
        (1, torch.Size([5]), tensor([1., 1., 1., 1., 1.]))
    """

    def __init__(
        self,
        potential_fn: Callable[[Parameters], Tensor],
        shapes: Mapping[str, torch.Size],
        transforms: Mapping[str, Any] | None = None,
    ) -> None:
        self.potential_fn, self.shapes, self.transforms = potential_fn, dict(shapes), dict(transforms or {})
        self.evaluations = 0
        """Points evaluated so far."""
        self._vectorised = True
        self._model: Callable[[], Any] | None = None

    @classmethod
    def of(cls, model: Callable[..., Any], *args: Any, **kwargs: Any) -> ModelDensity:
        """The density of a model called with these arguments.

        Raises:
            ValueError: if the model has no latents, or some that are discrete and cannot be enumerated, or a plate that
                subsamples, or no point where its log-density is finite.
        """
        return cls.started(model, args, kwargs, init_to_uniform)

    @classmethod
    def started(cls, model: Callable[..., Any], args: Any, kwargs: Any, strategy: Callable[..., Any]) -> ModelDensity:
        """The same, with its first point by one of Pyro's strategies."""
        with poutine.block():
            initial, potential_fn, transforms, _ = prepare(model, args, kwargs, init_strategy=strategy)
        if not initial:
            raise ValueError("the model has no continuous latent variables")
        density = cls(potential_fn, {name: value.shape for name, value in initial.items()}, transforms)
        density._model = functools.partial(model, *args, **kwargs)
        return density

    @property
    def dim(self) -> int:
        """Length d of the packed vectors."""
        return sum(shape.numel() for shape in self.shapes.values())

    def pack(self, parameters: Parameters) -> Tensor:
        """Real tensors (..., *shape) side by side, as (..., d)."""
        return torch.cat([parameters[name].reshape(*_leading(parameters[name], s), -1) for name, s in self.shapes.items()], -1)

    def unpack(self, points: Tensor) -> Parameters:
        """The reverse of :meth:`pack`."""
        parts = points.split([shape.numel() for shape in self.shapes.values()], -1)
        return {
            name: part.reshape(points.shape[:-1] + shape)
            for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)
        }

    def constrain(self, points: Tensor) -> Parameters:
        """The latents' values on their supports, each (..., *shape), of packed points (..., d)."""
        return {
            name: self.transforms[name].inv(value) if name in self.transforms else value
            for name, value in self.unpack(points).items()
        }

    def draws(self, samples: Parameters) -> Draws:
        """The draws of a run, carried to the real numbers and packed, where the density is their log-posterior.

        With both :func:`~disco_samplers.posteriors.log_evidence` has the evidence of the model.

        Arguments:
            samples: of each latent (draw, *shape), or (chain, draw, *shape), as ``mcmc.get_samples(group_by_chain=True)`` has
                them.

        Raises:
            ValueError: if a latent is missing, or its samples are of another shape.

        Example:
            >>> import pyro.distributions as dist
            >>> from disco_samplers.posteriors import log_evidence
            >>> def model(y):
            ...     pyro.sample("y", dist.Normal(pyro.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)
            >>> density = ModelDensity.of(model, torch.tensor(2.0))
            >>> exact = 1 + 0.5**0.5 * torch.randn(400, generator=torch.Generator().manual_seed(0))
            >>> found = log_evidence(density.draws({"x": exact}), density, seed=0)
            >>> abs(found.log_z - float(dist.Normal(0.0, 2**0.5).log_prob(torch.tensor(2.0)))) < 5 * found.standard_error
            True
        """
        if missing := [name for name in self.shapes if name not in samples]:
            raise ValueError(f"samples lack {', '.join(missing)}: the model has {', '.join(self.shapes)}")
        real = {}
        for name, shape in self.shapes.items():
            x = samples[name].detach()
            real[name] = self.transforms[name](x) if name in self.transforms else x
            lead = _leading(real[name], shape)
            if len(lead) not in (1, 2) or real[name].shape != lead + shape:
                raise ValueError(f"samples of {name} must be (draw, *shape) or (chain, draw, *shape), got {tuple(x.shape)}")
        return Draws(self.pack(real), names=[label for name, shape in self.shapes.items() for label in _labels(name, shape)])

    def start(self, count: int, strategy: Callable[..., Any] = init_to_sample) -> Tensor:
        """Starting points (count, d) of finite density, each from a run of the model under an initialisation strategy of Pyro.

        Raises:
            ValueError: if a hundred runs for each point do not give enough of them, or there is no model to run.
        """
        if self._model is None:
            raise ValueError("start needs a model: make the density with ModelDensity.of")
        run = poutine.block(poutine.trace(InitMessenger(strategy)(self._model)).get_trace)
        found = torch.empty(0, self.dim, device="cpu")
        for _ in range(_TRIES):
            nodes: list[dict[str, Any]] = [run().nodes for _ in range(count - len(found))]
            values = ({name: run[name]["value"].detach() for name in self.shapes} for run in nodes)
            points = torch.stack([self.pack({k: self.transforms[k](v) for k, v in value.items()}) for value in values])
            log_prob, score = self.log_prob_and_score(points.nan_to_num())
            good = torch.isfinite(points).all(-1) & torch.isfinite(log_prob) & torch.isfinite(score).all(-1)
            found = torch.cat([found.to(points), points[good]])
            if len(found) == count:
                return found
        raise ValueError(
            f"the model's log-density was finite at {len(found)} starting points only, {count} are needed: it returns NaN, or "
            "its prior and likelihood hardly overlap; start elsewhere, for a guide by init_loc_fn"
        )

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and its gradient (m, d) at points (m, d); minus infinity where the model cannot be evaluated."""
        self.evaluations += len(points)
        parameters = self.unpack(points.detach())
        # Hidden from whatever handlers a guide may be running under.
        with poutine.block(), pyro.validation_enabled(False):
            gradient, potential = self._potential_and_gradient(parameters)
        log_prob = torch.where(torch.isnan(potential), math.inf, potential).neg()
        return log_prob, -self.pack(gradient)

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density (m,) at points (m, d)."""
        return self.log_prob_and_score(points)[0]

    def score(self, points: Tensor) -> Tensor:
        """Its gradient (m, d) at points (m, d)."""
        return self.log_prob_and_score(points)[1]

    def __call__(self, points: Tensor) -> Tensor:
        """The score."""
        return self.score(points)

    def _potential(self, parameters: Parameters) -> Tensor:
        """The potential at one point, of shape () however its number came."""
        potential = self.potential_fn(parameters)
        if potential.numel() != 1:
            raise ValueError(f"potential_fn must return one number, it returned shape {tuple(potential.shape)}: sum over it")
        return potential.reshape(())

    def _potential_and_gradient(self, parameters: Parameters) -> tuple[Parameters, Tensor]:
        count = len(next(iter(parameters.values())))
        if self._vectorised and count > 1:
            try:
                return vmap(grad_and_value(self._potential), randomness="different")(parameters)
            except Exception:  # whatever it is, the same error comes again below unless only vmap is to blame
                pass
        one_by_one = [potential_grad(self._potential, {k: v[i].clone() for k, v in parameters.items()}) for i in range(count)]
        gradient = {k: torch.stack([g[k] for g, _ in one_by_one]) for k in parameters}
        potential = torch.stack([value for _, value in one_by_one])
        # With all of them finite it was not a singular matrix at one point: the model cannot be vectorised.
        self._vectorised = count == 1 or not bool(torch.isfinite(potential).all())
        return gradient, potential


def _labels(name: str, shape: torch.Size) -> list[str]:
    """A name for each entry of a tensor."""
    indices = itertools.product(*map(range, shape))
    return [f"{name}[{','.join(map(str, index))}]" for index in indices] if shape else [name]


def _leading(value: Tensor, shape: torch.Size) -> torch.Size:
    """The shape of a value before that of a single one."""
    return value.shape[: value.ndim - len(shape)]


def prepare(model: Callable[..., Any], args: Any, kwargs: Any, **options: Any) -> Any:
    """Pyro's ``initialize_model``; says where a plate subsamples."""
    try:
        return initialize_model(model, args, kwargs, **options)
    except NotImplementedError as error:
        trace = poutine.block(poutine.trace(model).get_trace)(*args, **kwargs)
        if any(site_is_subsample(site) for site in trace.nodes.values()):
            raise ValueError("plates that subsample leave no fixed posterior: give the whole data") from error
        raise
