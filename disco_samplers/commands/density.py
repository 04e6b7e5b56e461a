"""``disco density``: log-density of each row of a table, by another table."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from disco_samplers import io, plotting
from disco_samplers._extras import optional
from disco_samplers.commands.shared import add_options, aligned, device_name, indexed


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("density", help="log-density of each row of a table of numbers")
    command.add_argument("table", metavar="TABLE", help="rows to score: .csv, .npy, .npz or .parquet")
    command.add_argument("--train", metavar="TABLE", help="rows that the density is estimated from (default: TABLE itself)")
    command.add_argument("--out", required=True, metavar="FILE", help=".csv, .npz or .parquet, with TABLE's index and columns")
    command.add_argument("--index", nargs="+", default=[], metavar="COLUMN", help="columns of TABLE that only name its rows")
    command.add_argument("--plot", metavar="FILE", help="draw the distribution of log-densities: .png, .pdf or .svg")
    add_options(command, "seed", "weights", "device")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    table, rows, train = tables(options)
    density = optional("disco_samplers.integrations.sklearn", "sklearn").DiscoDensity(
        model=options.weights, device=device_name(options), random_state=options.seed
    )
    density.fit(train)
    log_density = density.score_samples(rows) if options.train else density.score_training_samples()
    columns = indexed(table, {"log_density": log_density})
    io.write_table(options.out, columns)
    if options.plot:
        plotting.plot_distribution(
            log_density, "log-density (nats)", {"median": float(np.median(log_density))}, path=options.plot
        )
    print(f"wrote {options.out}: log-density of {len(rows)} rows by {len(train)}, mean {log_density.mean():.4f} nats")


def tables(options: argparse.Namespace) -> tuple[io.Table, np.ndarray, np.ndarray]:
    """The table to score, its values in the order of the training table's columns, and the training values."""
    if str(options.out).endswith(".npy"):
        raise ValueError(f"{options.out}: the extension must be .csv, .npz or .parquet, for the columns have names")
    io.writable(options.out, draws=False)
    if options.plot:
        plotting.writable(options.plot)
    table = io.read(options.table, options.index)
    if not options.train:
        check_finite(table, options.table)
        return table, table.values, table.values
    known = io.read(options.train)
    if set(options.index) & set(known.names):
        known = io.read(options.train, [name for name in options.index if name in known.names])
    rows = aligned(table, options.table, known.names, options.train)
    check_finite(table, options.table)
    check_finite(known, options.train)
    return table, rows, known.values


def check_finite(table: io.Table, path: str) -> None:
    """Raises ValueError naming the columns that hold missing or infinite values."""
    if bad := [name for name, column in zip(table.names, table.values.T, strict=True) if not np.isfinite(column).all()]:
        raise ValueError(f"{path} holds missing or infinite values in column(s) {', '.join(bad)}: drop or impute them")
