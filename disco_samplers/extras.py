"""Optional packages: imported where they are needed, named with their install command where they are missing."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any


def optional(module: str, extra: str) -> Any:
    """Imports an optional package.

    Raises:
        ImportError: naming the command that installs it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # ArviZ 0.x announces its successor at every first import
            return import_module(module)
    except ImportError as error:
        name = module.split(".", maxsplit=1)[0]
        raise ImportError(f"{name} is needed for this: pip install 'disco-samplers[{extra}]'") from error
