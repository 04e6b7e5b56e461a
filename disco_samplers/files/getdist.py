"""Chains in text as CosmoMC, Cobaya and getdist keep them: weight, minus the log posterior, parameters.

Source: GetDist, *Sample files* (https://getdist.readthedocs.io/en/latest/intro.html).
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from disco_samplers.draws import DrawsWarning
from disco_samplers.files.packed import kind
from disco_samplers.files.table import Bound, Table
from disco_samplers.files.text import Sheet

_COBAYA = ["weight", "minuslogpost"]
_DERIVED = re.compile(r"(minuslogprior|chi2)(__.*)?|.*\*")
_NUMBER = r"[._]\d+$"
"""How the files of a root's chains end."""

_LONGEST = 10_000_000
"""Sum of whole weights up to which rows are repeated."""


def is_getdist(sheet: Sheet) -> bool:
    """Whether a sheet is such a chain: its header says so, or there is a ``.paramnames`` to it."""
    if sheet.names is not None:
        return sheet.names[:2] == _COBAYA
    if parameter_names(sheet.path) is not None:
        return True
    if _looks_like_one(sheet):
        warnings.warn(
            f"{sheet.path} looks like a chain of getdist, Cobaya or CosmoMC, but there is no .paramnames to it: its first two "
            "columns, weights and minus the log posterior, are read as variables",
            DrawsWarning,
            stacklevel=2,
        )
    return False


def getdist_table(sheet: Sheet) -> Table:
    """The chain; weights that are whole numbers are steps for which the chain stood.

    Derived parameters are kept apart; bounds are those of ``root.ranges``.

    Raises:
        ValueError: if there are not as many names as columns, or a weight is none.
    """
    if sheet.texts:
        raise ValueError(next(iter(sheet.texts.values())))
    names = sheet.names[2:] if sheet.names is not None else parameter_names(sheet.path)
    assert names is not None
    if len(names) + 2 != sheet.values.shape[1]:
        raise ValueError(
            f"{sheet.path} has {sheet.values.shape[1]} columns, but .paramnames has {len(names)} names, derived ones counted: "
            "a chain's columns are the weight, minus the log posterior, and one for each name"
        )
    weights = sheet.values[:, 0]
    if (bad := np.flatnonzero(~(weights >= 0) | np.isinf(weights))).size:
        raise ValueError(f"{sheet.path}, line {sheet.lines[bad[0]]}: the weight {weights[bad[0]]:g} is no number of at least 0")
    table = split_derived(sheet.path, sheet.values[:, 2:], names)
    table = dataclasses.replace(table, weights=weights, log_prob=-sheet.values[:, 1])
    whole = bool((weights == weights.round()).all())
    if whole and weights.sum() <= _LONGEST:
        return dataclasses.replace(table, stood=True, chained=True)
    # Weights of importance: numbered files are chains still; one alone may be of nested sampling, and in no order. There the
    # second column is -2 log L, the prior not in it.
    chained = re.search(_NUMBER, _stem(sheet.path)) is not None
    return dataclasses.replace(table, chained=chained, log_prob=table.log_prob if whole or chained or sheet.names else None)


def split_derived(path: Path, values: np.ndarray, names: list[str]) -> Table:
    """The table of a chain's parameters with their bounds, derived ones kept apart."""
    columns = dict(zip(names, values.T, strict=True))
    if len(columns) < len(names):
        raise ValueError(f"{path}: names of parameters occur more than once")
    stats = {name.rstrip("*"): column for name, column in columns.items() if _DERIVED.fullmatch(name)}
    kept = [name for name in names if not _DERIVED.fullmatch(name)]
    body = np.stack([columns[name] for name in kept], 1) if kept else np.empty((len(values), 0))
    return Table(np.ascontiguousarray(body), kept, support=_ranges(path, kept), stats=stats)


def parameter_names(path: Path) -> list[str] | None:
    """The names in ``root.paramnames``, derived ones with an asterisk; None if there is no such file."""
    found = _beside(path, ".paramnames")
    return None if found is None else [line.split()[0] for line in _lines(found)]


def _looks_like_one(sheet: Sheet) -> bool:
    """Whether a file's name has a number, and its first column numbers of steps: whole ones, some above one, no count."""
    steps = sheet.values[:, 0]
    numbered = re.search(_NUMBER, _stem(sheet.path)) is not None and sheet.values.shape[1] > 2
    return numbered and bool((steps == steps.round()).all() and steps.min() == 1 < steps.max() and (np.diff(steps) <= 0).any())


def _ranges(path: Path, names: list[str]) -> dict[str, Bound]:
    found = _beside(path, ".ranges")
    rows = [line.split() for line in _lines(found)] if found is not None else []
    if bad := [row for row in rows if len(row) < 3]:
        raise ValueError(f"{found}: {' '.join(bad[0])!r} is not a name with two bounds")
    return {row[0]: (_bound(row[1], found), _bound(row[2], found)) for row in rows if row[0] in names}


def _bound(text: str, path: Path | None) -> float | None:
    try:
        return None if text in ("N", "None") else float(text)
    except ValueError as error:
        raise ValueError(f"{path}: {text!r} is no bound: use a number, or N for none") from error


def _beside(path: Path, suffix: str) -> Path | None:
    """The file of the chain's root with a suffix: of root.txt, root_1.txt or root.1.txt it is root.paramnames."""
    stem = _stem(path)
    roots = dict.fromkeys([stem, re.sub(_NUMBER, "", stem), re.sub(r"_?(dead|phys_live)-birth$", "", stem)])
    return next((p for root in roots if (p := path.with_name(root + suffix)).is_file()), None)


def _stem(path: Path) -> str:
    return path.name[: path.name.lower().rindex(kind(path))] if kind(path) else path.name


def _lines(path: Path) -> Iterator[str]:
    return (line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip())
