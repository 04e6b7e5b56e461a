"""Ways to read samples, each judged at rows that it did not see."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from disco_samplers.estimators.crossfit import shuffled
from disco_samplers.estimators.judge import deviation, fall, mean, probes_of, slopes
from disco_samplers.estimators.mixture import fit_mixture
from disco_samplers.estimators.normalized import log_normalizer
from disco_samplers.estimators.readings import PARTS, WHITENED_PARTS, Kind, read
from disco_samplers.model import Network
from disco_samplers.reference import GaussianMixture

FEW = 2048
"""Up to so many rows are judged all, in turn; of more so many once, by what is nearly the whole."""

_FOLDS = 3

_INTEGRAL = 2000
"""Draws, over all folds, for the integrals of densities that are judged."""

_SLOPES = 6
"""What the slopes of a density cost, in units of its values."""

_PIECE = 512
"""Rows whose slopes are computed at once."""


@dataclasses.dataclass
class Fold:
    """Rows that are read (m, d), what they are worth, rows that judge, and the probes of their divergences."""

    seen: Tensor
    counts: Tensor | None
    held: Tensor
    probes: Tensor
    readings: dict[Kind, Any] = dataclasses.field(default_factory=dict)

    @cached_property
    def mixture(self) -> GaussianMixture:
        """Of Gaussians, fitted to the rows that are read."""
        return fit_mixture(self.seen, counts=self.counts)


class Trial:
    """Rows in folds, by which ways to read them are compared.

    Each way reads all rows but those of a fold, and is judged there by its log-density, brought to integrate to one, and by the
    criterion of score matching. What is found is kept, in the order of the folds' rows.

    Arguments:
        network: what reads the rows.
        samples: (n, d).
        counts: (n,), how many independent draws each row is worth.
        blocks: (n,), rows of a block are held out together.
        keys: as of :class:`NetworkEstimator`.
        seed: of what is held out, and of the draws for integrals and divergences.
        deadline: a moment of :func:`time.monotonic`. What would end past it is not begun: :meth:`check` raises TimeoutError.
        reserve: pairs of rows to be computed after the trial, by that moment.
        pace: seconds a pair, where another trial has told it.
    """

    def __init__(
        self,
        network: Network,
        samples: Tensor,
        *,
        counts: Tensor | None,
        blocks: Tensor | None,
        keys: int | None,
        seed: int,
        deadline: float = math.inf,
        reserve: int = 0,
        pace: float = 0.0,
    ) -> None:
        self._network, self._keys, self._seed = network, keys, seed
        self._deadline, self.reserve, self.pace = deadline, reserve, pace
        generator = torch.Generator().manual_seed(seed)
        order = shuffled(len(samples), generator, blocks, samples.device)
        held = order.tensor_split(_FOLDS) if len(samples) <= FEW else (order[:FEW],)
        probes = probes_of(len(samples), samples.shape[1], generator).to(samples)
        self._folds: list[Fold] = []
        for rows in held:
            seen = torch.ones(len(samples), dtype=torch.bool, device=samples.device)
            seen[rows] = False
            own = None if counts is None else counts[seen]
            self._folds.append(Fold(samples[seen], own, samples[rows], probes[rows]))
        self._scale = deviation(samples, counts)
        self.worth = None if counts is None else counts[torch.cat(held)]
        """What the rows that judge are worth."""
        self.losses: dict[Kind, Tensor] = {}
        """Minus the normalised log-density of each row, (n,)."""
        self._slopes: dict[Kind, Tensor] = {}

    def judge(self, kind: Kind) -> float:
        """The mean loss of a way to read the rows."""
        generator = torch.Generator(self._scale.device).manual_seed(self._seed)
        draws, losses = _INTEGRAL // len(self._folds), []
        for fold in self._folds:
            m = len(fold.seen)
            pairs = m * (min(m, self._keys or m) + draws + len(fold.held))
            self.check(pairs)
            mixture = fold.mixture if kind in (PARTS, WHITENED_PARTS) else None
            started = time.monotonic()
            found = read(self._network, fold.seen, kind, counts=fold.counts, keys=self._keys, mixture=mixture)
            log_z = log_normalizer(found, num_samples=draws, generator=generator).value
            with torch.no_grad():
                losses.append(log_z - found.log_prob(fold.held).double())
            self.pace = self.pace or (time.monotonic() - started) / pairs
            fold.readings[kind] = found
        self.losses[kind] = torch.cat(losses)
        return float(mean(self.losses[kind], self.worth))

    def slopes(self, kind: Kind) -> Tensor:
        """The criterion, and score and gradient of the log-density in units of the rows' deviation: (n, 1 + 2 d)."""
        if kind not in self._slopes:
            self._slopes[kind] = torch.cat([self._slopes_of(fold.readings[kind], fold) for fold in self._folds])
        return self._slopes[kind]

    def judged(self, kind: Kind) -> Tensor:
        """The criterion and the loss of each row, (n, 2)."""
        return torch.stack([self.slopes(kind)[:, 0], self.losses[kind]], 1)

    def gain(self, kind: Kind, rival: Kind) -> float:
        """By how many standard errors rows are likelier in one way than in another; 0 where they are equally likely."""
        return float(fall(self.losses[kind][:, None], self.losses[rival][:, None], self.worth).nan_to_num(0.0))

    def mixtures(self) -> Iterator[GaussianMixture]:
        """Of Gaussians, fitted to the rows that each fold reads."""
        for fold in self._folds:
            self.check()
            yield fold.mixture

    def of_mixtures(self) -> tuple[Tensor, Tensor]:
        """Of these mixtures, the log-density of each row that judges (n,), and what :meth:`slopes` says."""
        pairs = list(zip(self.mixtures(), self._folds, strict=True))
        logs = torch.cat([mixture.evaluate(fold.held.double()) for mixture, fold in pairs])
        return logs, torch.cat([self._slopes_of(mixture, fold) for mixture, fold in pairs])

    @property
    def cost_of_slopes(self) -> int:
        """Of one way to read the rows, in pairs."""
        return _SLOPES * sum(len(fold.held) * len(fold.seen) for fold in self._folds)

    def check(self, pairs: int = 0) -> None:
        """Raises TimeoutError if so many pairs, and those in reserve, cannot be computed before the deadline."""
        if time.monotonic() + self.pace * (pairs + self.reserve) > self._deadline:
            raise TimeoutError

    def _slopes_of(self, density: Any, fold: Fold) -> Tensor:
        pieces = zip(fold.held.split(_PIECE), fold.probes.split(_PIECE), strict=True)
        return torch.cat([slopes(density, rows, probes, self._scale) for rows, probes in pieces])
