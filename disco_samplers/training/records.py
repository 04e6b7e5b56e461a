"""What a training writes on its way."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def tried(write: Callable[[], None]) -> None:
    """Writes in the middle of a training, which goes on where it cannot be done."""
    try:
        write()
    except OSError as error:
        what = error.filename or "a file"
        warnings.warn(f"{what} could not be written: {error.strerror or error}; the training goes on", stacklevel=2)


def append(path: Path, row: dict[str, Any]) -> None:
    """Adds a row to a table, with a header if it is the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
