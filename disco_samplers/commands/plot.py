"""``disco plot``: a picture of the density of a table's columns."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers.commands.shared.options import DRAWS_HELP, PICTURE, add_options, add_reading, ending

_PRINTED = {
    "one column": "the draws' histogram, the estimated density, and its score",
    "two columns": "the draws on contours of the estimated log-density, with arrows of its score",
    "with --given": "the density of one other column, with the middle 90 % of it, or of two",
    "more": "every two columns of the draws, with their marginals (a corner plot); the first six",
    "worth": "how many independent draws they are worth; fewer is worse",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "plot",
        help="a picture of a table's columns: density and score of one or two, a corner plot of more",
        **ending("disco plot chain.csv --columns mu tau --out chain.png", _PRINTED),
    )
    command.add_argument("draws", metavar="DRAWS", nargs="+", help=DRAWS_HELP)
    command.add_argument("--out", required=True, metavar="FILE", help=f"the picture: {PICTURE}")
    add_reading(command)
    add_options(command, "support", "given", "adapt", "seed", "model", "device", "iid", "quiet", "json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    from disco_samplers import pictures
    from disco_samplers.commands.shared.models import conditioned
    from disco_samplers.commands.shared.output import Output, told
    from disco_samplers.commands.shared.tables import check_finite, equal_rows, given_values, table_from, warned

    output = Output(options)
    pictures.writable(options.out)
    table = table_from(options, options.draws)
    check_finite(table, options.draws[0])
    given = given_values(options, table)
    if given:
        estimate, draws = conditioned(options, table)
        law = estimate.conditional(given)
        output.write(options.out, law.plot)
    elif len(table.names) > 2:
        draws = warned(table.draws(iid=options.iid), options.draws[0])
        rows = equal_rows(table, options.seed)[None]
        output.write(options.out, lambda path: pictures.plot_pairs(rows, table.names, label="draws", path=path))
    else:
        estimate, draws = conditioned(options, table)
        output.write(options.out, lambda path: estimate.plot(path=path))
    return output.tell(str(draws), input=told(draws))
