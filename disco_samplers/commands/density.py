"""``disco density``: log-density of each row of a table, by another table."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers.commands.shared.options import (
    PARTS_HELP,
    PICTURE,
    TABLE_HELP,
    add_options,
    add_parts,
    add_reading,
    ending,
)

_PRINTED = {
    "log_prob": "column of --out: log-density of the row in nats, normalised with --train; lower is more unusual. "
    "Of a row with empty cells it is that of the others; outside the support -inf",
    "mean": "of log_prob over the rows: the lower, the worse the table of --train describes them",
    "worth": "how many independent draws the training rows are worth; fewer is worse",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "density",
        help="log-density of each row of a table of numbers",
        description="Writes log_prob, the log-density of each row: normalised with --train, else integrating to about one.",
        **ending(
            "disco density new.csv --train usual.csv --out density.csv --plot density.png\n"
            "disco density 'part-*.parquet' --context-size 2048 --out scored/",
            _PRINTED,
        ),
    )
    command.add_argument("table", metavar="TABLE", help="rows to score; cells may be empty")
    command.add_argument(
        "--train",
        metavar="TABLE",
        help="rows that the density is estimated from (default: TABLE itself, each row by an estimate made without it)",
    )
    command.add_argument("--out", required=True, metavar="FILE", help=f"{TABLE_HELP}; {PARTS_HELP}")
    add_reading(command, chains=False)
    command.add_argument("--plot", metavar="FILE", help=f"draw the distribution of log-densities: {PICTURE}")
    add_parts(command)
    add_options(command, "support", "seed", "model", "device", "quiet", "json")
    command.set_defaults(run=run, context_size=32768)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    import numpy as np

    from disco_samplers import files, pictures
    from disco_samplers.commands.shared.bars import in_parts
    from disco_samplers.commands.shared.models import device_name
    from disco_samplers.commands.shared.output import Output
    from disco_samplers.commands.shared.streams import is_streamed
    from disco_samplers.commands.shared.tables import (
        count_lacking,
        described,
        indexed,
        scored_tables,
        supports_given,
        weights_of,
    )
    from disco_samplers.extras import optional

    density = optional("disco_samplers.integrations.sklearn", "sklearn").DiscoDensity(
        model=options.model,
        context_size=options.context_size,
        device=device_name(options),
        random_state=options.seed,
        verbose=not options.quiet,
    )
    output = Output(options)
    if is_streamed(options):
        return _stream(options, density, output)
    table, rows, train = scored_tables(options)
    density.set_params(**supports_given(train, options.support))
    density.fit(train.values, **weights_of(train))
    if options.train:
        log_prob = in_parts(density.score_samples, rows, "log-densities", quiet=options.quiet)
    else:
        log_prob = density.score_training_samples()
    there = np.isfinite(log_prob)
    mean = (
        np.average(log_prob[there], weights=None if table.weights is None else table.weights[there]) if there.any() else -np.inf
    )
    columns = indexed(table, {"log_prob": log_prob})
    output.write(options.out, lambda path: files.write_table(path, columns))
    marks = {"median": float(np.median(log_prob[there]))} if there.any() else {}
    title = f"log-density of {there.sum()} rows"
    output.write(
        options.plot,
        lambda path: pictures.plot_distribution(log_prob[there], "log-density (nats)", marks, title=title, path=path),
    )
    said, training = described(train)
    lacking = count_lacking(rows)
    holes = f", {lacking} of them only of the cells that they have" if lacking else ""
    if outside := int((~there).sum()):
        holes += f", {outside} of them outside the support (-inf, not in the mean)"
    kind, by = (
        ("normalised", f"by {len(train.values)}")
        if options.train
        else ("which integrates to about one", "each by an estimate made without it (cross-fitted)")
    )
    return output.tell(
        f"{said}\nlog_prob, {kind}, of {len(rows)} rows{holes}, {by}: mean {mean:.4f} nats",
        training=training,
        rows=len(rows),
        lacking=lacking,
        outside=outside,
        mean_log_prob=mean,
    )


def _stream(options: argparse.Namespace, density: Any, output: Any) -> int:
    """The same for a table in parts."""
    from disco_samplers.commands.shared.scorers import DensityScorer
    from disco_samplers.commands.shared.streams import run_streamed

    own = not options.train
    settings = {"answers": "log_prob", **{name: getattr(options, name) for name in ("model", "seed", "context_size")}}
    done = run_streamed(options, lambda summary: DensityScorer(density, summary, own=own), weighted=own, settings=settings)
    totals = done.totals
    mean = totals.sums.get("log_prob", 0.0) / totals.weight if totals.weight else float("nan")
    output.written.append(str(done.folder))
    status: int = output.tell(
        f"log_prob of {totals.rows:,} rows, {done.said}: mean {mean:.4f} nats",
        training=done.told,
        rows=totals.rows,
        lacking=totals.lacking,
        mean_log_prob=mean,
        left_out=done.bad,
    )
    return status
