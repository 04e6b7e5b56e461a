"""``disco score``: log-density and score at points."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from disco_samplers import files
from disco_samplers.commands.shared import DRAWS_HELP, add_options, add_reading, aligned, conditioned, points_from, table_from


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "score",
        help="log-density and score at points",
        description="Writes log_prob, the log-density up to a constant (disco density normalises it), and the score.",
    )
    command.add_argument("draws", metavar="DRAWS", nargs="+", help=DRAWS_HELP)
    command.add_argument("--at", required=True, metavar="POINTS", help="table of points with the same columns")
    command.add_argument("--out", required=True, metavar="FILE", help=".csv, .npy, .npz, .parquet or .feather")
    add_reading(command)
    add_options(command, "adapt", "seed", "model", "device", "iid", "quiet")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    files.writable(options.out, draws=False)
    table, points = table_from(options, options.draws), points_from(options, options.at)
    some = bool(options.columns or options.exclude)
    values = aligned(points, options.at, table.names, options.draws[0], some=some)
    estimate, draws = conditioned(options, table)
    log_prob, score = estimate.log_prob_and_score(values)
    columns: dict[str, np.ndarray] = {"log_prob": log_prob}
    columns |= {f"score_{name}": score[:, i] for i, name in enumerate(table.names)}
    files.write_table(options.out, columns)
    print(draws)
    print(f"wrote {options.out}: log_prob, not normalised, and score at {len(values)} points from {len(table.values)} draws")
