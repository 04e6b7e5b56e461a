"""``disco evidence``: the evidence of models from their chain files, and Bayes factors between them."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers import files
from disco_samplers.commands.shared import add_options, load_model
from disco_samplers.draws import Draws


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("evidence", help="log evidence from chains that hold the log-posterior; Bayes factors")
    command.add_argument("chains", metavar="FILE", nargs="+", help="table of a model's draws; further models are compared")
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
    table = files.read_table(path)
    if options.log_posterior not in table.names:
        raise ValueError(f"{path} has no column {options.log_posterior}: it has {', '.join(table.names)}")
    at = table.names.index(options.log_posterior)
    names = [name for name in table.names if name != options.log_posterior]
    if not names:
        raise ValueError(f"{path} has no column but {options.log_posterior}: the parameters are needed too")
    columns = [i for i in range(len(table.names)) if i != at]
    chains = (table.num_chains > 1 or "draw" in table.index) and not options.iid
    values = table.by_chain if chains else table.values
    return Draws(values[..., columns], names=names, log_prob=table.values[:, at])
