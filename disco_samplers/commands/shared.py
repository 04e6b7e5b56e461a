"""Options and steps that several subcommands share."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from disco_samplers import files, pictures
from disco_samplers.arrays import check_count, check_double, default_names
from disco_samplers.draws import Draws


def add_options(command: argparse.ArgumentParser, *names: str) -> None:
    """Declares some of the options --seed, --model, --adapt, --device, --iid and --quiet."""
    options: dict[str, dict[str, Any]] = {
        "seed": {"type": int, "default": 0, "help": "(default: %(default)s)"},
        "model": {
            "metavar": "PATH",
            "help": "weights: axes, rotations or velocities, a folder, file or hub id (default: axes, of sample: rotations)",
        },
        "adapt": {"type": int, "default": 0, "metavar": "STEPS", "help": "adapt the model to the data first"},
        "device": {"default": "cpu", "help": "cpu or cuda (default: %(default)s)"},
        "iid": {"action": "store_true", "help": "take the rows for independent draws, also where the file has chains"},
        "quiet": {"action": "store_true", "help": "no progress bar"},
    }
    for name in names:
        command.add_argument(f"--{name}", **options[name])


def load_model(options: argparse.Namespace) -> Any:
    """The model of --model on --device."""
    from disco_samplers import DiScoFormer

    return DiScoFormer.from_pretrained(options.model, map_location=device_name(options))


def device_name(options: argparse.Namespace) -> str:
    """The device of --device, checked."""
    name = str(getattr(options, "device", "cpu"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: torch sees no GPU here")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device {name} is not a device; use cpu or cuda") from error
    check_double(device, "--device")
    return str(device)


def aligned(points: files.Table, points_path: str, names: list[str], names_path: str) -> np.ndarray:
    """The values of a table with its columns in the order of ``names``; of unnamed columns the number must fit."""
    if len(points.names) != len(names):
        raise ValueError(f"{points_path} has {len(points.names)} columns, {names_path} has {len(names)}")
    if set(points.names) == set(names):
        return points.values[:, [points.names.index(name) for name in names]]
    if default_names(len(names)) in (points.names, names):
        return points.values
    raise ValueError(f"{points_path} has columns {', '.join(points.names)}, {names_path} has {', '.join(names)}")


def indexed(table: files.Table, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A table's index and columns with further ones.

    Raises:
        ValueError: if the table has a column of such a name already.
    """
    own = {name or "index": column for name, column in table.index.items()}
    own |= {name: table.values[:, i] for i, name in enumerate(table.names)}
    if taken := sorted(set(own) & set(columns)):
        raise ValueError(f"the table has a column called {', '.join(taken)} already: rename it")
    return own | columns


def conditioned(options: argparse.Namespace, table: files.Table) -> tuple[Any, Draws]:
    """The estimate of a table's density, adapted where --adapt asks for it, and the draws it is made of."""
    chains = (table.num_chains > 1 or "draw" in table.index) and not options.iid
    draws = Draws(table.by_chain if chains else table.values, names=table.names)
    # Rows that are said to be independent are worth their number, however they look.
    estimate = load_model(options).condition(draws, effective_size=draws.num_distinct if options.iid else None)
    check_count("--adapt", options.adapt, 0)
    if options.adapt:
        estimate = estimate.adapt(options.adapt, seed=options.seed, progress=not options.quiet)
        report = estimate.report
        print(f"adapted: kept step {report.chosen} of {len(report.losses)} ({report.seconds:.1f} s)")
    return estimate, draws


def scored_tables(options: argparse.Namespace) -> tuple[files.Table, np.ndarray, np.ndarray]:
    """The table to score, its values in the order of the training table's columns, and the training values."""
    if str(options.out).endswith(".npy"):
        raise ValueError(f"{options.out}: the extension must be .csv, .npz or .parquet, for the columns have names")
    files.writable(options.out, draws=False)
    if options.plot:
        pictures.writable(options.plot)
    table = files.read_table(options.table, options.index)
    if not options.train:
        check_finite(table, options.table)
        return table, table.values, table.values
    known = files.read_table(options.train)
    if set(options.index) & set(known.names):
        known = files.read_table(options.train, [name for name in options.index if name in known.names])
    rows = aligned(table, options.table, known.names, options.train)
    check_finite(table, options.table)
    check_finite(known, options.train)
    return table, rows, known.values


def check_finite(table: files.Table, path: str) -> None:
    """Raises ValueError naming the columns that hold missing or infinite values."""
    if bad := [name for name, column in zip(table.names, table.values.T, strict=True) if not np.isfinite(column).all()]:
        raise ValueError(f"{path} holds missing or infinite values in column(s) {', '.join(bad)}: drop or impute them")
