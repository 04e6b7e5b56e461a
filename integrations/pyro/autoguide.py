"""A guide for any Pyro model with continuous latents: particles that DiScoFormer reads a density from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyro.infer.autoguide import AutoContinuous
from pyro.infer.autoguide.initialization import init_to_sample
from torch import Tensor
from torch.distributions import biject_to
from tqdm import tqdm

from disco_samplers import DiScoFormer
from disco_samplers.arrays import check_count
from disco_samplers.draws import Draws
from disco_samplers.estimate import DensityEstimate
from disco_samplers.estimators import DEFAULTS, MAX_DIM

from . import cloud
from .model_density import ModelDensity
from .plotting import plot_guide
from .sample_distribution import SampleDistribution

_FAR = 1e8
"""Spread of the cloud on the real numbers that nothing but a density without a norm explains."""


class AutoDiSco(AutoContinuous):
    r"""An automatic guide made of particles, with DiScoFormer's density of them.

    ``fit`` moves the particles by the flow :math:`\dot x = C(\nabla \log p(x, y) - \nabla \log q(x))`, where the first score is
    the model's own and the second is read off the cloud by the pretrained network, together with birth and death of particles
    (for separated modes) and Langevin trajectories; see :func:`~disco_samplers.integrations.pyro.cloud.step`. Nothing but
    the particles is trained. Afterwards it is a guide as any other: for ``Predictive``, ``Trace_ELBO``, ``Importance``, in an
    ``AutoGuideList``, with ``median`` and ``quantiles``, and saved with ``torch.save``. Latents are moved on the real numbers,
    in one vector, in the order of the model.

    Arguments:
        model: a Pyro model; its latents must be continuous and its plates whole.
        num_particles: more cost O(n^2) and give less Monte Carlo error.
        init_loc_fn: where particles start; each has a run of its own. Draws from the prior if not given.
        network: the pretrained model, for ``model`` is Pyro's word for the other; the shipped one if not given.

    Raises:
        ValueError: when first called, if a latent is discrete, a plate subsamples, the log-density is not finite where
            particles start, there are no more particles than dimensions, or ``network`` is on
            another device than the model's latents.

    References:
        Maoutsa, Reich, Opper, *Interacting particle solutions of Fokker-Planck equations through gradient-log-density
        estimation*, Entropy 2020; Lu, Lu, Nolen, *Accelerating Langevin sampling with birth-death*
        (https://arxiv.org/abs/1905.09863).

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(y):
        ...     scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        ...     pyro.sample("y", dist.Normal(0.0, scale), obs=y)
        >>> pyro.set_rng_seed(0)
        >>> guide = AutoDiSco(model, num_particles=64)
        >>> losses = guide.fit(torch.tensor(2.0), num_steps=20, progress=False)
        >>> bool(guide.median()["scale"] > 1), guide(torch.tensor(2.0))["scale"].shape
        (True, torch.Size([]))
    """

    particles: Tensor
    _state: cloud.State | None
    _density: ModelDensity | None
    _called: tuple[Any, ...]
    _posterior: SampleDistribution | None

    def __init__(
        self,
        model: Callable[..., Any],
        num_particles: int = 512,
        init_loc_fn: Callable[..., Any] = init_to_sample,
        *,
        network: DiScoFormer | None = None,
    ) -> None:
        check_count("num_particles", num_particles, 2)
        super().__init__(model, init_loc_fn=init_loc_fn)
        self.num_particles = num_particles
        self.losses: list[float] = []
        self.gradients = 0
        """Gradients of the model taken so far, one for each particle."""
        self._start = init_loc_fn
        # In tuples, as Pyro does with the model: their parameters are not this guide's. The model here is the one that was
        # given; Pyro's own wraps it in init_loc_fn.
        self._bare: tuple[Any] = (model,)
        self._given = (network,)
        self._forget()

    def step(self, *args: Any, **kwargs: Any) -> float:
        """One step of all particles for a model called with these arguments.

        Returns:
            Minus the estimate of the ELBO in nats, in the mean over the particles.

        Raises:
            RuntimeError: if the cloud spreads without end, as it does where the posterior is improper.
            ValueError: if the guide is a copy or was loaded, and so has no model.
        """
        if self._bare[0] is None:
            raise ValueError(
                "a guide that was copied or loaded has its particles but no model: fit the original, or a new AutoDiSco(model)"
            )
        if self.prototype_trace is None:
            self._setup_prototype(*args, **kwargs)
        arguments = (*args, *kwargs.items())
        if self._state is None or len(arguments) != len(self._called) or not all(map(_same, arguments, self._called)):
            self._density, self._called = self._density_of(args, kwargs), arguments
            self._state = cloud.init(self.particles, self._density.log_prob_and_score, condition=self._condition)
        density = self._density
        assert density is not None
        self._state = state = cloud.step(self._state, density.log_prob_and_score, condition=self._condition)
        reach = float(state.position.abs().max())
        if not reach < _FAR:
            raise RuntimeError(
                f"the particles have spread to {reach:.2g} on the real numbers: the posterior looks improper; give every "
                "latent a proper prior"
            )
        self.gradients, density.evaluations = self.gradients + density.evaluations, 0
        self.particles, self._posterior = state.position, None
        self.losses.append(-state.elbo)
        return self.losses[-1]

    def fit(self, *args: Any, num_steps: int = 60, progress: bool = True, **kwargs: Any) -> list[float]:
        """Takes many steps; an interrupt keeps those taken.

        Arguments:
            args: of the model, as are other keywords.
            num_steps: how many.
            progress: whether to show a progress bar.

        Returns:
            The loss after each of them. Raises as :meth:`step` does.
        """
        check_count("num_steps", num_steps, 1)
        first = len(self.losses)
        with tqdm(range(num_steps), disable=not progress, desc="particles") as bar:
            try:
                for _ in bar:
                    bar.set_postfix(loss=f"{self.step(*args, **kwargs):.3f}", refresh=False)
            except KeyboardInterrupt:
                if len(self.losses) == first:
                    raise
        return self.losses[first:]

    def get_posterior(self, *args: Any, **kwargs: Any) -> SampleDistribution:
        """The particles' distribution over the packed real vector."""
        if self._posterior is None:
            rows, counts = Draws(self.particles).counts()
            posterior = SampleDistribution(Draws(rows, weights=counts), model=self._network(), validate_args=False)
            if self.latent_dim <= MAX_DIM:
                seeded = torch.Generator(self.particles.device).manual_seed(0)
                posterior.estimate = posterior.estimate.normalized(generator=seeded)
            self._posterior = posterior
        return self._posterior

    @torch.no_grad()
    def draws(self) -> dict[str, Tensor]:
        """The particles themselves on the latents' supports, each (num_particles, *shape)."""
        rows = [self._constrained(particle) for particle in self.particles]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    @torch.no_grad()
    def quantiles(self, quantiles: Sequence[float] | Tensor, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Marginal quantiles of each latent, (len(quantiles), *shape), taken on the real numbers and carried to its support."""
        levels = torch.as_tensor(quantiles, dtype=self.particles.dtype, device=self.particles.device)
        latents = torch.quantile(self.particles, levels.reshape(-1), dim=0)
        rows = [self._constrained(latent) for latent in latents]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Marginal median of each latent."""
        return {name: value[0] for name, value in self.quantiles([0.5]).items()}

    def _constrained(self, latent: Tensor) -> dict[str, Tensor]:
        return {site["name"]: biject_to(site["fn"].support)(value) for site, value in self._unpack_latent(latent)}

    def plot(self, path: str | None = None) -> Any:
        """Draws the loss and each latent's marginal; needs matplotlib.

        Raises:
            ValueError: if the guide has no particles yet, or the extension is not that of a picture.
        """
        if self.prototype_trace is None:
            raise ValueError("the guide has no particles yet: fit it first")
        return plot_guide(self.losses, {name: value.cpu().numpy() for name, value in self.draws().items()}, path)

    def _loc_scale(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        return self.particles.mean(0), self.particles.std(0)

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        if self.num_particles <= self.latent_dim:
            self.prototype_trace = None
            raise ValueError(
                f"num_particles must exceed the number of dimensions, got {self.num_particles} for {self.latent_dim} dimensions"
            )
        start = self._density_of(args, kwargs).start(self.num_particles, self._start)
        # A strategy may start all particles at one point, which has no density.
        still = (start == start[0]).all(0)
        self.register_buffer("particles", start + 0.1 * still * torch.randn_like(start))

    def _density_of(self, args: Any, kwargs: Any) -> ModelDensity:
        return ModelDensity.started(self._bare[0], args, kwargs, self._start)

    def _network(self) -> DiScoFormer:
        if self._given[0] is None:
            self._given = (DiScoFormer.from_pretrained(DEFAULTS["cloud"], map_location=str(self.particles.device)),)
        network = self._given[0]
        assert network is not None
        if network.device.type != self.particles.device.type:
            raise ValueError(
                f"network is on {network.device}, but the model's latents are on {self.particles.device}: move one"
            )
        return network

    def _condition(self, position: Tensor) -> DensityEstimate:
        # Birth and death make twins: said as weights, for rows that repeat are taken for a chain that stood still.
        rows, counts = Draws(position).counts()
        return self._network().condition(rows, weights=counts, effective_size=None if counts is None else len(rows))

    def _forget(self) -> None:
        """Drops what is only kept between steps."""
        self._state, self._density, self._called, self._posterior = None, None, (), None

    def __getstate__(self) -> Any:
        # Saved is the guide without the model's functions, as with every guide of Pyro, whose own method takes them from the
        # guide that is saved: it goes on, and gets them back.
        kept = self._model, self.master
        state = dict(super().__getstate__())
        self._model, self.master = kept
        return state | {"_bare": (None,), "_state": None, "_density": None, "_called": (), "_posterior": None}


def _same(a: Any, b: Any) -> bool:
    """Whether an argument is the one of the step before; a keyword comes with its name."""
    return a is b or (isinstance(a, tuple) and isinstance(b, tuple) and a[0] == b[0] and a[1] is b[1])
