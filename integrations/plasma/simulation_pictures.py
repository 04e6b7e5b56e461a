"""Pictures of a simulation: energy, conservation, phase space, velocity distribution, and an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disco_samplers._arrays import check_count
from disco_samplers._extras import optional
from disco_samplers.checkpoint import replacing
from disco_samplers.plotting import _BLUE, _DARK, _GREY, _ORANGE, _figure, _saved

from .diagnostics import temperatures

if TYPE_CHECKING:
    from .result import PlasmaResult
    from .simulation import Simulation
    from .types import Species

_SMOOTH = np.array([1, 4, 6, 4, 1]) / 16
"""Weights over neighbouring boxes, without which a lattice of particles and the boxes make stripes."""


def plot_result(
    result: PlasmaResult, path: str | None, *, panels: Sequence[str], rate: float | None, species: str | None
) -> Any:
    """Draws panels of a result; see :meth:`.result.PlasmaResult.plot`."""
    if not panels or not set(panels) <= set(_PANELS):
        raise ValueError(f"panels must be some of {', '.join(_PANELS)}, got {list(panels)}")
    names = [s.name for s in result.species]
    if species is not None and species not in names:
        raise ValueError(f"species must be one of {', '.join(names)}, got {species!r}")
    shown = result.species[0 if species is None else names.index(species)]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(5.2 * columns, 3.6 * rows, path)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, panel in zip(axes, panels, strict=False):
        _PANELS[panel](axis, result, shown, rate)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return _saved(figure, path)


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
            self.extent = (0.0, simulation.grid.length, *_velocity_range(s))
        self.frames.append((simulation.time, _phase_space(s, self.extent)))

    def save(self) -> None:
        """Writes the frames, whole or not at all.

        Raises:
            ValueError: if there are none.
            OSError: if the file cannot be written.
        """
        if not self.frames or self.extent is None:
            raise ValueError("there are no frames to animate: run the simulation with this observer first")
        figure = _figure(6.4, 4.0, None)
        axis = figure.subplots()
        top = max(float(frame.max()) for _, frame in self.frames)
        image = _draw_phase_space(axis, self.frames[0][1], self.extent, top)
        with replacing(self.path) as temporary:
            writer = self.writer(fps=12)
            with writer.saving(figure, str(temporary), dpi=90):
                for time, frame in self.frames:
                    image.set_data(frame)
                    axis.set_title(f"t = {time:.1f}")
                    writer.grab_frame()


def _plot_energy(axis: Any, result: PlasmaResult, _species: Species, rate: float | None) -> None:
    time, energy = result.history["time"], result.history["field_energy"]
    axis.semilogy(time, np.maximum(energy, 1e-300), color=_BLUE, lw=1.2, label="field energy")
    positive = energy[energy > 0]
    if rate is not None and positive.size:
        at = _anchor(energy, rate)
        line = energy[at] * np.exp(2 * rate * (time - time[at]))
        shown = (line > positive.min()) & (line <= energy.max())
        axis.semilogy(time[shown], line[shown], color=_ORANGE, ls="--", label=f"collisionless theory, rate {rate:+.4f}")
    if positive.size:
        axis.set_ylim(positive.min() / 3, positive.max() * 10)
    axis.legend(frameon=False, fontsize="small", loc="upper right")
    axis.set(xlabel="time", ylabel="field energy")


def _anchor(energy: np.ndarray, rate: float) -> int:
    """Where the line of theory touches: growth well under way but not yet limited, or the first peak of a damped wave."""
    if rate > 0:
        return int(np.argmax(energy >= 0.05 * energy.max()))
    peaks = 1 + np.flatnonzero((energy[1:-1] >= energy[:-2]) & (energy[1:-1] > energy[2:]))
    return int(peaks[0]) if peaks.size else int(np.argmax(energy))


def _plot_error(axis: Any, result: PlasmaResult, _species: Species, _rate: float | None) -> None:
    history = result.history
    total, time = history["total_energy"], history["time"]
    axis.semilogy(time[1:], np.abs(total / total[0] - 1)[1:] + 1e-17, color=_BLUE, lw=1.0, label="total energy, relative")
    momentum = history["momentum_x"]
    scale = sum(float((s.w * s.mass).sum() * (temperatures(s).max() / s.mass).sqrt()) for s in result.species)
    drift = np.abs(momentum - momentum[0]) / scale
    axis.semilogy(time[1:], drift[1:] + 1e-17, color=_ORANGE, lw=1.0, label="momentum, over thermal")
    axis.legend(frameon=False, fontsize="small")
    axis.set(xlabel="time", ylabel="change since the start")


def _plot_phase_space(axis: Any, result: PlasmaResult, species: Species, _rate: float | None) -> None:
    extent = (0.0, result.grid.length, *_velocity_range(species))
    _draw_phase_space(axis, _phase_space(species, extent), extent, None)
    axis.set_title(f"{species.name}, t = {result.time:.4g}", fontsize="medium")


def _plot_velocity(axis: Any, result: PlasmaResult, species: Species, _rate: float | None) -> None:
    bins = np.linspace(*_velocity_range(species), 81)
    w = species.w.double().cpu().numpy()
    for i, colour in zip(range(species.v.shape[1]), (_BLUE, _ORANGE, _GREY), strict=False):
        v = species.v[:, i].double().cpu().numpy()
        density = np.convolve(np.histogram(v, bins, weights=w, density=True)[0], _SMOOTH, "same")
        axis.stairs(density, bins, color=colour, lw=1.3, label=f"v{'xyz'[i]}")
    v = species.v[:, 0].double().cpu().numpy()
    mean = np.average(v, weights=w)
    variance = np.average((v - mean) ** 2, weights=w)
    normal = np.exp(-0.5 * (bins - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    axis.plot(bins, normal, color=_DARK, ls=":", lw=1.0, label="Maxwellian of vx")
    axis.legend(frameon=False, fontsize="small")
    axis.set(xlabel="velocity", ylabel="density")


_PANELS = {
    "energy": _plot_energy,
    "error": _plot_error,
    "phase space": _plot_phase_space,
    "velocity": _plot_velocity,
}


def _velocity_range(species: Species) -> tuple[float, float]:
    """Of the component along the line, with room for what a wave does to it."""
    v = species.v[:, 0].double().cpu().numpy()
    w = species.w.double().cpu().numpy()
    mean = np.average(v, weights=w)
    reach = max(4 * np.sqrt(np.average((v - mean) ** 2, weights=w)), 1e-12)
    return float(mean - reach), float(mean + reach)


def _phase_space(species: Species, extent: tuple[float, float, float, float]) -> np.ndarray:
    """Density on 96 by 96 boxes, velocity down the rows."""
    x, v = species.x.double().cpu().numpy(), species.v[:, 0].double().cpu().numpy()
    w = species.w.double().cpu().numpy()
    boxes = np.histogram2d(v, x, 96, [extent[2:], extent[:2]], weights=w)[0]
    boxes = sum(c * np.roll(boxes, i - 2, 1) for i, c in enumerate(_SMOOTH))
    boxes = np.apply_along_axis(np.convolve, 0, boxes, _SMOOTH, "same")
    return np.asarray(boxes * 96**2 / ((extent[1] - extent[0]) * (extent[3] - extent[2])))


def _draw_phase_space(axis: Any, density: np.ndarray, extent: tuple[float, float, float, float], top: float | None) -> Any:
    axis.set(xlabel="x", ylabel="vx")
    return axis.imshow(density, extent=extent, origin="lower", aspect="auto", cmap="Blues", vmin=0, vmax=top)
