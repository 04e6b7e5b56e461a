"""The front of the samplers: many chains of any method, from any score."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from disco_samplers import preconditioners
from disco_samplers.arrays import check_callable, check_count, check_flag, check_positive, column_names, device_of
from disco_samplers.draws import Draws, align, distinct_rows, in_turns, names_of, periods_of
from disco_samplers.randomness import check_seed, generator_on
from disco_samplers.samplers.algorithms import Method
from disco_samplers.samplers.assembly import Jumps, algorithm_of, guided, jumps_of, learn_of, levels_of, policy_of, target_of
from disco_samplers.samplers.diagnostics import NotMixedWarning, not_mixed
from disco_samplers.samplers.driver import Callback, Checkpoint, Driver, warn
from disco_samplers.samplers.options import Options, differences
from disco_samplers.samplers.result import SamplerResult
from disco_samplers.samplers.start import context_of, factor_of, start
from disco_samplers.samplers.step_size import Fixed
from disco_samplers.samplers.steps import Condition, Proposal, noise
from disco_samplers.samplers.target import Target
from disco_samplers.types import ArrayLike, LogDensity, ScoreFunction


class LangevinSampler:
    r"""Draws from a score, by many chains at once.

    .. math:: dx = P \nabla \log f(x)\, dt + \sqrt{2 P}\, dW

    ==========  =====================================================================================================
    method      what it is
    ==========  =====================================================================================================
    "auto"      "jumps" for an estimate and its own density, else "mala" where there is a log-density, else "ula"
    "jumps"     of an estimate, calibrated to its rows: independent proposals made of these, with local "mala" moves between
    "ula"       unadjusted Langevin, order one; its step size follows from ``bias``
    "baoab"     underdamped Langevin by the BAOAB splitting, order two; its step size follows from ``bias``
    "mala"      Metropolis-adjusted Langevin; its step size is adapted to an acceptance of 0.574
    "malt"      Metropolis-adjusted underdamped trajectories, HMC with ``friction=0``; adapted to an acceptance of 0.8
    "annealed"  unadjusted Langevin down a ladder of noise levels in warm-up, for modes that are far apart
    "flow"      the deterministic particle flow: the chains are one cloud, and a draw is the cloud at rest
    "exact"     ``log_prob``, a black box, decides; an estimate of the score, refreshed from the history of warm-up, proposes
    ==========  =====================================================================================================

    Warm-up draws are discarded. Where no context tells the target's scale, warm-up learns the preconditioner too, in windows
    of doubling length. With an estimated density the adjusted methods remove the discretisation's bias, not the estimate's
    error; "exact" removes that too.

    Arguments:
        score: a callable (m, d) -> (m, d); an estimate or any density with ``score`` and ``log_prob``; or an unconditioned
            model, then give ``context`` to :meth:`run` ("exact" can do without).
        log_prob: log-density (m, d) -> (m,), normalised or not; taken from ``score`` where that has one, except by "exact".
        method: see the table.
        preconditioner: "dense" (the default), "diagonal" or "identity", of all but "flow"; taken from the context, from
            ``initial`` where there is none and it has many chains, or from warm-up.
        target_acceptance: of the adjusted methods; that of the table if not given ("exact": 0.4; "mala" of an estimate and
            "jumps": 0.8, since where its two heads disagree, as in the neck of a funnel, large steps leave chains stuck).
        bias: relative bias of a Gaussian's variance that the unadjusted methods may have; 0.05 if not given.
        friction: of "baoab" (2 if not given) and "malt" (1).
        trajectory: of "malt": whitened time between two decisions; 1.5 if not given.
        levels: of "annealed": noise levels, largest first, or scores ever less smoothed, the target's last; see
            :func:`~disco_samplers.scores.ladder`.
        proposal: of "jumps": what is proposed, with ``sample`` and ``log_prob``; made of an estimate's rows if not given. With
            one any density can be jumped in.
        condition: of "flow": gives a cloud's score from its particles; the shipped model's if not given.

    Raises:
        TypeError: if ``score`` is not callable.
        ValueError: if an adjusted method is asked for without a log-density, or an option is out of range or one that the
            method ignores.

    References:
        Roberts, Rosenthal, *Optimal scaling of discrete approximations to Langevin diffusions*, JRSS B 1998, for 0.574;
        each method's own in its file.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> draws = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> sampler = LangevinSampler(score=DiScoFormer.from_pretrained())
        >>> result = sampler.run(20, context=draws, num_warmup=20, num_chains=4, seed=1, progress=False)
        >>> result.draws.shape
        torch.Size([4, 20, 2])
    """

    def __init__(
        self,
        score: ScoreFunction,
        *,
        log_prob: LogDensity | None = None,
        method: Method | Literal["auto"] | None = None,
        preconditioner: preconditioners.Kind | None = None,
        target_acceptance: float | None = None,
        bias: float | None = None,
        friction: float | None = None,
        trajectory: float | None = None,
        levels: Sequence[Any] | None = None,
        condition: Condition | None = None,
        proposal: Proposal | None = None,
    ) -> None:
        check_callable("score", score, "(m, d) -> (m, d)")
        check_callable("log_prob", log_prob, "(m, d) -> (m,)", optional=True)
        known = log_prob is not None or hasattr(score, "log_prob") or hasattr(score, "condition")
        own = log_prob is None and (hasattr(score, "proposal") or hasattr(score, "condition"))
        jumps = own or proposal is not None
        chosen: Any = ("jumps" if jumps else "mala" if known else "ula") if method in (None, "auto") else method
        self.options = Options(
            method=chosen,
            preconditioner=preconditioner,
            target_acceptance=target_acceptance,
            bias=bias,
            friction=friction,
            trajectory=trajectory,
            levels=levels,
            condition=condition,
            proposal=proposal,
        )
        adjusted = self.options.algorithm.adjusted
        if adjusted and not known:
            raise ValueError(f'method "{self.method}" needs a log-density: give log_prob=, or use method="ula"')
        if self.method == "exact" and log_prob is None:
            raise ValueError('method "exact" needs log_prob=, the target\'s own log-density; with an estimate\'s use "mala"')
        if self.method == "jumps" and not jumps:
            raise ValueError(
                'method "jumps" needs an estimate as score, and no log_prob=, or a proposal=: for any other use "mala"'
            )
        if log_prob is not None and not adjusted:
            raise ValueError(f'log_prob is not an option of method "{method}", only of mala, malt, exact: leave it out')
        self.score, self.log_prob = score, log_prob
        # Only an estimate, or the model that makes one, can be adapted or conditioned.
        estimated = self.method == "mala" and log_prob is None and (hasattr(score, "adapt") or hasattr(score, "condition"))
        self.target_acceptance = target_acceptance or (0.8 if estimated else self.options.algorithm.acceptance)

    @property
    def method(self) -> Method:
        """Name of the method."""
        return self.options.method

    @torch.inference_mode(False)  # where nothing can be differentiated, as a score may do
    def run(
        self,
        num_samples: int = 1000,
        *,
        context: ArrayLike | Draws | None = None,
        initial: ArrayLike | None = None,
        num_chains: int | None = None,
        num_warmup: int | None = None,
        thinning: int = 1,
        step_size: float | None = None,
        adapt: bool = False,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        names: Sequence[str] | None = None,
        callback: Callback | None = None,
        resume: SamplerResult | None = None,
        progress: bool = True,
    ) -> SamplerResult:
        """Runs the chains.

        Arguments:
            num_samples: draws kept of each chain.
            context: draws (n, d), or :class:`~disco_samplers.Draws` with weights, chains and names: conditions an unconditioned
                model, gives the preconditioner and the starting points. A numpy array goes to the score's device, a tensor
                must be there already. Columns with names are matched by them to those of an estimate.
            initial: starting points (num_chains, d), as the context is; rows of it, drawn at random, if not given.
            num_chains: number of chains; as many as ``initial`` has, or 4.
            num_warmup: discarded steps before; 500 if not given, 200 of "jumps".
            thinning: steps between two draws.
            step_size: fixes the step size instead of adapting it.
            adapt: whether the estimate is adapted before sampling, and in exact mode whenever it is refreshed.
            seed: of the randomness; give this or ``generator``.
            generator: source of randomness, on the device of the chains.
            names: of the variables; those of the estimate's or the context's columns if not given.
            callback: called with a :class:`~disco_samplers.samplers.Progress` after each step; a true answer ends the
                run, with what it has drawn so far, in warm-up nothing, as its result.
            resume: a result of this sampler, complete or not, to go on from: same chains, step size and randomness, no
                warm-up. The new result holds its draws and ``num_samples`` more. A copy or a pickle of a result has its draws
                only: nothing goes on from it.
            progress: whether to show a progress bar.

        Returns:
            The draws and their diagnostics. If interrupted or ended by the callback, those drawn so far, with
            ``complete=False``.

        Raises:
            TypeError: if an array is not numeric or a count not an integer.
            ValueError: if a count is not positive, an option would have no effect, starting points are missing or not finite,
                or the score returns the wrong shape or NaN.
            RuntimeError: if every chain diverges a hundred times in a row.
            KeyboardInterrupt: if interrupted before the first draw.
        """
        for name, value, least in (
            ("num_samples", num_samples, 1),
            ("num_chains", num_chains, 1),
            ("num_warmup", num_warmup, 0),
            ("thinning", thinning, 1),
        ):
            if value is not None:
                check_count(name, value, least)
        if step_size is not None:
            check_positive("step_size", step_size)
        check_callable("callback", callback, "of a Progress", optional=True)
        self.options.check_run(step_size, num_warmup)
        check_seed(seed, generator)
        warmup = num_warmup if num_warmup is not None else 200 if self.method == "jumps" else 500
        jumps: Jumps | None = None
        x: Tensor | None = None
        if resume is not None:
            fixed: dict[str, Any] = {"context": context, "initial": initial, "num_chains": num_chains, "num_warmup": num_warmup}
            fixed |= {"names": names, "step_size": step_size, "adapt": adapt or None}
            if given := [name for name, value in fixed.items() if value is not None]:
                raise ValueError(f"resume goes on from a result as it is: leave out {', '.join(given)}")
            driver = self._resumed(resume, seed, generator)
            names = resume.names
        else:
            estimate = self._estimate(context, adapt)
            device = device_of(self.score, getattr(self.options.condition, "__self__", None), context, initial)
            draws, counts = context_of(estimate, context, device, conditioned=estimate is not self.score)
            known = names_of(estimate, context, initial)
            initial = align(initial, "initial", known, "the target has")
            x, rng = start(initial, draws, counts, num_chains, seed, generator, device)
            names = column_names(known if names is None else names, x.shape[1])
            options = self.options
            levels = levels_of(options, draws, warmup)
            if initial is None and levels and not callable(levels[0]):
                x = x + noise(x, rng) * levels[0]
            if self.method == "jumps" and options.proposal is None:
                estimate = estimate.calibrated(generator=rng)
            target = target_of(options, estimate, self.log_prob, levels, x, rng)
            jumps = jumps_of(options, estimate, target, len(x), rng)
            algorithm = algorithm_of(options, target, warmup, x.device, jumps)
            state, factor = algorithm.init(x, target), factor_of(draws, counts, x, options.preconditioner or "dense")
            policy = policy_of(options, self.target_acceptance, step_size, x.shape[1]).start(state, factor)
            driver = Driver(algorithm, target, state, policy, factor=factor, generator=rng)
        driver.show(self.method, callback, progress)
        if resume is None:
            learn = learn_of(self.options, driver, known=draws is not None, refresh=self._refreshed(adapt))
            driver.warm_up(warmup, learn)
        record = driver.draw(num_samples, thinning)
        record = record._replace(draws=in_turns(record.draws, getattr(self.score, "support", None)))
        warned = warn(record)
        checkpoint = driver.checkpoint()._replace(sampler=self)
        pareto_k = None if jumps is None else jumps.pareto_k
        result = SamplerResult.of(
            record,
            checkpoint,
            self.method,
            names,
            pareto_k=pareto_k,
            start=x,
            periods=periods_of(getattr(self.score, "support", None)),
            before=resume,
        )
        # What has diverged, stood still or spread was said already.
        if not warned and (unmixed := result.unmixed):
            warnings.warn(not_mixed(unmixed, self.method, result.draws.shape[1]), NotMixedWarning, stacklevel=3)
        return result

    def _resumed(self, result: SamplerResult, seed: int | None, generator: torch.Generator | None) -> Driver:
        if not isinstance(result, SamplerResult):
            raise TypeError(f"resume must be the result of a run, got {result!r}")
        if result.checkpoint is None:
            raise ValueError("resume must be the result that a run returned: a copy or a pickle of it has its draws only")
        if result.method != self.method:
            raise ValueError(f'resume must be a result of method "{self.method}", got one of "{result.method}"')
        checkpoint: Checkpoint = result.checkpoint
        if different := self._differences(checkpoint.sampler, checkpoint.state.position):
            raise ValueError(
                f"resume must be a result of this sampler or of one like it, its sampler has another {', '.join(different)}: "
                "begin a new run with initial=result.draws[:, -1]"
            )
        device = checkpoint.state.position.device
        generator = generator_on(device, seed=seed, generator=generator)
        if generator is None and checkpoint.generator_state is not None:
            generator = torch.Generator(device)
            generator.set_state(checkpoint.generator_state)
        return Driver(
            checkpoint.algorithm,
            checkpoint.target,
            checkpoint.state,
            Fixed(checkpoint.step_size),
            factor=checkpoint.factor,
            generator=generator,
        )

    def _differences(self, other: LangevinSampler, x: Tensor) -> list[str]:
        """What makes another sampler's run of the same method not one of this sampler, by the functions' values at points."""
        if other is self:
            return []
        different = differences(self.options, other.options)
        models = [hasattr(sampler.score, "condition") for sampler in (self, other)]
        if any(models) and self.score is not other.score:
            return [*different, "score"]
        # The estimate that a model made is not at hand; the model is the same.
        scores = [torch.zeros_like if models[0] else sampler.score for sampler in (self, other)]
        mine, theirs = (
            Target(score, sampler.log_prob, needs_log_prob=self.options.algorithm.adjusted)(x)
            for score, sampler in zip(scores, (self, other), strict=True)
        )
        for name, a, b in zip(("log_prob", "score"), mine, theirs, strict=True):
            if not torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max())):
                different.append(name)
        return different

    def _estimate(self, context: ArrayLike | Draws | None, adapt: bool) -> Any:
        check_flag("adapt", adapt)
        estimate: Any = self.score
        if hasattr(estimate, "condition"):
            if context is None and self.method == "exact":
                return None
            if context is None:
                raise ValueError("score is an unconditioned model: give the draws to condition on as run(context=draws)")
            estimate = estimate.condition(context)
        if adapt:
            if not hasattr(estimate, "adapt"):
                raise ValueError("adapt needs a DensityEstimate or a DiScoFormer as score")
            estimate = estimate.adapt()
        return estimate

    def _refreshed(self, adapt: bool) -> Callable[[Tensor], Any] | None:
        """Exact mode's target from a history (n, d), where there is a model to condition on it."""
        condition = getattr(self.score, "condition", None) or getattr(getattr(self.score, "model", None), "condition", None)
        if self.method != "exact" or condition is None:
            return None

        def refresh(history: Tensor) -> Any:
            # Copies are what chains have that stay where they are.
            estimate = condition(history, effective_size=len(distinct_rows(history)[0]))
            return guided(self.log_prob, estimate.adapt() if adapt else estimate)

        return refresh
