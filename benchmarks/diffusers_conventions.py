"""Which schedulers a score model can serve: every exported one, and each of its options, with an exact denoiser.

The data are two normal columns, whose denoiser and whose law at every noise level are known. "start" is the size of the first
sample over what the noise level says at which the model was asked, "worst" the same at any step; 1 is right. The last columns
are Wasserstein-2 distances between the samples' normal law and the true one, over the latter's root mean variance: they fall
with the steps where the conventions are right; random steps leave the error of 2048 draws, about 0.02.
A verdict is "right" where start and distance are right within 0.1 in 40 steps, else in 160 or the most that are taken;
"coarse" where the start is right and the distance is above 0.1 yet and falls below 0.7 of it from the fewest steps to the most.
LCM, FlowMatchLCM, CMStochasticIterative and stochastic_sampling expect distilled models and get the end of the probability-flow
trajectory. An inverse scheduler, or one with invert_sigmas, is given the data and must return standard normal noise. Clipping
is off. Refused is what no denoiser can serve; what diffusers itself cannot make or run fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import warnings
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers_exported import schedulers
from disco_samplers.integrations.diffusers import check_scheduler, conventions_of
from report import cached, write

STEPS = (10, 40, 160)


def row(make: Any) -> dict[str, Any]:
    """What is found of one scheduler: its checks by steps, or who refused it and why."""
    try:
        scheduler = make()
    except Exception as error:  # some need arguments, some options go together
        return {"fails": str(error).strip()}
    try:
        conventions_of(scheduler)
    except ValueError as error:
        return {"refused": str(error)}
    options = {"mu": 0.5} if scheduler.config.get("use_dynamic_shifting") else {}
    found: dict[str, Any] = {}
    failure = ""
    for steps in STEPS:
        try:
            check = check_scheduler(make(), steps, **options)
        except Exception as error:  # too few steps for a sampler, or too many
            failure = f"{type(error).__name__}: {error}".strip()
            continue
        found[str(steps)] = dataclasses.asdict(check) | {"right": check.right}
        if steps > STEPS[0] and check.right:
            break
    return found or {"fails": failure}


def verdict(cells: dict[str, Any]) -> str:
    first, last = (cells[at(cells, key=int)] for at in (min, max))
    if last["right"]:
        return "right"
    return "coarse" if abs(last["start"] - 1) < 0.1 and last["distance"] < 0.7 * first["distance"] else "WRONG"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedulers", nargs="+", metavar="NAME", help="only these (default: every one)")
    parser.add_argument("--classes", action="store_true", help="every class as it is by default, without its options")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep finished rows here, and go on from them")
    options = parser.parse_args()
    started = time.time()
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    made = schedulers(options=not options.classes)
    found = {name: cached(options.cache, name, lambda name=name: row(made[name])) for name in options.schedulers or made}
    about = __doc__.split("\n", 1)[1].strip() + f"\n\ndiffusers {diffusers.__version__}."
    rows, refused = [], []
    for name, cells in found.items():
        if "refused" in cells or "fails" in cells:
            what, why = next(iter(cells.items()))
            refused.append(f"| {name} | {what}: {_line(why)} |")
            continue
        last = cells[max(cells, key=int)]
        distances = (f"{cells[str(n)]['distance']:.3f}" if str(n) in cells else "" for n in STEPS)
        told = [f"{last[key]:.2f}" for key in ("start", "worst")]
        rows.append([name, last["parameterization"], verdict(cells), *told, *distances])
    header = ["scheduler", "model returns", "verdict", "start", "worst", *(f"{n} steps" for n in STEPS)]
    about += "\n\n| not served | why |\n| --- | --- |\n" + "\n".join(refused)
    write("diffusers_conventions", "Schedulers of diffusers with an exact denoiser", about, header, rows, found, started)


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")[:160]


if __name__ == "__main__":
    main()
