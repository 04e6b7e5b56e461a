"""Particle-in-cell runs against linear theory, and where their time goes.

python benchmarks/plasma_waves.py [--largest 1000000] [--steps 50]
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import report
import torch
from disco_samplers.integrations.plasma import Beam, Blob, DiscoScore, Dougherty, Grid, Landau, Maxwellian, Simulation, load
from disco_samplers.integrations.plasma.runfile import read_run
from disco_samplers.integrations.plasma.theory import Population, electrostatic_mode, transverse_mode
from matplotlib.figure import Figure
from scipy.optimize import curve_fit

STREAMS = [Beam((u,), (1.0,), 0.5) for u in (-2.4, 2.4)]
FILAMENTS = [Beam((0.0, u), (0.005, 0.005), 0.5) for u in (-0.3, 0.3)]
DOUGHERTY = {0.01: -0.14640, 0.05: -0.12431, 0.1: -0.10537}
"""Damping at k = 0.5 with one velocity, from the eigenvalues of the linearised system in Hermite functions."""


def first_mode(field: torch.Tensor) -> complex:
    return complex(torch.fft.rfft(field)[1])


TRACES: list[tuple[str, np.ndarray, np.ndarray, float]] = []
"""For the picture: name, times, size of the mode, rate of theory."""


def damping(name: str, theory: float, end: float, run: Simulation) -> tuple[float, float]:
    """Rate and frequency, fitted to the field's first mode after time 4."""
    field = []
    for _ in range(round(end / run.dt)):
        run.step()
        field.append(first_mode(run.state.electric[:, 0]).imag)
    t = run.dt * np.arange(1, len(field) + 1)
    TRACES.append((name, t, np.abs(field), theory))
    keep = t > 4

    def model(t, size, rate, frequency, phase):
        return size * np.exp(rate * t) * np.cos(frequency * t + phase)

    found, _ = curve_fit(model, t[keep], np.array(field)[keep] / np.abs(field).max(), p0=[1, -0.1, 1.3, 0])
    return found[1], abs(found[2])


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
    for nu, theory in DOUGHERTY.items():
        grid = Grid(4 * math.pi, 64)
        electrons = load(grid, [Beam()], 64 * 128, start="lattice", amplitude=0.05)
        operator = Dougherty(Blob(0.25), frequency=nu)
        run = Simulation(grid, [electrons], 0.1, collisions=operator, collision_cells=32, collide_every=4)
        rate, _ = damping(f"Dougherty, nu = {nu:g}, k = 0.5", theory, 12, run)
        row(f"Landau damping, Dougherty nu = {nu:g}, rate", 0.5, theory, rate, 64 * 128)
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
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    axes = figure.subplots(-(-len(TRACES) // columns), columns).ravel()
    for axis, (name, t, size, rate) in zip(axes, TRACES, strict=False):
        at = len(t) // 2 + int(np.argmax(size[len(t) // 2 :])) if rate < 0 else 3 * len(t) // 4
        axis.semilogy(t, size, lw=1.1, label="run")
        axis.semilogy(t, size[at] * np.exp(rate * (t - t[at])), "--", lw=1.0, label="theory")
        axis.set_ylim(size[size > 0].min() * 0.5 if rate > 0 else size.max() * 1e-4, size.max() * 3)
        axis.set_title(name, fontsize="medium")
        axis.set_xlabel("time")
    for axis in axes[len(TRACES) :]:
        axis.set_axis_off()
    axes[0].legend(frameon=False)
    axes[0].set_ylabel("size of the first mode")
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


def collisional(steps: int) -> str:
    job = read_run("two-stream-landau")
    start = time.process_time()
    result = job.simulation.run(steps, every=5, progress=False)
    spent = time.process_time() - start
    n = sum(len(s.x) for s in job.simulation.state.species)
    return (
        f"The problem two-stream-landau ({n:,} particles, 64 cells, collisions every 5 steps with DiScoFormer, 128 keys): "
        f"{spent:.0f} s of processor time for the first {steps} of {job.steps} steps, so about "
        f"{spent * job.steps / steps / 60:.0f} minutes on one core for all; energy error until then {result.energy_error:+.1e}."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    compared, timed, long_run = waves(), scaling(options.largest), collisional(options.steps)
    picture(report.RESULTS / f"{Path(__file__).stem}.png")
    header = ["particles", "collision cells", "fields and push, s", "score, s", "random batches of 64, s", "fields of a step"]
    table = "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *timed))
    about = (
        "Rates fitted to the first Fourier mode of a quiet start; theory from the plasma dispersion function.\n\n"
        "![every wave beside theory](plasma_waves.png)\n\n"
        f"Processor seconds of one step on one core, collisions in every step:\n\n{table}\n\n{long_run}"
    )
    columns = ["what", "k", "theory", "measured", "difference", "particles"]
    raw = {"waves": compared, "scaling": timed, "collisional": long_run}
    report.write(Path(__file__).stem, "Plasma: waves against theory, time of a step", about, columns, compared, raw, started)


if __name__ == "__main__":
    main()
