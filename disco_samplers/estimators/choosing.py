"""Choice of how samples are read: as they are, column by column, in parts, or in coordinates that draw their tails in."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.draws import part_worth
from disco_samplers.estimators.base import check_single
from disco_samplers.estimators.crossfit import crossfit
from disco_samplers.estimators.independent import IndependentEstimator, may_be_independent
from disco_samplers.estimators.judge import both_improve, criterion, deviation, fall, mean, probes_of
from disco_samplers.estimators.mixture import fit_mixture
from disco_samplers.estimators.network import NetworkEstimator
from disco_samplers.estimators.normalized import MAX_DIM, log_normalizer
from disco_samplers.estimators.parts import PartsEstimator, WhitenedPartsEstimator
from disco_samplers.estimators.transformed import TransformedEstimator
from disco_samplers.estimators.transforms import TailTransform, heavy_tails
from disco_samplers.model import Network, whiten

_STRENGTHS = (0.1, 0.3, 1.0)
"""Of the tail coordinates tried, upwards while they get better; where tails are heavy the first two of them at least."""

_INTEGRAL = 2000
"""Draws for the integral of the density in coordinates that are tried."""

_HEAVY = 4.0
"""Standard errors of the fourth moment above a normal law's from which on tails are heavy."""

_CLEAR = 0.5
"""Standard errors by which rows must be likelier for columns in which no dependence is seen to be taken as independent."""

_VARIED = 0.25
"""Share of the rows off a column's commonest value; fewer might all lie in one fold, and the others have no variance."""

_APART = 1.5
"""Standard errors by which density or score must get better for rows to be taken in parts."""

Kind = tuple[str, float]
"""How samples are read: a name, and the strength of tail coordinates or 0."""

PLAIN: Kind = ("plain", 0.0)
INDEPENDENT, PARTS, WHITENED_PARTS = ("independent", 0.0), ("parts", 0.0), ("whitened parts", 0.0)

_FEWEST, _MOST = 50, 2048
"""Rows to tell coordinates by: with fewer none are tried, of more a random part is taken."""


def read(network: Network, rows: Tensor, kind: Kind, *, counts: Tensor | None = None, keys: int | None) -> Any:
    """The estimator of rows (n, d) read in one of these ways, with what it needs fitted to them.

    With ``counts`` (n,) a row is worth so many independent draws.
    """
    name, strength = kind
    if kind == INDEPENDENT:
        return IndependentEstimator(network, rows, keys, counts)
    if kind == PARTS:
        return PartsEstimator(network, rows, keys, counts)
    if kind == WHITENED_PARTS:
        return WhitenedPartsEstimator(network, rows, keys, counts)
    if not strength:
        return NetworkEstimator(network, rows, counts, keys)
    tails = TailTransform.fit(rows, strength, radial=name == "radius", counts=counts)
    return TransformedEstimator(NetworkEstimator(network, tails(rows), counts, keys), tails, validate_args=False)


def choose(
    network: Network,
    samples: Tensor,
    *,
    counts: Tensor | None = None,
    blocks: Tensor | None = None,
    keys: int | None,
    seed: int,
    deadline: float,
    progress: bool,
) -> tuple[dict[Kind, float], Kind, bool]:
    """Tries ways to read samples (n, d): minus the log-density in each, the one to be kept, and whether an interrupt ended it.

    With ``counts`` (n,) a row is worth so many independent draws; those of a block, (n,), are held out together.

    Raises:
        ValueError: if the samples are of a batch.
        KeyboardInterrupt: if interrupted before anything but the plain reading was chosen: there is nothing to keep yet.
    """
    check_single(samples, "adapt")
    generator = torch.Generator().manual_seed(seed)
    x, worth, blocks = _part(samples, counts, blocks, generator)
    n, d = x.shape
    few = (n if worth is None else float(worth.sum())) < _FEWEST
    unfit = few or d > MAX_DIM or whiten(samples[None], None if counts is None else counts[None]).rank < d
    if time.monotonic() > deadline or unfit or _commonest(x, worth) > 1 - _VARIED:
        return {}, PLAIN, False
    chosen = PLAIN
    with tqdm(disable=not progress, desc="coordinates") as bar:
        trial = _Trial(network, x, worth, blocks, keys, seed, probes_of(n, d, generator).to(x), bar)
        try:
            trial.judge(PLAIN)
            if d > 1 and may_be_independent(x, counts=worth):
                trial.judge(INDEPENDENT)
                if trial.gain(INDEPENDENT, PLAIN) > _CLEAR:
                    return trial.tried, INDEPENDENT, False
            if time.monotonic() < deadline and len(fit_mixture(x, counts=worth).weights) > 1:
                trial.judge(PARTS, WHITENED_PARTS)
                chosen = trial.better(PARTS, chosen, _APART)
                chosen = trial.better(WHITENED_PARTS, chosen, _APART, daring=True)
            for name in ("radius", "columns"):
                previous = trial.tried[PLAIN]
                heavy = heavy_tails(x, radial=name == "radius", counts=worth) > _HEAVY
                for strength in _STRENGTHS:
                    if time.monotonic() > deadline:
                        return trial.tried, chosen, False
                    full = strength == _STRENGTHS[-1]
                    trial.judge((name, strength))
                    chosen = trial.better((name, strength), chosen, 0.0 if heavy and not full else 1.0, daring=full)
                    if not (heavy and strength == _STRENGTHS[0]) and not trial.tried[name, strength] < previous:
                        break
                    previous = trial.tried[name, strength]
        except KeyboardInterrupt:
            if chosen == PLAIN:
                raise
            return trial.tried, chosen, True
    return trial.tried, chosen, False


@dataclasses.dataclass
class _Trial:
    """Ways to read rows x (n, d), each judged by cross-fitting at the rows, with the probes (n, k, d) of the divergence."""

    network: Network
    x: Tensor
    worth: Tensor | None
    blocks: Tensor | None
    keys: int | None
    seed: int
    probes: Tensor
    bar: Any
    losses: dict[Kind, Tensor] = dataclasses.field(default_factory=dict)
    """Minus the normalised log-density of each row, (n,), where it was held out."""
    tried: dict[Kind, float] = dataclasses.field(default_factory=dict)
    """Means of these."""
    fitted: dict[Kind, list[Any]] = dataclasses.field(default_factory=dict)
    """Each fold's estimator, for the criterion: it is dear, and asked of few ways."""
    criteria: dict[Kind, Tensor] = dataclasses.field(default_factory=dict)

    def judge(self, *kinds: Kind) -> None:
        """Judges ways by the log-density; several at once share the mixture of their parts, which is dear."""
        self.bar.update(len(kinds))
        wholes = []
        for whole in self._readings(kinds, self.x, self.worth):
            offset = torch.Generator(self.x.device).manual_seed(self.seed)
            wholes.append(log_normalizer(whole, num_samples=_INTEGRAL, generator=offset).value)
        for kind in kinds:
            self.fitted[kind] = []

        def fit(rows: Tensor, own: Tensor | None = None) -> list[Any]:
            found = self._readings(kinds, rows, own)
            for kind, estimator in zip(kinds, found, strict=True):
                self.fitted[kind].append((estimator, deviation(rows, own)))
            return found

        def evaluate(estimators: list[Any], part: Tensor) -> Tensor:
            with torch.no_grad():
                each = zip(wholes, estimators, strict=True)
                return torch.stack([whole - estimator.log_prob(part).double() for whole, estimator in each], 1)

        rows = self._crossfit(fit, evaluate, self.x)
        for kind, own in zip(kinds, rows.unbind(1), strict=True):
            self.losses[kind], self.tried[kind] = own, float(mean(own, self.worth))

    def judged(self, kind: Kind) -> Tensor:
        """The criterion and minus the log-density of each row, (n, 2)."""
        if kind not in self.criteria:
            folds = iter(self.fitted[kind])

            def evaluate(fitted: tuple[Any, Tensor], part: Tensor) -> Tensor:
                estimator, scale = fitted
                return criterion(estimator, part[:, 0], part[:, 1:], scale)

            queries = torch.cat([self.x[:, None], self.probes], 1)
            self.criteria[kind] = self._crossfit(lambda *_: next(folds), evaluate, queries)
        return torch.stack([self.criteria[kind], self.losses[kind]], 1)

    def gain(self, kind: Kind, rival: Kind) -> float:
        """By how many standard errors rows are likelier in one way than in another; 0 where they are equally likely."""
        return float(fall(self.losses[kind][:, None], self.losses[rival][:, None], self.worth).nan_to_num(0.0))

    def better(self, kind: Kind, chosen: Kind, least: float, *, daring: bool = False) -> Kind:
        """A way, if it is likelier than the chosen one or, daring, than all judged before by a standard error; else that."""
        rivals = list(self.losses)[: list(self.losses).index(kind)] if daring else [chosen]
        if min(self.gain(kind, rival) for rival in rivals) <= (1.0 if daring else 0.0):
            return chosen
        return kind if both_improve(self.judged(kind), self.judged(PLAIN), least, self.worth) else chosen

    def _crossfit(self, fit: Any, evaluate: Any, queries: Tensor) -> Tensor:
        """By the same folds each time."""
        return crossfit(
            self.x,
            fit,
            evaluate,
            generator=torch.Generator().manual_seed(self.seed),
            queries=queries,
            counts=self.worth,
            blocks=self.blocks,
        )

    def _readings(self, kinds: tuple[Kind, ...], rows: Tensor, own: Tensor | None) -> list[Any]:
        first = read(self.network, rows, kinds[0], counts=own, keys=self.keys)
        return [first, *(WhitenedPartsEstimator(self.network, rows, self.keys, own, dealt=first.dealt) for _ in kinds[1:])]


def _part(
    samples: Tensor, counts: Tensor | None, blocks: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """A random part of the rows, in their order where they are of chains, what they are worth, and their blocks."""
    order = torch.randperm(len(samples), generator=generator, device=generator.device)[:_MOST]
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
