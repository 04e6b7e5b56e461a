"""The collisional two-stream problem of the package at full size: time, conservation, entropy and where it ends.

python benchmarks/plasma_large.py [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import report
import torch
from disco_samplers.integrations.plasma.runfile import read_run
from plasma_collisional import figures

PROBLEM = "two-stream-landau"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started, job = time.time(), read_run(PROBLEM)
    wall, processor = time.perf_counter(), time.process_time()
    result = job.simulation.run(job.num_steps, every=job.output.diagnostics, entropy_every=job.output.entropy)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    name = Path(__file__).stem
    result.plot(str(report.RESULTS / f"{name}.png"), rate=job.rate)
    found, history = figures(job.simulation, result), result.history
    entropy = history["entropy_electrons"]
    measured = ~np.isnan(entropy)
    rows = [
        ["processor time, minutes", f"{processor / 60:.1f}"],
        ["wall time, minutes", f"{wall / 60:.1f}"],
        ["processor over wall time", f"{processor / wall:.2f}"],
        ["largest energy error", f"{found['energy']:.1e}"],
        ["largest change of momentum_x over number", f"{found['momentum'] / history['number'][0]:.0e}"],
        ["change of entropy", f"{entropy[measured][-1] - entropy[measured][0]:+.3f}"],
        ["largest fall of entropy between two looks", f"{found['fall']:.4f}"],
        ["anisotropy at the end", f"{history['anisotropy_electrons'][-1]:.4f}"],
        ["excess fourth moment at the end", f"{found['fourth']:+.4f}"],
        ["KS distance times sqrt(n) at the end", f"{found['ks']:.2f}"],
    ]
    n = sum(len(s.x) for s in result.species)
    about = (
        f"`disco plasma list {PROBLEM}`: {n:,} particles, {job.simulation.collision_cells} cells, {job.num_steps} steps, "
        f"collisions every {job.simulation.collide_every} steps with the score of DiScoFormer, shown 128 particles of a cell; "
        f"entropy and its production every {job.output.entropy} steps. The last two rows are of |v - u|^2/2T, whose law in a "
        "Maxwellian has excess fourth moment 0 and, for independent draws, a distance below 1.63 with probability 0.99; at "
        "this strength C = 0.01 of the collisions a fourth moment's excess decays as exp(-4 C t), to 0.14 at the end, not to "
        "nothing."
        f"\n\n![energies, conservation, phase space, velocities]({name}.png)"
    )
    raw = {"wall": wall, "processor": processor, **found, "history": history.rows}
    report.write(name, "Plasma: a collisional run of 100,000 particles", about, ["what", "measured"], rows, raw, started)


if __name__ == "__main__":
    main()
