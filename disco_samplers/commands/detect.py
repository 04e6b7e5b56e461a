"""``disco detect``: anomaly scores and flags for each row of a table."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers import files, pictures
from disco_samplers.commands.shared import add_options, add_reading, device_name, indexed, scored_tables, weights_of
from disco_samplers.extras import optional


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("detect", help="anomaly scores and flags for each row of a table of numbers")
    command.add_argument("table", metavar="TABLE", help="rows to judge")
    command.add_argument("--train", metavar="TABLE", help="rows that say what is usual (default: TABLE itself)")
    command.add_argument(
        "--out", required=True, metavar="FILE", help=".csv, .npz, .parquet or .feather, with TABLE's index and columns"
    )
    command.add_argument(
        "--contamination", type=float, default=0.1, help="share of training rows flagged (default: %(default)s)"
    )
    add_reading(command, chains=False)
    command.add_argument("--plot", metavar="FILE", help="draw the distribution of scores: .png, .pdf or .svg")
    add_options(command, "seed", "model", "device")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    if not 0 < options.contamination <= 0.5:
        raise ValueError(f"--contamination must lie in (0, 0.5], got {options.contamination}")
    table, rows, train = scored_tables(options)
    detector = optional("disco_samplers.integrations.sklearn", "sklearn").DiscoOutlierDetector(
        contamination=options.contamination, model=options.model, device=device_name(options), random_state=options.seed
    )
    detector.fit(train.values, **weights_of(train))
    scores = -detector.decision_function(rows)
    flags = (scores > 0).astype(int)
    files.write_table(options.out, indexed(table, {"anomaly_score": scores, "outlier": flags}))
    if options.plot:
        usual = {"training rows": detector.offset_ - detector.training_scores_} if options.train else {}
        pictures.plot_distribution(scores, "anomaly score (nats)", {"threshold": 0.0}, others=usual, path=options.plot)
    print(train.draws(iid=True))
    print(f"wrote {options.out}: {flags.sum()} of {len(rows)} rows flagged, by {len(train.values)} training rows")
