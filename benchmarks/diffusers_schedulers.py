"""Every scheduler of diffusers that a score model can serve: quality against steps, and what conditioning costs.

One score model a data set, made of the training samples and shared by all schedulers; every run draws as many samples as are
held out, from the same seed. Sliced W2 (in the data's units, a standard deviation of about one) and MMD^2 (1e-3) are to the
held-out samples; "data" is the training samples' own distance to them, the floor that sampling error sets. The schedulers
LCM, FlowMatchLCM and CMStochasticIterative expect distilled models and get the end of the probability-flow trajectory.
nan: the scheduler does not take so many steps. Clipping is off throughout. The second table is the cost of a score
model on vectors of 20 dimensions, in a process of its own for each n.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import diffusers
import torch
from diffusers_data import PLANE, split
from diffusers_exported import schedulers
from disco_samplers.integrations.diffusers import DiscoPipeline, DiscoScoreModel, conventions_of
from report import cached, write

from disco_samplers.measures import maximum_mean_discrepancy, sliced_wasserstein

STEPS = (5, 10, 20, 50)
SCHEDULERS = schedulers()


def served() -> list[str]:
    """The classes that draw from a score model, as they are by default."""

    def serves(name: str) -> bool:
        try:
            return bool(conventions_of(SCHEDULERS[name]())) and "Inverse" not in name
        except Exception:  # some need arguments, some are refused
            return False

    return [name for name in SCHEDULERS if "," not in name and serves(name)]


SIZES = {"digits": (1000, 400)}
PLANE_SIZE = (500, 400)
COST_SIZES = (500, 1000, 2000)


def quality(samples: torch.Tensor, held: torch.Tensor) -> tuple[float, float]:
    new, old = samples.flatten(1), held.flatten(1)
    return sliced_wasserstein(new, old, order=2, standardize=False), 1e3 * maximum_mean_discrepancy(new, old)


def draw(model: DiscoScoreModel, name: str, steps: int, count: int) -> torch.Tensor | None:
    pipe = DiscoPipeline(model, SCHEDULERS[name]())
    pipe.set_progress_bar_config(disable=True)
    calls = steps // 2 if name == "DiscoLangevin" else steps  # a corrector step is a model call, as a predictor's is
    if name == "CMStochasticIterative" and steps > 40:
        return None
    return pipe(num_samples=count, num_inference_steps=max(calls, 1), generator=torch.Generator().manual_seed(0)).samples


def quiet(threads: int) -> None:
    """What a process does first."""
    torch.set_num_threads(threads)
    diffusers.utils.logging.set_verbosity_error()
    # numpy 2 deprecates how torch 2 hands it tensors; schedulers do so at every step.
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
    warnings.filterwarnings("ignore", "__array_wrap__ must accept context", DeprecationWarning)
    warnings.filterwarnings("ignore", "Should have t", UserWarning)  # torchsde, of ends of an interval told in float32


def table(name: str, schedulers: list[str], cache: Path | None) -> dict[str, list[list[float]]]:
    """Sliced W2 and MMD^2 at each number of steps, of the data and each scheduler; what is in the cache is not run again."""
    count, held_out = SIZES.get(name, PLANE_SIZE)
    training, held = split(name, count, held_out, seed=0)
    held = held[:held_out]
    made: list[DiscoScoreModel] = []

    def cells(scheduler: str) -> list[list[float]]:
        if not made:
            made.append(DiscoScoreModel.from_data(training, replicas=1, cache_size=128))
        drawn = (draw(made[0], scheduler, steps, len(held)) for steps in STEPS)
        found = [[float("nan")] * 2 if samples is None else list(quality(samples, held)) for samples in drawn]
        print(name, scheduler, *(f"{w2:.3f} / {mmd:.1f}" for w2, mmd in found), flush=True)
        return found

    floor = list(quality(training, held))
    return {"data": [floor] * len(STEPS)} | {s: cached(cache, f"{name} {s}", lambda s=s: cells(s)) for s in schedulers}


def cost(n: int) -> list[str]:
    """Seconds to make a model of n rows (calibration included), to encode 20 levels, and to draw 64 samples in 20 steps."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 20, generator=generator) @ torch.randn(20, 20, generator=generator) / 5
    marks = [time.perf_counter()]
    model = DiscoScoreModel.from_data(x, share=1.0)
    marks.append(time.perf_counter())
    scheduler = diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True)
    scheduler.set_timesteps(20)
    model.matching(scheduler).encode(scheduler.timesteps)
    marks.append(time.perf_counter())
    pipe = DiscoPipeline(model, scheduler)
    pipe.set_progress_bar_config(disable=True)
    pipe(num_samples=64, num_inference_steps=20)
    marks.append(time.perf_counter())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [f"{b - a:.1f}" for a, b in itertools.pairwise(marks)] + [f"{memory:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=["digits", *PLANE])
    parser.add_argument("--schedulers", nargs="+", metavar="NAME", help="these, options and all (default: every class)")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (default: %(default)s)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep finished rows here, and go on from them")
    options = parser.parse_args()
    options.schedulers = options.schedulers or served()
    started = time.time()
    pool = {"mp_context": multiprocessing.get_context("spawn"), "initializer": quiet, "initargs": (1,)}
    with ProcessPoolExecutor(options.workers, **pool) as executor:
        runs = [executor.submit(table, name, options.schedulers, options.cache) for name in options.sets]
        found = dict(zip(options.sets, (run.result() for run in runs), strict=True))
    with ProcessPoolExecutor(1, max_tasks_per_child=1, **pool) as executor:
        costs = [[str(n), *row] for n, row in zip(COST_SIZES, executor.map(cost, COST_SIZES), strict=True)]
    about = __doc__.split("\n", 1)[1].strip()
    about += "\n\n| n | make and calibrate (s) | encode 20 levels (s) | 64 samples, 20 steps (s) | peak memory (GB) |\n"
    about += "| --- | --- | --- | --- | --- |\n" + "\n".join("| " + " | ".join(row) + " |" for row in costs)
    about += (
        f"\n\nCells: sliced W2 / MMD^2 after so many steps. Planar sets: n = {PLANE_SIZE[0]}, "
        f"digits: n = {SIZES['digits'][0]}; {PLANE_SIZE[1]} held out."
    )
    header = ["scheduler", *(f"{name}, {steps}" for name in options.sets for steps in STEPS)]
    names = ("data", *options.schedulers)
    rows = [[name, *(f"{w2:.3f} / {mmd:.1f}" for each in found.values() for w2, mmd in each[name])] for name in names]
    raw = [
        {"set": each, "scheduler": name, "steps": steps, "sliced_w2": w2, "mmd": mmd}
        for each, cells in found.items()
        for name in names
        for steps, (w2, mmd) in zip(STEPS, cells[name], strict=True)
    ]
    write("diffusers_schedulers", "Schedulers of diffusers", about, header, rows, {"quality": raw, "cost": costs}, started)


if __name__ == "__main__":
    main()
