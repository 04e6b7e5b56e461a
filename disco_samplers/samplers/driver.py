"""The chain-batched loop over warm-up and draws that all samplers share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.samplers.algorithms import Algorithm
from disco_samplers.samplers.diagnostics import spreading
from disco_samplers.samplers.step_size import Policy
from disco_samplers.samplers.warmup import History, windows

_HOPELESS = 100
"""Steps in a row in which every chain diverged, after which a run gives up."""


_ENOUGH = 20
"""Steps from which on a chain that has accepted none is worth a warning."""


class Progress(NamedTuple):
    """What a callback sees after each step.

    Arguments:
        step: its number, from 0 on, warm-up included.
        warming_up: whether it belongs to the warm-up.
        state: of the chains, with ``position`` (c, d).
        info: with ``acceptance`` and ``diverged``, (c,).
        step_size: with which it was made.
    """

    step: int
    warming_up: bool
    state: Any
    info: Any
    step_size: float


Callback = Callable[[Progress], "bool | None"]

Learn = Callable[[Tensor], "tuple[Any, Tensor]"]
"""Gives a new target and a new factor of the preconditioner from a history (n, d)."""


class Checkpoint(NamedTuple):
    """Where a run stands: everything that is needed to continue it, and the sampler that may do so."""

    algorithm: Algorithm
    target: Any
    state: Any
    step_size: float
    factor: Tensor
    generator_state: Tensor | None
    sampler: Any = None


class Record(NamedTuple):
    """Draws (c, n, d), mean acceptance (c,) over some steps, divergences (c, n), and whether the run came to its end."""

    draws: Tensor
    steps: int
    acceptance: Tensor
    divergences: Tensor
    complete: bool


class Driver:
    """One run of many chains at once.

    Arguments:
        algorithm: what moves them.
        target: what the algorithm's ``init`` and ``step`` are given.
        state: of the chains.
        policy: of the step size, started.
        factor: of the preconditioner, (d, d).
        generator: source of randomness.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        target: Any,
        state: Any,
        policy: Policy,
        *,
        factor: Tensor,
        generator: torch.Generator | None,
    ) -> None:
        self.algorithm, self.target, self.state, self.policy = algorithm, target, state, policy
        self.factor, self.generator, self.step_size = factor, generator, policy.step_size
        self.name, self.progress = "", False
        self.callback: Callback | None = None
        self.steps, self.hopeless, self.stopped = 0, 0, False
        self.plan(0)

    def show(self, name: str, callback: Callback | None, progress: bool) -> None:
        """Who is told of each step: the callback, whose true answer ends the run with what it has drawn, and a named bar."""
        self.name, self.callback, self.progress = name, callback, progress

    def plan(self, num_warmup: int, learn: Learn | None = None) -> None:
        """Says how long the warm-up is that the next steps belong to.

        Arguments:
            num_warmup: steps.
            learn: called at the end of each window of warm-up; None where there is nothing to learn.
        """
        self._start, self._end = self.steps + num_warmup // 8, self.steps + num_warmup
        self._learn, self._history = learn, History()
        self._windows = [self.steps + end for end in windows(num_warmup)] if learn is not None else []
        if not num_warmup:
            self.step_size = self.policy.final

    def warm_up(self, num_steps: int, learn: Learn | None = None) -> None:
        """Steps whose positions are not kept, while the step size is found; arguments as of :meth:`plan`.

        Raises:
            RuntimeError: if every chain diverges a hundred times in a row.
        """
        self.plan(num_steps, learn)
        with self._bar(num_steps, "warm-up") as bar:
            for _ in range(num_steps):
                self.advance()
                if self.stopped:
                    self.step_size = self.policy.final
                    break
                bar.update()

    def advance(self) -> Any:
        """One step of all chains, and in warm-up what it teaches; gives the step's info.

        Raises:
            RuntimeError: if every chain diverges a hundred times in a row.
        """
        warming_up = self.steps < self._end
        if warming_up:
            self.step_size = self.policy.step_size
        info = self._step(self.step_size, warming_up=warming_up)
        if not warming_up:
            return info
        self.policy = self.policy.update(self.state, info, self.factor)
        if self.stopped:
            return info
        if self._windows and self.steps > self._start:
            self._history.add(self.state.position)
        if self._learn is not None and self.steps in self._windows:
            self.target, self.factor = self._learn(self._history.take())
            self.state = self.algorithm.init(self.state.position, self.target)
            self.policy = self.policy.start(self.state, self.factor)
        if self.steps == self._end:
            self.step_size = self.policy.final
        return info

    def draw(self, num_samples: int, thinning: int) -> Record:
        """Draws every ``thinning`` steps; an interrupt keeps those drawn so far, and is passed on where there are none.

        Raises:
            RuntimeError: if every chain diverges a hundred times in a row.
        """
        x = self.state.position
        draws = x.new_empty(len(x), num_samples, x.shape[1])
        accepted, steps = torch.zeros(len(x), dtype=torch.float64, device=x.device), 0
        divergences = torch.zeros(len(x), num_samples, dtype=torch.bool, device=x.device)
        kept = 0
        with self._bar(num_samples * thinning, "draws") as bar:
            try:
                for i in range(num_samples * thinning):
                    if self.stopped:
                        break
                    info = self.advance()
                    accepted += info.acceptance
                    steps += 1
                    divergences[:, kept] |= info.diverged
                    bar.update()
                    if (i + 1) % thinning == 0:
                        draws[:, kept] = self.state.position
                        kept += 1
            except KeyboardInterrupt:
                if not kept:
                    raise
        complete = kept == num_samples
        if not complete:  # the memory of those never drawn is not kept
            draws, divergences = draws[:, :kept].clone(), divergences[:, :kept].clone()
        return Record(draws, steps, accepted / steps, divergences, complete)

    def checkpoint(self) -> Checkpoint:
        """Where the run stands now."""
        generator_state = None if self.generator is None else self.generator.get_state()
        return Checkpoint(self.algorithm, self.target, self.state, self.step_size, self.factor, generator_state)

    def _bar(self, total: int, what: str) -> Any:
        return tqdm(total=total, disable=not self.progress or not total, desc=f"{self.name}: {what}")

    def _step(self, step_size: float, *, warming_up: bool) -> Any:
        self.state, info = self.algorithm.step(
            self.state, self.target, step_size=step_size, factor=self.factor, generator=self.generator
        )
        self.steps += 1
        self.hopeless = self.hopeless + 1 if bool(info.diverged.all()) else 0
        if self.hopeless >= _HOPELESS:
            raise RuntimeError(
                f"every chain diverged in {_HOPELESS} steps in a row at step size {step_size:.2g}: the score is not that of a "
                "density that can be sampled at this scale; rescale the target, or give context= or a fitting preconditioner"
            )
        if self.callback is not None:
            self.stopped = bool(self.callback(Progress(self.steps - 1, warming_up, self.state, info, step_size)))
        return info


def warn(record: Record) -> bool:
    """Warns of divergences, of chains that never moved and of chains that never stopped spreading: whether of any."""
    count, total = int(record.divergences.sum()), record.divergences.numel()
    if count:
        often = (record.divergences.double().mean(1) > 0.5).nonzero().flatten().tolist()
        warnings.warn(
            f"{count} of {total} draws came after a step that diverged"
            + (f", most of them in chain {', '.join(map(str, often[:8]))}" if 0 < len(often) < len(record.draws) else "")
            + ": the target is badly scaled there; a smaller step_size or another preconditioner may help",
            RuntimeWarning,
            stacklevel=4,
        )
    # In a few steps even a chain that is well may accept none.
    stuck = (record.acceptance < 1e-6).nonzero().flatten().tolist() if record.steps >= _ENOUGH else []
    if stuck:
        warnings.warn(
            f"{len(stuck)} of {len(record.draws)} chains accepted no step at all (chain {', '.join(map(str, stuck[:8]))}): "
            "they stand where warm-up left them; warm up longer, or give a smaller step_size",
            RuntimeWarning,
            stacklevel=4,
        )
    if wide := spreading(record.draws.detach().cpu().numpy()):
        warnings.warn(
            f"chains were still spreading at the end (variable {', '.join(map(str, wide[:8]))}): the target may be improper "
            "(its density has no finite integral), or chains mix more slowly than they are long",
            RuntimeWarning,
            stacklevel=4,
        )
    return bool(count or stuck or wide)
