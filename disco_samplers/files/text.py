"""Tables of comma-separated values, with or without a header."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from disco_samplers.arrays import default_names
from disco_samplers.files.table import Table, table_of


def read_csv(path: Path, index: Sequence[str]) -> Table:
    """Reads .csv; its first row is a header unless all of it is numbers, and lines may end in any way."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        text = file.read()
    if not text.strip():
        raise ValueError(f"{path} is empty")
    delimiter = max(",;\t", key=text.lstrip("\r\n").partition("\n")[0].count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    rows = [(reader.line_num, row) for row in reader if len(row) > 1 or "".join(row).strip()]
    first = rows[0][1]
    header = None if all(_number(cell) is not None for cell in first) else [cell.strip() for cell in first]
    body = rows if header is None else rows[1:]
    width = len(first)
    values = np.zeros((len(body), width))
    labels = [j for j in range(width) if header and header[j] in ("", *index)]
    for i, (line, row) in enumerate(body):
        if len(row) != width:
            raise ValueError(f"{path}, line {line}: {len(row)} cells where the first line has {width}")
        for j, cell in enumerate(row):
            number = 0.0 if j in labels else _number(cell)
            if number is None:
                raise ValueError(f"{path}, line {line}, column {header[j] if header else j + 1}: {cell!r} is not a number")
            values[i, j] = number
    names = header or default_names(width)
    return table_of(values, names, {names[j]: _label([row[j].strip() for _, row in body]) for j in labels})


def _label(cells: list[str]) -> np.ndarray:
    """A column of labels: whole numbers where all of them are, else text."""
    try:
        return np.asarray([int(cell) for cell in cells])
    except ValueError:
        return np.asarray(cells)


def _number(cell: str) -> float | None:
    """A cell's number; an empty cell is a missing value, NaN."""
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError:
        return None


def write_csv(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,) under a header."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
