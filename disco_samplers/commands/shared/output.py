"""What a command gives: files, of which one that cannot be written does not take the rest with it, and text or JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from disco_samplers.draws import Draws

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class Output:
    """The files that a command writes and what it prints.

    What cannot be written, on a full disk say, is named on standard error at once. The command goes on, so that what it has
    in memory is printed, and its exit status tells.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.json = bool(options.json)
        self.written: list[str] = []
        self.status = 0

    def write(self, path: str | Path | None, writer: Callable[[str], Any]) -> None:
        """Calls ``writer`` with the path, if there is one."""
        if path is None:
            return
        try:
            writer(str(path))
        except OSError as error:
            self.status = 1
            print(f"disco: error: {path} could not be written: {error.strerror or error}", file=sys.stderr)
        except KeyboardInterrupt:
            self.interrupted(f"{path} was not written")
        else:
            self.written.append(str(path))

    def interrupted(self, what: str) -> None:
        """Says that the work was interrupted, and what there is of it."""
        self.status = INTERRUPTED
        print(f"interrupted: {what}", file=sys.stderr)

    def tell(self, text: str, /, **values: Any) -> int:
        """Prints the text and what was written, or with --json an object of the values and of what was; the exit status."""
        if self.json:
            print(json.dumps(_plain(values | {"written": self.written}), ensure_ascii=False))
        else:
            print("\n".join([text, *(f"wrote {path}" for path in self.written)]))
        return self.status


def told(draws: Draws) -> dict[str, Any]:
    """What --json says of draws."""
    r_hat = None if draws.rhat is None else dict(zip(draws.names, draws.rhat, strict=True))
    known = {"draws": len(draws), "chains": draws.num_chains, "variables": draws.names}
    return known | {"effective_size": draws.effective_size, "r_hat": r_hat, "not_mixed": draws.unmixed}


def rows_of(summary: Any) -> dict[str, dict[str, float]]:
    """A summary as --json gives it: of each variable, its columns by name."""
    return {name: {key: column[i] for key, column in summary.columns.items()} for i, name in enumerate(summary.names)}


def _plain(value: Any) -> Any:
    """A value in what JSON has; a number that is not finite, for which it has no word, as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
