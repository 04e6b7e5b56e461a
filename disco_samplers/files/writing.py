"""Tables and draws into files, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disco_samplers.draws import Draws, described
from disco_samplers.extras import optional
from disco_samplers.files.chains import INDEX
from disco_samplers.files.columns import LOG_PROB, LOG_WEIGHT
from disco_samplers.files.formats import NEEDED, WRITERS, names_read
from disco_samplers.files.netcdf import to_arviz, write_netcdf
from disco_samplers.files.packed import is_packed, kind, open_binary
from disco_samplers.files.whole import check_place, write


def write_table(path: str | Path, columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,) to .csv, .npy, .npz, .parquet or .feather, packed if .gz, .bz2 or .xz follows, whole or not at all.

    Raises:
        ValueError: if the extension is none of them.
    """
    path = Path(path)
    _check_extension(path, list(WRITERS))

    def put(temporary: Path) -> None:
        with open_binary(temporary, "wb") as file:
            WRITERS[kind(path)](file, columns)

    write(path, put)


def save(path: str | Path, draws: Draws) -> None:
    """Writes draws with their names, chains and weights, such that ``read`` gives them back.

    Tables have columns chain and draw where there are chains, .log_weight where there are weights and .log_prob where there is
    the log-density; only .nc keeps the support, and .npy the values alone.

    Raises:
        ValueError: if the extension is unknown, a variable has a name that the format has another use for, or the draws are
            weighted and the format has no place for it, as .npy.
        ImportError: if the format needs a package that is not installed.

    Example:
        >>> import tempfile
        >>> from disco_samplers.files import read
        >>> path = Path(tempfile.mkdtemp()) / "draws.csv"
        >>> save(path, Draws(np.array([[[0.0], [1.0]], [[2.0], [3.0]]]), names=["mu"]))
        >>> read(path).num_chains
        2
    """
    chains = draws.num_chains
    values = draws.values.detach().cpu().double().numpy().reshape(chains or 1, -1, draws.dim)
    weights, log_prob = (
        None if column is None else column.detach().cpu().numpy().reshape(values.shape[:2])
        for column in (draws.weights, draws.log_prob)
    )
    support = None if draws.support is None else described(draws.support, draws.names)
    independent = chains is None
    _write(Path(path), values, draws.names, weights=weights, log_prob=log_prob, support=support, independent=independent)


def write_draws(path: str | Path, draws: np.ndarray, names: Sequence[str], divergences: np.ndarray) -> None:
    """Writes draws (chain, draw, d) by extension: .nc keeps chains as ArviZ has them, a table has columns chain and draw.

    Raises:
        ValueError: if the extension is unknown.
    """
    _write(Path(path), draws, names, divergences=divergences)


def writable(path: str | Path, *, draws: bool, names: Sequence[str] = ()) -> None:
    """Says before any work is done whether a result could be written there, ``draws`` with variables of these names.

    Raises:
        ValueError: if the extension is unknown, or the format has another use for a name.
        ImportError: if its format needs a package that is not installed.
        OSError: if its folder is no folder, or may not be written to.
    """
    path = Path(path)
    _check_extension(path, [*WRITERS, ".nc"] if draws else list(WRITERS))
    check_place(path)
    for module in NEEDED.get(kind(path), ()):
        optional(module, "files")
    if draws and kind(path) == ".nc":
        if bad := [name for name in names if "/" in name or not name.strip()]:
            raise ValueError(
                f"{path}: a variable of a netCDF file cannot be called {bad[0]!r}: rename it, or write another format"
            )
    elif draws and kind(path) != ".npy" and (taken := sorted({*INDEX, LOG_WEIGHT, LOG_PROB} & {*names})):
        raise ValueError(f"a variable cannot be called {' or '.join(taken)}: a table of draws has a column of that name")
    elif draws and kind(path) != ".npy" and "" in names:
        raise ValueError("a variable cannot be called '': a table's column without a name is its index")
    elif draws and kind(path) == ".csv" and (found := names_read(names, path)) != [*names]:
        other = sorted({*names} - {*found}) or [*names]
        raise ValueError(
            f"{path}: a variable of text cannot be called {' or '.join(other)}, which is read as something else: rename it"
        )


def _check_extension(path: Path, known: Sequence[str]) -> None:
    if kind(path) not in known or (kind(path) == ".nc" and is_packed(path)):
        raise ValueError(f"{path}: the extension must be one of {', '.join(known)}")


def _write(
    path: Path,
    draws: np.ndarray,
    names: Sequence[str],
    *,
    weights: np.ndarray | None = None,
    log_prob: np.ndarray | None = None,
    support: Mapping[Any, Any] | None = None,
    divergences: np.ndarray | None = None,
    independent: bool = False,
) -> None:
    writable(path, draws=True, names=names)
    with np.errstate(divide="ignore"):  # of weight zero
        log_weight = None if weights is None else np.log(weights)
    chains, count, d = draws.shape
    if kind(path) == ".nc":
        data = to_arviz(
            draws, names, divergences, log_weight=log_weight, log_prob=log_prob, support=support, independent=independent
        )
        write(path, lambda temporary: write_netcdf(temporary, data))
    elif kind(path) == ".npy":
        if weights is not None:
            raise ValueError(f"{path}: .npy has no place for weights; use .npz, .csv, .parquet, .feather or .nc")
        array = draws[0] if independent else draws
        write(path, lambda temporary: _save(temporary, array))
    else:
        index = {"chain": np.repeat(np.arange(chains), count), "draw": np.tile(np.arange(count), chains)}
        columns = {} if independent else index
        of_rows = {LOG_WEIGHT: log_weight, LOG_PROB: log_prob}
        columns |= {name: column.ravel() for name, column in of_rows.items() if column is not None}
        write_table(path, columns | {name: draws.reshape(-1, d)[:, i] for i, name in enumerate(names)})


def _save(path: Path, array: np.ndarray) -> None:
    with open_binary(path, "wb") as file:
        np.save(file, array)
