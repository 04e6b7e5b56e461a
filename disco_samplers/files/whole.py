"""Files written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that takes its place when the block ends without an error.

    A process killed at any moment leaves either the old file or the new one, never half of one.
    The temporary name keeps the suffix, because writers choose their format by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(8)}{target.suffix}")
    # As open() makes files, so that the umask applies: to read it one would have to change it, for other threads too.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary), temporary):
            error.filename, error.filename2 = str(target), None  # the one that was asked for
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_place(path: str | os.PathLike[str]) -> None:
    """Says before any work is done whether a file could be put there; folders that are missing are made when it is.

    Raises:
        OSError: if its folder is no folder, or may not be written to; or if it is a folder itself.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    there = next(folder for folder in target.absolute().parents if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: the folder {there} may not be written to")


def write(path: str | os.PathLike[str], writer: Callable[[Path], None]) -> None:
    """Calls ``writer`` with a temporary path that then replaces ``path``."""
    with replacing(path) as temporary:
        writer(temporary)
