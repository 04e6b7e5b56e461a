"""``disco evidence``: the evidence of models from their chain files, and Bayes factors between them."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from disco_samplers.commands.shared.options import add_options, add_reading, ending

if TYPE_CHECKING:
    from disco_samplers.draws import Draws
    from disco_samplers.files import Table

_PRINTED = {
    "log evidence": "in nats, with its standard error; the model with the lower one explains the data worse",
    "reciprocal": "how it is computed: from the stored log-posteriors, in a region of high density",
    "Pareto k": "of the weights of the estimate; above 0.7 is worse: few draws decide, more are needed",
    "log Bayes factor": "of the first model against another, in nats; negative speaks for the other",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "evidence",
        help="log evidence from chains that hold the log-posterior; Bayes factors",
        **ending("disco evidence 'one_*.csv' 'two_*.csv' --log-posterior log_posterior", _PRINTED),
    )
    command.add_argument("chains", metavar="FILE", nargs="+", help="each model's draws; a pattern stands for a model's chains")
    command.add_argument(
        "--log-posterior",
        required=True,
        metavar="COLUMN",
        help="column of log-likelihood + log-prior in nats, with all constants, of the parameters as they stand in the file; "
        "of ArviZ .nc a statistic, as lp, of emcee's .h5 log_prob",
    )
    command.add_argument(
        "--proposal",
        choices=("auto", "mixture", "estimate"),
        default="auto",
        help="density fitted to the draws: a Gaussian mixture, DiScoFormer's estimate, or the better (default: %(default)s)",
    )
    add_reading(command)
    add_options(command, "support", "seed", "model", "device", "iid", "quiet", "json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    from tqdm import tqdm

    from disco_samplers.commands.shared.models import proposing_model
    from disco_samplers.commands.shared.output import Output, told
    from disco_samplers.commands.shared.tables import tables_from
    from disco_samplers.posteriors import log_evidence

    output = Output(options)
    model = proposing_model(options)
    columns = {"columns": [*options.columns, options.log_posterior]} if options.columns else {}
    tables = tables_from(options, options.chains, **columns)
    lines, models, found = [], [], []
    try:
        disable = options.quiet or len(tables) == 1
        for path, table in zip(options.chains, tqdm(tables, desc="models", disable=disable), strict=True):
            draws = _with_log_prob(path, table, options)
            try:
                found.append(log_evidence(draws, proposal=options.proposal, model=model, seed=options.seed))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            lines.append(f"{path}: {found[-1]} from {draws!r}")
            models.append({"file": path, "evidence": found[-1], "from": told(draws)})
    except KeyboardInterrupt:
        if not found:
            raise
        output.interrupted(f"these are {len(found)} of {len(options.chains)} models")
    factors = {path: found[0] - other for path, other in zip(options.chains[1 : len(found)], found[1:], strict=True)}
    lines += [f"{options.chains[0]} against {path}: {factor}" for path, factor in factors.items()]
    return output.tell("\n".join(lines), models=models, log_bayes_factors=factors)


def _with_log_prob(path: str, table: Table, options: argparse.Namespace) -> Draws:
    """The draws in a file's table, with the column of --log-posterior for their log-density."""
    from disco_samplers.commands.shared.tables import supported, warned

    name = options.log_posterior
    if name in table.names:
        values = table.values[:, table.names.index(name)]
        if len(table.names) == 1:
            raise ValueError(f"{path} has no column but {name}: the parameters are needed too")
        table = table.select(None, [name])
    elif name in table.stats:
        values = table.stats[name]
    else:
        arrays = "; a .npy has one array and no further columns: write a .csv" if ".npy" in path else ""
        raise ValueError(f"{path} has no column {name}: it has {', '.join([*table.names, *table.stats])}{arrays}")
    table = supported(table, options.support)
    return warned(dataclasses.replace(table, log_prob=values).draws(iid=options.iid), path)
