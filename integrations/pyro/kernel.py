"""Langevin kernels for ``pyro.infer.MCMC``."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import torch
from pyro.infer.autoguide.initialization import init_to_uniform
from pyro.infer.mcmc.mcmc_kernel import MCMCKernel
from torch import Tensor

from disco_samplers.samplers import preconditioner, step_size
from disco_samplers.samplers.algorithms import ALGORITHMS
from disco_samplers.samplers.warmup import History, windows
from disco_samplers.types import ScoreFunction

from .model_density import ModelDensity, Parameters, prepare

_HOPELESS = 100
"""Diverging steps in a row after which a chain gives up."""

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
        target_acceptance: of the adaptation, so without ``step_size``; 0.574 for "mala" and 0.8 for "malt" if not given.
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
        preconditioner: preconditioner.Kind = "dense",
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
        self.fixed_step, self.preconditioner = step_size, preconditioner
        self.transforms = transforms
        self._options = {"max_plate_nesting": max_plate_nesting, "init_strategy": init_strategy or init_to_uniform}
        self._reset()

    def _reset(self) -> None:
        self._chain_params: Parameters | None = None
        self._density: ModelDensity | None = None
        self._warmup_steps: int = 0
        self._count: int = 0
        self._accepted: int = 0
        self._hopeless: int = 0
        self._acceptance: float = 0.0
        self._divergences: list[int] = []
        self._history, self._windows = History(), windows(0)
        self._averaging = step_size.init(1.0)

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
        if self.fixed_step is not None:
            return self.fixed_step
        return self._averaging.step_size if self._count < self._warmup_steps else self._averaging.final

    def setup(self, warmup_steps: int, *args: Any, **kwargs: Any) -> None:
        """Prepares a chain; what an earlier one left is forgotten.

        Raises:
            ValueError: if the model has discrete latents that cannot be enumerated, there is no starting point, or the
                log-density is not finite at it.
        """
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
        self._state = self._algorithm.init(position, self._log_prob_and_score)
        for name, value in (("potential", self._state.log_prob), ("score", self._state.score)):
            if not torch.isfinite(value).all():
                raise ValueError(f"the {name} is NaN or infinite at the chain's first point: start where the model has density")
        self._factor = preconditioner.factor(position, "identity")
        self._averaging = step_size.init(min(0.5, density.dim ** (-1 / 3)))
        self._windows = windows(warmup_steps)

    def sample(self, params: Parameters) -> Parameters:
        """One step of the chain.

        Raises:
            RuntimeError: if a hundred steps in a row diverge.
        """
        warm = self._count < self._warmup_steps
        if self._density is None:
            self._count += 1
            return params
        before = self._state.position
        self._state, info = self._algorithm.step(
            self._state, self._log_prob_and_score, step_size=self.step_size, factor=self._factor, generator=None
        )
        self._count += 1
        acceptance, diverged = float(info.acceptance), bool(info.diverged)
        self._hopeless = self._hopeless + 1 if diverged else 0
        if self._hopeless == _HOPELESS:
            raise RuntimeError(
                f"the chain diverged in {_HOPELESS} steps in a row at step size {self.step_size:.2g}: the potential is NaN or "
                "infinite all around; check the model, or start elsewhere"
            )
        if warm:
            self._adapt(acceptance)
        else:
            self._accepted += not torch.equal(before, self._state.position)
            if diverged:
                self._divergences.append(self._count - self._warmup_steps - 1)
        drawn = self._count - (0 if warm else self._warmup_steps)
        self._acceptance += (acceptance - self._acceptance) / drawn
        return self._density.unpack(self._state.position[0])

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

    def _adapt(self, acceptance: float) -> None:
        """Step size at every step of the warm-up, preconditioner at the end of each of its windows."""
        self._averaging = step_size.update(self._averaging, acceptance, self.target_acceptance)
        if self._windows:
            self._history.add(self._state.position)
            if self._count == self._windows[0]:
                del self._windows[0]
                draws = self._history.take()
                if bool((draws != draws[0]).any(0).all()):
                    self._factor = preconditioner.factor(draws, self.preconditioner)
                    self._averaging = step_size.init(min(0.5, draws.shape[1] ** (-1 / 3)))
        reach = self._averaging.final**0.5 * float(self._factor.abs().max())
        if self._count == self._warmup_steps and self.fixed_step is None and reach > _FAR:
            warnings.warn(
                f"proposals are accepted even {reach:.2g} away: the potential is flat or falls for ever, so that its density "
                "has no norm; give every latent a proper prior",
                RuntimeWarning,
                stacklevel=2,
            )
