"""An animated picture of phase space, made frame by frame while a simulation runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disco_samplers.arrays import check_count
from disco_samplers.extras import optional
from disco_samplers.files import replacing
from disco_samplers.pictures import figure_of, styled

from .simulation import Simulation
from .simulation_pictures import draw_phase_space, phase_space, velocity_range


class Animation:
    """An observer of a run that keeps frames of phase space and writes them as an animated picture.

    Arguments:
        path: of the picture, .gif.
        every: steps between two frames.
        species: whose particles; the first by default.

    Raises:
        TypeError: if ``every`` is not an integer.
        ValueError: if it is not positive or the extension is not .gif.
        ImportError: if matplotlib is not installed.

    Example:
        >>> from disco_samplers.integrations.plasma import Beam, Grid, Simulation, load
        >>> grid, frames = Grid(6.0, 8), Animation("phase_space.gif", every=2)
        >>> result = Simulation(grid, [load(grid, [Beam()], 100)], dt=0.1).run(4, observers=[frames], progress=False)
        >>> [round(time, 1) for time, _ in frames.frames]  # frames.save() writes them
        [0.0, 0.2, 0.4]
    """

    def __init__(self, path: str | Path, every: int, species: str | None = None) -> None:
        check_count("every", every, 1)
        if Path(path).suffix != ".gif":
            raise ValueError(f"{path}: the extension of an animation must be .gif")
        self.writer = optional("matplotlib.animation", "plot").PillowWriter
        self.path, self.every, self.species = path, every, species
        self.frames: list[tuple[float, np.ndarray]] = []
        self.extent: tuple[float, float, float, float] | None = None

    def __call__(self, simulation: Simulation) -> None:
        """Keeps a frame if one is due."""
        if simulation.state.step % self.every:
            return
        s = next(s for s in simulation.state.species if self.species in (None, s.name))
        if self.extent is None:
            self.extent = (0.0, simulation.grid.length, *velocity_range(s))
        self.frames.append((simulation.time, phase_space(s, self.extent)))

    @styled
    def save(self) -> None:
        """Writes the frames, whole or not at all.

        Raises:
            ValueError: if there are none.
            OSError: if the file cannot be written.
        """
        if not self.frames or self.extent is None:
            raise ValueError("there are no frames to animate: run the simulation with this observer first")
        figure = figure_of(6.4, 4.0, None)
        axis = figure.subplots()
        top = max(float(frame.max()) for _, frame in self.frames)
        image = draw_phase_space(axis, self.frames[0][1], self.extent, top)
        with replacing(self.path) as temporary:
            writer = self.writer(fps=12)
            with writer.saving(figure, str(temporary), dpi=90):
                for time, frame in self.frames:
                    image.set_data(frame)
                    axis.set_title(f"phase space, t = {time:.1f}/$\\omega_p$")
                    writer.grab_frame()
