"""Particle-in-cell runs against linear theory, and where their time goes.

python benchmarks/plasma_waves.py [--largest 1000000]
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import time
from pathlib import Path

import numpy as np
import report
import torch
from disco_samplers.integrations.plasma import (
    Beam,
    Blob,
    DiscoScore,
    Dougherty,
    Grid,
    Landau,
    Maxwellian,
    Simulation,
    Species,
    load,
)
from disco_samplers.integrations.plasma.scores import Calibrated
from disco_samplers.integrations.plasma.theory import Population, dougherty_mode, electrostatic_mode, transverse_mode
from fits import damped
from matplotlib.figure import Figure

STREAMS = [Beam((u,), (1.0,), 0.5) for u in (-2.4, 2.4)]
FILAMENTS = [Beam((0.0, u), (0.005, 0.005), 0.5) for u in (-0.3, 0.3)]
FREQUENCIES = (0.01, 0.05, 0.1, 0.2)
"""Of Dougherty collisions."""


def first_mode(field: torch.Tensor) -> complex:
    return complex(torch.fft.rfft(field)[1])


TRACES: list[tuple[str, np.ndarray, np.ndarray, float]] = []
"""For the picture: name, times, size of the mode, rate of theory."""


def damping(name: str, theory: float, end: float, run: Simulation, heat: bool = False) -> tuple[float, float]:
    """Rate and frequency, fitted to the field's first mode after time 3; with collisions beside heat that only decays."""
    field = []
    for _ in range(round(end / run.dt)):
        run.step()
        field.append(first_mode(run.state.electric[:, 0]).imag)
    t = run.dt * np.arange(1, len(field) + 1)
    TRACES.append((name, t, np.abs(field), theory))
    return damped(t, np.array(field), 3.0, heat)


_along = Calibrated(Blob(0.25))


def of_along_times_maxwellian(v, w, cell, num_cells):
    """The score where the distribution across the line is a Maxwellian of the cell's temperature there."""
    along = _along(v[:, :1], w, cell, num_cells)
    return along if v.shape[1] == 1 else torch.cat([along, Maxwellian()(v[:, 1:], w, cell, num_cells)], 1)


def with_energy_across(electrons: Species) -> Species:
    """With two more components of the velocity: of energy 1 for all, in directions that go round evenly."""
    angle = math.pi * (3 - math.sqrt(5)) * torch.arange(len(electrons.x), dtype=torch.float64)
    across = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], 1)
    return dataclasses.replace(electrons, v=torch.cat([electrons.v, across], 1))


def colliding(dim: int, frequency: float) -> Simulation:
    grid = Grid(4 * math.pi, 192)
    electrons = load(grid, [Beam()], 192 * 48, start="lattice", amplitude=0.05)
    if dim == 3:
        electrons = with_energy_across(electrons)
    operator = Dougherty(of_along_times_maxwellian, frequency=frequency)
    every = 2 if frequency > 0.1 else 4  # a collision step longer than 0.04 / frequency is itself off by per cents
    return Simulation(grid, [electrons], 0.1, collisions=operator, collision_cells=16, collide_every=every)


def growth(name: str, times: float, rate: float, run: Simulation, measure) -> float:
    """Rate over the second half of so many growth times."""
    size = []
    for _ in range(round(times / rate / run.dt)):
        run.step()
        size.append(measure(run.state))
    half = len(size) // 2
    TRACES.append((name, run.dt * np.arange(1, len(size) + 1), np.array(size), rate))
    return float(np.polyfit(run.dt * np.arange(half, len(size)), np.log(size[half:]), 1)[0])


def waves() -> list[list[str]]:
    rows = []

    def row(what: str, k: float, theory: float, found: float, particles: int) -> None:
        rows.append([what, f"{k:g}", f"{theory:.5f}", f"{found:.5f}", f"{100 * (found / theory - 1):+.2f} %", f"{particles:,}"])
        print(" | ".join(rows[-1]), flush=True)

    for k, end in ((0.3, 36), (0.4, 25), (0.5, 20), (0.6, 15)):
        grid = Grid(2 * math.pi / k, 64)
        run = Simulation(grid, [load(grid, [Beam()], 64 * 192, start="lattice", amplitude=1e-4)], 0.1)
        theory = electrostatic_mode(k, [Population(Beam())])
        rate, frequency = damping(f"Landau damping, k = {k}", theory.imag, end, run)
        row("Landau damping, rate", k, theory.imag, rate, 64 * 192)
        row("Landau damping, frequency", k, theory.real, frequency, 64 * 192)
    for dim, nu in itertools.product((1, 3), FREQUENCIES):
        run, theory = colliding(dim, nu), dougherty_mode(0.5, nu, dim=dim).imag
        name = f"{dim}V, Dougherty nu = {nu:g}, k = 0.5"
        row(f"Landau damping, {name}, rate", 0.5, theory, damping(name, theory, 14, run, heat=True)[0], 192 * 48)
    for k in (0.2, 0.4):
        grid = Grid(2 * math.pi / k, 64)
        theory = electrostatic_mode(k, [Population(beam) for beam in STREAMS]).imag
        run = Simulation(grid, [load(grid, STREAMS, 64 * 192, start="lattice", amplitude=1e-6)], 0.1)
        found = growth(f"two-stream, k = {k}", 10, theory, run, lambda state: abs(first_mode(state.electric[:, 0])))
        row("two-stream, growth", k, theory, found, 64 * 192)
    for k in (1.0, 1.5):
        grid = Grid(2 * math.pi / k, 32)
        theory = transverse_mode(k, [Population(beam) for beam in FILAMENTS]).imag
        between = (torch.arange(32, dtype=torch.float64) + 0.5) * grid.dx
        electrons = load(grid, FILAMENTS, 32 * 2 * 20**2, start="lattice")
        run = Simulation(grid, [electrons], 0.75 * grid.dx, fields="electromagnetic", magnetic=1e-6 * torch.cos(k * between))
        found = growth(f"Weibel, k = {k}", 6, theory, run, lambda state: abs(first_mode(state.magnetic[:, 0])))
        row("Weibel, growth of B", k, theory, found, len(electrons.x))
    return rows


def picture(path: Path) -> None:
    """Every wave on a logarithmic axis beside the slope of theory."""
    columns = 4
    rows = -(-len(TRACES) // columns)
    figure = Figure(figsize=(13, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns).ravel()
    for axis, (name, t, size, rate) in zip(axes, TRACES, strict=False):
        at = len(t) // 2 + int(np.argmax(size[len(t) // 2 :])) if rate < 0 else 3 * len(t) // 4
        axis.semilogy(t, size, lw=1.1, label="run")
        axis.semilogy(t, size[at] * np.exp(rate * (t - t[at])), "--", lw=1.0, label="theory")
        axis.set_ylim(size[size > 0].min() * 0.5 if rate > 0 else size.max() * 1e-4, size.max() * 3)
        axis.set_title(name, fontsize="medium")
    for axis in axes[len(TRACES) :]:
        axis.set_axis_off()
    axes[0].legend(frameon=False)
    figure.supxlabel("time (1 / plasma frequency)")
    figure.supylabel("first mode of E (T / e Debye length), of B in Weibel's (m omega_p / e)")
    figure.savefig(path, dpi=80)


def seconds(repeat: int, function, *arguments) -> float:
    """Processor time of a call, the best of some."""
    best = math.inf
    for _ in range(repeat):
        start = time.process_time()
        function(*arguments)
        best = min(best, time.process_time() - start)
    return best


def scaling(largest: int) -> list[list[str]]:
    """Processor time of the parts of a step of the two-stream problem in 1D2V, about 1560 particles a cell."""
    rows, n = [], 10_000
    while n <= largest:
        cells = max(4, n // 1560)
        grid = Grid(10 * math.pi, max(64, cells))
        beams = [Beam((u, 0.0), (1.0, 1.0), 0.5) for u in (-2.4, 2.4)]
        run = Simulation(grid, [load(grid, beams, n, amplitude=0.005)], 0.05, collision_cells=cells)
        view = run.collision_view(run.state.species[0])
        repeat = 3 if n < 10**6 else 1
        field = seconds(repeat, run.step)
        score = DiscoScore(keys=128)
        reading = seconds(repeat, score, *view)
        pairs = Landau(Maxwellian(), strength=0.01, exponent=-2, method="batches", batch_size=64)
        batches = seconds(repeat, pairs, *view, run.generator())
        share = field / (field + reading + batches)
        rows.append([f"{n:,}", f"{cells}", f"{field:.3g}", f"{reading:.3g}", f"{batches:.3g}", f"{100 * share:.1f} %"])
        print(" | ".join(rows[-1]), flush=True)
        n *= 10
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=1_000_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    compared, timed = waves(), scaling(options.largest)
    picture(report.RESULTS / f"{Path(__file__).stem}.png")
    header = ["particles", "collision cells", "fields and push, s", "score, s", "random batches of 64, s", "fields of a step"]
    table = "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *timed))
    about = (
        "Rates fitted to the first Fourier mode of a quiet start; theory from the plasma dispersion function, with Dougherty "
        "collisions from the linearised equation in Hermite functions. Dougherty collisions have the score of a kernel density "
        "of the velocity along the line, calibrated, times a Maxwellian across; for DiScoFormer's beside others see "
        "[damping of a small wave](plasma_response.md).\n\n"
        "![every wave beside theory](plasma_waves.png)\n\n"
        f"Processor seconds of one step on one core, collisions in every step:\n\n{table}"
    )
    columns = ["what", "k", "theory", "measured", "difference", "particles"]
    raw = {"waves": compared, "scaling": timed}
    report.write(Path(__file__).stem, "Plasma: waves against theory, time of a step", about, columns, compared, raw, started)


if __name__ == "__main__":
    main()
