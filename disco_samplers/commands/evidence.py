"""``disco evidence``: the evidence of models from their chain files, and Bayes factors between them."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from disco_samplers.commands.shared import add_options, add_reading, load_model, table_from
from disco_samplers.draws import Draws


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("evidence", help="log evidence from chains that hold the log-posterior; Bayes factors")
    command.add_argument("chains", metavar="FILE", nargs="+", help="each model's draws; a pattern stands for a model's chains")
    command.add_argument(
        "--log-posterior",
        required=True,
        metavar="COLUMN",
        help="column of log-likelihood + log-prior in nats, with all constants, of the parameters as they stand in the file",
    )
    command.add_argument(
        "--proposal",
        choices=("auto", "mixture", "estimate"),
        default="auto",
        help="density fitted to the draws: a Gaussian mixture, DiScoFormer's estimate, or the better (default: %(default)s)",
    )
    add_reading(command)
    add_options(command, "seed", "model", "device", "iid")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    from disco_samplers.posteriors import log_evidence

    model = None if options.proposal == "mixture" else load_model(options)
    found = []
    for path in options.chains:
        draws = _with_log_prob(path, options)
        found.append(log_evidence(draws, proposal=options.proposal, model=model, seed=options.seed))
        print(f"{path}: {found[-1]} from {draws!r}")
    for path, other in zip(options.chains[1:], found[1:], strict=True):
        print(f"{options.chains[0]} against {path}: {found[0] - other}")


def _with_log_prob(path: str, options: argparse.Namespace) -> Draws:
    """The draws in a file, with the column of --log-posterior for their log-density."""
    name = options.log_posterior
    table = table_from(options, path, columns=[*options.columns, name] if options.columns else None)
    if name in table.names:
        values = table.values[:, table.names.index(name)]
        if len(table.names) == 1:
            raise ValueError(f"{path} has no column but {name}: the parameters are needed too")
        table = table.select(None, [name])
    elif name in table.stats:
        values = table.stats[name]
    else:
        raise ValueError(f"{path} has no column {name}: it has {', '.join([*table.names, *table.stats])}")
    return dataclasses.replace(table, log_prob=values).draws(iid=options.iid)
