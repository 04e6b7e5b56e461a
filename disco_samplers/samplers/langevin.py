"""The front of the samplers: many chains of any method, from any score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from disco_samplers._arrays import as_points, check_count
from disco_samplers.samplers import preconditioner
from disco_samplers.samplers.driver import Driver, Method
from disco_samplers.samplers.result import SamplerResult, default_names
from disco_samplers.samplers.target import Target
from disco_samplers.types import ArrayLike, LogDensity, ScoreFunction

if TYPE_CHECKING:
    from disco_samplers.estimate import DensityEstimate
    from disco_samplers.model.discoformer import DiScoFormer


class LangevinSampler:
    r"""Langevin sampling from a score: unadjusted ("ula") or Metropolis-adjusted ("mala").

    .. math:: dx = P \nabla \log f(x)\, dt + \sqrt{2 P}\, dW

    Warm-up draws are discarded. MALA's step size is adapted there to an acceptance of 0.574 by dual averaging; ULA's is
    set from ``bias``, the relative inflation of the stationary variance that is accepted for it.
    With an estimated density MALA removes the discretisation's bias, not the estimate's error.

    Arguments:
        score: a callable (m, d) -> (m, d); a :class:`DensityEstimate` or any density with ``score`` and ``log_prob``; or
            an unconditioned :class:`DiScoFormer`, then give ``context`` to :meth:`run`.
        log_prob: log-density (m, d) -> (m,), normalised or not; taken from ``score`` where that has one.
        method: "mala" where there is a log-density, else "ula".
        preconditioner: "dense", "diagonal" or "identity"; taken from the context, or from ``initial`` where there is none
            and it has many chains.
        target_acceptance: MALA's.
        bias: ULA's, relative.

    Raises:
        TypeError: if ``score`` is not callable.
        ValueError: if "mala" is asked for without a log-density, or an option is out of range.

    References:
        Roberts, Rosenthal, *Optimal scaling of discrete approximations to Langevin diffusions*, JRSS B 1998, for 0.574.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> draws = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> sampler = LangevinSampler(score=DiScoFormer.from_pretrained())
        >>> result = sampler.run(20, context=draws, num_warmup=20, chains=4, seed=1, progress=False)
        >>> result.draws.shape
        torch.Size([4, 20, 2])
    """

    def __init__(
        self,
        score: ScoreFunction | DensityEstimate | DiScoFormer,
        *,
        log_prob: LogDensity | None = None,
        method: Method | None = None,
        preconditioner: preconditioner.Kind = "dense",
        target_acceptance: float = 0.574,
        bias: float = 0.05,
    ) -> None:
        if not callable(score):
            raise TypeError(f"score must be callable, (m, d) -> (m, d), got {type(score).__name__}")
        if method not in (None, "mala", "ula"):
            raise ValueError(f'method must be "mala" or "ula", got {method!r}')
        if preconditioner not in ("dense", "diagonal", "identity"):
            raise ValueError(f'preconditioner must be "dense", "diagonal" or "identity", got {preconditioner!r}')
        if not 0 < target_acceptance < 1:
            raise ValueError(f"target_acceptance must lie in (0, 1), got {target_acceptance}")
        if not 0 < bias < 1:
            raise ValueError(f"bias must lie in (0, 1), got {bias}")
        self.score, self.log_prob = score, log_prob
        known = log_prob is not None or hasattr(score, "log_prob") or hasattr(score, "condition")
        if method == "mala" and not known:
            raise ValueError('method "mala" needs a log-density: give log_prob=, or use method="ula"')
        self.method: Method = method or ("mala" if known else "ula")
        self.preconditioner = preconditioner
        self.target_acceptance, self.bias = target_acceptance, bias

    def run(
        self,
        num_samples: int = 1000,
        *,
        context: ArrayLike | None = None,
        initial: ArrayLike | None = None,
        chains: int = 4,
        num_warmup: int = 500,
        thin: int = 1,
        step_size: float | None = None,
        adapt: int = 0,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        names: Sequence[str] | None = None,
        progress: bool = True,
    ) -> SamplerResult:
        """Runs the chains.

        Arguments:
            num_samples: draws kept of each chain.
            context: draws (n, d): conditions an unconditioned model, gives the preconditioner and the starting points.
            initial: starting points (chains, d); rows of the context, drawn at random, if not given.
            chains: number of chains, where ``initial`` does not say it.
            num_warmup: discarded steps before.
            thin: steps between two draws.
            step_size: fixes the step size instead of adapting it.
            adapt: gradient steps of the estimate's on-the-fly adaptation before sampling; 0 for none.
            seed: of the randomness; give this or ``generator``.
            generator: source of randomness, on the device of the chains.
            names: of the variables.
            progress: whether to show a progress bar.

        Returns:
            The draws and their diagnostics. If interrupted, those drawn so far, with ``complete=False``.

        Raises:
            TypeError: if an array is not numeric or a count not an integer.
            ValueError: if a count is not positive, starting points are missing or not finite, or the score returns
                the wrong shape or NaN.
            RuntimeError: if every chain diverges a hundred times in a row.
        """
        for name, value, least in (
            ("num_samples", num_samples, 1),
            ("chains", chains, 1),
            ("num_warmup", num_warmup, 0),
            ("thin", thin, 1),
            ("adapt", adapt, 0),
        ):
            check_count(name, value, least)
        if step_size is not None and not (step_size > 0 and np.isfinite(step_size)):
            raise ValueError(f"step_size must be positive, got {step_size}")
        if seed is not None and generator is not None:
            raise ValueError("give seed or generator, not both")
        if seed is not None and not 0 <= seed < 2**63:
            raise ValueError(f"seed must lie in 0 .. 2^63 - 1, got {seed}")
        target = self._target(context, adapt)
        draws = self._context(context, target)
        x, rng = self._start(initial, draws, chains, seed, generator)
        factor = preconditioner.factor(
            *((draws, self.preconditioner) if draws is not None else _from_initial(x, self.preconditioner))
        ).to(x)
        names = list(names) if names is not None else default_names(x.shape[1])
        if len(names) != x.shape[1]:
            raise ValueError(f"names must have {x.shape[1]} entries, one a column, got {len(names)}")
        checked = Target(target, self.log_prob, needs_log_prob=self.method == "mala")
        checked.check(x)
        driver = Driver(
            self.method,
            checked,
            x,
            factor=factor,
            generator=rng,
            step=step_size,
            target_acceptance=self.target_acceptance,
            bias=self.bias,
        )
        return driver.run(num_samples, num_warmup, thin, names, progress)

    def _target(self, context: ArrayLike | None, adapt: int) -> Any:
        target: Any = self.score
        if hasattr(target, "condition"):
            if context is None:
                raise ValueError("score is an unconditioned model: give the draws to condition on as run(context=draws)")
            target = target.condition(context)
        if adapt:
            if not hasattr(target, "adapt"):
                raise ValueError("adapt needs a DensityEstimate or a DiScoFormer as score")
            target = target.adapt(adapt)
        return target

    def _context(self, context: ArrayLike | None, target: Any) -> Tensor | None:
        if context is not None:
            draws = as_points(context, "context", getattr(target, "dim", None), getattr(target, "device", None))
        elif isinstance(getattr(target, "samples", None), Tensor):
            draws = target.samples
        else:
            return None
        if draws.ndim != 2:
            raise ValueError(f"context must have shape (n, d), got {tuple(draws.shape)}")
        return draws

    def _start(
        self,
        initial: ArrayLike | None,
        draws: Tensor | None,
        chains: int,
        seed: int | None,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, torch.Generator | None]:
        if initial is None and draws is None:
            raise ValueError("starting points are needed: give initial=(chains, d), or context=draws to take them from")
        where = draws if initial is None else as_points(initial, "initial", None if draws is None else draws.shape[1])
        assert where is not None
        if draws is not None and where.device != draws.device:
            where = where.to(draws.device)
        if where.ndim != 2 or 0 in where.shape:
            raise ValueError(f"initial must have shape (chains, d), got {tuple(where.shape)}")
        rng = generator
        if generator is None and seed is not None:
            rng = torch.Generator(where.device).manual_seed(seed)
        if initial is None:
            where = where[torch.randint(len(where), (chains,), generator=rng, device=where.device)]
        return where.detach().clone(), rng


def _from_initial(x: Tensor, kind: preconditioner.Kind) -> tuple[Tensor, preconditioner.Kind]:
    """Many starting points tell a scale, a few do not, nor do equal ones."""
    return (x, kind if len(x) > max(x.shape[1], 9) and bool((x != x[0]).any(0).all()) else "identity")
