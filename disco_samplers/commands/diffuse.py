"""``disco diffuse``: new samples of a table by a diffusion scheduler."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch

from disco_samplers import files, pictures
from disco_samplers.commands.shared import (
    DRAWS_HELP,
    add_options,
    add_reading,
    check_finite,
    device_name,
    equal_rows,
    load_model,
    table_from,
)
from disco_samplers.extras import optional


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("diffuse", help="new samples of a table by a diffusion scheduler, without training")
    command.add_argument("data", metavar="DATA", nargs="+", help=DRAWS_HELP)
    command.add_argument(
        "--scheduler",
        default="DPMSolverMultistep",
        metavar="NAME",
        help="of diffusers, or DiscoLangevin (default: %(default)s)",
    )
    command.add_argument("--num-steps", type=int, default=30, help="inference steps (default: %(default)s)")
    command.add_argument("--num-samples", type=int, default=1000, help="(default: %(default)s)")
    command.add_argument("--replicas", type=int, default=4, help="noised contexts at each level (default: %(default)s)")
    command.add_argument("--out", metavar="FILE", help="write the samples: .csv, .npy, .npz, .parquet or .feather")
    command.add_argument("--plot", metavar="FILE", help="draw samples and data: .png, .pdf or .svg")
    add_reading(command)
    add_options(command, "adapt", "seed", "model", "device", "quiet")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    if options.out:
        files.writable(options.out, draws=False)
    if options.plot:
        pictures.writable(options.plot)
    optional("diffusers", "diffusers")
    ours = optional("disco_samplers.integrations.diffusers", "diffusers")
    scheduler = _scheduler(options.scheduler, ours)
    table = table_from(options, options.data)
    check_finite(table, options.data[0])
    rows = equal_rows(table, options.seed)
    data = torch.from_numpy(rows).to(device_name(options))
    center, scale = data.mean(0), data.std(0)
    if len(data) < 2 or not (scale > 0).all():
        raise ValueError(f"{options.data[0]}: every column needs at least two different values")
    model = ours.DiscoScoreModel.from_data(
        (data - center) / scale,
        model=load_model(options),
        replicas=options.replicas,
        adapt=options.adapt,
        seed=options.seed,
        progress=not options.quiet,
    )
    pipe = ours.DiscoPipeline(model, scheduler)
    pipe.set_progress_bar_config(disable=options.quiet, desc="diffusing")
    generator = torch.Generator(data.device).manual_seed(options.seed)
    drawn = pipe(num_samples=options.num_samples, num_inference_steps=options.num_steps, generator=generator).samples
    values = (drawn.to(data) * scale + center).cpu()
    if options.out:
        files.write_table(options.out, {name: values[:, i].numpy() for i, name in enumerate(table.names)})
    if options.plot:
        ours.DiscoPipelineOutput(samples=values).plot(options.plot, reference=rows, names=table.names)
    name = type(scheduler).__name__
    print(table.draws())
    print(
        f"{len(values)} samples of {len(table.names)} variables by {name} in {options.num_steps} steps, from {len(data)} rows"
    )
    _judge(drawn, (data - center) / scale, options.seed, ours.memorisation)
    for path in filter(None, [options.out, options.plot]):
        print(f"wrote {path}")


def _judge(drawn: torch.Tensor, data: torch.Tensor, seed: int, memorisation: Any) -> None:
    """Closeness of the samples to the data, beside that of one half of the data to the other."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed), device="cpu").to(data.device)
    first, second = data[order[: len(data) // 2]], data[order[len(data) // 2 :]]
    if min(len(drawn), len(first)) <= 3:
        print("too few samples to compare", file=sys.stderr)
        return
    report = memorisation(drawn.to(data), first, second)
    print(
        f"sliced Wasserstein-2 distance to half of the data {report.sliced_w2:.4f}, of the other half to it "
        f"{report.sliced_w2_training:.4f} (standard deviations)"
    )


def _scheduler(name: str, ours: Any) -> Any:
    """The scheduler of a name, with or without the word Scheduler, that clips nothing."""
    import diffusers

    full = name if name.endswith("Scheduler") else f"{name}Scheduler"
    kind = ours.DiscoLangevinScheduler if full == "DiscoLangevinScheduler" else getattr(diffusers, full, None)
    if kind is None or not issubclass(kind, diffusers.SchedulerMixin):
        raise ValueError(
            f"--scheduler {name} is not a scheduler of diffusers; use DDIM, DPMSolverMultistep, EulerDiscrete, EDMEuler, "
            "FlowMatchEulerDiscrete, DiscoLangevin or another of its names"
        )
    scheduler = kind()
    off = {key: False for key in ("clip_sample", "clip_denoised", "thresholding") if scheduler.config.get(key)}
    scheduler = kind.from_config(scheduler.config, **off)
    ours.conventions_of(scheduler)  # says so, if no model of ours can serve it
    return scheduler
