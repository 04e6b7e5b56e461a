"""What a run file may hold: the keys of every section and their types."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

_Types = tuple[type, ...]
_NUMBER: _Types = (int, float)
_LIST: _Types = (list,)
_KEYS: dict[str, dict[str, _Types]] = {
    "": {"title": (str,), "seed": (int,), "precision": (str,), "grid": (dict,), "time": (dict,), "fields": (dict,)}
    | {"species": _LIST, "collisions": (dict,), "output": (dict,), "walls": (dict,)},
    "grid": {"length": _NUMBER, "cells": (int,)},
    "time": {"dt": _NUMBER, "end": _NUMBER},
    "fields": {"solver": (str,), "shape": (str,), "light_speed": _NUMBER, "magnetic_amplitude": _NUMBER, "mode": (int,)}
    | {"applied": _NUMBER},
    "species": {"name": (str,), "charge": _NUMBER, "mass": _NUMBER, "particles": (int,), "start": (str,)}
    | {"amplitude": _NUMBER, "mode": (int,), "beams": _LIST, "velocities": (str,)},
    "beams": {"drift": _LIST, "temperature": _LIST, "density": _NUMBER},
    "collisions": {"operator": (str,), "strength": _NUMBER, "exponent": _NUMBER, "method": (str,), "batch_size": (int,)}
    | {"frequency": _NUMBER, "score": (str,), "keys": (int,), "worth": _NUMBER, "bandwidth": _NUMBER}
    | {"cells": (int,), "every": (int,), "species": _LIST, "matrix": (dict,), "subcycle": _NUMBER},
    "walls": {"left": (str,), "right": (str,), "bias": _NUMBER, "temperature": (dict,), "source": (dict,)}
    | {"source_length": _NUMBER},
    "output": {"diagnostics": (int,), "entropy": (int,), "openpmd": (int,), "checkpoint": (int,), "animation": (int,)},
}
_REQUIRED = {"": ("grid", "time", "species"), "grid": ("length", "cells"), "time": ("dt", "end"), "species": ("particles",)}
_KINDS = {int: "an integer", float: "a number", str: "a string", list: "a list", dict: "a table"}


def check_section(values: Any, section: str, where: str) -> None:
    """Checks the keys of a section and the types of their values.

    Arguments:
        values: of the section.
        section: "" for the top, "grid", "time", "fields", "species", "beams", "walls", "collisions" or "output".
        where: what an error calls the section.

    Raises:
        TypeError: if a value has a wrong type.
        ValueError: if a key is unknown, with the nearest known one, or missing.

    Example:
        >>> check_section({"lenght": 1.0, "cells": 8}, "grid", "[grid]")
        Traceback (most recent call last):
            ...
        ValueError: [grid] has an unknown key 'lenght'; did you mean 'length'?
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{where} must be a table of keys and values, got {values!r}")
    known = _KEYS[section]
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"{where} has an unknown key {key!r}{nearest(key, list(known))}")
        if isinstance(value, bool) or not isinstance(value, known[key]):
            raise TypeError(f"{key!r} in {where} must be {_KINDS[known[key][-1]]}, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key!r} in {where} must be finite, got {value}")
    for key in _REQUIRED.get(section, ()):
        if key not in values:
            raise ValueError(f"{where} lacks the key {key!r}")


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or all of them.

    Example:
        >>> nearest("landua", ["landau", "dougherty"])
        "; did you mean 'landau'?"
    """
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
