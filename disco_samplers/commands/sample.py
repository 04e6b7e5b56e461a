"""``disco sample``: new draws from the density of a table of draws."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch

from disco_samplers import files, pictures
from disco_samplers.commands.shared import DRAWS_HELP, add_options, add_reading, conditioned, equal_rows, table_from


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("sample", help="new draws from the density of a table of draws")
    command.add_argument("draws", metavar="DRAWS", nargs="+", help=DRAWS_HELP)
    command.add_argument("--num-samples", type=int, default=1000, help="draws of each chain (default: %(default)s)")
    command.add_argument("--num-chains", type=int, default=4, help="(default: %(default)s)")
    command.add_argument("--num-warmup", type=int, default=500, help="discarded steps (default: %(default)s)")
    command.add_argument("--thinning", type=int, help="steps between two draws (default: 5; for malt, whose steps are long, 1)")
    command.add_argument(
        "--method", choices=["mala", "ula", "baoab", "malt", "annealed"], default="mala", help="(default: %(default)s)"
    )
    command.add_argument("--out", metavar="FILE", help="write the draws: .csv, .npy, .npz, .parquet, .feather or ArviZ .nc")
    command.add_argument("--plot", metavar="FILE", help="draw marginals and traces: .png, .pdf or .svg")
    add_reading(command, thinning=False)
    add_options(command, "adapt", "seed", "model", "device", "iid", "quiet")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    from disco_samplers.estimators import DEFAULTS
    from disco_samplers.measures import sliced_wasserstein
    from disco_samplers.samplers import LangevinSampler, summarise

    if options.out:
        files.writable(options.out, draws=True)
    if options.plot:
        pictures.writable(options.plot)
    table = table_from(options, options.draws)
    if options.out:
        files.writable(options.out, draws=True, names=table.names)
    options.model = options.model or DEFAULTS["posterior"]
    estimate, draws = conditioned(options, table)
    rows = equal_rows(table, options.seed)
    sampler = LangevinSampler(score=estimate, method=options.method)
    result = sampler.run(
        options.num_samples,
        num_chains=options.num_chains,
        num_warmup=options.num_warmup,
        thinning=options.thinning if options.thinning is not None else 1 if options.method == "malt" else 5,
        seed=options.seed,
        names=table.names,
        progress=not options.quiet,
    )
    if options.out:
        result.save(options.out)
    if options.plot:
        result.plot(options.plot, reference=rows)
    print(f"\ninput: {len(table.values)} draws of {len(table.names)} variables from {' '.join(options.draws)}")
    print(draws)
    chains = table.by_chain if table.weights is None else rows[None]
    print(summarise(chains, table.names, independent=len(chains) == 1))
    print(f"\nnew draws: {result}")
    print(result.summary())
    old, new = torch.from_numpy(rows), torch.from_numpy(result.numpy()).flatten(0, 1)
    order = torch.randperm(len(old), generator=torch.Generator().manual_seed(options.seed), device=old.device)
    half = len(old) // 2
    first, second = old[order[:half]], old[order[half : 2 * half]]
    # The same number of draws on both sides, or the comparison would be of sample sizes.
    some = new[torch.linspace(0, len(new) - 1, min(half, len(new)), device=new.device).round().long()]
    if half >= 2:
        distance = (sliced_wasserstein(some, first) + sliced_wasserstein(some, second)) / 2
        print(
            f"\ncloseness: sliced Wasserstein distance of the new draws to the input {distance:.4f}, "
            f"of one half of the input to the other {sliced_wasserstein(first, second):.4f} (standard deviations)"
        )
    for path in filter(None, [options.out, options.plot]):
        print(f"wrote {path}")
    if not result.complete:
        print("interrupted: these are the draws made until then", file=sys.stderr)
