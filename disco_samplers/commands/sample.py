"""``disco sample``: new draws from the density of a table of draws."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers.commands.shared.options import DRAWS_HELP, PICTURE, add_options, add_reading, ending

_PRINTED = {
    "worth": "how many independent draws the input is worth; fewer is worse",
    "mean, sd, 5%, 50%, 95%": "of the input and of the new draws; the nearer to one another the better",
    "mcse": "Monte Carlo standard error of the mean; large against sd is worse",
    "ess_bulk, ess_tail": "independent draws that these are worth, for means and for tails; fewer is worse, below 400 too few",
    "r_hat": "1 where the chains agree; larger is worse, above 1.01 they have not mixed",
    "acceptance": "share of accepted proposals; near 0 is worse",
    "divergences": "steps that left for nowhere; more is worse",
    "closeness": "distance of the new draws to the input; much larger than that of its halves to one another is worse",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "sample",
        help="new draws from the density of a table of draws",
        **ending("disco sample chain.csv --out new.csv --plot new.png", _PRINTED),
    )
    command.add_argument("draws", metavar="DRAWS", nargs="+", help=DRAWS_HELP)
    command.add_argument("--num-samples", type=int, default=1000, help="draws of each chain (default: %(default)s)")
    command.add_argument("--num-chains", type=int, default=4, help="(default: %(default)s)")
    command.add_argument("--num-warmup", type=int, default=500, help="discarded steps (default: %(default)s)")
    command.add_argument("--thinning", type=int, help="steps between two draws (default: 5; for malt, whose steps are long, 1)")
    command.add_argument(
        "--method", choices=["mala", "ula", "baoab", "malt", "annealed"], default="mala", help="(default: %(default)s)"
    )
    command.add_argument("--out", metavar="FILE", help="write the draws: .csv, .npy, .npz, .parquet, .feather or ArviZ .nc")
    command.add_argument("--plot", metavar="FILE", help=f"draw marginals and traces: {PICTURE}")
    add_reading(command, thinning=False)
    add_options(command, "adapt", "seed", "model", "device", "iid", "quiet")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    import torch

    from disco_samplers import files, pictures
    from disco_samplers.commands.shared.models import conditioned
    from disco_samplers.commands.shared.output import Output
    from disco_samplers.commands.shared.tables import equal_rows, table_from
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
    output = Output(options)
    output.write(options.out, result.save)
    output.write(options.plot, lambda path: result.plot(path, reference=rows))
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
    for path in output.written:
        print(f"wrote {path}")
    if not result.complete:
        output.interrupted("these are the draws made until then")
    return output.status
