"""The ``disco`` command: sample, score, train, info."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import disco_samplers
from disco_samplers import io, plotting
from disco_samplers._arrays import check_count
from disco_samplers.samplers.result import default_names


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; an error is one line on standard error and a non-zero exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("disco: interrupted before there was anything to keep", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except (ValueError, TypeError, RuntimeError, OSError, ImportError, MemoryError) as error:
        print("disco: error: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="disco", description="Density, score and new draws from a table of draws.")
    parser.add_argument("--version", action="version", version=disco_samplers.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sample = commands.add_parser("sample", help="new draws from the density of a table of draws")
    sample.add_argument("draws", metavar="DRAWS", help="table: .csv, .npy, .npz, .parquet or ArviZ .nc")
    sample.add_argument("--num-samples", type=int, default=1000, help="draws of each chain (default: %(default)s)")
    sample.add_argument("--chains", type=int, default=4, help="(default: %(default)s)")
    sample.add_argument("--warmup", type=int, default=500, help="discarded steps (default: %(default)s)")
    sample.add_argument("--thin", type=int, default=5, help="steps between two draws (default: %(default)s)")
    sample.add_argument("--method", choices=["mala", "ula"], default="mala", help="(default: %(default)s)")
    sample.add_argument("--adapt", type=int, default=0, metavar="STEPS", help="adapt the model to the draws first")
    sample.add_argument("--out", metavar="FILE", help="write the draws: .csv, .npy, .npz, .parquet or ArviZ .nc")
    sample.add_argument("--plot", metavar="FILE", help="draw marginals and traces: .png, .pdf or .svg")
    sample.set_defaults(run=_sample)

    score = commands.add_parser("score", help="log-density and score at points")
    score.add_argument("draws", metavar="DRAWS", help="table that the density is estimated from")
    score.add_argument("--at", required=True, metavar="POINTS", help="table of points with the same columns")
    score.add_argument("--out", required=True, metavar="FILE", help=".csv, .npy, .npz or .parquet")
    score.add_argument("--adapt", type=int, default=0, metavar="STEPS", help="adapt the model to the draws first")
    score.set_defaults(run=_score)

    train = commands.add_parser("train", help="train weights in slices of minutes")
    train.add_argument("--minutes", type=float, required=True, help="length of this slice")
    train.add_argument("--out", required=True, metavar="DIR", help="folder for weights, checkpoint and losses")
    train.add_argument("--resume", metavar="DIR", help="continue from the checkpoint in this folder")
    train.add_argument("--config", metavar="FILE", help="JSON with sections model and training (default: as shipped)")
    train.set_defaults(run=_train, seed=None)

    info = commands.add_parser("info", help="versions, devices and the model's sizes")
    info.set_defaults(run=_info, quiet=False)
    for command in (sample, score):
        command.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    for command in (sample, score, info):
        command.add_argument("--weights", metavar="PATH", help="folder, file or hub id (default: the shipped weights)")
    for command in (sample, score, train):
        command.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
        command.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _model(options: argparse.Namespace) -> Any:
    return disco_samplers.DiScoFormer.from_pretrained(options.weights, map_location=_device(options))


def _device(options: argparse.Namespace) -> str:
    name = str(getattr(options, "device", "cpu"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: torch sees no GPU here")
    try:
        return str(torch.device(name))
    except RuntimeError as error:
        raise ValueError(f"--device {name} is not a device; use cpu or cuda") from error


def _conditioned(options: argparse.Namespace, table: io.Table) -> Any:
    estimate = _model(options).condition(table.values)
    check_count("--adapt", options.adapt, 0)
    if options.adapt:
        estimate = estimate.adapt(options.adapt, seed=options.seed, progress=not options.quiet)
        report = estimate.report
        print(f"adapted: kept step {report.chosen} of {len(report.losses)} ({report.seconds:.1f} s)")
    return estimate


def _sample(options: argparse.Namespace) -> None:
    from disco_samplers.distances import sliced_wasserstein
    from disco_samplers.samplers.diagnostics import summarise

    if options.out:
        io.writable(options.out, draws=True)
    if options.plot:
        plotting.writable(options.plot)
    table = io.read(options.draws)
    estimate = _conditioned(options, table)
    sampler = disco_samplers.LangevinSampler(score=estimate, method=options.method)
    result = sampler.run(
        options.num_samples,
        chains=options.chains,
        num_warmup=options.warmup,
        thin=options.thin,
        seed=options.seed,
        names=table.names,
        progress=not options.quiet,
    )
    if options.out:
        io.write_draws(options.out, result)
    if options.plot:
        result.plot(options.plot, reference=table.values)
    print(f"\ninput: {len(table.values)} draws of {len(table.names)} variables from {options.draws}")
    print(summarise(table.by_chain, table.names, independent=table.chains == 1))
    print(f"\nnew draws: {result}")
    print(result.summary())
    old, new = torch.from_numpy(table.values), torch.from_numpy(result.numpy()).flatten(0, 1)
    order = torch.randperm(len(old), generator=torch.Generator().manual_seed(options.seed))
    half = len(old) // 2
    first, second = old[order[:half]], old[order[half : 2 * half]]
    # The same number of draws on both sides, or the comparison would be of sample sizes.
    some = new[torch.linspace(0, len(new) - 1, min(half, len(new))).round().long()]
    if half >= 2:
        distance = (sliced_wasserstein(some, first) + sliced_wasserstein(some, second)) / 2
        print(
            f"\ncloseness: sliced Wasserstein distance of the new draws to the input {distance:.4f}, "
            f"of one half of the input to the other {sliced_wasserstein(first, second):.4f} (standard deviations)"
        )
    for path in filter(None, [options.out, options.plot]):
        print(f"wrote {path}")
    if not result.complete:
        print("interrupted: these are the draws made until then", file=sys.stderr)


def _score(options: argparse.Namespace) -> None:
    io.writable(options.out, draws=False)
    table, points = io.read(options.draws), io.read(options.at)
    values = points.values
    if values.shape[1] != len(table.names):
        raise ValueError(f"{options.at} has {values.shape[1]} columns, {options.draws} has {len(table.names)}")
    if set(points.names) == set(table.names):
        values = values[:, [points.names.index(name) for name in table.names]]
    elif default_names(len(table.names)) not in (points.names, table.names):
        raise ValueError(f"{options.at} has columns {', '.join(points.names)}, {options.draws} has {', '.join(table.names)}")
    log_prob, score = _conditioned(options, table).log_prob_and_score(values)
    columns: dict[str, np.ndarray] = {"log_prob": log_prob}
    columns |= {f"score_{name}": score[:, i] for i, name in enumerate(table.names)}
    io.write_table(options.out, columns)
    print(f"wrote {options.out}: log-density and score at {len(values)} points from {len(table.values)} draws")


def _train(options: argparse.Namespace) -> None:
    from disco_samplers.training import distributed
    from disco_samplers.training.trainer import Trainer, load_config

    if not 0 < options.minutes < 1e6:
        raise ValueError(f"--minutes must be positive, got {options.minutes}")
    values: Any = {}
    if options.config:
        try:
            values = json.loads(Path(options.config).read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{options.config} is not JSON: {error}") from error
    if not (isinstance(values, dict) and all(isinstance(section, dict) for section in values.values())):
        raise ValueError(f"{options.config} must hold a JSON object whose sections model and training are objects")
    model, config = load_config(values)
    device = torch.device(_device(options))
    distributed.setup(device)
    try:
        trainer = Trainer(model, config, options.out, device)
        if options.resume:
            trainer.resume(options.resume)
        trainer.run(options.minutes, progress=not options.quiet)
        if distributed.rank() == 0:
            print(f"wrote {options.out}: {trainer.step} steps in {trainer.minutes:.1f} minutes of training so far")
    finally:
        distributed.cleanup()


def _info(options: argparse.Namespace) -> None:
    model = _model(options)
    count = sum(p.numel() for p in model.parameters())
    print(f"disco-samplers {disco_samplers.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"devices: cpu ({torch.get_num_threads()} threads){''.join(f', {name}' for name in gpus)}")
    print(f"weights: {options.weights or 'shipped with the package'}, {count:,} parameters, every dimension")
    print("config: " + ", ".join(f"{key}={value}" for key, value in model.config.to_dict().items()))


if __name__ == "__main__":
    sys.exit(main())
