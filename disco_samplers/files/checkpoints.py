"""Checkpoints: tensors and plain values, read without unpickling anything else."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from disco_samplers.files.whole import write


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Writes a checkpoint, of a training or a simulation (tensors and plain values only)."""
    write(path, lambda temporary: torch.save(state, temporary))


def load_checkpoint(path: str | os.PathLike[str], what: str = "training checkpoint") -> dict[str, Any]:
    """Reads a checkpoint without unpickling anything but tensors and plain values; ``what`` is what it should be.

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
        raise ValueError(f"{path} is not a whole {what}: {_reason(error)}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} is not a {what}: it holds a {type(state).__name__}")
    return state


def _reason(error: Exception) -> str:
    """What is wrong; torch's own words on objects advise to execute them."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds objects of another program, which are not read, or is broken"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
