"""Choice of how samples are read: as they are, column by column, in parts, or in coordinates that draw their tails in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.draws import part_worth
from disco_samplers.estimators.base import check_single
from disco_samplers.estimators.independent import may_be_independent
from disco_samplers.estimators.judge import both_improve
from disco_samplers.estimators.normalized import MAX_DIM
from disco_samplers.estimators.readings import INDEPENDENT, PARTS, PLAIN, WHITENED_PARTS, Kind
from disco_samplers.estimators.transforms import heavy_tails
from disco_samplers.estimators.trial import FEW, Trial
from disco_samplers.model import Network, whiten

_STRENGTHS = (0.1, 0.3, 1.0)
"""Of the tail coordinates tried, upwards while they get better; where tails are heavy the first two of them at least."""

_HEAVY = 4.0
"""Standard errors of the fourth moment above a normal law's from which on tails are heavy."""

_CLEAR = 0.5
"""Standard errors by which rows must be likelier for columns in which no dependence is seen to be taken as independent."""

_VARIED = 0.25
"""Share of the rows off a column's commonest value; fewer might all lie in one fold, and the others have no variance."""

_APART = 1.5
"""Standard errors by which density or score must get better for rows to be taken in parts."""

_COMPARED = 2
"""Ways whose score is judged, as a rule: those that are likelier are asked first."""

_FEWEST = 50
"""Rows to tell readings by: with fewer none are tried."""


class Choice(NamedTuple):
    """How samples are to be read, and what was tried, by minus the log-density of rows that were held out.

    Beside it the trial, of up to 2048 of the rows, or None where samples cannot be tried; where they are not read as they are,
    the nats by which each row is likelier so, and what it is worth; and what ended the search early.
    """

    kind: Kind
    tried: dict[Kind, float]
    trial: Trial | None
    gains: list[tuple[Tensor, Tensor | None]]
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
        return Choice(PLAIN, {}, None, [], "")
    trial = Trial(network, x, counts=worth, blocks=own, keys=keys, seed=seed, deadline=deadline)
    trial.reserve = reserve + _COMPARED * trial.cost_of_slopes
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
    trial.reserve = reserve
    try:
        kind = search.best()
    except KeyboardInterrupt:
        if stopped == "interrupt":
            raise
        stopped, kind = "interrupt", search.best()
    if stopped == "interrupt" and kind == PLAIN:
        raise KeyboardInterrupt
    gains = [] if kind == PLAIN else [(trial.losses[PLAIN] - trial.losses[kind], trial.worth)]
    return Choice(kind, search.tried, trial, gains, stopped)


class _Way(NamedTuple):
    """A way to read rows: by how many standard errors density or score must get better, and it must be likelier than others."""

    kind: Kind
    least: float
    likelier: float
    than: tuple[Kind, ...]


class _Search:
    """The ways to read rows x (n, d) that are tried, in their order, and which of them is best."""

    def __init__(self, trial: Trial, x: Tensor, worth: Tensor | None) -> None:
        self._trial, self._x, self._worth = trial, x, worth
        self.tried: dict[Kind, float] = {}
        self._ways: list[_Way] = []

    def run(self) -> Iterator[Kind]:
        """Judges one way after another."""
        yield self._judge(PLAIN)
        if self._x.shape[1] > 1 and may_be_independent(self._x, counts=self._worth):
            yield self._judge(INDEPENDENT)
            if self._independent:
                return
        if any(len(mixture.weights) > 1 for mixture in self._trial.mixtures()):
            yield self._judge(PARTS, _APART)
            yield self._judge(WHITENED_PARTS, _APART, daring=True)
        for name in ("radius", "columns"):
            previous = self.tried[PLAIN]
            heavy = heavy_tails(self._x, radial=name == "radius", counts=self._worth) > _HEAVY
            for strength in _STRENGTHS:
                full = strength == _STRENGTHS[-1]
                yield self._judge((name, strength), 0.0 if heavy and not full else 1.0, daring=full)
                if not (heavy and strength == _STRENGTHS[0]) and not self.tried[name, strength] < previous:
                    break
                previous = self.tried[name, strength]

    def best(self) -> Kind:
        """The likeliest way that is better than the samples as they are."""
        if self._independent:
            return INDEPENDENT
        trial = self._trial
        for way in sorted(self._ways, key=lambda way: self.tried[way.kind]):
            if min(trial.gain(way.kind, rival) for rival in way.than) > way.likelier and both_improve(
                trial.judged(way.kind), trial.judged(PLAIN), way.least, trial.worth
            ):
                return way.kind
        return PLAIN

    @property
    def _independent(self) -> bool:
        return INDEPENDENT in self.tried and self._trial.gain(INDEPENDENT, PLAIN) > _CLEAR

    def _judge(self, kind: Kind, least: float | None = None, *, daring: bool = False) -> Kind:
        """Judges a way, which may be chosen where it says how much better it must be."""
        than = tuple(self.tried) if daring else (PLAIN,)
        self.tried[kind] = self._trial.judge(kind)
        if least is not None:
            self._ways.append(_Way(kind, least, 1.0 if daring else 0.0, than))
        return kind


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
