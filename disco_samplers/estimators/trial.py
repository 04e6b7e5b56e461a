"""Ways to read samples, each judged at rows that it did not see."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from disco_samplers.estimators.crossfit import shuffled
from disco_samplers.estimators.judge import fall, mean
from disco_samplers.estimators.mixture import fit_mixture
from disco_samplers.estimators.readings import MIXTURE, Kind, read
from disco_samplers.model import Network
from disco_samplers.reference import GaussianMixture, StudentT

FEW = 2048
"""Up to so many rows are judged all, in turn; of more so many once, by what is nearly the whole."""

_FOLDS = 5

_INTEGRAL, _WIDE, _FREEDOM = 2000, 0.25, 1.0
"""Draws, over all folds, for the integrals of densities; a share of them far out, by a Cauchy law."""


@dataclasses.dataclass
class Fold:
    """Rows that are read (m, d), what they are worth, and rows that judge."""

    seen: Tensor
    counts: Tensor | None
    held: Tensor

    @cached_property
    def mixture(self) -> GaussianMixture:
        """Of Gaussians, fitted to the rows that are read."""
        return fit_mixture(self.seen, counts=self.counts)

    def cover(self, num_samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws of the mixture and, for a share, of a wide law of its moments; the log-density of both, and of the mixture."""
        g, generator = self.mixture, torch.Generator(self.seen.device).manual_seed(seed)
        center = g.weights @ g.means
        apart = g.means - center
        covariance = torch.tensordot(g.weights, g.covariances, 1) + apart.mT @ (g.weights[:, None] * apart)
        wide, many = StudentT(center, covariance, _FREEDOM), round(_WIDE * num_samples)
        y = torch.cat([g.draw(num_samples - many, generator), wide.draw(many, generator)])
        log_g = g.evaluate(y)
        return y, torch.logaddexp(log_g + math.log1p(-_WIDE), wide.evaluate(y) + math.log(_WIDE)), log_g


class Trial:
    """Rows in folds, by which ways to read them are compared.

    Each way reads all rows but those of a fold, and is judged there by its log-density, brought to integrate to one. What is
    found is kept, in the order of the folds' rows.

    Arguments:
        network: what reads the rows.
        samples: (n, d).
        counts: (n,), how many independent draws each row is worth.
        blocks: (n,), rows of a block are held out together.
        keys: as of :class:`NetworkEstimator`.
        seed: of what is held out, and of the draws for integrals.
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
        self._folds: list[Fold] = []
        for rows in held:
            seen = torch.ones(len(samples), dtype=torch.bool, device=samples.device)
            seen[rows] = False
            own = None if counts is None else counts[seen]
            self._folds.append(Fold(samples[seen], own, samples[rows]))
        self.worth = None if counts is None else counts[torch.cat(held)]
        """What the rows that judge are worth."""
        self.losses: dict[Kind, Tensor] = {}
        """Minus the normalised log-density of each row, (n,)."""

    def judge(self, kind: Kind) -> float:
        """The mean loss of a way to read the rows; densities are integrated by the same draws whatever the way."""
        draws = _INTEGRAL // len(self._folds)
        losses, paces = [], []
        for number, fold in enumerate(self._folds):
            m = len(fold.seen)
            pairs = m * (min(m, self._keys or m) + draws + len(fold.held))
            self.check(pairs)
            y, log_q, log_g = fold.cover(draws, self._seed + number)
            started = time.monotonic()
            found = read(self._network, fold.seen, kind, counts=fold.counts, keys=self._keys, mixture=fold.mixture)
            with torch.no_grad():
                log_prob = found.log_prob(torch.cat([y, fold.held.double()])).double()
            losses.append(_log_integral(log_prob[:draws], log_q, log_g) - log_prob[draws:])
            paces.append((time.monotonic() - started) / pairs)
        # The slowest way's, of its quickest fold: what is to come may be as slow, and a hiccup says nothing.
        self.losses[kind], self.pace = torch.cat(losses), max(self.pace, min(paces))
        return float(mean(self.losses[kind], self.worth))

    def gain(self, kind: Kind, rival: Kind) -> float:
        """By how many standard errors rows are likelier in one way than in another; 0 where they are equally likely."""
        return float(fall(self.losses[kind][:, None], self.losses[rival][:, None], self.worth).nan_to_num(0.0))

    def mixtures(self) -> Iterator[GaussianMixture]:
        """Of Gaussians, fitted to the rows that each fold reads."""
        for fold in self._folds:
            self.check()
            yield fold.mixture

    def judge_mixture(self) -> None:
        """Judges the mixture of Gaussians that is fitted to what each fold reads."""
        self.losses[MIXTURE] = torch.cat([-fold.mixture.evaluate(fold.held.double()) for fold in self._folds])

    def check(self, pairs: int = 0) -> None:
        """Raises TimeoutError if so many pairs, and those in reserve, cannot be computed before the deadline."""
        if time.monotonic() + self.pace * (pairs + self.reserve) > self._deadline:
            raise TimeoutError


def _log_integral(log_f: Tensor, log_q: Tensor, log_g: Tensor) -> Tensor:
    """Of f, by draws of q, less what the integral of g is missed by where the two go together: that one is known, and one."""
    largest = (log_f - log_q).max()
    f, g = (log_f - log_q - largest).exp(), (log_g - log_q).expm1()
    slope = ((f - f.mean()) * g).mean() / g.var(correction=0)
    return largest + (f.mean() - slope * g.mean()).log()
