"""``disco compare``: whether two files of draws follow one law, and the tension of two posteriors."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers.commands.shared import DRAWS_HELP, add_options, add_reading, load_model, table_from


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("compare", help="are two sets of draws of one law; the tension of two posteriors")
    command.add_argument("a", metavar="A", help=DRAWS_HELP.rpartition(";")[0])
    command.add_argument("b", metavar="B", help="as A, of the same parameters; those that both have are compared")
    command.add_argument("--alpha", type=float, default=0.05, help="false-alarm rate of the test (default: %(default)s)")
    command.add_argument(
        "--tension", action="store_true", help="A and B are posteriors from independent data: by how many sigmas they are apart"
    )
    command.add_argument(
        "--proposal",
        choices=("auto", "mixture", "estimate"),
        default="mixture",
        help="densities fitted to the draws: Gaussian mixtures, DiScoFormer's estimates, or the better (default: %(default)s)",
    )
    add_reading(command)
    add_options(command, "seed", "model", "device", "iid", "quiet")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    from disco_samplers.posteriors import tension, two_sample

    first, second = (table_from(options, path).draws(iid=options.iid) for path in (options.a, options.b))
    shared = [name for name in first.names if name in second.names]
    if not shared:
        raise ValueError(
            f"{options.a} and {options.b} have no column in common: {', '.join(first.names)}; {', '.join(second.names)}"
        )
    a, b = first.columns(shared), second.columns(shared)
    model = None if options.proposal == "mixture" else load_model(options)
    print(f"compared in {', '.join(shared)}")
    if options.tension:
        print(tension(a, b, proposal=options.proposal, model=model, seed=options.seed, progress=not options.quiet))
    else:
        print(two_sample(a, b, alpha=options.alpha, proposal=options.proposal, model=model, seed=options.seed))
