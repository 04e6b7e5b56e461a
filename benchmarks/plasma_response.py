"""Linear response: damping of a wave with Dougherty collisions by the score, amplitude and particles of a cell.

python benchmarks/plasma_response.py [--seed 0]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import report
import torch
from disco_samplers.integrations.plasma import Beam, Blob, DiscoScore, Dougherty, Grid, Simulation, load
from disco_samplers.integrations.plasma.scores import Calibrated
from disco_samplers.integrations.plasma.theory import dougherty_mode, dougherty_system
from disco_samplers.integrations.plasma.types import VelocityScore
from fits import damped
from matplotlib.figure import Figure
from scipy.sparse.linalg import expm_multiply
from torch import Tensor

K, FREQUENCY, DIM, CELLS, DT, END = 0.5, 0.1, 3, 16, 0.1, 14.0
EXACT = "of linear theory"
TERMS = 120
"""Hermite functions: enough while (K t)^2 is below."""

SETTINGS = [(0.05, 1024), (0.05, 256), (0.1, 256)]
"""Amplitude, particles of a cell."""


class Wave:
    """The score of linear theory, in the middle of each cell: in an estimate's place it shows what is not the estimate's.

    The law is M(v) (1 + Re exp(ikx) sum_n (a_n + b_n (|v_perp|^2 - 2)/2) He_n(v_x)) with normalised Hermite functions.
    """

    def __init__(self, amplitude: float) -> None:
        self.system = dougherty_system(K, FREQUENCY, dim=DIM, terms=TERMS)
        self.start = np.zeros(2 * TERMS, dtype=complex)
        self.start[0] = amplitude
        self.time = 0.0

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        a, b = torch.from_numpy(expm_multiply(self.system * self.time, self.start)).split(TERMS)
        wave = torch.exp(2j * math.pi / num_cells * (cell + 0.5))
        along, energy = v[:, 0], 0.5 * (v[:, 1:].square().sum(1) - 2)
        before, now = torch.zeros_like(along), torch.ones_like(along)
        total, slope, across = (torch.zeros_like(wave) for _ in range(3))
        for n in range(TERMS):
            here = a[n] + b[n] * energy
            total, slope, across = total + here * now, slope + here * math.sqrt(n) * before, across + b[n] * now
            before, now = now, (along * now - math.sqrt(n) * before) / math.sqrt(n + 1)
        ratio = (1 + (wave * total).real).clamp_min(0.2)  # far out the linear law would be negative
        return torch.cat([(wave * slope).real[:, None], (wave * across).real[:, None] * v[:, 1:]], 1) / ratio[:, None] - v


SCORES: dict[str, Callable[[float], VelocityScore]] = {
    EXACT: Wave,
    "DiScoFormer, worth 12": lambda amplitude: DiscoScore(worth=12),
    "DiScoFormer, worth 4": lambda amplitude: DiscoScore(worth=4),
    "DiScoFormer, worth 1": lambda amplitude: DiscoScore(),
    "blob": lambda amplitude: Blob(),
    "blob, calibrated": lambda amplitude: Calibrated(Blob()),
}


def field(make: Callable[[float], VelocityScore], amplitude: float, per_cell: int, seed: int) -> np.ndarray:
    """The first mode of the field at every step."""
    grid, score, found = Grid(2 * math.pi / K, 2 * CELLS), make(amplitude), []
    electrons = load(grid, [Beam((0.0,) * DIM, (1.0,) * DIM)], CELLS * per_cell, amplitude=amplitude, seed=seed)
    collisions = Dougherty(score, frequency=FREQUENCY)
    run = Simulation(grid, [electrons], DT, collisions=collisions, collision_cells=CELLS, collide_every=4)
    for _ in range(round(END / DT)):
        if isinstance(score, Wave):
            score.time = run.time + 0.5 * DT
        run.step()
        found.append(complex(torch.fft.rfft(run.state.electric[:, 0])[1]).imag)
    return np.array(found)


def picture(path: Path, shown: dict[tuple[float, int], dict[str, np.ndarray]], t: np.ndarray, theory: complex) -> None:
    figure = Figure(figsize=(5 * len(shown), 4), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for axis, ((amplitude, per_cell), fields) in zip(axes, shown.items(), strict=True):
        for name, values in fields.items():
            axis.semilogy(t, np.abs(values), lw=1, label=name)
        first = np.abs(fields[EXACT])
        axis.semilogy(t, first[25] * np.exp(theory.imag * (t - t[25])), "k--", lw=0.9, label="rate of theory")
        axis.set(title=f"amplitude {amplitude:g}, {per_cell:,} particles a cell", ylim=(first.max() * 1e-3, first.max() * 2))
        axis.set(xlabel="time (1 / plasma frequency)", ylabel="first mode (T / e Debye length)")
    axes[0].legend(frameon=False, fontsize="x-small")
    figure.savefig(path, dpi=80)


def written(rows: list, shown: dict, t: np.ndarray, theory: complex, seed: int, started: float) -> None:
    """Writes what there is: after each setting, as all take long."""
    name = Path(__file__).stem
    picture(report.RESULTS / f"{name}.png", shown, t, theory)
    about = (
        f"Dougherty collisions of frequency {FREQUENCY:g} in three velocities, k = {K:g}, {CELLS} cells, collisions every "
        f"fourth step of {DT:g}, start {seed}; theory has a rate of {theory.imag:.5f}. The field of a run is the wave and the "
        "noise that its particles start with. A second run from the same numbers with the perturbation turned round has the "
        "same noise to first order, and half the difference of both is the wave. 'Of linear theory' is the exact score of the "
        "perturbed law in the place of an estimate: what is left there is due to so few particles and to the size of the "
        "wave, and the last column is the estimate's own. A score of particles that are said to be worth more than they are "
        "can be so rough that the collisions' step is refused.\n\n"
        f"![the wave, half the difference of both runs]({name}.png)"
    )
    header = ["amplitude", "particles a cell", "score", "rate of one run", "rate of the wave", "rate over the exact score's"]
    report.write(name, "Plasma: damping of a small wave", about, header, rows, rows, started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the quiet start (default: %(default)s)")
    seed = parser.parse_args().seed
    torch.set_num_threads(1)
    started, rows, shown = time.time(), [], {}
    theory, t = dougherty_mode(K, FREQUENCY, dim=DIM), DT * np.arange(1, round(END / DT) + 1)
    for setting in SETTINGS:
        amplitude, per_cell = setting
        fields = shown[setting] = dict[str, np.ndarray]()
        rates: dict[str, list[float]] = {}
        for name, make in SCORES.items():
            row = [f"{amplitude:g}", f"{per_cell:,}", name]
            try:
                plus, minus = (field(make, sign * amplitude, per_cell, seed) for sign in (1, -1))
            except ValueError as error:  # a score so rough that the step of the collisions is refused
                rows.append([*row, "refused", "refused", ""])
                print(" | ".join(rows[-1]), error, flush=True)
                continue
            fields[name] = 0.5 * (plus - minus)
            rates[name] = [damped(t, values, 3.0, heat=True)[0] for values in (plus, fields[name])]
            over = [f"{100 * (rate / theory.imag - 1):+.1f} %" for rate in rates[name]]
            exact = "" if name == EXACT else f"{100 * (rates[name][1] / rates[EXACT][1] - 1):+.1f} %"
            rows.append([*row, *over, exact])
            print(" | ".join(rows[-1]), flush=True)
        written(rows, shown, t, theory, seed, started)


if __name__ == "__main__":
    main()
