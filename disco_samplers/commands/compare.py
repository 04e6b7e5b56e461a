"""``disco compare``: whether two files of draws follow one law, and the tension of two posteriors."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers.commands.shared.options import DRAWS_HELP, add_options, add_reading, ending

_PRINTED = {
    "p": "share of permutations that differ as much; small (below --alpha) is worse: they differ",
    "differences": "what differs: density, location or spread of a variable, with p-values corrected for their number",
    "parameter shift": "with --tension: how improbable no shift is, in sigmas; large is worse",
    "Q_DM": "the same by means and covariances alone, right for Gaussian posteriors",
    "log suspiciousness": "in nats; negative is worse: the posteriors disagree",
    "Kullback-Leibler": "divergence of B from A in nats; 0 for equal ones, large is farther apart",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "compare",
        help="are two sets of draws of one law; the tension of two posteriors",
        **ending("disco compare run_a.csv run_b.csv\ndisco compare planck.csv survey.csv --tension", _PRINTED),
    )
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
    add_options(command, "seed", "model", "device", "iid", "quiet", "json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    from disco_samplers.commands.shared.models import proposing_model
    from disco_samplers.commands.shared.output import Output
    from disco_samplers.commands.shared.tables import by_place, tables_from, warned
    from disco_samplers.posteriors import tension, two_sample

    output = Output(options)
    paths = [options.a, options.b]
    tables = tables_from(options, paths)
    first, second = (warned(table.draws(iid=options.iid), path) for table, path in zip(tables, paths, strict=True))
    place = by_place(first.names, second.names)
    shared = first.names if place else [name for name in first.names if name in second.names]
    if not shared:
        raise ValueError(
            f"{options.a} and {options.b} have no column in common: {', '.join(first.names)}; {', '.join(second.names)}; "
            "columns without names, as of .npy, are matched by their place if there are as many"
        )
    a = first.columns(shared)
    b = second.replaced(second.values, names=shared) if place else second.columns(shared)
    model = proposing_model(options)
    names = ", ".join(shared)
    head = f"compared by their place: {names} of A, {', '.join(second.names)} of B\n" if place else f"compared in {names}\n"
    if options.tension:
        found = tension(a, b, proposal=options.proposal, model=model, seed=options.seed, progress=not options.quiet)
        return output.tell(f"{head}{found}", variables=shared, tension=found)
    test = two_sample(a, b, alpha=options.alpha, proposal=options.proposal, model=model, seed=options.seed)
    values = {"p_value": test.p_value, "alpha": test.alpha, "differ": test.differ, "differences": test.differences}
    return output.tell(f"{head}{test}", variables=shared, **values)
