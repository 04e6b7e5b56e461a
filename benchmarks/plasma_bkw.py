"""BKW relaxation: DiScoFormer, the blob method and a network trained inside the run, from the same particles, same steps.

Score error (relative, %, mean over the run) against the exact solution at each method's own particles; the largest error of
the fourth moment over the run (% of its exact change); the processor time of a step over DiScoFormer's. All methods start from
the same independent draws and take the same steps of the same moment form of the collisions. The blob's bandwidth is the best
of a grid on other draws of the solution, at each n. The network is a perceptron (two hidden layers of 64) with the published
procedure: fitted to the known score at the start (not timed), then so many Adam steps of implicit score matching on the
particles at each time step.
"""

from __future__ import annotations

import argparse
import copy
import functools
import math
import time

import torch
from disco_samplers.integrations.plasma.collisions import Landau, collide
from disco_samplers.integrations.plasma.exact import BKW
from disco_samplers.integrations.plasma.scores import Blob, Calibrated, DiscoScore, Exact
from disco_samplers.integrations.plasma.types import VelocityScore
from report import write
from torch import Tensor, nn

from disco_samplers import DiScoFormer

SEED = 32_000_000
KEYS = 1000


class Trained:
    """The score of a perceptron that takes some steps of implicit score matching at every call.

    References:
        Score-based transport modelling for the Landau equation, arXiv 2603.25832.
    """

    def __init__(self, solution: BKW, v: Tensor) -> None:
        d = solution.dim
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            layers = [nn.Linear(d, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, d)]
            self.network = nn.Sequential(*layers).to(v.dtype)
        self.steps = 0
        self.rng = torch.Generator().manual_seed(SEED)
        target, start = solution.score(v), torch.optim.Adam(self.network.parameters(), 2e-3)
        for _ in range(1000):
            rows = torch.randint(len(v), (min(len(v), 1000),), generator=self.rng)
            loss = (self.network(v[rows]) - target[rows]).square().sum(1).mean()
            start.zero_grad()
            loss.backward()
            start.step()

    def taking(self, steps: int) -> Trained:
        """A copy that takes so many steps at each call."""
        other = copy.deepcopy(self)
        other.steps = steps
        other.optimizer = torch.optim.Adam(other.network.parameters(), 2e-4)
        return other

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        for _ in range(self.steps):
            x = v.detach().requires_grad_()
            s = self.network(x)
            probe = torch.randint(0, 2, x.shape, generator=self.rng).to(x) * 2 - 1
            (product,) = torch.autograd.grad((s * probe).sum(), x, create_graph=True)
            loss = (s.square().sum(1) + 2 * (product * probe).sum(1)).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        with torch.no_grad():
            return self.network(v)


@functools.cache
def best_bandwidth(d: int, n: int, times: tuple[float, ...]) -> float:
    """The best constant bandwidth over the run's times on n other draws."""
    solution, m = BKW(d), n
    w, cell = torch.ones(m, dtype=torch.float64), torch.zeros(m, dtype=torch.int64)

    def error(h: float) -> float:
        total = 0.0
        for i, t in enumerate(times):
            v = solution.sample(m, t, generator=torch.Generator().manual_seed(SEED + 777 + i))
            truth = solution.score(v, t)
            total += float((Blob(h)(v, w, cell, 1) - truth).square().sum() / truth.square().sum())
        return total

    return min((0.25, 0.3, 0.35, 0.4, 0.45, 0.5), key=error)


def relax(solution: BKW, v: Tensor, score: VelocityScore, dt: float, steps: int) -> tuple[float, float, float, float]:
    """Mean and last score error, largest fourth-moment error over its change, seconds a step."""
    n = len(v)
    w, cell = torch.full((n,), 1 / n, dtype=v.dtype), torch.zeros(n, dtype=torch.int64)
    operator = Landau(score, strength=solution.strength, exponent=0)
    change = solution.fourth_moment(dt * steps) - solution.fourth_moment()
    start = float(v.square().sum(1).square().mean())
    errors, gaps, seconds = [], [], 0.0
    looks = 5 if n <= 1000 else 1  # a look costs as much as a step
    for i in range(steps + 1):
        t = i * dt
        if isinstance(score, Exact):
            score.time = t
        if i % max(1, steps // looks) == 0 or i == steps:
            look = score.taking(0) if isinstance(score, Trained) else score
            s, truth = look(v, w, cell, 1), solution.score(v, t)
            errors.append(float((s - truth).square().sum() / truth.square().sum()))
            found = float(v.square().sum(1).square().mean()) - start
            gaps.append(abs(found - (solution.fourth_moment(t) - solution.fourth_moment())) / change)
        if i < steps:
            began = time.process_time()
            v = collide(operator, v, w, cell, 1, dt)
            seconds += time.process_time() - began
    return sum(errors) / len(errors), errors[-1], max(gaps), seconds / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000])
    parser.add_argument(
        "--seeds", type=int, default=2, help="runs a cell up to 1000 particles; one beyond (default: %(default)s)"
    )
    parser.add_argument("--dt", type=float, default=0.4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--weights", help="a shipped name, folder or file (default: rotations)")
    parser.add_argument("--name", default="plasma_bkw")
    options = parser.parse_args()
    started = time.time()
    disco = DiScoFormer.from_pretrained(options.weights or "rotations")
    times = tuple(i * options.dt * options.steps / 2 for i in range(3))
    rows, raw = [], []
    for d in options.dims:
        solution = BKW(d)
        for n in options.sizes:
            few = min(n, 1000)
            h = best_bandwidth(d, few, times) * (few / n) ** (1 / (d + 4))
            keys = None if n <= KEYS else KEYS
            found: dict[str, list[tuple[float, ...]]] = {}
            for seed in range(options.seeds if n <= 1000 else 1):
                dtype = torch.float64 if n <= 1000 else torch.float32
                v = solution.sample(n, generator=torch.Generator().manual_seed(SEED + 1000 * d + seed), dtype=dtype)
                methods: dict[str, VelocityScore] = {
                    "exact score": Exact(solution.score),
                    "DiScoFormer": DiscoScore(disco, keys=keys),
                    f"blob, h = {h:.2f}": Blob(h),
                }
                if n <= 1000:
                    methods[f"blob, h = {h:.2f}, calibrated"] = Calibrated(Blob(h))
                    fitted = Trained(solution, v)
                    methods |= {f"trained, {k} steps": fitted.taking(k) for k in (10, 100)}
                for name, score in methods.items():
                    found.setdefault(name, []).append(relax(solution, v, score, options.dt, options.steps))
            ours = torch.tensor(found["DiScoFormer"]).mean(0)[3]
            for name, values in found.items():
                table = torch.tensor(values)
                mean = table.mean(0)
                error = table.std(0) / math.sqrt(len(values)) if len(values) > 1 else torch.full((4,), math.nan)
                cells = [
                    f"{100 * m:.1f}" + (f" ± {100 * e:.1f}" if len(values) > 1 else "")
                    for m, e in zip(mean[:3].tolist(), error[:3].tolist(), strict=True)
                ]
                rows.append([f"{d}V", str(n), name, *cells, f"{float(mean[3] / ours):.2f}"])
                print(" | ".join(rows[-1]), flush=True)
                raw.append({"d": d, "n": n, "method": name, "runs": len(values), "mean": mean.tolist()})
    count = (
        f"{options.steps} steps of {options.dt:g}; {options.seeds} runs up to 1000 particles, one beyond. Beyond 1000 "
        f"particles DiScoFormer is shown {KEYS} of them."
    )
    about = __doc__.split("\n", 1)[1].strip() + "\n\n" + count
    header = ["", "n", "score", "score error, mean", "score error, end", "fourth moment", "time of a step"]
    write(options.name, "BKW relaxation", about, header, rows, raw, started)


if __name__ == "__main__":
    main()
