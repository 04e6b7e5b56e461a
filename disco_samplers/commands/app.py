"""``disco app``: a local web page to try it on."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from disco_samplers.commands.shared.options import ending


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "app",
        help="a local web page: drop a table of draws, see its density, score and new draws",
        **ending("disco app --browser", {"address": "where the page is, on this machine only; Ctrl-C ends it"}),
    )
    command.add_argument("--port", type=int, help="to listen on (default: the first free one from 7860 on)")
    command.add_argument("--browser", action="store_true", help="open the page in the default browser")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    from disco_samplers.app import serve

    serve(options.port, browser=options.browser)
    # An answer may still be computed in a thread; an interpreter that ends in its midst is aborted.
    sys.stdout.flush()
    os._exit(0)
