"""Numbers as people and programs write them in the cells of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"}
_TRUTH = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


class Cells:
    """The numbers of a table's cells; of a missing value NaN, of true and false 1 and 0.

    Arguments:
        path: of the file, for errors.
        decimal_comma: whether a comma may stand for the decimal point, as it can where cells are separated otherwise.
    """

    def __init__(self, path: Path, *, decimal_comma: bool) -> None:
        self._path, self._decimal_comma = path, decimal_comma
        self._commas: list[tuple[str, str]] = []
        self._points: list[tuple[str, str]] = []

    def are_numbers(self, row: Sequence[str]) -> bool:
        """Whether all cells of a row are numbers."""
        return all(self._number(cell) is not None for cell in row)

    def column(self, cells: Sequence[str], lines: Sequence[int], name: str | int) -> np.ndarray:
        """The numbers in a column's cells.

        Raises:
            ValueError: with line and column, if one holds none.
        """
        numbers = np.empty(len(cells))
        commas: list[tuple[str, str]] = []
        points: list[tuple[str, str]] = []
        for i, (cell, line) in enumerate(zip(cells, lines, strict=True)):
            found = self._number(cell)
            if found is None:
                hint = ": write numbers without separators between their digits" if re.search(r"\d[_,]\d", cell) else ""
                raise ValueError(f"{self._place(line, name)}: {cell!r} is not a number{hint}")
            if math.isinf(found) and "inf" not in cell.lower():
                raise ValueError(f"{self._place(line, name)}: {cell!r} is too large, beyond 1.8e308")
            if self._decimal_comma and "," in cell:
                commas.append((cell.strip(), self._place(line, name)))
            elif self._decimal_comma and "." in cell and not points:
                points.append((cell.strip(), self._place(line, name)))
            numbers[i] = found
        self._commas += commas
        self._points += points
        return numbers

    def check(self) -> None:
        """Raises ValueError where it is not certain that the commas are decimal ones."""
        if not self._commas:
            return
        cell, place = self._commas[0]
        if self._points:
            other, there = self._points[0]
            raise ValueError(f"{place}: {cell!r} has a comma where {other!r} ({there}) has a point: use one of them")
        if all(_THOUSANDS.fullmatch(cell) for cell, _ in self._commas):
            raise ValueError(f"{place}: {cell!r} may be {cell.replace(',', '')} or {cell.replace(',', '.')}: write it so")

    def _number(self, cell: str) -> float | None:
        try:
            if "_" not in cell:  # which Python allows between digits
                return float(cell)
        except ValueError:
            pass
        word = cell.strip().lower()
        if word in _MISSING:
            return math.nan
        if self._decimal_comma and _DECIMAL_COMMA.fullmatch(word):
            return float(word.replace(",", "."))
        return _TRUTH.get(word)

    def _place(self, line: int, column: str | int) -> str:
        return f"{self._path}, line {line}, column {column}"
