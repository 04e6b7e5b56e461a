"""``disco score``: log-density and score at points."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from disco_samplers import files
from disco_samplers.commands.shared import add_options, aligned, conditioned


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("score", help="log-density and score at points")
    command.add_argument("draws", metavar="DRAWS", help="table that the density is estimated from")
    command.add_argument("--at", required=True, metavar="POINTS", help="table of points with the same columns")
    command.add_argument("--out", required=True, metavar="FILE", help=".csv, .npy, .npz or .parquet")
    add_options(command, "adapt", "seed", "model", "device", "iid", "quiet")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    files.writable(options.out, draws=False)
    table, points = files.read_table(options.draws), files.read_table(options.at)
    values = aligned(points, options.at, table.names, options.draws)
    estimate, draws = conditioned(options, table)
    log_prob, score = estimate.log_prob_and_score(values)
    columns: dict[str, np.ndarray] = {"log_prob": log_prob}
    columns |= {f"score_{name}": score[:, i] for i, name in enumerate(table.names)}
    files.write_table(options.out, columns)
    print(draws)
    print(f"wrote {options.out}: log-density and score at {len(values)} points from {len(table.values)} draws")
