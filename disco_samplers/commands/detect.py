"""``disco detect``: anomaly scores and flags for each row of a table."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers.commands.shared.options import PICTURE, TABLE_HELP, add_options, add_reading, ending

_PRINTED = {
    "anomaly_score": "column of --out: nats by which the row's log-density lies below the threshold; higher is more unusual. "
    "Of a row with empty cells: by the others, on the same scale",
    "outlier": "column of --out: 1 for a flagged row, one whose score is above 0",
    "flagged": "how many rows are; of the training rows it is the share of --contamination, whatever they are like",
    "worth": "how many independent draws the training rows are worth; fewer is worse",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "detect",
        help="anomaly scores and flags for each row of a table of numbers",
        **ending("disco detect new.csv --train usual.csv --index name --out flags.csv --plot flags.png", _PRINTED),
    )
    command.add_argument("table", metavar="TABLE", help="rows to judge; cells may be empty")
    command.add_argument("--train", metavar="TABLE", help="rows that say what is usual (default: TABLE itself)")
    command.add_argument("--out", required=True, metavar="FILE", help=TABLE_HELP)
    command.add_argument(
        "--contamination",
        type=float,
        default=0.1,
        help="share of training rows that are flagged, which sets the threshold (default: %(default)s)",
    )
    add_reading(command, chains=False)
    command.add_argument("--plot", metavar="FILE", help=f"draw the distribution of scores: {PICTURE}")
    add_options(command, "seed", "model", "device", "quiet", "json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    from disco_samplers import files, pictures
    from disco_samplers.commands.shared.bars import in_parts
    from disco_samplers.commands.shared.models import device_name
    from disco_samplers.commands.shared.output import Output
    from disco_samplers.commands.shared.tables import count_lacking, described, indexed, scored_tables, weights_of
    from disco_samplers.extras import optional

    if not 0 < options.contamination <= 0.5:
        raise ValueError(f"--contamination must lie in (0, 0.5], got {options.contamination}")
    output = Output(options)
    table, rows, train = scored_tables(options)
    detector = optional("disco_samplers.integrations.sklearn", "sklearn").DiscoOutlierDetector(
        contamination=options.contamination,
        model=options.model,
        device=device_name(options),
        random_state=options.seed,
        verbose=not options.quiet,
    )
    detector.fit(train.values, **weights_of(train))
    scores = -in_parts(detector.decision_function, rows, "scores", quiet=options.quiet)
    flags = (scores > 0).astype(int)
    columns = indexed(table, {"anomaly_score": scores, "outlier": flags})
    output.write(options.out, lambda path: files.write_table(path, columns))
    usual = {"training rows": detector.offset_ - detector.training_scores_} if options.train else {}
    output.write(
        options.plot,
        lambda path: pictures.plot_distribution(
            scores,
            "anomaly score (nats)",
            {"threshold": 0.0},
            others=usual,
            flagged=flags == 1,
            title=f"{flags.sum()} of {len(rows)} rows flagged",
            path=path,
        ),
    )
    said, training = described(train)
    lacking = count_lacking(rows)
    holes = f", {lacking} of them with missing cells," if lacking else ""
    share = f"{'as low as their' if options.train else 'the'} {100 * options.contamination:g} % lowest"
    return output.tell(
        f"{said}\n{flags.sum()} of {len(rows)} rows{holes} flagged, by {len(train.values)} training rows: {share} "
        f"(--contamination {options.contamination:g})",
        training=training,
        rows=len(rows),
        lacking=lacking,
        flagged=flags.sum(),
    )
