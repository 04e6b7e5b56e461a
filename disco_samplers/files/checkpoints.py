"""Checkpoints: tensors and plain values, read without unpickling anything else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from disco_samplers.files.whole import write


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
