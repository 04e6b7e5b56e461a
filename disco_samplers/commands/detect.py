"""``disco detect``: anomaly scores and flags for each row of a table."""

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
    "anomaly_score": "column of --out: nats by which the row's log-density lies below the threshold; higher is more unusual. "
    "Of a row with empty cells: by the others, on the same scale; outside the support inf",
    "p_value": "column of --out with --false-alarms: how often a usual row would score as high, its conformal p-value; lower "
    "is more unusual",
    "surprise_NAME": "columns of --out with --explain: by how many nats the cell is less likely than is usual, given the row's "
    "others; higher is more unusual, about 0 is usual. Empty for rows that were not asked for",
    "outlier": "column of --out: 1 for a flagged row, one whose score is above 0",
    "flagged": "how many rows are; of the training rows it is the share of --contamination, whatever they are like; with "
    "--false-alarms no larger share of usual rows",
    "worth": "how many independent draws the training rows are worth; fewer is worse",
}

_DRAWN = 20
"""Most rows of a picture that explains them."""


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "detect",
        help="anomaly scores and flags for each row of a table of numbers",
        **ending(
            "disco detect new.csv --train usual.csv --index name --out flags.csv --plot flags.png\n"
            "disco detect new.csv --train usual.csv --false-alarms 0.01 --explain --out flags.csv --explain-plot why.png\n"
            "disco detect 'part-*.parquet' --train usual.parquet --false-alarms 0.001 --out flags/",
            _PRINTED,
        ),
    )
    command.add_argument("table", metavar="TABLE", help="rows to judge; cells may be empty")
    command.add_argument("--train", metavar="TABLE", help="rows that say what is usual (default: TABLE itself)")
    command.add_argument("--out", required=True, metavar="FILE", help=f"{TABLE_HELP}; {PARTS_HELP}")
    command.add_argument(
        "--contamination",
        type=float,
        help="share of training rows that are flagged, which sets the threshold (default: 0.1)",
    )
    command.add_argument(
        "--false-alarms",
        type=float,
        metavar="SHARE",
        help="instead of --contamination: flag rows such that no larger share of usual new rows is",
    )
    command.add_argument(
        "--explain",
        nargs="?",
        type=int,
        const=20,
        metavar="ROWS",
        help="say of so many of the most unusual rows which cells are unusual given the others (default: %(const)s)",
    )
    command.add_argument("--explain-plot", metavar="FILE", help=f"draw that, of at most 20 rows: {PICTURE}")
    add_reading(command, chains=False)
    command.add_argument("--plot", metavar="FILE", help=f"draw the distribution of scores: {PICTURE}")
    add_parts(command)
    add_options(command, "support", "seed", "model", "device", "quiet", "json")
    command.set_defaults(run=run, context_size=4096)


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

    if options.contamination is not None and options.false_alarms is not None:
        raise ValueError("--contamination and --false-alarms both set the threshold: give one of them")
    share = 0.1 if options.contamination is None else options.contamination
    for name, value in (("--contamination", share), ("--false-alarms", options.false_alarms)):
        if value is not None and not 0 < value <= 0.5:
            raise ValueError(f"{name} must lie in (0, 0.5], got {value}")
    if options.explain is not None and options.explain < 1:
        raise ValueError(f"--explain must be at least one row, got {options.explain}")
    automatic = {} if options.false_alarms is None else {"threshold": "auto", "false_alarms": options.false_alarms}
    if options.explain_plot:
        pictures.writable(options.explain_plot)
    streamed = is_streamed(options)
    output = Output(options)
    detector = optional("disco_samplers.integrations.sklearn", "sklearn").DiscoOutlierDetector(
        contamination=share,
        **automatic,
        context_size=options.context_size,
        model=options.model,
        device=device_name(options),
        random_state=options.seed,
        verbose=not options.quiet,
    )
    if streamed:
        return _stream(options, detector, output, share)
    table, rows, train = scored_tables(options)
    detector.set_params(**supports_given(train, options.support))
    detector.fit(train.values, **weights_of(train))
    scores = -in_parts(detector.decision_function, rows, "scores", quiet=options.quiet)
    flags = (scores > 0).astype(int)
    found = {"anomaly_score": scores, "outlier": flags}
    if automatic:
        found["p_value"] = in_parts(detector.p_values, rows, "p-values", quiet=options.quiet)
    unusual = (-scores).argsort(kind="stable")[: options.explain or _DRAWN]
    surprises = np.full(rows.shape, np.nan)
    if options.explain or options.explain_plot:
        surprises[unusual] = detector.explain(rows[unusual])
    if options.explain:
        found |= {f"surprise_{name}": column for name, column in zip(train.names, surprises.T, strict=True)}
    columns = indexed(table, found)
    output.write(options.out, lambda path: files.write_table(path, columns))
    there = np.isfinite(scores)  # outside a support a score is infinite
    usual = {"training rows": detector.offset_ - detector.training_scores_} if options.train else {}
    output.write(
        options.plot,
        lambda path: pictures.plot_distribution(
            scores[there],
            "anomaly score (nats)",
            {"threshold": 0.0},
            others=usual,
            flagged=flags[there] == 1,
            title=f"{flags.sum()} of {len(rows)} rows flagged",
            path=path,
        ),
    )
    drawn = unusual[:_DRAWN]
    labels = next((column[drawn].astype(str) for column in table.index.values()), drawn.astype(str))
    output.write(
        options.explain_plot,
        lambda path: pictures.plot_surprises(surprises[drawn], rows[drawn], train.names, labels, scores[drawn], path=path),
    )
    said, training = described(train)
    lacking = count_lacking(rows)
    holes = f", {lacking} of them with missing cells," if lacking else ""
    lowest = f"{'as low as their' if options.train else 'the'} {100 * share:g} % lowest (--contamination {share:g})"
    alarms = (
        f"of usual new rows at most {100 * (options.false_alarms or 0):g} % would be (--false-alarms {options.false_alarms})"
    )
    return output.tell(
        f"{said}\n{flags.sum()} of {len(rows)} rows{holes} flagged, by {len(train.values)} training rows: "
        + (alarms if automatic else lowest),
        training=training,
        rows=len(rows),
        lacking=lacking,
        flagged=flags.sum(),
    )


def _stream(options: argparse.Namespace, detector: Any, output: Any, share: float) -> int:
    """The same for a table in parts."""
    from disco_samplers.commands.shared.scorers import AnomalyScorer
    from disco_samplers.commands.shared.streams import run_streamed

    automatic = options.false_alarms is not None
    names = ("model", "seed", "context_size", "contamination", "false_alarms")
    settings = {"answers": "anomaly_score", **{name: getattr(options, name) for name in names}}
    done = run_streamed(
        options,
        lambda summary: AnomalyScorer(detector, summary, p_values=automatic),
        weighted=False,
        settings=settings,
    )
    flagged = round(done.totals.sums.get("outlier", 0.0))
    by = f"--false-alarms {options.false_alarms}" if automatic else f"--contamination {share:g}"
    output.written.append(str(done.folder))
    status: int = output.tell(
        f"{flagged:,} of {done.totals.rows:,} rows flagged ({by}), {done.said}",
        training=done.told,
        rows=done.totals.rows,
        lacking=done.totals.lacking,
        flagged=flagged,
        left_out=done.bad,
    )
    return status
