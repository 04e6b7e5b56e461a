"""Choice of how samples are read: as they are, column by column, in parts, or in coordinates that draw their tails in."""

from __future__ import annotations

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
    tried: dict[Kind, float] = {}
    n, d = x.shape
    few = (n if worth is None else float(worth.sum())) < _FEWEST
    unfit = few or d > MAX_DIM or whiten(samples[None], None if counts is None else counts[None]).rank < d
    if time.monotonic() > deadline or unfit or _commonest(x, worth) > 1 - _VARIED:
        return tried, PLAIN, False
    probes, chosen = probes_of(n, d, generator).to(x), PLAIN

    def judge(kind: Kind) -> Tensor:
        bar.update()
        offset = torch.Generator(x.device).manual_seed(seed)
        whole = log_normalizer(read(network, x, kind, counts=worth, keys=keys), num_samples=_INTEGRAL, generator=offset).value

        def evaluate(fitted: tuple[Any, Tensor], part: Tensor) -> Tensor:
            (estimator, scale), points = fitted, part[:, 0]
            log_prob = estimator.log_prob(points).to(points.dtype).double()
            return torch.stack([criterion(estimator, points, part[:, 1:], scale), whole - log_prob], 1)

        rows = crossfit(
            x,
            lambda rows, own=None: (read(network, rows, kind, counts=own, keys=keys), deviation(rows, own)),
            evaluate,
            generator=torch.Generator().manual_seed(seed),
            queries=torch.cat([x[:, None], probes], 1),
            counts=worth,
            blocks=blocks,
        )
        tried[kind] = float(mean(rows[:, 1], worth))
        return rows

    def consider(kind: Kind, least: float, *, daring: bool = False) -> None:
        """Chooses coordinates if they are likelier than the chosen ones or, daring, than all by a standard error."""
        nonlocal chosen
        rows = judge(kind)
        gains = [float(fall(rows, judged[rival], worth)[1]) for rival in (judged if daring else [chosen])]
        if min(gains) > (1.0 if daring else 0.0) and both_improve(rows, judged[PLAIN], least, worth):
            chosen = kind
        judged[kind] = rows

    try:
        with tqdm(disable=not progress, desc="coordinates") as bar:
            judged = {PLAIN: judge(PLAIN)}
            apart = d > 1 and may_be_independent(x, counts=worth)
            if apart and float(fall(judge(INDEPENDENT), judged[PLAIN], worth)[1]) > _CLEAR:
                return tried, INDEPENDENT, False
            for kind in (PARTS, WHITENED_PARTS) if len(fit_mixture(x, counts=worth).weights) > 1 else ():
                if time.monotonic() > deadline:
                    return tried, chosen, False
                consider(kind, _APART, daring=kind == WHITENED_PARTS)
            for name in ("radius", "columns"):
                previous = tried[PLAIN]
                heavy = heavy_tails(x, radial=name == "radius", counts=worth) > _HEAVY
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
