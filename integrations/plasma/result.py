"""What a run leaves behind: its history and its last particles."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from disco_samplers.files import write

from .grid import Grid
from .simulation_pictures import plot_result
from .types import Species

Panel = Literal[
    "energy", "error", "phase space", "velocity", "temperature", "drift", "entropy", "drop", "walls", "density", "potential"
]
WITH_FIELD: tuple[Panel, ...] = ("energy", "error", "phase space", "velocity")
WALLS: tuple[Panel, ...] = ("drop", "walls", "density", "potential")
WITHOUT: tuple[Panel, ...] = ("temperature", "drift", "error", "velocity")


class History:
    """Rows of measurements; a column is an array, with NaN where a row has no such entry.

    Example:
        >>> history = History([{"step": 0.0, "total_energy": 2.0}, {"step": 1.0, "total_energy": 2.02}])
        >>> history["step"].tolist(), round(history.energy_error, 4)
        ([0.0, 1.0], 0.01)
    """

    def __init__(self, rows: Sequence[dict[str, float]] = ()) -> None:
        self.rows = list(rows)

    def append(self, row: dict[str, float]) -> None:
        """Adds a row."""
        self.rows.append(row)

    @property
    def columns(self) -> list[str]:
        """Names in the order in which they came."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def energy_error(self) -> float:
        """Change of the total energy since the first row, relative."""
        first, last = self.rows[0]["total_energy"], self.rows[-1]["total_energy"]
        return (last - first) / first

    def summary(self) -> str:
        """Field energy and energy error of the last row, for a progress bar."""
        return f"field energy {self.rows[-1]['field_energy']:.3e}, energy error {self.energy_error:+.1e}"

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the table, whole or not at all; an entry that was not measured is empty.

        Raises:
            OSError: if the file cannot be written.
        """

        def fill(temporary: Any) -> None:
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns)
                writer.writeheader()
                writer.writerows(self.rows)

        write(path, fill)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise KeyError(f"{name!r} was not measured; there are {', '.join(self.columns)}")
        return np.array([row.get(name, np.nan) for row in self.rows])

    def __len__(self) -> int:
        return len(self.rows)


@dataclasses.dataclass(frozen=True)
class PlasmaResult:
    """The outcome of a run.

    Arguments:
        history: what was measured.
        species: the particles at the end.
        grid: of the fields.
        electric: longitudinal field at the end, at the nodes (nodes,).
        time: of the end.
        complete: False if the run was interrupted.
    """

    history: History
    species: tuple[Species, ...]
    grid: Grid
    electric: Tensor
    time: float
    complete: bool

    @property
    def energy_error(self) -> float:
        """Change of the total energy over the run, relative."""
        return self.history.energy_error

    def plot(
        self,
        path: str | None = None,
        *,
        panels: Sequence[Panel] | None = None,
        rate: float | None = None,
        species: str | None = None,
        exact: Mapping[str, Callable[[float], float]] | None = None,
    ) -> Any:
        """Draws energy history, conservation, phase space and velocities; temperature, drift and entropy of each species.

        Between walls also the drop of the potential and what the walls took, against time, and density and potential along
        the line at the end.

        Arguments:
            path: where to save the picture, if anywhere.
            panels: which of them; by default the first four, without a field temperatures and drifts in the place of energy
                and phase space, and between walls the four that are of walls.
            rate: growth or damping rate of the field's amplitude in theory, drawn beside the field energy.
            species: whose particles; the first by default.
            exact: functions of time for columns "temperature_NAME", "drift_NAME" and "potential_drop" of the history, drawn
                dashed.

        Raises:
            ValueError: if a panel, column or species is unknown, or the extension is not that of a picture.
            ImportError: if matplotlib is not installed.
        """
        if panels is None:
            panels = WITH_FIELD if self.history["field_energy"].any() else WITHOUT
            panels = panels if self.grid.periodic else WALLS
        return plot_result(
            {name: self.history[name] for name in self.history.columns},
            self.species,
            length=self.grid.length,
            electric=self.electric.double().cpu().numpy(),
            time=self.time,
            panels=panels,
            rate=rate,
            species=species,
            exact=exact or {},
            path=path,
        )

    def __repr__(self) -> str:
        count = sum(len(s.x) for s in self.species)
        return (
            f"PlasmaResult(time={self.time:g}, particles={count}, energy error {self.energy_error:+.1e}"
            + ("" if self.complete else ", interrupted")
            + ")"
        )
