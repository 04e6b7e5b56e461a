"""Every scheduler of diffusers that a score model can serve: quality against steps, and what conditioning costs.

One score model a data set, made of the training samples and shared by all schedulers; every run draws as many samples as are
held out, from the same seed. Sliced W2 (in the data's units, a standard deviation of about one) and MMD^2 (1e-3) are to the
held-out samples; "data" is the training samples' own distance to them, the floor that sampling error sets. The schedulers
LCM, TCD, FlowMatchLCM and CMStochasticIterative expect distilled models and get the end of the probability-flow trajectory.
nan: the scheduler does not take so few steps. Clipping is off throughout. The second table is the cost of a score model on
vectors of 20 dimensions.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import resource
import time
import warnings

import diffusers
import torch
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler
from diffusers_data import PLANE, split
from disco_samplers.integrations.diffusers import DiscoLangevinScheduler, DiscoPipeline, DiscoScoreModel
from report import write

from disco_samplers.distances import maximum_mean_discrepancy, sliced_wasserstein

STEPS = (5, 10, 20, 50)
OFF = {"clip_sample": False}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
SCHEDULERS = {
    "DDPM": lambda: diffusers.DDPMScheduler(**OFF),
    "DDIM": lambda: diffusers.DDIMScheduler(**OFF),
    "DDIM, v, zero SNR": lambda: diffusers.DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", **OFF
    ),
    "PNDM": diffusers.PNDMScheduler,
    "LMSDiscrete": diffusers.LMSDiscreteScheduler,
    "EulerDiscrete": diffusers.EulerDiscreteScheduler,
    "EulerDiscrete, Karras": lambda: diffusers.EulerDiscreteScheduler(use_karras_sigmas=True),
    "EulerAncestralDiscrete": diffusers.EulerAncestralDiscreteScheduler,
    "HeunDiscrete": diffusers.HeunDiscreteScheduler,
    "KDPM2Discrete": diffusers.KDPM2DiscreteScheduler,
    "KDPM2AncestralDiscrete": diffusers.KDPM2AncestralDiscreteScheduler,
    "DPMSolverMultistep": diffusers.DPMSolverMultistepScheduler,
    "DPMSolverMultistep, Karras": lambda: diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True),
    "DPMSolverMultistep, SDE": lambda: diffusers.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"),
    "DPMSolverMultistep, flow": lambda: diffusers.DPMSolverMultistepScheduler(**FLOW),
    "DPMSolverSinglestep": diffusers.DPMSolverSinglestepScheduler,
    "UniPCMultistep": diffusers.UniPCMultistepScheduler,
    "DEISMultistep": diffusers.DEISMultistepScheduler,
    "SASolver": diffusers.SASolverScheduler,
    "LCM": lambda: diffusers.LCMScheduler(**OFF),
    "TCD": lambda: diffusers.TCDScheduler(**OFF),
    "EDMEuler": diffusers.EDMEulerScheduler,
    "EDMDPMSolverMultistep": diffusers.EDMDPMSolverMultistepScheduler,
    "FlowMatchEulerDiscrete": diffusers.FlowMatchEulerDiscreteScheduler,
    "FlowMatchHeunDiscrete": diffusers.FlowMatchHeunDiscreteScheduler,
    "FlowMatchLCM": diffusers.FlowMatchLCMScheduler,
    "ScoreSdeVe": lambda: diffusers.ScoreSdeVeScheduler(sigma_max=50.0),
    "KarrasVe": lambda: KarrasVeScheduler(sigma_max=7.0, s_min=0.1),
    "CMStochasticIterative": lambda: diffusers.CMStochasticIterativeScheduler(clip_denoised=False),
    "DiscoLangevin": DiscoLangevinScheduler,
}
SIZES = {"digits": (300, 300)}
PLANE_SIZE = (200, 300)


def quality(samples: torch.Tensor, held: torch.Tensor) -> tuple[float, float]:
    new, old = samples.flatten(1), held.flatten(1)
    return sliced_wasserstein(new, old, order=2, standardize=False), 1e3 * maximum_mean_discrepancy(new, old)


def draw(model: DiscoScoreModel, name: str, steps: int, count: int) -> torch.Tensor | None:
    pipe = DiscoPipeline(model, SCHEDULERS[name]())
    pipe.set_progress_bar_config(disable=True)
    calls = steps // 2 if name == "DiscoLangevin" else steps  # a corrector step is a model call, as a predictor's is
    if (name == "PNDM" and steps < 4) or (name == "CMStochasticIterative" and steps > 40):
        return None
    return pipe(num_samples=count, num_inference_steps=max(calls, 1), generator=torch.Generator().manual_seed(0)).samples


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
    parser.add_argument("--sets", nargs="+", default=[*PLANE, "digits"])
    parser.add_argument("--schedulers", nargs="+", default=list(SCHEDULERS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    started = time.time()
    header = ["scheduler", *(f"{name}, {steps}" for name in options.sets for steps in STEPS)]
    cells: dict[str, list[str]] = {name: [] for name in ("data", *options.schedulers)}
    raw = []
    for name in options.sets:
        count, held_out = SIZES.get(name, PLANE_SIZE)
        training, held = split(name, count, held_out, seed=0)
        held = held[:held_out]
        floor = quality(training, held)
        cells["data"] += [f"{floor[0]:.3f} / {floor[1]:.1f}"] * len(STEPS)
        model = DiscoScoreModel.from_data(training, replicas=1, cache_size=256)
        for scheduler in options.schedulers:
            for steps in STEPS:
                samples = draw(model, scheduler, steps, len(held))
                w2, mmd = (float("nan"),) * 2 if samples is None else quality(samples, held)
                cells[scheduler].append(f"{w2:.3f} / {mmd:.1f}")
                raw.append({"set": name, "scheduler": scheduler, "steps": steps, "sliced_w2": w2, "mmd": mmd, "data": floor})
            print(name, scheduler, " | ".join(cells[scheduler][-len(STEPS) :]), f"{time.time() - started:.0f} s", flush=True)
    sizes = [500, 1000, 2000]
    costs = [[str(n), *cost(n)] for n in sizes]
    about = __doc__.split("\n", 1)[1].strip()
    about += "\n\n| n | make and calibrate (s) | encode 20 levels (s) | 64 samples, 20 steps (s) | peak memory so far (GB) |\n"
    about += "| --- | --- | --- | --- | --- |\n" + "\n".join("| " + " | ".join(row) + " |" for row in costs)
    about += (
        f"\n\nCells: sliced W2 / MMD^2 after so many steps. Planar sets: n = {PLANE_SIZE[0]}; digits: n = {SIZES['digits'][0]}."
    )
    rows = [[name, *values] for name, values in cells.items()]
    write("diffusers_schedulers", "Schedulers of diffusers", about, header, rows, {"quality": raw, "cost": costs}, started)


if __name__ == "__main__":
    main()
