"""Adaptation of the network's heads to samples, without labels."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.estimators.base import draw_rows
from disco_samplers.estimators.crossfit import shuffled
from disco_samplers.estimators.judge import consistency, criterion, deviation, improves, mean, probes_of
from disco_samplers.estimators.readings import PLAIN, Kind, read
from disco_samplers.model import Network

_QUERIES = 256
"""Context rows in one step; the second derivative holds a (queries, n) matrix for each head of one block."""

_HELD_OUT, _JUDGES = 0.2, 512
"""Share of the rows kept out of the context to judge the steps by, and how many at most: a judgement is dear."""

_CONTEXT = 2048
"""Most rows of the context that the steps are made with; the heads then read all of them."""


def adapt_heads(
    network: Network,
    x: Tensor,
    kind: Kind,
    *,
    counts: Tensor | None = None,
    blocks: Tensor | None = None,
    keys: int | None,
    num_steps: int,
    learning_rate: float,
    seed: int,
    deadline: float,
    progress: bool,
) -> tuple[list[float], list[float], int]:
    """Adapts a network's heads to rows (n, d) in place: losses, criterion and the step they are left at.

    With ``counts`` (n,) a row is worth so many independent draws; those of a block, (n,), are held out together. An interrupt
    keeps what was found, and is passed on where that is nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    order = shuffled(len(x), generator, blocks, x.device)
    held = max(2, min(_JUDGES, round(_HELD_OUT * len(x)))) if len(x) >= 4 else 0
    losses: list[float] = []
    judgements: list[float] = []
    seen = order[held : held + _CONTEXT]
    if not held or len(torch.unique(x[seen], dim=0)) < 2:
        return losses, judgements, 0
    parameters = [p.requires_grad_() for p in network.heads.parameters()]
    best, chosen = {name: value.clone() for name, value in network.heads.state_dict().items()}, 0
    context, judges = x[seen], x[order[:held]]
    shown, weigh = (None, None) if counts is None else (counts[seen], counts[order[:held]])
    working = read(network, context, kind, counts=shown, keys=keys)
    probes, scale = probes_of(held, x.shape[1], generator).to(x.device), deviation(context, shown)
    first = criterion(working, judges, probes, scale)
    judgements.append(float(mean(first, weigh)))
    there = context.cpu(), None if shown is None else shown.cpu()  # where the generator is
    optimizer = torch.optim.Adam(parameters, learning_rate)
    try:
        for _ in tqdm(range(num_steps), disable=not progress, desc="adapting"):
            rows = draw_rows(*there, _QUERIES, generator, replacement=False).to(x.device)
            loss = consistency(working, context[rows])
            if not torch.isfinite(loss):
                break
            optimizer.zero_grad()
            loss.backward()
            with torch.device("cpu"):  # where Adam counts its steps: torch 2.9 would take the caller's default device
                optimizer.step()
            losses.append(float(loss.detach()))
            judged = criterion(working, judges, probes, scale)
            judgements.append(float(mean(judged, weigh)))
            if judgements[-1] < judgements[chosen] and improves(judged, first, weigh):
                best, chosen = {name: value.clone() for name, value in network.heads.state_dict().items()}, len(losses)
            if time.monotonic() > deadline:
                break
    except KeyboardInterrupt:
        if not losses and kind == PLAIN:
            raise
    network.heads.load_state_dict(best)
    network.requires_grad_(False)
    return losses, judgements, chosen
