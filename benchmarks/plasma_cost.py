"""Processor time and error of velocity scores in a simulation's cells, and of a step with them: DiScoFormer beside the blob.

python benchmarks/plasma_cost.py [--particles 100000] [--repeat 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import report
import torch
from disco_samplers.integrations.plasma import Beam, Blob, DiscoScore, Grid, Landau, Simulation, load
from disco_samplers.integrations.plasma.scores import Calibrated, Maxwellian

from disco_samplers.reference import GaussianMixture

SCORES = {
    "blob": Blob(),
    "blob, calibrated": Calibrated(Blob()),
    "DiScoFormer": DiscoScore(),
    "DiScoFormer, 1024 keys": DiscoScore(keys=1024),
    "DiScoFormer, 512 keys": DiscoScore(keys=512),
    "DiScoFormer, 128 keys": DiscoScore(keys=128),
}
DRIFT = 2.4
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=100_000)
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, rows, raw = time.time(), [], []
    for d in (2, 3):
        eye = torch.eye(d, dtype=torch.float64)
        exact = GaussianMixture(
            torch.tensor([0.5, 0.5]).double(), torch.stack([DRIFT * eye[0], -DRIFT * eye[0]]), eye.expand(2, d, d)
        )
        grid = Grid(31.4, options.cells)
        beams = [Beam((u, *[0.0] * (d - 1)), (1.0,) * d, 0.5) for u in (-DRIFT, DRIFT)]
        electrons = load(grid, beams, options.particles, start="random", seed=7)
        pairs = Landau(Maxwellian(), strength=0.01, exponent=-d, method="batches")
        rest = Simulation(grid, [electrons], 0.1, collisions=pairs, collision_cells=options.cells)
        view, steps = rest.collision_view(electrons), []
        truth = exact.score(electrons.v)
        spent: dict[str, list[float]] = {f"{name}, {kind}": [] for name in SCORES for kind in PRECISIONS}
        error = {}
        for _ in range(options.repeat):  # one after the other each time, as the machine may slow down on the way
            start = time.process_time()
            rest.step()
            steps.append(time.process_time() - start)
            for name, score in SCORES.items():
                for kind, dtype in PRECISIONS.items():
                    v, w, cell, cells = view
                    start = time.process_time()
                    found = score(v.to(dtype), w.to(dtype), cell, cells)
                    spent[f"{name}, {kind}"].append(time.process_time() - start)
                    error[name] = float((found - truth).square().sum() / truth.square().sum())
        for name in SCORES:
            ratio = {
                kind: statistics.median(a / b for a, b in zip(spent[f"{name}, {kind}"], spent[f"blob, {kind}"], strict=True))
                for kind in PRECISIONS
            }
            seconds = statistics.median(spent[f"{name}, float64"])
            ratio["step"] = statistics.median(
                (step + a) / (step + b)
                for step, a, b in zip(steps, spent[f"{name}, float64"], spent["blob, float64"], strict=True)
            )
            rows.append([f"{d}V", name, f"{seconds:.2f}", *(f"{r:.2f}" for r in ratio.values()), f"{100 * error[name]:.2f} %"])
            print(" | ".join(rows[-1]), flush=True)
            raw.append({"d": d, "score": name, "seconds": seconds, "ratio": ratio, "error": error[name]})
    about = (
        f"{options.particles:,} particles in {options.cells} cells, two beams of unit temperature at +-{DRIFT}, "
        f"independent draws, one thread; median of the rounds, {options.repeat} in all, in each of which all are timed one "
        "after the other, and of the ratios to the blob method of the same round and precision of the particles (the "
        "network works in single precision in both). The error is sum |s - s*|^2 / sum |s*|^2 against the exact score. "
        "Where the network is shown all particles of a cell, scores at these particles come with the encoding of the "
        "context; with keys they are asked for afterwards. A step has besides the score push, fields and Coulomb "
        "collisions in random batches of 64, in float64."
    )
    header = ["", "score", "seconds, float64", "time / blob, float64", "time / blob, float32", "step / blob's", "score error"]
    report.write(Path(__file__).stem, "Plasma: time of a score", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
