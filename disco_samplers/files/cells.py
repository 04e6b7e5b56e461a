"""Numbers as people and programs write them in the cells of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

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
        self._points: tuple[str, str] | None = None

    def are_numbers(self, row: Sequence[str]) -> bool:
        """Whether all cells of a row are numbers."""
        return all(self._number(cell) is not None for cell in row)

    def number(self, cell: str, line: int, column: str | int) -> float:
        """The number in a cell.

        Raises:
            ValueError: with line and column, if there is none.
        """
        found = self._number(cell)
        if found is None:
            hint = ": write numbers without separators between their digits" if re.search(r"\d[_,]\d", cell) else ""
            raise ValueError(f"{self._place(line, column)}: {cell!r} is not a number{hint}")
        if self._decimal_comma:
            if "," in cell:
                self._commas.append((cell.strip(), self._place(line, column)))
            elif "." in cell and self._points is None:
                self._points = cell.strip(), self._place(line, column)
        return found

    def check(self) -> None:
        """Raises ValueError where it is not certain that the commas are decimal ones."""
        if not self._commas:
            return
        cell, place = self._commas[0]
        if self._points is not None:
            other, there = self._points
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
