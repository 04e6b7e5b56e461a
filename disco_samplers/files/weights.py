"""Weights files: safetensors with the network's configuration as JSON in the header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from disco_samplers.files.whole import write

FORMAT = "disco-samplers/1"


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
