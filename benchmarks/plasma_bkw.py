"""BKW relaxation: DiScoFormer, the blob method and a network trained inside the run, from the same particles, same steps.

Score error (relative, %, mean over the run and at its last step) against the exact solution at each method's own particles; the
largest error of the fourth moment over the run (% of its exact change); the processor time of a step over DiScoFormer's. All
methods start from the same independent draws and take the same steps of the same moment form of the collisions. The blob's
bandwidth is the best of a grid on other draws of the solution, up to 1000 particles, and scaled as theory says beyond. The
network is a perceptron (two hidden layers of 64) with the published procedure: fitted to the known score at the start (not
timed), then so many Adam steps of implicit score matching on the particles at each time step.
"""

from __future__ import annotations

import argparse
import copy
import functools
import math
import time

import report
import torch
from disco_samplers.integrations.plasma.collisions import Landau, collide
from disco_samplers.integrations.plasma.exact import BKW
from disco_samplers.integrations.plasma.scores import Blob, Calibrated, DiscoScore, Exact
from disco_samplers.integrations.plasma.types import VelocityScore
from torch import Tensor, nn

from disco_samplers import DiScoFormer

SEED = 32_000_000


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
    solution = BKW(d)
    w, cell = torch.ones(n, dtype=torch.float64), torch.zeros(n, dtype=torch.int64)

    def error(h: float) -> float:
        total = 0.0
        for i, t in enumerate(times):
            v = solution.sample(n, t, generator=torch.Generator().manual_seed(SEED + 777 + i))
            truth = solution.score(v, t)
            total += float((Blob(h)(v, w, cell, 1) - truth).square().sum() / truth.square().sum())
        return total

    return min((0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7), key=error)


class Watched:
    """A score that keeps its errors against the exact solution, one a call: they cost nothing beside the run."""

    def __init__(self, score: VelocityScore, solution: BKW) -> None:
        self.score, self.solution = score, solution
        self.time, self.errors = 0.0, list[float]()

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        s, truth = self.score(v, w, cell, num_cells), self.solution.score(v, self.time)
        self.errors.append(float((s - truth).square().sum() / truth.square().sum()))
        return s


def relax(solution: BKW, v: Tensor, score: VelocityScore, dt: float, steps: int) -> tuple[float, float, float, float]:
    """Mean and last score error, largest fourth-moment error over its change, seconds a step."""
    w, cell = torch.full((len(v),), 1 / len(v), dtype=v.dtype), torch.zeros(len(v), dtype=torch.int64)
    watched = Watched(score, solution)
    operator = Landau(watched, strength=solution.strength, exponent=0)

    def fourth(v: Tensor) -> float:
        return float(v.double().square().sum(1).square().mean())

    start, gaps = fourth(v), []
    began = time.process_time()
    for i in range(steps):
        watched.time = i * dt
        if isinstance(score, Exact):
            score.time = watched.time
        v = collide(operator, v, w, cell, 1, dt)
        gaps.append(abs(fourth(v) - start - solution.fourth_moment((i + 1) * dt) + solution.fourth_moment()))
    seconds = (time.process_time() - began) / steps
    change = solution.fourth_moment(dt * steps) - solution.fourth_moment()
    return sum(watched.errors) / steps, watched.errors[-1], max(gaps) / change, seconds


def repeats(n: int, seeds: int) -> int:
    """Fewer runs of many particles, where a run costs more and varies less."""
    return seeds if n <= 1000 else max(1, seeds // 2) if n <= 5000 else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 5000, 20_000])
    parser.add_argument("--seeds", type=int, default=3, help="runs up to 1000 particles (default: %(default)s)")
    parser.add_argument("--dt", type=float, default=0.4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--model", help="a shipped name, folder or file (default: velocities)")
    parser.add_argument("--name", default="plasma_bkw")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.time()
    disco = DiScoFormer.from_pretrained(options.model or "velocities")
    times = tuple(i * options.dt * options.steps / 2 for i in range(3))
    rows, raw, panels = [], [], {}
    for d in options.dims:
        solution, lines = BKW(d), {}
        for n in options.sizes:
            few = min(n, 1000)
            h = best_bandwidth(d, few, times) * (few / n) ** (1 / (d + 4))
            found: dict[str, list[tuple[float, ...]]] = {}
            for seed in range(repeats(n, options.seeds)):
                dtype = torch.float64 if n <= 1000 else torch.float32
                v = solution.sample(n, generator=torch.Generator().manual_seed(SEED + 1000 * d + seed), dtype=dtype)
                fitted = Trained(solution, v)
                methods: dict[str, VelocityScore] = {
                    "exact score": Exact(solution.score),
                    "DiScoFormer": DiscoScore(disco),
                    "blob": Blob(h),
                    "blob, calibrated": Calibrated(Blob(h)),
                    "trained, 10 steps": fitted.taking(10),
                }
                if n <= 5000:
                    methods["trained, 100 steps"] = fitted.taking(100)
                for name, score in methods.items():
                    found.setdefault(name, []).append(relax(solution, v, score, options.dt, options.steps))
            ours = torch.tensor(found["DiScoFormer"]).mean(0)[3]
            for name, values in found.items():
                table = 100 * torch.tensor(values)[:, :3]
                mean, error = table.mean(0).tolist(), [math.nan] * 3
                if len(values) > 1:
                    error = (table.std(0) / math.sqrt(len(values))).tolist()
                shown = [f"{m:.1f}" + (f" ± {e:.1f}" if len(values) > 1 else "") for m, e in zip(mean, error, strict=True)]
                spent = float(torch.tensor(values).mean(0)[3])
                named = f"{name}, h = {h:.2f}" if name.startswith("blob") else name
                rows.append([f"{d}V", f"{n:,}", named, str(len(values)), *shown, f"{spent / ours:.2f}"])
                print(" | ".join(rows[-1]), flush=True)
                raw.append({"d": d, "n": n, "method": named, "runs": values})
                if name != "exact score":
                    x, y, bar = lines.setdefault(name, ([], [], []))
                    x.append(n), y.append(mean[0]), bar.append(error[0])
        panels[f"{d}V"] = lines
    report.curves(options.name, panels, "particles", "score error, %")
    about = (
        __doc__.split("\n", 1)[1].strip()
        + f"\n\n{options.steps} steps of {options.dt:g}; mean and standard error of the runs, fewer where particles are many."
        + f"\n\n![score error]({options.name}.png)"
    )
    header = ["", "n", "score", "runs", "score error, mean", "score error, end", "fourth moment", "time of a step"]
    title = f"BKW relaxation in {' and '.join(map(str, options.dims))} dimensions"
    report.write(options.name, title, about, header, rows, raw, started)


if __name__ == "__main__":
    main()
