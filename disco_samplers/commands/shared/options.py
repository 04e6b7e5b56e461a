"""Options that several subcommands share, declared without importing anything heavy."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Mapping
from typing import Any

DRAWS_HELP = (
    "draws: .csv or other text (also CmdStan's, getdist's, Cobaya's, PolyChord's), .npy, .npz, .parquet, .feather, ArviZ .nc, "
    "emcee .h5; packed or not; several files, or a pattern, are chains"
)
TABLE_HELP = ".csv, .npz, .parquet or .feather, with TABLE's index and columns"
PICTURE = ".png, .pdf or .svg"


def ending(example: str, printed: Mapping[str, str]) -> dict[str, Any]:
    """How a command's help ends: what each printed number or written column means and which way is worse, and an example.

    To be given to ``add_parser``.
    """
    indent = 4 + max(map(len, printed), default=0)
    width = max(indent + 40, shutil.get_terminal_size().columns - 2)
    meanings = [
        textwrap.fill(meaning, width, initial_indent=f"  {name}".ljust(indent), subsequent_indent=" " * indent)
        for name, meaning in printed.items()
    ]
    said = ["what it says:", *meanings, ""] if printed else []
    lines = [*said, "example:", *(f"  {line}" for line in example.splitlines())]
    return {"epilog": "\n".join(lines), "formatter_class": argparse.RawDescriptionHelpFormatter}


def add_options(command: argparse.ArgumentParser, *names: str) -> None:
    """Declares some of the options --support, --given, --seed, --model, --adapt, --device, --iid, --quiet and --json."""
    options: dict[str, dict[str, Any]] = {
        "support": {
            "nargs": "+",
            "action": "extend",
            "default": [],
            "metavar": "COLUMN=WHERE",
            "help": "where columns end: tau=positive p=unit x=0,10 y=0, z=,5 angle=circular:360 a,b,c=simplex t=ordered "
            "(default: as the file says)",
        },
        "given": {
            "nargs": "+",
            "action": "extend",
            "default": [],
            "metavar": "COLUMN=VALUE",
            "help": "values of some columns: of the law of the others given these",
        },
        "seed": {"type": int, "default": 0, "metavar": "N", "help": "of the random numbers (default: %(default)s)"},
        "model": {
            "metavar": "PATH",
            "help": "weights: axes, rotations or velocities, a folder, file or hub id (default: axes)",
        },
        "adapt": {"action": "store_true", "help": "adapt the estimate to the draws first: seconds for 1000 rows"},
        "device": {"default": "cpu", "help": "cpu or cuda (default: %(default)s)"},
        "iid": {"action": "store_true", "help": "take the rows for independent draws, also where the file has chains"},
        "quiet": {"action": "store_true", "help": "no progress bar"},
        "json": {"action": "store_true", "help": "print one JSON object instead of text"},
    }
    command.set_defaults(json=False, quiet=False)
    for name in names:
        command.add_argument(f"--{name}", **options[name])


def add_reading(command: argparse.ArgumentParser, *, chains: bool = True, thinning: bool = True) -> None:
    """Declares what says how tables are read, of ``chains`` or not; ``thinning`` where it is not the steps of a sampler."""
    command.add_argument(
        "--columns",
        nargs="+",
        action="extend",
        metavar="COLUMN",
        help="the variables to take, by name; theta stands for all theta[...]",
    )
    command.add_argument(
        "--exclude", nargs="+", default=[], action="extend", metavar="COLUMN", help="columns to leave out, also those of text"
    )
    command.add_argument(
        "--index", nargs="+", default=[], action="extend", metavar="COLUMN", help="columns that only name the rows"
    )
    command.add_argument(
        "--row-weights", metavar="COLUMN", help="column of the rows' weights; of log-weights if its name begins with log"
    )
    command.add_argument(
        "--header", choices=["yes", "no"], help="whether text begins with a header (default: unless its first row is numbers)"
    )
    command.set_defaults(burn_in=None, every=1, axes=None, reads_chains=chains)
    if not chains:
        return
    command.add_argument(
        "--burn-in",
        type=float,
        metavar="N",
        help="rows to leave out at the start of each chain, a share if below 1; 0 only says that they are a chain",
    )
    if thinning:
        command.add_argument(
            "--thinning", dest="every", type=int, default=1, metavar="N", help="take every N-th row of each chain"
        )
    command.add_argument(
        "--axes", metavar="A,B,C", help="what the axes of a three-dimensional .npy are (default: chain,draw,variable)"
    )


def add_parts(command: argparse.ArgumentParser) -> None:
    """Declares what is of tables larger than memory, whose results go to a folder, part by part."""
    command.add_argument(
        "--context-size",
        type=int,
        metavar="N",
        help="most training rows that the estimate is made of; a row takes time in proportion (default: %(default)s)",
    )
    command.add_argument(
        "--skip-bad", action="store_true", help="of a table in parts: leave out parts that cannot be read, and name them"
    )
    command.add_argument(
        "--engine", choices=["local", "ray"], default="local", help="of a table in parts: who works (default: %(default)s)"
    )
    command.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster (default: one of this machine's own)")
    command.add_argument("--workers", type=int, metavar="N", help="of Ray (default: as many as fit beside what reads)")


PARTS_HELP = (
    "or a folder, ending in /: TABLE, a file, a pattern or the folder of a data set, is then read and answered in parts"
)
