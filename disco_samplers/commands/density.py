"""``disco density``: log-density of each row of a table, by another table."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from disco_samplers import files, pictures
from disco_samplers.commands.shared import add_options, add_reading, device_name, indexed, scored_tables, weights_of
from disco_samplers.extras import optional


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "density",
        help="log-density of each row of a table of numbers",
        description="Writes log_prob, the normalised log-density of each row (disco score gives it up to a constant).",
    )
    command.add_argument("table", metavar="TABLE", help="rows to score")
    command.add_argument("--train", metavar="TABLE", help="rows that the density is estimated from (default: TABLE itself)")
    command.add_argument(
        "--out", required=True, metavar="FILE", help=".csv, .npz, .parquet or .feather, with TABLE's index and columns"
    )
    add_reading(command, chains=False)
    command.add_argument("--plot", metavar="FILE", help="draw the distribution of log-densities: .png, .pdf or .svg")
    add_options(command, "seed", "model", "device")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    table, rows, train = scored_tables(options)
    density = optional("disco_samplers.integrations.sklearn", "sklearn").DiscoDensity(
        model=options.model, device=device_name(options), random_state=options.seed
    )
    density.fit(train.values, **weights_of(train))
    log_prob = density.score_samples(rows) if options.train else density.score_training_samples()
    columns = indexed(table, {"log_prob": log_prob})
    files.write_table(options.out, columns)
    if options.plot:
        pictures.plot_distribution(log_prob, "log-density (nats)", {"median": float(np.median(log_prob))}, path=options.plot)
    print(train.draws(iid=True))
    print(
        f"wrote {options.out}: log_prob, normalised, of {len(rows)} rows by {len(train.values)}, "
        f"mean {log_prob.mean():.4f} nats"
    )
