"""Weights files: safetensors with the network's configuration as JSON in the header, written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "disco-samplers/1"


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
    finally:
        temporary.unlink(missing_ok=True)


def write(path: str | os.PathLike[str], writer: Callable[[Path], None]) -> None:
    """Calls ``writer`` with a temporary path that then replaces ``path``."""
    with replacing(path) as temporary:
        writer(temporary)


def save_weights(path: str | os.PathLike[str], state: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Writes a state dict and its configuration."""
    metadata = {"format": FORMAT, "config": json.dumps(config, sort_keys=True)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def load_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a state dict and its configuration; nothing in the file is ever executed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a whole weights file of this library.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path} is a safetensors file, but not of a DiScoFormer ({FORMAT!r} is not in its header)")
            config = json.loads(metadata["config"])
            return {name: file.get_tensor(name) for name in file.keys()}, config  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError, KeyError) as error:
        raise ValueError(f"{path} is not a whole safetensors file (truncated, or of another kind): {error}") from error


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Writes a training checkpoint (tensors and plain values only)."""
    write(path, lambda temporary: torch.save(state, temporary))


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a training checkpoint without unpickling anything but tensors and plain values.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a whole checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises a different class for each way a file can be broken
        raise ValueError(f"{path} is not a whole training checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} is not a training checkpoint")
    return state
