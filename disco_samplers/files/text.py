"""Tables in text: cells between commas, semicolons, tabs or blanks, with comments and a header or without."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from disco_samplers.draws import DrawsWarning
from disco_samplers.files.cells import Cells

_COMMENT = "#"


@dataclasses.dataclass(frozen=True)
class Sheet:
    """What a text file holds: ``values`` (n, k), the ``lines`` (n,) that they stand in, ``names`` of the columns if there are
    any, ``labels``, which are columns that name the rows, ``texts``, which are columns that hold no numbers, with what is to be
    said where one of them is taken, and ``comments`` by line."""

    path: Path
    values: np.ndarray
    lines: np.ndarray
    names: list[str] | None
    labels: dict[str, np.ndarray]
    texts: dict[str, str]
    comments: dict[int, str]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns of numbers by name, where they have names.

        Raises:
            ValueError: if a name occurs twice.
        """
        names = self.names or []
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{self.path}: column name(s) {', '.join(repeated)} occur more than once")
        others = {*self.labels, *self.texts}
        return {name: column for name, column in zip(names, self.values.T, strict=True) if name not in others}


def read_sheet(file: IO[bytes], path: Path, index: Sequence[str], header: bool | None = None) -> Sheet:
    """Reads text; the first row is a header unless all of it is numbers, or as ``header`` says."""
    text = _decoded(file.read(), path)
    comments: dict[int, str] = {}
    delimiter = _delimiter(text)
    rows = list(_rows(text, delimiter, comments))
    if not rows:
        raise ValueError(f"{path} is empty")
    width = len(rows[0][1])
    for line, row in rows:
        if len(row) != width:
            raise ValueError(f"{path}, line {line}: {len(row)} cells where the first line has {width}: not a table of numbers")
    cells = Cells(path, decimal_comma=delimiter != ",")
    first = rows[0][1]
    numbered = header is None and cells.are_numbers(first) and _is_numbered(first, [row for _, row in rows[1:]])
    if numbered and all(map(str.strip, first)):
        warnings.warn(
            f"{path}: the first row, {', '.join(first)}, is read as a header, for no number below it is a whole one; say "
            "header (--header yes, or no)",
            DrawsWarning,
            stacklevel=2,
        )
    if header if header is not None else numbered or not cells.are_numbers(first):
        names: list[str] | None = [cell.strip() for cell in first]
        rows = rows[1:]
    else:
        names = _commented(comments, rows[0][0], delimiter, width, cells)
    lines = [line for line, _ in rows]
    columns = [[row[j] for _, row in rows] for j in range(width)]
    if names:
        kept = [j for j in range(width) if names[j] or any(map(str.strip, columns[j]))]
        if nameless := [j for j in kept if j and not names[j]]:
            raise ValueError(f"{path}, column {nameless[0] + 1} holds values but has no name, as only the first may, an index")
        names, columns = [names[j] for j in kept], [columns[j] for j in kept]
    numbers: list[np.ndarray] = []
    labels: dict[str, np.ndarray] = {}
    texts: dict[str, str] = {}
    for j, column in enumerate(columns):
        name = names[j] if names else j + 1
        numbers.append(np.full(len(rows), np.nan))
        if name in ("", *index):
            labels[str(name)] = _label([cell.strip() for cell in column])
            continue
        try:
            numbers[-1] = cells.column(column, lines, name)
        except ValueError as error:
            if not names:
                raise
            texts.setdefault(str(name), str(error))
    cells.check()
    values = np.stack(numbers, 1) if numbers else np.empty((len(rows), 0))
    return Sheet(path, values, np.array(lines, dtype=int), names, labels, texts, comments)


def write_csv(file: IO[bytes], columns: dict[str, np.ndarray]) -> None:
    """Writes columns (n,) under a header."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    text.flush()
    text.detach()


def _decoded(content: bytes, path: Path) -> str:
    if b"\0" in content:
        raise ValueError(f"{path} is not text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _delimiter(text: str) -> str:
    """What stands outside quotes as often in the first row as in the second; a blank stands for any number of them."""
    lines = (line for line in io.StringIO(text, newline="") if line.strip() and not line.lstrip().startswith(_COMMENT))
    first = next(lines, "")
    second = next(lines, first)
    counts = {mark: [re.sub(r'"[^"]*"', "", line).count(mark) for line in (first, second)] for mark in ";\t,"}
    found = [mark for mark, (above, below) in counts.items() if above and above == below] + [m for m in counts if counts[m][0]]
    return next(iter(found), " " if len(second.split()) > 1 else ",")


def _rows(text: str, delimiter: str, comments: dict[int, str]) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with its line; comments are put into ``comments``."""
    line = 0

    def kept() -> Iterator[str]:
        nonlocal line
        for number, content in enumerate(io.StringIO(text, newline=""), 1):
            if content.lstrip().startswith(_COMMENT):
                comments[number] = content.strip().lstrip(_COMMENT).strip()
            else:
                line = number
                yield content

    split = (content.split() for content in kept()) if delimiter == " " else csv.reader(kept(), delimiter=delimiter)
    for row in split:
        if len(row) > 1 or "".join(row).strip():
            yield line, row


def _commented(comments: dict[int, str], before: int, delimiter: str, width: int, cells: Cells) -> list[str] | None:
    """The names that the last comment before the first row gives, as numpy and samplers write them."""
    last = next((comments[line] for line in sorted(comments, reverse=True) if line < before), "")
    names = last.split() if delimiter == " " else [name.strip() for name in next(csv.reader([last], delimiter=delimiter), [])]
    return names if len(names) == width and not cells.are_numbers(names) else None


def _is_numbered(first: list[str], body: list[list[str]]) -> bool:
    """Whether a row of whole numbers, each once, is a header: where there is not one whole number below it."""
    whole = re.compile(r"\s*[+-]?\d+\s*")
    at = [j for j, cell in enumerate(first) if cell.strip()]
    numbers = [first[j].strip() for j in at]
    if len(first) < 2 or len(body) < 2 or not all(map(str.isdigit, numbers)) or len(set(numbers)) < len(numbers):
        return False
    return not any(whole.fullmatch(row[j]) for row in body for j in at)


def _label(cells: list[str]) -> np.ndarray:
    """A column of labels: whole numbers where all of them are, else text."""
    try:
        return np.asarray([int(cell) for cell in cells])
    except ValueError:
        return np.asarray(cells)
