"""Weights that are not in the package: a path here, or a model of the Hugging Face hub."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from huggingface_hub import constants, hf_hub_download

from disco_samplers.estimators import SHIPPED, WEIGHTS_NAME

HUB_OPTIONS = ("revision", "token", "cache_dir", "force_download", "local_files_only")


def weights_here(name_or_path: str | os.PathLike[str]) -> Path | None:
    """The weights file at a path; None where this is no path but the id of a model on the hub, OWNER/MODEL.

    A path it is where there is such a file or folder, where OWNER is a folder here, and where no id looks so.

    Raises:
        FileNotFoundError: if there is no weights file at the path.
    """
    path, name = Path(name_or_path), str(name_or_path)
    if path.is_file():
        return path
    unlike_an_id = name.startswith((".", "/", "~")) or name.count("/") != 1 or os.sep in name.replace("/", "")
    meant_here = isinstance(name_or_path, os.PathLike) or path.suffix == ".safetensors" or path.parent.is_dir()
    if not (unlike_an_id or meant_here):
        return None
    path = path if path.suffix == ".safetensors" else path / WEIGHTS_NAME
    if not path.exists():
        raise FileNotFoundError(f"no weights file at {path}; the package itself has {', '.join(SHIPPED)}")
    return path


def weights_of_the_hub(model_id: str, *, local_files_only: bool = False, **options: Any) -> Path:
    """The weights file of a model on the hub, or in its cache; only there where there is no network, without a wait.

    Raises:
        FileNotFoundError: if it cannot be had.
    """
    away = not local_files_only and not reachable()
    try:
        return Path(hf_hub_download(model_id, WEIGHTS_NAME, local_files_only=local_files_only or away, **options))
    except OSError as error:  # whatever keeps it from being had: not there, not allowed, no network
        says = "cannot be reached, nor was the model loaded before" if away else f"says: {error}"
        raise FileNotFoundError(f"no weights called {model_id}: there is no such folder here, and the hub {says}") from error


def reachable() -> bool:
    """Whether the hub's address is known, which is told at once; a proxy may know it where this machine does not."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, None)
    except OSError:
        return False
    return True
