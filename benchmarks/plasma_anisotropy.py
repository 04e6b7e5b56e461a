"""Anisotropy of Maxwell molecules with 500 particles in 3 and 10 dimensions against its exact relaxation, at two steps.

python benchmarks/plasma_anisotropy.py [--seeds 3]
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from pathlib import Path

import numpy as np
import report
import torch
from disco_samplers.integrations.plasma import Blob, DiscoScore, Homogeneous, Landau
from disco_samplers.integrations.plasma.exact import maxwell_pressure
from disco_samplers.integrations.plasma.velocities import gaussian_velocities

STRENGTH, END, PARTICLES = 1 / 24, 4.0, 500


def relax(d: int, seed: int, dt: float, score, picture: str | None) -> tuple[float, float]:
    """Largest error of the first two temperatures over the run, and processor seconds of a step."""
    v = gaussian_velocities(PARTICLES, [1.8, 0.2, *[1.0] * (d - 2)], start="random", seed=seed)
    initial = v.T.cov(correction=0)
    steps = round(END / dt)
    began = time.process_time()
    run = Homogeneous(v, Landau(score, strength=STRENGTH, exponent=0), dt=dt).run(steps, every=steps // 10, progress=False)
    seconds = (time.process_time() - began) / steps

    def exact(axis: int, t: float) -> float:
        return float(maxwell_pressure(initial, t, strength=STRENGTH)[axis, axis])

    errors = []
    for axis in (0, 1):
        found = run.column(f"temperature {axis + 1}")
        errors.append(np.abs(found - [exact(axis, t) for t in run.column("time")]).max())
    if picture:
        run.plot({f"temperature {axis + 1}": functools.partial(exact, axis) for axis in (0, 1)}, picture)
    return max(errors), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, rows, raw, name = time.time(), [], [], Path(__file__).stem
    scores = {"DiScoFormer": DiscoScore(), "blob": Blob()}
    for d, long in ((3, 0.1), (10, 0.2)):
        for dt in (long, 0.01):
            for method, score in scores.items():
                found = []
                for seed in range(options.seeds):
                    first = seed == 0 and dt == 0.01 and method == "DiScoFormer"
                    found.append(relax(d, seed, dt, score, str(report.RESULTS / f"{name}_{d}.png") if first else None))
                errors, seconds = np.array(found).T
                bar = errors.std(ddof=1) / math.sqrt(len(errors)) if len(errors) > 1 else math.nan
                rows.append([str(d), f"{dt:g}", method, f"{errors.mean():.4f} ± {bar:.4f}", f"{seconds.mean():.4f}"])
                print(" | ".join(rows[-1]), flush=True)
                raw.append({"d": d, "dt": dt, "method": method, "errors": errors.tolist(), "seconds": seconds.tolist()})
    about = (
        f"{PARTICLES} independent particles, temperatures 1.8, 0.2 and 1 beyond, C = 1/24, until time {END:g}; largest error "
        f"of the first two temperatures over the run, mean and standard error of {options.seeds} draws. The exact solution "
        "starts from the particles' own covariance; the temperatures start 1.6 apart.\n\n"
        f"![temperatures in 3 dimensions]({name}_3.png)\n\n![temperatures in 10 dimensions]({name}_10.png)"
    )
    header = ["d", "dt", "score", "largest error of a temperature", "processor seconds a step"]
    report.write(name, "Anisotropy of Maxwell molecules", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
