"""Files as they are or packed by gzip, bzip2 or xz, as the end of their name says."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path
from typing import IO, Any, cast

_PACKERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def kind(path: Path) -> str:
    """The extension that says a file's format, in small letters: .csv of draws.CSV.gz."""
    return (Path(path.stem) if is_packed(path) else path).suffix.lower()


def is_packed(path: Path) -> bool:
    """Whether a file is packed."""
    return path.suffix.lower() in _PACKERS


def open_binary(path: Path, mode: str = "rb") -> IO[bytes]:
    """Opens a file, "rb" or "wb", unpacking or packing it on the way."""
    return cast("IO[bytes]", _PACKERS.get(path.suffix.lower(), open)(path, mode))
