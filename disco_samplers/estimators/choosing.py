"""Choice of the ways in which samples are read, and of the share of the density that each has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.draws import part_worth
from disco_samplers.estimators.base import check_single
from disco_samplers.estimators.independent import may_be_independent
from disco_samplers.estimators.judge import mean, mean_error
from disco_samplers.estimators.normalized import MAX_DIM
from disco_samplers.estimators.readings import INDEPENDENT, MIXTURE, PARTS, PLAIN, WHITENED_PARTS, Kind
from disco_samplers.estimators.stacked import gain, stack
from disco_samplers.estimators.transforms import heavy_tails
from disco_samplers.estimators.trial import FEW, Trial
from disco_samplers.model import Network, whiten

_STRENGTHS = (0.1, 0.3, 1.0)
"""Of the tail coordinates tried, upwards while they get better; where tails are heavy the first two of them at least."""

_HEAVY = 4.0
"""Standard errors of the fourth moment above a normal law's from which on tails are heavy."""

_CLEAR = 0.5
"""Standard errors by which rows must be likelier for anything else but the samples as they are."""

_VARIED = 0.25
"""Share of the rows off a column's commonest value; fewer might all lie in one fold, and the others have no variance."""

_CLEARLY = 1.0
"""Standard errors by which rows must be likelier with tails drawn in at full strength than in all ways before, for that to have
a share: it flatters the density where its slope is wrong."""

_FEWEST = 50
"""Rows to tell readings by: with fewer none are tried."""


class Choice(NamedTuple):
    """The share that each way to read samples has, and what was tried, by minus the log-density of rows that were held out.

    Beside them the trial, of up to 2048 of the rows, or None where samples cannot be tried, and what ended the search early.
    """

    shares: dict[Kind, float]
    tried: dict[Kind, float]
    trial: Trial | None
    stopped: str


def choose(
    network: Network,
    samples: Tensor,
    *,
    counts: Tensor | None = None,
    blocks: Tensor | None = None,
    keys: int | None,
    seed: int,
    deadline: float,
    reserve: int,
    progress: bool,
) -> Choice:
    """Tries ways to read samples (n, d).

    With ``counts`` (n,) a row is worth so many independent draws; those of a block, (n,), are held out together. The search
    ends with what it has found at an interrupt, and when ``reserve`` pairs of rows can just be computed before the deadline.

    Raises:
        ValueError: if the samples are of a batch.
        KeyboardInterrupt: if interrupted before anything but the plain reading was chosen: there is nothing to keep yet.
    """
    check_single(samples, "adapt")
    generator = torch.Generator().manual_seed(seed)
    x, worth, own = _part(samples, counts, blocks, generator)
    few = (len(x) if worth is None else float(worth.sum())) < _FEWEST
    unfit = few or x.shape[1] > MAX_DIM or whiten(samples[None], None if counts is None else counts[None]).rank < x.shape[1]
    if unfit or _commonest(x, worth) > 1 - _VARIED:
        return Choice({PLAIN: 1.0}, {}, None, "")
    trial = Trial(network, x, counts=worth, blocks=own, keys=keys, seed=seed, deadline=deadline, reserve=reserve)
    search, stopped = _Search(trial, x, worth), ""
    try:
        with tqdm(disable=not progress, desc="readings") as bar:
            for _ in search.run():
                bar.update()
    except TimeoutError:
        stopped = "budget"
    except KeyboardInterrupt:
        if len(search.tried) < 2:
            raise
        stopped = "interrupt"
    shares = search.shares()
    if stopped == "interrupt" and list(shares) == [PLAIN]:
        raise KeyboardInterrupt
    return Choice(shares, search.tried, trial, stopped)


class _Search:
    """The ways to read rows x (n, d) that are tried, in their order, and the shares of a density that they should have."""

    def __init__(self, trial: Trial, x: Tensor, worth: Tensor | None) -> None:
        self._trial, self._x, self._worth = trial, x, worth
        self.tried: dict[Kind, float] = {}
        self._flattering: list[Kind] = []

    def run(self) -> Iterator[Kind]:
        """Judges one way after another."""
        yield self._judge(PLAIN)
        if self._x.shape[1] > 1 and may_be_independent(self._x, counts=self._worth):
            yield self._judge(INDEPENDENT)
            if self._independent:
                return
        if any(len(mixture.weights) > 1 for mixture in self._trial.mixtures()):
            yield self._judge(PARTS)
            yield self._judge(WHITENED_PARTS)
        for name in ("radius", "columns"):
            previous = self.tried[PLAIN]
            heavy = heavy_tails(self._x, radial=name == "radius", counts=self._worth) > _HEAVY
            for strength in _STRENGTHS:
                before = tuple(self.tried)
                yield self._judge((name, strength))
                if strength == _STRENGTHS[-1] and self._least(before) <= _CLEARLY:
                    self._flattering.append((name, strength))
                if not (heavy and strength == _STRENGTHS[0]) and not self.tried[name, strength] < previous:
                    break
                previous = self.tried[name, strength]

    def shares(self) -> dict[Kind, float]:
        """Those of the likeliest density, or all to the samples as they are where it is not clearly likelier."""
        if self._independent:
            return {INDEPENDENT: 1.0}
        if PLAIN not in self.tried:
            return {PLAIN: 1.0}
        self._trial.judge_mixture()
        return _shares(self._trial, [*(kind for kind in self.tried if kind not in self._flattering), MIXTURE])

    @property
    def _independent(self) -> bool:
        return INDEPENDENT in self.tried and self._trial.gain(INDEPENDENT, PLAIN) > _CLEAR

    def _judge(self, kind: Kind) -> Kind:
        self.tried[kind] = self._trial.judge(kind)
        return kind

    def _least(self, rivals: tuple[Kind, ...]) -> float:
        """The least gain, in standard errors, of the way judged last."""
        return min(self._trial.gain(list(self.tried)[-1], rival) for rival in rivals)


def weigh_again(trial: Trial, shares: dict[Kind, float]) -> dict[Kind, float]:
    """The shares by another trial, of these ways and of a mixture of Gaussians; columns taken as independent stay so."""
    if list(shares) == [INDEPENDENT]:
        return shares
    trial.judge_mixture()
    for kind in shares:
        if kind != MIXTURE:
            trial.judge(kind)
    return _shares(trial, list(trial.losses))


def _shares(trial: Trial, kinds: list[Kind]) -> dict[Kind, float]:
    """Those of the likeliest density; all to the samples as they are, where it is not so by half a standard error."""
    shares = stack(trial, kinds)
    if PLAIN not in kinds:
        return shares
    rows = gain(trial, shares, PLAIN)
    return shares if mean(rows, trial.worth) > _CLEAR * mean_error(rows, trial.worth) else {PLAIN: 1.0}


def _part(
    samples: Tensor, counts: Tensor | None, blocks: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """A random part of the rows, in their order where they are of chains, what they are worth, and their blocks."""
    order = torch.randperm(len(samples), generator=generator, device=generator.device)[:FEW]
    if blocks is not None:
        order = order.sort().values
        blocks = blocks[order]
    rows, worth = order.to(samples.device), None
    if counts is not None:
        worth = counts[rows] if blocks is None else part_worth(counts, rows)
    return samples[rows], worth, blocks


def _commonest(x: Tensor, counts: Tensor | None) -> float:
    """The largest share of all weight that a single value of a column has."""
    share = x.new_full((len(x),), 1 / len(x), dtype=torch.float64) if counts is None else (counts / counts.sum()).double()
    most = 0.0
    for column in x.unbind(1):
        values, own = column.unique(return_inverse=True)
        most = max(most, float(share.new_zeros(len(values)).index_add_(0, own, share).max()))
    return most
