"""Pictures of a simulation: energy, conservation, phase space, velocities, what species and walls do, and an animation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from disco_samplers.pictures import BLUE, CYCLE, DARK, GREY, ORANGE, figure_of, saved, styled

from .diagnostics import temperatures
from .relaxation_pictures import legend_once
from .types import Species

TIME, PLACE, VELOCITY = "time (1/$\\omega_p$)", "x (Debye lengths)", "velocity (Debye length times $\\omega_p$)"
POTENTIAL = "potential ($T_e/e$ at temperature one)"
"""Axes, in the units in which density, mass, charge and temperature are one."""

_SMOOTH = np.array([1, 4, 6, 4, 1]) / 16
"""Weights over neighbouring boxes, without which a lattice of particles and the boxes make stripes."""


@dataclasses.dataclass(frozen=True)
class _Shown:
    """What the panels are drawn from."""

    history: Mapping[str, np.ndarray]
    all: Sequence[Species]
    species: Species
    length: float
    electric: np.ndarray
    time: float
    rate: float | None
    exact: Mapping[str, Callable[[float], float]]


@styled
def plot_result(
    history: Mapping[str, np.ndarray],
    all_species: Sequence[Species],
    *,
    length: float,
    electric: np.ndarray,
    time: float,
    panels: Sequence[str],
    rate: float | None,
    species: str | None,
    exact: Mapping[str, Callable[[float], float]],
    path: str | None,
) -> Any:
    """Draws panels of a run's history and last particles; see :meth:`.result.PlasmaResult.plot`."""
    if unknown := set(exact) - set(history):
        raise ValueError(f"exact names no column: {', '.join(sorted(unknown))}; there are {', '.join(history)}")
    if not panels or not set(panels) <= set(_PANELS):
        raise ValueError(f"panels must be some of {', '.join(_PANELS)}, got {list(panels)}")
    if "potential_drop" not in history and (walled := {"drop", "walls"} & set(panels)):
        raise ValueError(f"the panel {min(walled)!r} needs a run between walls")
    names = [s.name for s in all_species]
    if species is not None and species not in names:
        raise ValueError(f"species must be one of {', '.join(names)}, got {species!r}")
    chosen = all_species[0 if species is None else names.index(species)]
    shown = _Shown(history, all_species, chosen, length, electric, time, rate, exact)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = figure_of(5.2 * columns, 3.6 * rows, path)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, panel in zip(axes, panels, strict=False):
        _PANELS[panel](axis, shown)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return saved(figure, path)


def _plot_energy(axis: Any, shown: _Shown) -> None:
    time, energy, rate = shown.history["time"], shown.history["field_energy"], shown.rate
    axis.semilogy(time, np.maximum(energy, 1e-300), color=BLUE, lw=1.2, label="field energy")
    positive = energy[1:][energy[1:] > 0]  # at the start species may cancel to round-off
    if rate is not None and positive.size:
        at = _anchor(energy, rate)
        line = energy[at] * np.exp(2 * rate * (time - time[at]))
        seen = (line > positive.min()) & (line <= energy.max())
        axis.semilogy(time[seen], line[seen], color=ORANGE, ls="--", label="collisionless theory")
        axis.set_title(f"field energy, ~ exp(2$\\gamma$t); rate of the amplitude $\\gamma$ = {rate:+.4f} $\\omega_p$")
    else:
        axis.set_title("field energy")
    if positive.size:
        axis.set_ylim(positive.min() / 3, positive.max() * 10)
    axis.legend(loc="upper right")
    axis.set(xlabel=TIME, ylabel="field energy (per area)")


def _anchor(energy: np.ndarray, rate: float) -> int:
    """Where the line of theory touches: growth well under way but not yet limited, or the first peak of a damped wave."""
    if rate > 0:
        return int(np.argmax(energy >= 0.05 * energy.max()))
    peaks = 1 + np.flatnonzero((energy[1:-1] >= energy[:-2]) & (energy[1:-1] > energy[2:]))
    return int(peaks[0]) if peaks.size else int(np.argmax(energy))


def _plot_error(axis: Any, shown: _Shown) -> None:
    history = shown.history
    total, time = history["total_energy"], history["time"]
    axis.semilogy(time[1:], np.abs(total / total[0] - 1)[1:] + 1e-17, color=BLUE, lw=1.0, label="total energy")
    momentum = history["momentum_x"]
    scale = sum(float((s.w * s.mass).sum() * (temperatures(s).max() / s.mass).sqrt()) for s in shown.all)
    drift = np.abs(momentum - momentum[0]) / scale
    axis.semilogy(time[1:], drift[1:] + 1e-17, color=ORANGE, lw=1.0, label="momentum, over the thermal one")
    axis.legend()
    axis.set(title="conservation (larger is worse)", xlabel=TIME, ylabel="relative change since the start")


def _plot_phase_space(axis: Any, shown: _Shown) -> None:
    extent = (0.0, shown.length, *velocity_range(shown.species))
    draw_phase_space(axis, phase_space(shown.species, extent), extent, None)
    axis.set_title(f"phase space of {shown.species.name}, t = {shown.time:.4g}/$\\omega_p$")


def _plot_velocity(axis: Any, shown: _Shown) -> None:
    species = shown.species
    low, high = np.array([velocity_range(species, i) for i in range(species.v.shape[1])]).T
    bins = np.linspace(low.min(), high.max(), 81)
    w = species.w.double().cpu().numpy()
    for i, colour in zip(range(species.v.shape[1]), (BLUE, ORANGE, GREY), strict=False):
        v = species.v[:, i].double().cpu().numpy()
        density = np.convolve(np.histogram(v, bins, weights=w, density=True)[0], _SMOOTH, "same")
        axis.stairs(density, bins, color=colour, lw=1.3, label=f"v{'xyz'[i]}")
    v = species.v[:, 0].double().cpu().numpy()
    mean = np.average(v, weights=w)
    variance = np.average((v - mean) ** 2, weights=w)
    normal = np.exp(-0.5 * (bins - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    axis.plot(bins, normal, color=DARK, ls=":", lw=1.0, label="Maxwellian of vx")
    axis.legend()
    axis.set(title=f"velocities of {species.name}, t = {shown.time:.4g}/$\\omega_p$", xlabel=VELOCITY, ylabel="density")


def _plot_column(axis: Any, shown: _Shown, name: str, title: str, unit: str) -> None:
    """A column of each species against time, dashed what is exact."""
    time = shown.history["time"]
    for s, colour in zip(shown.all, CYCLE, strict=False):
        column = f"{name}_{s.name}"
        axis.plot(time, shown.history[column], color=colour, lw=1.6, label=s.name)
        if column in shown.exact:
            line = [shown.exact[column](t) for t in time]
            axis.plot(time, line, color=DARK, ls=(0, (4, 3)), lw=1.1, label="exact", zorder=3)
    legend_once(axis)
    axis.set(title=title, xlabel=TIME, ylabel=unit)
    axis.margins(x=0)


def _plot_temperature(axis: Any, shown: _Shown) -> None:
    _plot_column(axis, shown, "temperature", "temperatures", "mass times variance of the velocity")


def _plot_drift(axis: Any, shown: _Shown) -> None:
    _plot_column(axis, shown, "drift", "mean velocities along x", VELOCITY)


def _plot_entropy(axis: Any, shown: _Shown) -> None:
    """Where it was measured: the change since the start, of each species and of all together."""
    history = shown.history
    named = [(f"entropy_{s.name}", s.name, colour, 1.2) for s, colour in zip(shown.all, CYCLE, strict=False)]
    if not set(history) & {column for column, *_ in named}:
        raise ValueError('the panel "entropy" needs a run with entropy_every=')
    for column, name, colour, width in [*named, ("entropy", "all species", DARK, 2.0)]:
        if column in history:
            seen = ~np.isnan(history[column])
            value = history[column][seen]
            axis.plot(history["time"][seen], value - value[0], color=colour, lw=width, marker=".", label=name)
    axis.legend()
    axis.set(title="change of entropy", xlabel=TIME, ylabel="nats per particle")


def _plot_drop(axis: Any, shown: _Shown) -> None:
    time, drop = shown.history["time"], shown.history["potential_drop"]
    axis.plot(time, drop, color=BLUE, lw=0.8)
    if line := shown.exact.get("potential_drop"):
        axis.plot(time, [line(t) for t in time], color=DARK, ls=(0, (4, 3)), lw=1.1, label="theory", zorder=3)
        axis.legend()
    axis.set(title="potential, left wall less right", xlabel=TIME, ylabel=POTENTIAL)


def _plot_walls(axis: Any, shown: _Shown) -> None:
    for s, colour in zip(shown.all, CYCLE, strict=False):
        for side, style in (("left", ":"), ("right", "-")):
            taken = shown.history[f"absorbed_{side}_{s.name}"]
            if taken.any():
                axis.plot(shown.history["time"], taken, color=colour, ls=style, lw=1.4, label=f"{s.name}, {side}")
    axis.legend()
    axis.set(title="absorbed by the walls", xlabel=TIME, ylabel="number (per area)")


def _plot_density(axis: Any, shown: _Shown) -> None:
    edges = np.linspace(0, shown.length, 65)
    for s, colour in zip(shown.all, CYCLE, strict=False):
        inside = np.histogram(s.x.double().cpu().numpy(), edges, weights=s.w.double().cpu().numpy())[0]
        axis.stairs(inside / (edges[1] - edges[0]), edges, color=colour, lw=1.3, label=s.name)
    axis.legend()
    axis.set(title=f"density, t = {shown.time:.4g}/$\\omega_p$", xlabel=PLACE, ylabel="number (per Debye length and area)")


def _plot_potential(axis: Any, shown: _Shown) -> None:
    field = shown.electric
    nodes = np.linspace(0, shown.length, len(field))
    axis.plot(nodes, -nodes[1] * np.append(0, np.cumsum(0.5 * (field[1:] + field[:-1]))), color=BLUE, lw=1.4)
    axis.set(title=f"potential, t = {shown.time:.4g}/$\\omega_p$", xlabel=PLACE, ylabel=POTENTIAL)


_PANELS = {
    "energy": _plot_energy,
    "error": _plot_error,
    "phase space": _plot_phase_space,
    "velocity": _plot_velocity,
    "temperature": _plot_temperature,
    "drift": _plot_drift,
    "entropy": _plot_entropy,
    "drop": _plot_drop,
    "walls": _plot_walls,
    "density": _plot_density,
    "potential": _plot_potential,
}


def velocity_range(species: Species, component: int = 0) -> tuple[float, float]:
    """Of a component, the one along the line by default, with room for what a wave does to it."""
    v = species.v[:, component].double().cpu().numpy()
    w = species.w.double().cpu().numpy()
    mean = np.average(v, weights=w)
    reach = max(4 * np.sqrt(np.average((v - mean) ** 2, weights=w)), 1e-12)
    return float(mean - reach), float(mean + reach)


def phase_space(species: Species, extent: tuple[float, float, float, float]) -> np.ndarray:
    """Density on 96 by 96 boxes, velocity down the rows."""
    x, v = species.x.double().cpu().numpy(), species.v[:, 0].double().cpu().numpy()
    w = species.w.double().cpu().numpy()
    boxes = np.histogram2d(v, x, 96, [extent[2:], extent[:2]], weights=w)[0]
    boxes = sum(c * np.roll(boxes, i - 2, 1) for i, c in enumerate(_SMOOTH))
    boxes = np.apply_along_axis(np.convolve, 0, boxes, _SMOOTH, "same")
    return np.asarray(boxes * 96**2 / ((extent[1] - extent[0]) * (extent[3] - extent[2])))


def draw_phase_space(axis: Any, density: np.ndarray, extent: tuple[float, float, float, float], top: float | None) -> Any:
    """Draws a density of phase space on axes."""
    axis.set(xlabel=PLACE, ylabel="$v_x$ (Debye length times $\\omega_p$)")
    return axis.imshow(density, extent=extent, origin="lower", aspect="auto", cmap="Blues", vmin=0, vmax=top)
