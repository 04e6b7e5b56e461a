"""Answers to the rows of a table in parts, in Parquet files of a folder: each there whole or not at all, and not made twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from disco_samplers.extras import optional
from disco_samplers.files.parts import Columns, Part, PartError, read_blocks
from disco_samplers.files.whole import replacing

CHUNK = 4096
"""Rows asked at a time, wherever they are asked: in float32 answers depend on it by rounding."""

_KEY = b"disco_samplers"


@dataclasses.dataclass(frozen=True)
class Totals:
    """Of rows that were answered: their number, how many lack cells, their weights' sum, and sums of the answers' columns.

    Example:
        >>> Totals(2, 0, 2.0, {"log_prob": -3.0}) + Totals(1, 1, 1.0, {"log_prob": -1.5})
        Totals(rows=3, lacking=1, weight=3.0, sums={'log_prob': -4.5})
    """

    rows: int = 0
    lacking: int = 0
    weight: float = 0.0
    sums: dict[str, float] = dataclasses.field(default_factory=dict)

    def __add__(self, other: Totals) -> Totals:
        names = dict.fromkeys([*self.sums, *other.sums])
        sums = {name: self.sums.get(name, 0.0) + other.sums.get(name, 0.0) for name in names}
        return Totals(self.rows + other.rows, self.lacking + other.lacking, self.weight + other.weight, sums)


def score_part(
    part: Part,
    columns: Columns,
    answer: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    folder: Path,
    *,
    header: bool | None = None,
    report: Callable[[int], Any] = lambda rows: None,
) -> None:
    """Writes of a part what is carried along, its variables and the answers' columns, a file for each block of rows.

    Blocks whose file is there already are left as they are. Of a part that turns out to be broken none stays.

    Arguments:
        part: what is read.
        columns: what is taken of it.
        answer: columns (n,) for rows (n, d); it is asked 4096 rows at a time.
        folder: where the files go.
        header: whether text has one, as of :func:`read_blocks`.
        report: called with the number of rows whenever some were answered.

    Raises:
        PartError: if the part cannot be read.
        ValueError: if the part has a column of such a name already.
        OSError: if a file cannot be written; those before it stay.
    """
    pyarrow, parquet = optional("pyarrow", "files"), optional("pyarrow.parquet", "files")
    try:
        for block in read_blocks(part, columns, header=header, done=lambda number: _place(folder, part, number).exists()):
            found = _in_chunks(answer, block.values, report)
            carried = {name: block.carried[name] for name in block.carried.column_names}
            if taken := sorted({*carried, *columns.names} & {*found}):
                raise ValueError(f"the table has a column called {', '.join(taken)} already: rename it")
            weight = np.ones(len(block.values)) if block.weights is None else block.weights
            lacking = int(np.isnan(block.values).any(1).sum())
            sums = {name: float(weight @ column) for name, column in found.items()}
            totals = Totals(len(block.values), lacking, float(weight.sum()), sums)
            table = pyarrow.table(carried | dict(zip(columns.names, block.values.T, strict=True)) | found)
            table = table.replace_schema_metadata({_KEY: json.dumps(dataclasses.asdict(totals))})
            with replacing(_place(folder, part, block.number)) as temporary:
                parquet.write_table(table, temporary)
    except PartError:
        for path in scored_blocks(folder, part):
            path.unlink()
        raise


def scored_blocks(folder: Path, part: Part | None = None) -> list[Path]:
    """The files that were written, of a part or of all."""
    return sorted(folder.glob("part-*.parquet" if part is None else f"part-{part.number:06d}-*.parquet"))


def totals_of(path: Path) -> Totals:
    """What a file that was written says of its rows, without their being read."""
    metadata = optional("pyarrow.parquet", "files").read_schema(path).metadata
    return Totals(**json.loads(metadata[_KEY]))


def _in_chunks(
    answer: Callable[[np.ndarray], Mapping[str, np.ndarray]], rows: np.ndarray, report: Callable[[int], Any]
) -> dict[str, np.ndarray]:
    found = []
    for chunk in np.split(rows, range(CHUNK, len(rows), CHUNK)):
        found.append(answer(chunk))
        report(len(chunk))
    return {name: np.concatenate([chunk[name] for chunk in found]) for name in found[0]}


def _place(folder: Path, part: Part, block: int) -> Path:
    return folder / f"part-{part.number:06d}-{block:06d}.parquet"
