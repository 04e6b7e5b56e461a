"""What the page's controls call: an error becomes one line on the page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from disco_samplers.app import analysis
from disco_samplers.draws import Draws
from disco_samplers.extras import optional


class Answers:
    """The page's answers, which keep what they write in a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.gradio = optional("gradio", "app")

    def opened(self, path: str | None) -> tuple[Any, ...]:
        """Reads a file: the draws, what they are worth, and the columns to choose from."""
        update = self.gradio.update
        if path is None:
            return None, "", *(update(choices=[], value=None) for _ in range(3))
        draws = self._tried(lambda: analysis.load(path))
        first, pair = draws.names[: min(6, draws.dim)], draws.names[: min(2, draws.dim)]
        values = (first, pair[0], pair[-1])
        return draws, str(draws), *(update(choices=draws.names, value=value) for value in values)

    def seen(self, draws: Draws | None, columns: list[str]) -> tuple[Any, Any]:
        """Corner plot and summary."""
        if draws is None or not columns:
            return None, None
        some = self._some(draws, columns)
        return analysis.corner(some), _table(analysis.summary(some))

    def plane(self, draws: Draws | None, across: str | None, up: str | None) -> Any:
        """Density and score of two columns, or of one if they are the same."""
        if draws is None or across is None or up is None:
            return None
        pair = list(dict.fromkeys([across, up]))
        return self._tried(lambda: analysis.density(analysis.chosen(draws, pair), pair))

    def sampled(self, draws: Draws | None, columns: list[str], count: float, seed: float) -> tuple[Any, Any, Any]:
        """New draws: their summary, picture and file."""
        some = self._some(draws, columns)
        result = self._tried(lambda: analysis.new_draws(some, int(count), int(seed)))
        path = self._file("new_draws.csv")
        self._tried(lambda: result.save(path))
        return _table(analysis.summary(result)), analysis.corner(some, result), self.gradio.update(value=path, interactive=True)

    def found(self, draws: Draws | None, columns: list[str]) -> tuple[Any, Any]:
        """The most unusual rows, and their file."""
        some = self._some(draws, columns)
        table = self._tried(lambda: analysis.unusual(some))
        path = self._file("unusual_rows.csv")
        self._tried(lambda: analysis.write_csv(path, table))
        return _table(table), self.gradio.update(value=path, interactive=True)

    def shown(self, path: str | None, columns: list[str], across: str, up: str, count: float, seed: float) -> str:
        """The code that does the same."""
        if path is None or not columns:
            return ""
        return analysis.code(Path(path).name, columns, list(dict.fromkeys([across, up])), int(count), int(seed))

    def _some(self, draws: Draws | None, columns: list[str]) -> Draws:
        if draws is None:
            raise self.gradio.Error("drop a table of draws first", print_exception=False)
        some: Draws = self._tried(lambda: analysis.chosen(draws, columns))
        return some

    def _file(self, name: str) -> str:
        return str(Path(tempfile.mkdtemp(dir=self.folder)) / name)

    def _tried(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except (ValueError, TypeError, RuntimeError, OSError, ImportError, MemoryError) as error:
            raise self.gradio.Error(" ".join(str(error).split()), print_exception=False) from error


def _table(table: analysis.Table) -> dict[str, Any]:
    header, rows = table
    return {"headers": header, "data": rows}
