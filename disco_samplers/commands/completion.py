"""``disco completion``: completes commands, options and files in a shell."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers.commands.shared.options import ending

_FOLDERS = {"DIR"}
_FILES = {"FILE", "TABLE", "DRAWS", "DATA", "SHARD", "POINTS", "PATH", "A", "B"}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    example = (
        "disco completion bash > ~/.local/share/bash-completion/completions/disco\n"
        "disco completion zsh > ~/.zfunc/_disco  # a folder of fpath"
    )
    command = commands.add_parser(
        "completion",
        help="completes commands, options and files in a shell",
        description="Prints a script that a shell reads once; no Python is started when the tab key is pressed.",
        **ending(example, {}),
    )
    command.add_argument("shell", choices=["bash", "zsh"], help="whose script is printed")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    from disco_samplers.extras import optional

    shtab = optional("shtab", "completion")
    _mark(options.parser, shtab)
    print(shtab.complete(options.parser, options.shell))


def _mark(parser: argparse.ArgumentParser, shtab: Any) -> None:
    """Says of each argument whether it is a file or a folder."""
    for action in parser._actions:  # argparse has no public way to its own actions; shtab does the same
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark(command, shtab)
        elif action.metavar in _FOLDERS | _FILES:
            action.complete = shtab.DIRECTORY if action.metavar in _FOLDERS else shtab.FILE  # type: ignore[attr-defined]
