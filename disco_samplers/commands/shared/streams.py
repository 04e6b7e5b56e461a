"""Commands on tables larger than memory: read in parts, answered in parts, and continued where they were stopped."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from disco_samplers import files
from disco_samplers.draws import DrawsWarning
from disco_samplers.extras import optional
from disco_samplers.summaries import TableSummary, summarise_part

_RUN, _FIT = "_run.json", "_fit.npz"
"""What a folder of results is of, and the summary that its estimate is made of. Readers of data sets pass over such names."""

_LOOKED = 32
"""Parts whose columns are looked at before any rows are read."""

_SAVED = 30.0
"""Seconds between two times that a summary in the making is saved."""

Scorer = Callable[[np.ndarray], Mapping[str, np.ndarray]]
Summaries = tuple[int, list[tuple[files.Part, files.PartError]], TableSummary]


@dataclasses.dataclass(frozen=True)
class Streamed:
    """What was done: totals of the answers, the summary, where the files are, and the parts that were left out."""

    totals: files.Totals
    summary: TableSummary
    folder: Path
    bad: list[str]

    @property
    def said(self) -> str:
        """In words."""
        kept, rows = len(self.summary.rows), self.summary.num_rows
        by = f"by {kept:,} of {rows:,} training rows" if kept < rows else f"by {rows:,} training rows"
        return by + (f"; left out: {', '.join(self.bad)}" if self.bad else "")

    @property
    def told(self) -> dict[str, Any]:
        """For --json."""
        return {"rows": self.summary.num_rows, "kept": len(self.summary.rows), "effective_size": self.summary.effective_size}


def is_streamed(options: argparse.Namespace) -> bool:
    """Whether the results are to go to a folder, part by part.

    Raises:
        ValueError: if something is asked for that only then is possible, or then is not.
    """
    streamed = str(options.out).endswith("/") or Path(options.out).is_dir()
    if not streamed:
        for name in ("skip_bad", "address", "workers"):
            if getattr(options, name):
                raise ValueError(f"--{name.replace('_', '-')} is of tables in parts: give --out a folder, as {options.out}/")
        if options.engine != "local":
            raise ValueError(f"--engine {options.engine} is of tables in parts: give --out a folder, as {options.out}/")
        return False
    for name in ("plot", "explain", "explain_plot"):
        if getattr(options, name, None):
            raise ValueError(
                f"--{name.replace('_', '-')} is of one file of results: run it on one of the parts in {options.out}"
            )
    if options.support:
        raise ValueError(
            "--support is not for tables in parts: give such columns as their logarithms or logits, or one file of results"
        )
    if options.engine == "local" and (options.address or options.workers):
        raise ValueError("--address and --workers are of --engine ray")
    return True


def run_streamed(
    options: argparse.Namespace, make: Callable[[TableSummary], Scorer], *, weighted: bool, settings: Mapping[str, Any]
) -> Streamed:
    """Reads the training table once, makes what answers of its summary, and writes the answers to the table's rows.

    Arguments:
        options: of the command.
        make: what answers rows, of the summary.
        weighted: whether the totals are by the rows' weights.
        settings: what the results depend on besides the files: a folder of others is not continued.

    Raises:
        ValueError: if the folder holds results of another run, or a part is broken and not to be left out.
    """
    try:
        return _run(options, make, weighted=weighted, settings=settings)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: what is done stays in {options.out}, and the same command goes on") from None


def _run(
    options: argparse.Namespace, make: Callable[[TableSummary], Scorer], *, weighted: bool, settings: Mapping[str, Any]
) -> Streamed:
    folder = Path(options.out)
    table = files.find_parts(options.table)
    train = files.find_parts(options.train) if options.train else table
    header = None if options.header is None else bool(options.header == "yes")
    columns = _columns(options, train, header)
    if options.train and not (options.columns or options.exclude):
        of_table = files.column_names(table[0], header)
        if more := [name for name in of_table if name not in (*columns.names, *options.index, columns.weights)]:
            raise ValueError(
                f"{options.table} has column(s) {', '.join(more)}, which {options.train} lacks: --exclude or --index them"
            )
    _claim(folder, table, train, dataclasses.asdict(columns) | dict(settings) | {"index": list(options.index)})
    engine = _engine(options, header)
    summary, bad = _fitted(folder, train, engine, columns, options)
    if len(summary.rows) < 2:
        raise ValueError(
            f"{options.train or options.table} has {len(summary.rows)} rows of any weight: a density is of two or more"
        )
    asked = dataclasses.replace(columns, index=tuple(options.index), weights=columns.weights if weighted else None)
    for part, error in engine.score(table, asked, make(summary), folder):
        if error and str(part.path) not in bad:  # of those of the training table it is said already
            _tolerated(error, options)
            bad.add(str(part.path))
    totals = sum((files.totals_of(path) for path in files.scored_blocks(folder)), files.Totals())
    return Streamed(totals, summary, folder, sorted(bad))


class Local:
    """One process, which takes one part after the other."""

    def __init__(self, *, header: bool | None, quiet: bool) -> None:
        self.header, self.quiet = header, quiet

    def summaries(self, parts: Sequence[files.Part], columns: files.Columns, seed: int) -> Iterator[Summaries]:
        """Of one part or more, in their order: how many they are, the errors of those that are broken, the others' summary."""
        with self._bar(parts, "reading") as bar:
            for part in parts:
                try:
                    summary = summarise_part(part, columns, seed=seed, header=self.header)
                except files.PartError as error:
                    yield 1, [(part, error)], TableSummary(seed=seed)
                else:
                    bar.update(summary.num_rows)
                    yield 1, [], summary

    def score(
        self, parts: Sequence[files.Part], columns: files.Columns, answer: Scorer, folder: Path
    ) -> Iterator[tuple[files.Part, files.PartError | None]]:
        """Writes the answers to the rows of every part, which then comes with its error if it is broken."""
        with self._bar(parts, "answering") as bar:
            bar.update(sum(files.totals_of(path).rows for path in files.scored_blocks(folder)))
            for part in parts:
                try:
                    files.score_part(part, columns, answer, folder, header=self.header, report=bar.update)
                except files.PartError as error:
                    yield part, error
                else:
                    yield part, None

    def _bar(self, parts: Sequence[files.Part], what: str) -> Any:
        counts = [files.count_rows(part) for part in parts]
        total = None if None in counts else sum(count or 0 for count in counts)
        return tqdm(total=total, desc=what, unit="row", unit_scale=True, disable=self.quiet)


def _engine(options: argparse.Namespace, header: bool | None) -> Any:
    if options.engine == "local":
        return Local(header=header, quiet=options.quiet)
    ray = optional("disco_samplers.integrations.ray", "ray")
    gpus = 1.0 if options.device.startswith("cuda") else 0.0
    return ray.RayParts(header=header, quiet=options.quiet, address=options.address, concurrency=options.workers, num_gpus=gpus)


def _columns(options: argparse.Namespace, parts: Sequence[files.Part], header: bool | None) -> files.Columns:
    """What is taken of the training table, by that of its first parts that has most: one that lacks a column is named later."""
    own = () if options.train else options.index
    reading = {"columns": options.columns, "exclude": options.exclude, "row_weights": options.row_weights, "header": header}
    found: files.Columns | None = None
    for number, part in enumerate(parts):
        if found is not None and number >= _LOOKED:
            break
        try:
            these = files.columns_of(part, index=own, **reading)
        except files.PartError:
            if found is None and (not options.skip_bad or number + 1 == len(parts)):
                raise
            continue
        if found is None or len(these.names) > len(found.names):
            found = these
    assert found is not None
    return dataclasses.replace(found, names=tuple(name for name in found.names if name not in options.index), index=())


def _fitted(
    folder: Path, parts: Sequence[files.Part], engine: Any, columns: files.Columns, options: argparse.Namespace
) -> tuple[TableSummary, set[str]]:
    """The summary of the training table, which goes on where it was stopped, and the parts that were left out now."""
    if (folder / _FIT).exists():
        return TableSummary.load(folder / _FIT), set()
    summary, done, bad, saved = TableSummary(seed=options.seed), 0, set[str](), time.monotonic()
    for path in sorted(folder.glob("_fit-*.npz"))[-1:]:
        summary, done = TableSummary.load(path), int(path.stem.removeprefix("_fit-"))
    for count, errors, found in engine.summaries(parts[done:], columns, options.seed):
        for part, error in errors:
            _tolerated(error, options)
            bad.add(str(part.path))
        summary.merge(found)
        done += count
        if time.monotonic() - saved > _SAVED and not bad:
            _save(summary, folder, f"_fit-{done:09d}.npz")
            saved = time.monotonic()
    _save(summary, folder, _FIT)
    return summary, bad


def _save(summary: TableSummary, folder: Path, name: str) -> None:
    """Saves a summary, in place of those of fewer parts."""
    summary.save(folder / name)
    for path in folder.glob("_fit-*.npz"):
        if path.name != name:
            path.unlink()


def _tolerated(error: files.PartError, options: argparse.Namespace) -> None:
    """Warns of a part that is left out, or says what would leave it out."""
    if not options.skip_bad:
        raise ValueError(f"{error}; --skip-bad leaves such parts out") from error
    warnings.warn(f"left out: {error}", DrawsWarning, stacklevel=2)


def _claim(folder: Path, table: Sequence[files.Part], train: Sequence[files.Part], settings: Mapping[str, Any]) -> None:
    """Says in the folder what its results are of, or sees that it says so already; leaves of files cut short go.

    Raises:
        ValueError: if it holds something else.
    """
    own = {"settings": settings, "table": _known(table), "train": _known(train)}
    said = json.loads(json.dumps(own, default=str))
    if (place := folder / _RUN).exists():
        try:
            there = json.loads(place.read_text())
        except ValueError as error:
            raise ValueError(f"{place} is broken: remove the folder, or give --out another one") from error
        if other := [name for name in said if there.get(name) != said[name]]:
            raise ValueError(
                f"{folder} holds results of another run (of other {' and '.join(other)}): remove it, or give --out "
                "another folder"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds other files: give --out an empty folder, or a new one")
    for left in folder.glob(".*.parquet"):
        left.unlink()
    with files.replacing(place) as temporary:
        temporary.write_text(json.dumps(said, indent=1) + "\n")


def _known(parts: Sequence[files.Part]) -> list[Any]:
    """By what parts are told from others."""
    return [[str(part.path), stat.st_size, stat.st_mtime_ns] for part in parts for stat in (part.path.stat(),)]
