"""``disco merge``: draws from the posterior given all data, from draws given each part of it."""

from __future__ import annotations

import argparse
import re
from typing import Any

from disco_samplers.commands.shared.options import PICTURE, add_options, add_reading, ending

_PRINTED = {
    "worth": "how many independent draws a shard's are worth; fewer is worse",
    "overlap": "share of a shard's draws that lie as far out as the merged ones do: of good shards .5 on average, "
    "and by chance anything from 0 to 1; near 0 is worse",
    "mean, sd, 5%, 50%, 95%": "of the merged draws",
    "mcse": "Monte Carlo standard error of the mean; large against sd is worse",
    "ess_bulk, ess_tail": "independent draws that these are worth, for means and for tails; fewer is worse, below 400 too few",
    "r_hat": "1 where the chains agree; larger is worse, above 1.01 they have not mixed",
    "acceptance": "share of accepted proposals; near 0 is worse",
    "divergences": "steps that left for nowhere; more is worse",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "merge",
        help="one posterior from the draws of several machines",
        **ending("disco merge 'site_a_*.csv' 'site_b_*.csv' --prior-sd 10 --out all.nc --plot all.png", _PRINTED),
    )
    command.add_argument(
        "shards", metavar="SHARD", nargs="+", help="a subposterior's draws, two or more; a pattern as 'a_*.csv' for chains"
    )
    command.add_argument(
        "--out", required=True, metavar="FILE", help="the draws: .csv, .npy, .npz, .parquet, .feather or ArviZ .nc"
    )
    command.add_argument("--prior-sd", type=float, metavar="SD", help="every shard used all of the prior N(0, SD^2)")
    command.add_argument("--num-samples", type=int, default=50, help="draws of each chain (default: %(default)s)")
    command.add_argument("--num-chains", type=int, default=200, help="(default: %(default)s)")
    command.add_argument("--num-warmup", type=int, default=30, help="discarded steps (default: %(default)s)")
    command.add_argument("--thinning", type=int, default=2, help="steps between two draws (default: %(default)s)")
    command.add_argument("--plot", metavar="FILE", help=f"draw marginals and traces: {PICTURE}")
    add_reading(command, thinning=False)
    add_options(command, "support", "adapt", "seed", "model", "device", "quiet", "json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    import torch

    from disco_samplers import files, pictures
    from disco_samplers.commands.shared.models import device_name, load_model
    from disco_samplers.commands.shared.output import Output, rows_of, told
    from disco_samplers.commands.shared.tables import equal_rows, supported, tables_from, warned
    from disco_samplers.posteriors import merged_posterior, warn_of_overlap

    output = Output(options)
    files.writable(options.out, draws=True)
    if options.plot:
        pictures.writable(options.plot)
    if options.prior_sd is not None and not options.prior_sd > 0:
        raise ValueError(f"--prior-sd must be positive, got {options.prior_sd}")
    tables = tables_from(options, options.shards)
    names = tables[0].names
    shards, draws = [], []
    for path, table in zip(options.shards, tables, strict=True):
        if set(table.names) != set(names):
            raise ValueError(f"{path} has variables {', '.join(table.names)}, {options.shards[0]} has {', '.join(names)}")
        try:
            shards.append(supported(table.select(names), options.support))
            draws.append(warned(shards[-1].draws(), path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    files.writable(options.out, draws=True, names=names)
    scale, device = options.prior_sd, torch.device(device_name(options))
    try:
        merged = merged_posterior(
            [x.on(device, path) for path, x in zip(options.shards, draws, strict=True)],
            prior=None if scale is None else lambda x: -0.5 * (x / scale).square().sum(-1),
            model=load_model(options) if options.model or options.adapt else None,
            adapt=options.adapt,
            seed=options.seed,
        )
    except ValueError as error:  # which calls the files shards[0], shards[1], ...
        text = re.sub(r"shards\[(\d+)\]", lambda found: options.shards[int(found[1])], str(error))
        raise ValueError(text) from error
    result = merged.sample(
        num_samples=options.num_samples,
        num_chains=options.num_chains,
        num_warmup=options.num_warmup,
        thinning=options.thinning,
        seed=options.seed,
        names=names,
        progress=not options.quiet,
    )
    output.write(options.out, result.save)
    rows = [equal_rows(table, options.seed) for table in shards]
    output.write(options.plot, lambda path: result.plot(path, reference=rows))
    if not result.complete:
        output.interrupted("these are the draws made until then")
    summary = result.summary()
    overlap = merged.overlap(result.flat)
    warn_of_overlap(overlap, options.shards)
    told_of = list(zip(options.shards, draws, overlap.tolist(), strict=True))
    lines = [f"{path}: {shard}, overlap {share:.2g}" for path, shard, share in told_of]
    return output.tell(
        "\n".join([*lines, f"merged: {result} of {len(draws)} shards", str(summary)]),
        shards={path: told(shard) | {"overlap": share} for path, shard, share in told_of},
        acceptance=float(result.acceptance.mean()),
        divergences=int(result.divergences.sum()),
        complete=result.complete,
        summary=rows_of(summary),
    )
