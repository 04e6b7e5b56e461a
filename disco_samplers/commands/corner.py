"""``disco corner``: the marginals of one and two columns, of one or several posteriors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from disco_samplers.commands.shared.options import PICTURE, add_options, add_reading, ending

_PRINTED = {
    "diagonal": "the density of each column, as high as its panel",
    "below": "the regions of highest density that hold 68 and 95 % of every two columns",
    "worth": "how many independent draws a posterior's are worth; fewer is worse",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "corner",
        help="a corner plot for a paper: marginals of one and two columns, several posteriors over one another",
        **ending("disco corner before.csv after.csv --columns mu tau --truth mu=1 --out corner.pdf", _PRINTED),
    )
    command.add_argument(
        "draws", metavar="DRAWS", nargs="+", help="a posterior's draws, one or more; a pattern as 'a_*.csv' for chains"
    )
    command.add_argument("--out", required=True, metavar="FILE", help=f"the picture: {PICTURE}")
    command.add_argument(
        "--truth", nargs="+", default=[], action="extend", metavar="COLUMN=VALUE", help="values to mark with dashed lines"
    )
    command.add_argument(
        "--labels", nargs="+", action="extend", metavar="LABEL", help="of the posteriors (default: the files' names)"
    )
    command.add_argument(
        "--names",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="of the columns on the axes, as '$\\mu$' (default: their own)",
    )
    command.add_argument("--title", metavar="TITLE", help="of the picture (default: what is drawn)")
    command.add_argument(
        "--width", type=float, default=7.0, help="in inches; a paper's column is 3.4, two are 7 (default: %(default)s)"
    )
    add_reading(command)
    add_options(command, "support", "seed", "model", "device", "iid", "quiet", "json")
    command.set_defaults(run=run, adapt=False)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    from disco_samplers import corner, pictures
    from disco_samplers.commands.shared.models import conditioned
    from disco_samplers.commands.shared.output import Output, told
    from disco_samplers.commands.shared.tables import check_finite, given_values, tables_from

    output = Output(options)
    pictures.writable(options.out)
    tables = tables_from(options, options.draws)
    for path, table in zip(options.draws, tables, strict=True):
        check_finite(table, path)
    truth = given_values(options, tables[0], "truth")
    labels = options.labels or ([Path(path).stem for path in options.draws] if len(tables) > 1 else None)
    estimates, draws = zip(*(conditioned(options, table) for table in tables), strict=True)
    drawn: dict[str, Any] = {"labels": labels, "truth": truth}
    drawn |= {"names": options.names, "title": options.title, "width": options.width}
    by: dict[str, Any] = {"seed": options.seed, "progress": not options.quiet}
    output.write(options.out, lambda path: corner(estimates, path=path, **drawn, **by))
    lines = [f"{path}: {one}" for path, one in zip(options.draws, draws, strict=True)]
    return output.tell("\n".join(lines), posteriors={path: told(one) for path, one in zip(options.draws, draws, strict=True)})
