"""Choice of how samples are read: as they are, column by column, in parts, or in coordinates that draw their tails in."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.estimators.base import check_single
from disco_samplers.estimators.crossfit import crossfit
from disco_samplers.estimators.independent import IndependentEstimator, may_be_independent
from disco_samplers.estimators.judge import both_improve, criterion, fall, probes_of
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

    Rows that are worth other than one draw each can be read as they are only.
    """
    name, strength = kind
    assert counts is None or kind == PLAIN
    if kind == INDEPENDENT:
        return IndependentEstimator(network, rows, keys)
    if kind == PARTS:
        return PartsEstimator(network, rows, keys)
    if kind == WHITENED_PARTS:
        return WhitenedPartsEstimator(network, rows, keys)
    if not strength:
        return NetworkEstimator(network, rows, counts, keys)
    tails = TailTransform.fit(rows, strength, radial=name == "radius")
    return TransformedEstimator(NetworkEstimator(network, tails(rows), None, keys), tails, validate_args=False)


def choose(
    network: Network, samples: Tensor, *, keys: int | None, seed: int, deadline: float, progress: bool
) -> tuple[dict[Kind, float], Kind, bool]:
    """Tries ways to read samples (n, d): minus the log-density in each, the one to be kept, and whether an interrupt ended it.

    Raises:
        ValueError: if the samples are of a batch.
        KeyboardInterrupt: if interrupted before anything but the plain reading was chosen: there is nothing to keep yet.
    """
    check_single(samples, "adapt")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples), generator=generator, device=generator.device)
    x = samples[order[:_MOST].to(samples.device)]
    tried: dict[Kind, float] = {}
    n, d = x.shape
    unfit = n < _FEWEST or d > MAX_DIM or whiten(samples[None]).rank < d
    if time.monotonic() > deadline or unfit or int((x != x.mode(0).values).sum(0).min()) < _VARIED * n:
        return tried, PLAIN, False
    probes, chosen = probes_of(n, d, generator).to(x), PLAIN

    def judge(kind: Kind) -> Tensor:
        bar.update()
        offset = torch.Generator(x.device).manual_seed(seed)
        whole = log_normalizer(read(network, x, kind, keys=keys), num_samples=_INTEGRAL, generator=offset).value

        def evaluate(fitted: tuple[Any, Tensor], part: Tensor) -> Tensor:
            (estimator, scale), points = fitted, part[:, 0]
            log_prob = estimator.log_prob(points).to(points.dtype).double()
            return torch.stack([criterion(estimator, points, part[:, 1:], scale), whole - log_prob], 1)

        rows = crossfit(
            x,
            lambda rows: (read(network, rows, kind, keys=keys), rows.std(0)),
            evaluate,
            generator=torch.Generator().manual_seed(seed),
            queries=torch.cat([x[:, None], probes], 1),
        )
        tried[kind] = float(rows[:, 1].mean())
        return rows

    def consider(kind: Kind, least: float, *, daring: bool = False) -> None:
        """Chooses coordinates if they are likelier than the chosen ones or, daring, than all by a standard error."""
        nonlocal chosen
        rows = judge(kind)
        gains = [float(fall(rows, judged[rival])[1]) for rival in (judged if daring else [chosen])]
        if min(gains) > (1.0 if daring else 0.0) and both_improve(rows, judged[PLAIN], least):
            chosen = kind
        judged[kind] = rows

    try:
        with tqdm(disable=not progress, desc="coordinates") as bar:
            judged = {PLAIN: judge(PLAIN)}
            if d > 1 and may_be_independent(x) and float(fall(judge(INDEPENDENT), judged[PLAIN])[1]) > _CLEAR:
                return tried, INDEPENDENT, False
            for kind in (PARTS, WHITENED_PARTS) if len(fit_mixture(x).weights) > 1 else ():
                if time.monotonic() > deadline:
                    return tried, chosen, False
                consider(kind, _APART, daring=kind == WHITENED_PARTS)
            for name in ("radius", "columns"):
                previous = tried[PLAIN]
                heavy = heavy_tails(x, radial=name == "radius") > _HEAVY
                for strength in _STRENGTHS:
                    if time.monotonic() > deadline:
                        return tried, chosen, False
                    full = strength == _STRENGTHS[-1]
                    consider((name, strength), 0.0 if heavy and not full else 1.0, daring=full)
                    if not (heavy and strength == _STRENGTHS[0]) and not tried[name, strength] < previous:
                        break
                    previous = tried[name, strength]
    except KeyboardInterrupt:
        if chosen == PLAIN:
            raise
        return tried, chosen, True
    return tried, chosen, False
