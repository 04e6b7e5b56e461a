"""``disco score``: log-density and score at points."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from disco_samplers.commands.shared.options import DRAWS_HELP, add_options, add_reading, ending

_PRINTED = {
    "log_prob": "column of --out: log-density of the point in nats; exp of it integrates to about one; lower is more unusual",
    "score_NAME": "column of --out: derivative of the log-density by the variable NAME",
    "worth": "how many independent draws DRAWS are worth; fewer is worse",
    "adapted": "with --adapt: how the draws are read, by how many nats rows held out are likelier so, and the seconds it took",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "score",
        help="log-density and score at points",
        description="Writes log_prob, a log-density that integrates to about one (disco density normalises it), and the score.",
        **ending("disco score chain.csv --at points.csv --out scores.csv", _PRINTED),
    )
    command.add_argument("draws", metavar="DRAWS", nargs="+", help=DRAWS_HELP)
    command.add_argument("--at", required=True, metavar="POINTS", help="table of points with the same columns")
    command.add_argument("--out", required=True, metavar="FILE", help=".csv, .npy, .npz, .parquet or .feather")
    add_reading(command)
    add_options(command, "support", "adapt", "seed", "model", "device", "iid", "quiet", "json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    import numpy as np

    from disco_samplers import files
    from disco_samplers.commands.shared.bars import in_parts
    from disco_samplers.commands.shared.models import conditioned
    from disco_samplers.commands.shared.output import Output, told
    from disco_samplers.commands.shared.tables import aligned, by_place, points_from, table_from

    output = Output(options)
    files.writable(options.out, draws=False)
    table, points = table_from(options, options.draws), points_from(options, options.at)
    some = bool(options.columns or options.exclude)
    values = aligned(points, options.at, table.names, options.draws[0], some=some)
    placed = by_place(points.names, table.names)
    dataclasses.replace(points, values=values, names=points.names if placed else table.names).finite()
    estimate, draws = conditioned(options, table)
    log_prob, score = in_parts(estimate.log_prob_and_score, values, "scores", quiet=options.quiet)
    columns: dict[str, np.ndarray] = {"log_prob": log_prob}
    columns |= {f"score_{name}": score[:, i] for i, name in enumerate(table.names)}
    output.write(options.out, lambda path: files.write_table(path, columns))
    place = f"\ncolumns of {options.at} are taken by their place: {', '.join(points.names)} as {', '.join(table.names)}"
    return output.tell(
        f"{draws}\nlog_prob, which integrates to about one, and score at {len(values)} points from {len(table.values)} draws"
        + place * placed,
        input=told(draws),
        points=len(values),
    )
