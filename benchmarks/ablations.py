"""Architectures after the same minutes of processor time, on axis-aligned and on rotated mixtures.

All train on the same stream: batches in turn of the published family, whose covariances are diagonal, and of randomly rotated
mixtures, in one dimension and with one number of samples; the same loss (relative score error and log-density), AdamW with
a rate that falls to 0 over the given minutes, float32. Errors on data sets that training never saw, score in % / log-density
over d. "plain" is the published network (4 layers of width 128), also with sines for feed-forward units and with rotary
embeddings of the coordinates; "rotations" and "axes" are this library's, with default sizes; "without KDE heads" hides the
kernel estimates from the output layer; "two networks" gives log-density and score a network of their own. "not whitened" ones
are given the data as they come, in training too (errors are in whitened coordinates all the same); to the others data ten
times as wide are the same data.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from plain_transformer import PlainTransformer
from report import cached, spread, write
from torch import Tensor, nn

from disco_samplers.model import DiScoFormerConfig, Network, Whitening, whiten
from disco_samplers.model.block import Frame, KernelEstimates, Tokens
from disco_samplers.model.heads import Heads
from disco_samplers.training.loss import training_loss
from disco_samplers.training.stream import Batch, make_batch

SEED, FAMILIES = 60_000_000, ("paper", "rotated")
NOT_WHITENED, WIDE = ", not whitened", 10.0
NO_MASS = -50.0
"""A log-ratio so low that a kernel estimate has no part in the density."""


class WithoutKernels(Heads):
    """Heads that do not see the kernel density estimates: the density starts from a standard normal."""

    def forward(self, tokens: Tokens, kernels: KernelEstimates) -> tuple[Tensor, Tensor]:
        nothing = KernelEstimates(torch.full_like(kernels.log_ratio, NO_MASS), 0 * kernels.score, 0 * kernels.log_beta)
        return super().forward(tokens, nothing)


class TwoNetworks(nn.Module):
    """Log-density from one network, score from another."""

    def __init__(self, config: DiScoFormerConfig) -> None:
        super().__init__()
        self.density, self.scores = Network(config), Network(config)

    def forward(self, x: Tensor, y: Tensor, frame: Frame | None = None) -> tuple[Tensor, Tensor]:
        return self.density(x, y, frame=frame)[0], self.scores(x, y, frame=frame)[1]


def _without_kernels(dim: int) -> nn.Module:
    network = Network(DiScoFormerConfig())
    network.heads = WithoutKernels(DiScoFormerConfig())
    return network


VARIANTS: dict[str, Callable[[int], nn.Module]] = {
    "plain": PlainTransformer,
    "plain, sine units": lambda dim: PlainTransformer(dim, sine=True),
    "plain, rotary": lambda dim: PlainTransformer(dim, rotary=True),
    "rotations": lambda dim: Network(DiScoFormerConfig()),
    "axes": lambda dim: Network(DiScoFormerConfig(symmetry="axes")),
    "rotations, without KDE heads": _without_kernels,
    "rotations, two networks": lambda dim: TwoNetworks(DiScoFormerConfig()),
    "plain" + NOT_WHITENED: PlainTransformer,
    "axes" + NOT_WHITENED: lambda dim: Network(DiScoFormerConfig(symmetry="axes")),
}


def as_it_comes(samples: Tensor, scale: float = 1.0) -> Whitening:
    """In place of the whitening: leaves points where they are, or makes them so many times as wide."""
    b, _, d = samples.shape
    eye = torch.eye(d, dtype=torch.float64).expand(b, d, d)
    return Whitening(torch.zeros(b, 1, d), scale * eye, torch.full((b,), d * math.log(scale)), d, eye)


def batch_of(name: str, *arguments: object, scale: float = 1.0) -> Batch:
    """A batch in the coordinates that a variant works in."""
    if not name.endswith(NOT_WHITENED):
        return make_batch(*arguments)
    with mock.patch("disco_samplers.training.stream.whiten", partial(as_it_comes, scale=scale)):
        return make_batch(*arguments)


def evaluate(
    name: str, network: nn.Module, dim: int, n: int, sets: int, scale: float = 1.0
) -> dict[str, list[tuple[float, float]]]:
    """Relative score error and log-density MSE over d of unseen data sets of each family, at independent queries."""
    generator = torch.Generator().manual_seed(SEED)
    found = {}
    for family in FAMILIES:
        batch = batch_of(name, family, sets, dim, n, 256, generator, scale=scale)
        with torch.no_grad():
            log_prob, score = network(batch.context, batch.query, frame=batch.frame)
        new = slice(n + 64, None)  # the first quarter of the queries are broadened draws
        true_log_prob, true, off = batch.log_prob[:, new], batch.score[:, new], score[:, new] - batch.score[:, new]
        if name.endswith(NOT_WHITENED):
            matrix = whiten(batch.context).matrix.float()
            true, off = (torch.linalg.solve(matrix, values.mT).mT for values in (true, off))
        relative = off.square().sum((1, 2)) / true.square().sum((1, 2))
        density = (log_prob[:, new] - true_log_prob).square().mean(1) / dim
        found[family] = list(zip(relative.tolist(), density.tolist(), strict=True))
    return found


def train(name: str, dim: int, n: int, batch_size: int, rate: float, minutes: float, sets: int) -> dict[str, object]:
    """Trains one variant for so many minutes and evaluates it."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = VARIANTS[name](dim)
    generator = torch.Generator().manual_seed(SEED + 1)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.01, betas=(0.9, 0.99))
    begun, steps, share = time.process_time(), 0, 0.0
    while share < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (steps + 1) / 20) * (1 - share)
        batch = batch_of(name, FAMILIES[steps % 2], batch_size, dim, n, 128, generator)
        log_prob, score = network(batch.context, batch.query, frame=batch.frame)
        loss = training_loss(log_prob, score, batch.log_prob, batch.score, context=n).total
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        steps += 1
        share = (time.process_time() - begun) / (60 * minutes)
    parameters = sum(p.numel() for p in network.parameters())
    found = {"parameters": parameters, "steps": steps, "errors": evaluate(name, network, dim, n, sets)}
    if name.endswith(NOT_WHITENED):
        found["wide"] = evaluate(name, network, dim, n, sets, WIDE)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="samples of each data set (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="data sets in a step (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=4, help="processor time of each network (default: %(default)s)")
    parser.add_argument("--sets", type=int, default=60, help="unseen data sets of each family (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder to keep finished networks in, see CONTRIBUTING.md")
    parser.add_argument("--quick", action="store_true", help="a second of training each, ten data sets")
    parser.add_argument("--name", default="ablations")
    options = parser.parse_args()
    if options.quick:
        options.name, options.minutes, options.sets = f"{options.name}_quick", 1 / 60, 10
    torch.set_num_threads(1)
    started = time.time()
    rows, raw = [], []
    for name in VARIANTS:
        budget = (options.dim, options.size, options.batch, options.rate, options.minutes, options.sets)
        found = cached(options.cache, name.replace(" ", "_"), partial(train, name, *budget))
        cells = [name, f"{found['parameters']:,}", str(found["steps"])]
        columns = [found["errors"][family] for family in FAMILIES] + ([found["wide"]["paper"]] if "wide" in found else [])
        for errors in columns:
            (score, score_se), (density, density_se) = (spread(c) for c in zip(*errors, strict=True))
            cells.append(f"{100 * score:.1f} ± {100 * score_se:.1f} / {density:.4f} ± {density_se:.4f}")
        cells += [] if "wide" in found else ["as axis-aligned"]
        rows.append(cells)
        raw.append({"network": name} | found)
        print(" | ".join(cells), flush=True)
    about = __doc__.split("\n", 1)[1].strip() + (
        f"\n\nd = {options.dim}, n = {options.size}, {options.batch} data sets a step, {options.minutes:g} minutes each, "
        f"{options.sets} unseen data sets, mean ± standard error over them. One run each: small differences mean nothing."
    )
    header = ["network", "parameters", "steps", "axis-aligned", "rotated", "axis-aligned, ten times as wide"]
    write(options.name, "Ablations", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
