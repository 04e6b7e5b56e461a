"""Collisional two-stream instability and Landau damping in 1D2V: DiScoFormer beside the blob method.

python benchmarks/plasma_collisional.py [--seeds 3] [--per-cell 1024]
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import report
import torch
from disco_samplers.integrations.plasma import Beam, Blob, DiscoScore, Grid, Landau, PlasmaResult, Simulation, load
from disco_samplers.integrations.plasma.cells import moments
from scipy.stats import kstest

CELLS = 4
PROBLEMS = {
    "two-stream, k = 0.2": (0.2, [Beam((u, 0.0), (1.0, 1.0), 0.5) for u in (-2.4, 2.4)], 0.005, 16.0),
    "Landau damping, k = 0.5": (0.5, [Beam((0.0, 0.0), (1.0, 1.0))], 0.2, 8.0),
}
"""Wavenumber, beams, amplitude, end."""
SCORES = {"DiScoFormer": DiscoScore(), "blob": Blob(), "no collisions": None}
PRODUCTION = "entropy_production_electrons"


def simulate(problem: str, score, seed: int, per_cell: int) -> tuple[Simulation, PlasmaResult, float]:
    k, beams, amplitude, end = PROBLEMS[problem]
    grid = Grid(2 * math.pi / k, 32)
    electrons = load(grid, beams, CELLS * per_cell, amplitude=amplitude, seed=seed)
    collisions = None if score is None else Landau(score, strength=0.08, exponent=0)
    run = Simulation(grid, [electrons], 0.1, collisions=collisions, collision_cells=CELLS, collide_every=5, seed=seed)
    steps = round(end / run.dt)
    start = time.process_time()
    result = run.run(steps, entropy_every=steps // 4, progress=False)
    return run, result, time.process_time() - start


def figures(run: Simulation, result: PlasmaResult) -> dict[str, float]:
    """What a row of the table has; distances are of |v - u|^2/2T from its law in a Maxwellian."""
    v, w, cell, cells = run.collision_view(run.state.species[0])
    _, mean, temperature = moments(v, w, cell, cells)
    energy = ((v - mean[cell]).square().sum(1) / (2 * temperature[cell])).numpy()
    history = result.history
    measured = ~np.isnan(history["entropy_electrons"])
    entropy = history["entropy_electrons"][measured]
    total, momentum = history["total_energy"], history["momentum_x"]
    return {
        "energy": float(np.abs(total / total[0] - 1).max()),
        "momentum": float(np.abs(momentum - momentum[0]).max()),
        "fall": float(max(0.0, -np.diff(entropy).min())),
        "production": float(history[PRODUCTION][measured][-1]) if PRODUCTION in history.columns else 0.0,
        "fourth": float((energy**2).mean() / 2 - 1),
        "ks": math.sqrt(len(energy)) * float(kstest(energy, "expon").statistic),
    }


def spread(values: list[float], digits: str = ".3g") -> str:
    """Mean and standard error."""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):{digits}} ± {error:.1g}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--per-cell", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, rows, raw = time.time(), [], []
    for problem in PROBLEMS:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in SCORES}
        seconds: dict[str, list[float]] = {name: [] for name in found}
        for seed in range(options.seeds):
            for name, score in SCORES.items():
                run, result, spent = simulate(problem, score, seed, options.per_cell)
                found[name].append(figures(run, result))
                seconds[name].append(spent)
                print(problem, name, seed, found[name][-1], f"{spent:.0f} s", flush=True)
        for name, each in found.items():
            columns = {key: [one[key] for one in each] for key in each[0]}
            row = [problem, name, f"{max(columns['energy']):.1e}", f"{max(columns['momentum']):.0e}"]
            row += [f"{max(columns['fall']):.3f}", spread(columns["production"], ".2g") if SCORES[name] else "0"]
            ratio = np.mean(seconds[name]) / np.mean(seconds["blob"])
            rows.append([*row, spread(columns["fourth"]), spread(columns["ks"]), f"{ratio:.2f}"])
            raw.append({"problem": problem, "method": name, "runs": each, "seconds": seconds[name]})
    about = (
        f"{CELLS * options.per_cell:,} particles in {CELLS} collision cells, Maxwell molecules with strength 0.08, quiet "
        f"start; {options.seeds} seeds, mean and standard error where there is ±, else the worst of them. A Maxwellian has "
        "entropy production 0 and excess fourth moment 0, and independent draws of it a Kolmogorov-Smirnov distance (times "
        "sqrt(n)) below 1.63 with probability 0.99."
    )
    header = ["problem", "score", "energy error", "momentum error", "largest fall of entropy", "entropy production at the end"]
    header += ["excess fourth moment", "KS distance times sqrt(n)", "time / blob"]
    report.write(Path(__file__).stem, "Plasma: collisional waves", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
