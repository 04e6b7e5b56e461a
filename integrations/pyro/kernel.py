"""Langevin kernels for ``pyro.infer.MCMC``: the driver of all samplers, one step at a time."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import torch
from pyro.infer.autoguide.initialization import init_to_uniform
from pyro.infer.mcmc.mcmc_kernel import MCMCKernel
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.samplers import ALGORITHMS, ByAcceptance, Driver, Fixed
from disco_samplers.types import ScoreFunction

from .model_density import ModelDensity, Parameters, prepare

_FAR = 1e8
"""Length of a step after warm-up that nothing but a density without a norm explains."""


class LangevinKernel(MCMCKernel):
    r"""Metropolis-adjusted Langevin dynamics, overdamped or underdamped, as a kernel of :class:`pyro.infer.MCMC`.

    During warm-up the step size is adapted to the target acceptance by dual averaging, and the preconditioner to the chain's
    own draws; both are fixed from then on. Several chains run one after another or in parallel, as MCMC decides.

    Arguments:
        model: a Pyro model; discrete latents are summed out where they can be enumerated.
        potential_fn: minus a log-density, as a function of a dict of real tensors, in place of ``model``; then give MCMC
            ``initial_params``.
        score: what proposes, a callable (m, d) -> (m, d) on the latents packed in the order of the model and carried to the
            real numbers, for instance ``disco.condition(earlier_draws)``; the model's own gradient if not given. Acceptance
            always uses the model, so that its posterior stays invariant.
        method: "mala", one gradient a step, or "malt", an underdamped trajectory, which asks for more gradients and moves
            further.
        step_size: fixes it instead of adapting it.
        target_acceptance: of the adaptation, so with warm-up and without ``step_size``; 0.574 for "mala" and 0.8 for "malt" if
            not given.
        preconditioner: "dense", "diagonal" or "identity".
        transforms: from each latent's support to the real numbers, where the usual ones do not fit.
        max_plate_nesting: of the model, where Pyro cannot tell.
        init_strategy: of the chain's first point in a model; ``init_to_uniform`` if not given.

    Raises:
        ValueError: if not exactly one of ``model`` and ``potential_fn`` is given, or an option is out of range.

    References:
        Roberts, Rosenthal, *Optimal scaling of discrete approximations to Langevin diffusions*, JRSS B 1998;
        Riou-Durand, Vogrinc, *Metropolis adjusted Langevin trajectories* (https://arxiv.org/abs/2202.13230).

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from pyro.infer import MCMC
        >>> def model(y):
        ...     pyro.sample("y", dist.Normal(pyro.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)
        >>> mcmc = MCMC(LangevinKernel(model), num_samples=20, warmup_steps=20, disable_progbar=True)
        >>> mcmc.run(torch.tensor(1.0))
        >>> mcmc.get_samples()["x"].shape
        torch.Size([20])
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Parameters], Tensor] | None = None,
        *,
        score: ScoreFunction | None = None,
        method: Literal["mala", "malt"] = "mala",
        step_size: float | None = None,
        target_acceptance: float | None = None,
        preconditioner: preconditioners.Kind = "dense",
        transforms: dict[str, Any] | None = None,
        max_plate_nesting: int | None = None,
        init_strategy: Callable[..., Any] | None = None,
    ) -> None:
        if (model is None) == (potential_fn is None):
            raise ValueError("give either model or potential_fn")
        if model is None and (max_plate_nesting is not None or init_strategy is not None):
            raise ValueError("max_plate_nesting and init_strategy are options of a model: leave them out with potential_fn")
        if step_size is not None and target_acceptance is not None:
            raise ValueError("give step_size, which is then fixed, or target_acceptance, to which it is adapted, not both")
        if method not in ("mala", "malt"):
            raise ValueError(f'method must be "mala" or "malt", got {method!r}')
        if target_acceptance is not None and not 0 < target_acceptance < 1:
            raise ValueError(f"target_acceptance must lie in (0, 1), got {target_acceptance}")
        if step_size is not None and not 0 < step_size < float("inf"):
            raise ValueError(f"step_size must be positive, got {step_size}")
        if preconditioner not in ("dense", "diagonal", "identity"):
            raise ValueError(f'preconditioner must be "dense", "diagonal" or "identity", got {preconditioner!r}')
        self.model, self.potential_fn, self.score, self.method = model, potential_fn, score, method
        self._algorithm = ALGORITHMS[method]
        self.target_acceptance = target_acceptance or self._algorithm.acceptance
        self._acceptance_given = target_acceptance is not None
        self.fixed_step, self.preconditioner = step_size, preconditioner
        self.transforms = transforms
        self._options = {"max_plate_nesting": max_plate_nesting, "init_strategy": init_strategy or init_to_uniform}
        self._reset()

    def _reset(self) -> None:
        self._chain_params: Parameters | None = None
        self._density: ModelDensity | None = None
        self._driver: Driver | None = None
        self._warmup_steps: int = 0
        self._count: int = 0
        self._accepted: int = 0
        self._acceptance: float = 0.0
        self._divergences: list[int] = []

    @property
    def initial_params(self) -> Parameters:
        """Where the chain starts, on the real numbers."""
        return self._chain_params or {}

    @initial_params.setter
    def initial_params(self, params: Parameters) -> None:
        self._chain_params = params

    @property
    def step_size(self) -> float:
        """The step in use."""
        if self.fixed_step is not None or self._driver is None:
            return self.fixed_step or 1.0
        return self._driver.policy.step_size if self._count < self._warmup_steps else self._driver.policy.final

    def setup(self, warmup_steps: int, *args: Any, **kwargs: Any) -> None:
        """Prepares a chain; what an earlier one left is forgotten.

        Raises:
            ValueError: if the model has discrete latents that cannot be enumerated, there is no starting point, the
                log-density is not finite at it, or ``target_acceptance`` is given without warm-up.
        """
        if self._acceptance_given and not warmup_steps:
            raise ValueError("target_acceptance has no effect without warm-up: leave it out, or give warmup_steps")
        start, transforms = self._chain_params, self.transforms
        self._reset()
        self._warmup_steps, self._chain_params = warmup_steps, start
        potential_fn = self.potential_fn
        if self.model is not None:
            self._chain_params, potential_fn, self.transforms, _ = prepare(
                self.model, args, kwargs, transforms=transforms, initial_params=start, **self._options
            )
        elif start is None:
            raise ValueError("a kernel made of potential_fn needs to know where to start: MCMC(..., initial_params={...})")
        assert potential_fn is not None
        if not self.initial_params:
            return  # a model without latents
        shapes = {name: value.shape for name, value in self.initial_params.items()}
        density = ModelDensity(potential_fn, shapes, self.transforms)
        self._density = density
        position = density.pack(self.initial_params).detach()[None]
        state = self._algorithm.init(position, self._log_prob_and_score)
        for name, value in (("potential", state.log_prob), ("score", state.score)):
            if not torch.isfinite(value).all():
                raise ValueError(f"the {name} is NaN or infinite at the chain's first point: start where the model has density")
        policy = Fixed(self.fixed_step) if self.fixed_step else ByAcceptance.of(self.target_acceptance, density.dim)
        factor = preconditioners.factor(position, "identity")
        self._driver = Driver(self._algorithm, self._log_prob_and_score, state, policy, factor=factor, generator=None)
        self._driver.plan(warmup_steps, self._learn)

    def sample(self, params: Parameters) -> Parameters:
        """One step of the chain.

        Raises:
            RuntimeError: if a hundred steps in a row diverge.
        """
        warm = self._count < self._warmup_steps
        if self._density is None or self._driver is None:
            self._count += 1
            return params
        before = self._driver.state.position
        info = self._driver.advance()
        after = self._driver.state.position
        self._count += 1
        acceptance = float(info.acceptance)
        if not warm:
            self._accepted += not torch.equal(before, after)
            if bool(info.diverged):
                self._divergences.append(self._count - self._warmup_steps - 1)
        elif self._count == self._warmup_steps:
            self._check_norm()
        drawn = self._count - (0 if warm else self._warmup_steps)
        self._acceptance += (acceptance - self._acceptance) / drawn
        return self._density.unpack(after[0])

    def logging(self) -> OrderedDict[str, str]:
        """What the progress bar shows."""
        return OrderedDict({"step size": f"{self.step_size:.2e}", "acc. prob": f"{self._acceptance:.3f}"})

    def diagnostics(self) -> dict[str, Any]:
        """Diverging draws by their index, and the share of accepted steps, after warm-up: what ArviZ reads."""
        drawn = self._count - self._warmup_steps
        if drawn > 0 and not self._accepted and self._density is not None:
            warnings.warn(
                f"none of {drawn} proposals was accepted: every draw is the same point. A longer warm-up, a smaller step_size "
                "or a score closer to the model's may help",
                RuntimeWarning,
                stacklevel=2,
            )
        return {"divergences": self._divergences, "acceptance rate": self._accepted / max(drawn, 1)}

    def cleanup(self) -> None:
        """Forgets the chain."""
        self._reset()

    def _log_prob_and_score(self, position: Tensor) -> tuple[Tensor, Tensor]:
        assert self._density is not None
        log_prob, score = self._density.log_prob_and_score(position)
        return log_prob, score if self.score is None else self.score(position).to(position)

    def _learn(self, draws: Tensor) -> tuple[Any, Tensor]:
        """The preconditioner from a window of the warm-up, if the chain has moved in all columns."""
        assert self._driver is not None
        if self.fixed_step is None:  # in new coordinates the step that was found means nothing
            self._driver.policy = ByAcceptance.of(self.target_acceptance, draws.shape[1])
        moved = bool((draws != draws[0]).any(0).all())
        factor = preconditioners.factor(draws, self.preconditioner) if moved else self._driver.factor
        return self._log_prob_and_score, factor

    def _check_norm(self) -> None:
        """Warns where a step as long as the end of the warm-up has found tells of a density without a norm."""
        assert self._driver is not None
        reach = self._driver.policy.final**0.5 * float(self._driver.factor.abs().max())
        if self.fixed_step is None and reach > _FAR:
            warnings.warn(
                f"proposals are accepted even {reach:.2g} away: the potential is flat or falls for ever, so that its density "
                "has no norm; give every latent a proper prior",
                RuntimeWarning,
                stacklevel=2,
            )
