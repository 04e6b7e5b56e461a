"""``disco merge``: draws from the posterior given all data, from draws given each part of it."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers import files, pictures
from disco_samplers.commands.shared import add_options, add_reading, equal_rows, load_model, table_from


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("merge", help="one posterior from the draws of several machines")
    command.add_argument(
        "shards", metavar="SHARD", nargs="+", help="a subposterior's draws, two or more; a pattern as 'a_*.csv' for chains"
    )
    command.add_argument(
        "--out", required=True, metavar="FILE", help="the draws: .csv, .npy, .npz, .parquet, .feather or ArviZ .nc"
    )
    command.add_argument("--prior-sd", type=float, metavar="SD", help="every shard used all of the prior N(0, SD^2)")
    command.add_argument("--num-samples", type=int, default=10, help="draws of each chain (default: %(default)s)")
    command.add_argument("--num-chains", type=int, default=200, help="(default: %(default)s)")
    command.add_argument("--num-warmup", type=int, default=150, help="discarded steps (default: %(default)s)")
    command.add_argument("--thinning", type=int, default=5, help="steps between two draws (default: %(default)s)")
    command.add_argument("--plot", metavar="FILE", help="draw marginals and traces: .png, .pdf or .svg")
    add_reading(command, thinning=False)
    add_options(command, "adapt", "seed", "model", "device", "quiet")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    from disco_samplers.posteriors import merge_subposteriors

    files.writable(options.out, draws=True)
    if options.plot:
        pictures.writable(options.plot)
    if options.prior_sd is not None and not options.prior_sd > 0:
        raise ValueError(f"--prior-sd must be positive, got {options.prior_sd}")
    tables = [table_from(options, path) for path in options.shards]
    names = tables[0].names
    draws = []
    for path, table in zip(options.shards, tables, strict=True):
        if set(table.names) != set(names):
            raise ValueError(f"{path} has variables {', '.join(table.names)}, {options.shards[0]} has {', '.join(names)}")
        draws.append(equal_rows(table.select(names), options.seed))
    files.writable(options.out, draws=True, names=names)
    model = load_model(options)
    scale = options.prior_sd
    result = merge_subposteriors(
        draws,
        prior=None if scale is None else lambda x: -0.5 * (x / scale).square().sum(-1),
        model=model,
        num_samples=options.num_samples,
        num_chains=options.num_chains,
        num_warmup=options.num_warmup,
        thinning=options.thinning,
        adapt=options.adapt,
        seed=options.seed,
        names=names,
        progress=not options.quiet,
    )
    result.save(options.out)
    if options.plot:
        result.plot(options.plot, reference=draws)
    for path, table in zip(options.shards, tables, strict=True):
        print(f"{path}: {table.draws()}")
    print(f"merged: {result} of {len(draws)} shards")
    print(result.summary())
    for path in filter(None, [options.out, options.plot]):
        print(f"wrote {path}")
