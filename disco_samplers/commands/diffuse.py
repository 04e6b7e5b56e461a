"""``disco diffuse``: new samples of a table by a diffusion scheduler."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from disco_samplers.commands.shared.options import DRAWS_HELP, PICTURE, add_options, add_reading, ending

if TYPE_CHECKING:
    import torch

_PRINTED = {
    "worth": "how many independent draws the rows are worth; fewer is worse",
    "distance to half of the data": "sliced Wasserstein-2 distance of the samples, in standard deviations; larger is worse",
    "of the other half to it": "what new data would reach: far above it is worse than data, far below copied",
}


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser(
        "diffuse",
        help="new samples of a table by a diffusion scheduler, without training",
        **ending("disco diffuse data.csv --scheduler DDIM --out new.csv --plot new.png", _PRINTED),
    )
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
    command.add_argument("--plot", metavar="FILE", help=f"draw samples and data: {PICTURE}")
    add_reading(command)
    add_options(command, "adapt", "seed", "model", "device", "iid", "quiet", "json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    import numpy as np
    import torch

    from disco_samplers import files, pictures
    from disco_samplers.commands.shared.models import device_name, load_model
    from disco_samplers.commands.shared.output import Output, told
    from disco_samplers.commands.shared.tables import check_finite, equal_rows, runs_of, table_from
    from disco_samplers.extras import optional

    output = Output(options)
    if options.out:
        files.writable(options.out, draws=False)
    if options.plot:
        pictures.writable(options.plot)
    optional("diffusers", "diffusers")
    ours = optional("disco_samplers.integrations.diffusers", "diffusers")
    scheduler = _scheduler(options.scheduler, ours)
    table = table_from(options, options.data)
    check_finite(table, options.data[0])
    if len(table.values) < 2 or not np.ptp(table.values, 0).all():
        raise ValueError(f"{options.data[0]}: every column needs at least two different values")
    draws = table.draws(iid=options.iid)
    values, counts = draws.counts()
    share = torch.full((len(values),), 1 / len(values), dtype=torch.float64) if counts is None else counts / counts.sum()
    center = share @ values
    scale = (share @ (values - center).square()).sqrt()
    disco, device = load_model(options), device_name(options)
    model = ours.DiscoScoreModel.from_data(
        draws.replaced((draws.values - center) / scale),
        model=disco,
        replicas=options.replicas,
        adapt=options.adapt,
        seed=options.seed,
        progress=not options.quiet,
    )
    pipe = ours.DiscoPipeline(model, scheduler)
    pipe.set_progress_bar_config(disable=options.quiet, desc="diffusing")
    generator = torch.Generator(device).manual_seed(options.seed)
    drawn = pipe(num_samples=options.num_samples, num_inference_steps=options.num_steps, generator=generator).samples
    new = drawn.cpu().double() * scale + center
    columns = {name: new[:, i].numpy() for i, name in enumerate(table.names)}
    output.write(options.out, lambda path: files.write_table(path, columns))
    picture, rows = ours.DiscoPipelineOutput(samples=new), equal_rows(table, options.seed)
    output.write(options.plot, lambda path: picture.plot(path, reference=rows, names=table.names))
    name, many = type(scheduler).__name__, len(table.values)
    said = [
        str(draws),
        f"{len(new)} samples of {len(table.names)} variables by {name} in {options.num_steps} steps, from {many} rows",
    ]
    old = (torch.from_numpy(rows) - center) / scale
    report = _judge(drawn.cpu().double(), old, runs_of(draws, len(old)), options.seed, ours.memorisation)
    if report:
        said.append(
            f"sliced Wasserstein-2 distance to half of the data {report.sliced_w2:.4f}, of the other half to it "
            f"{report.sliced_w2_training:.4f} (standard deviations)"
        )
    return output.tell(
        "\n".join(said),
        data=told(draws),
        samples=len(new),
        scheduler=name,
        sliced_w2=report and report.sliced_w2,
        sliced_w2_halves=report and report.sliced_w2_training,
    )


def _judge(drawn: torch.Tensor, data: torch.Tensor, runs: torch.Tensor, seed: int, memorisation: Any) -> Any:
    """Closeness of the samples to the data, beside that of one half of its runs to the other; None of too few."""
    import torch

    order = torch.randperm(int(runs.max()) + 1, generator=torch.Generator().manual_seed(seed), device="cpu")
    half = torch.isin(runs, order[: len(order) // 2])
    first, second = data[half], data[~half]
    if min(len(drawn), len(first)) <= 3:
        print("too few samples to compare", file=sys.stderr)
        return None
    return memorisation(drawn, first, second)


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
