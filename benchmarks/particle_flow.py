"""The particle flow with the cloud read anew at every step, or only at every 2nd, 5th or 10th: error against time.

512 particles flow from N(0, 3^2) to a mixture of four Gaussians in two dimensions, or to a Gaussian with correlations 0.9 in
five. In between the estimate of an earlier cloud says the score of where the particles are now. Sliced W2 to 20,000
exact draws, in units of the target's standard deviations; "same size" is what 512 exact draws have. The entropy error, in
nats, is that of the flow's own change of entropy, the start's being known. Mean ± standard error over starts.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from report import write
from torch import Tensor

from disco_samplers import DiScoFormer
from disco_samplers.measures import sliced_wasserstein
from disco_samplers.reference import Gaussian, GaussianMixture
from disco_samplers.samplers import relax
from disco_samplers.samplers.steps import Condition
from disco_samplers.types import ScoreFunction

PARTICLES, SPREAD, STEPS = 512, 3.0, 60
INTERVALS = (1, 2, 5, 10)


def every(condition: Condition, interval: int) -> Condition:
    """A cloud's score from the last of the clouds that was read, which is every ``interval``-th."""
    calls, last = 0, None

    def at(cloud: Tensor) -> ScoreFunction:
        nonlocal calls, last
        if calls % interval == 0:
            last = condition(cloud)
        calls += 1
        return last

    return at


def targets() -> dict[str, GaussianMixture]:
    covariance = 0.1 * torch.eye(5) + 0.9
    means = torch.tensor([[-2.0, -1.0], [2.0, -1.0], [0.0, 2.0], [0.0, 0.0]])
    return {
        "four Gaussians, d = 2": GaussianMixture(torch.tensor([0.3, 0.3, 0.2, 0.2]), means, torch.full((4, 2), 0.25)),
        "correlated Gaussian, d = 5": Gaussian(torch.zeros(5), covariance),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=2, help="clouds to start from (default: %(default)s)")
    options = parser.parse_args()
    started, model = time.time(), DiScoFormer.from_pretrained()
    rows, raw = [], []
    for name, target in targets().items():
        exact = target.sample(20_000, generator=torch.Generator().manual_seed(40_000_000))
        entropy = -float(target.evaluate(exact).mean())
        start_entropy = target.dim * (0.5 * math.log(2 * math.pi * math.e) + math.log(SPREAD))
        found: dict[str, list[list[float]]] = {"same size": []}
        for index in range(options.starts):
            generator = torch.Generator().manual_seed(40_000_001 + index)
            x = SPREAD * torch.randn(PARTICLES, target.dim, generator=generator)
            found["same size"].append([_distance(target.sample(PARTICLES, generator=generator), exact), math.nan, math.nan])
            for interval in INTERVALS:
                begun = time.perf_counter()
                state, changes = relax(x, target.evaluate_score, condition=every(model.condition, interval), num_steps=STEPS)
                seconds = time.perf_counter() - begun
                off = start_entropy + float(state.entropy) - entropy
                found.setdefault(str(interval), []).append([_distance(state.position, exact), abs(off), seconds])
                raw.append(
                    {"target": name, "interval": interval, "start": index, "steps": len(changes)}
                    | dict(zip(("sliced_w2", "entropy_error", "seconds"), found[str(interval)][-1], strict=True))
                )
                print(raw[-1], flush=True)
        base = sum(v[2] for v in found["1"])
        for interval, values in found.items():
            table = torch.tensor(values)
            mean, error = table.mean(0), table.std(0) / math.sqrt(len(values))
            cells = [f"{m:.3f} ± {e:.3f}" if math.isfinite(m) else "" for m, e in zip(mean[:2], error[:2], strict=True)]
            rows.append([name, interval, *cells, "" if interval == "same size" else f"{float(table[:, 2].sum()) / base:.2f}"])
    header = ["target", "read every", "sliced W2", "entropy error", "time / every step"]
    write("particle_flow", "Particle flow", " ".join(__doc__.split("\n\n")[1].split()), header, rows, raw, started)


def _distance(x: Tensor, y: Tensor) -> float:
    scale = y.std(0)
    return sliced_wasserstein(x / scale, y / scale, order=2)


if __name__ == "__main__":
    main()
