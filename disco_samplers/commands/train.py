"""``disco train``: trains weights in slices of minutes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from disco_samplers.arrays import check_count
from disco_samplers.commands.shared import add_options, device_name


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("train", help="train weights in slices of minutes")
    command.add_argument("--minutes", type=float, required=True, help="length of this slice")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for weights, checkpoint and losses")
    command.add_argument("--resume", metavar="DIR", help="continue from the checkpoint in this folder")
    command.add_argument("--force", action="store_true", help="overwrite another training in the folder of --out")
    command.add_argument(
        "--from", dest="start", metavar="FILE", help="begin with these weights (.safetensors) instead of random ones"
    )
    command.add_argument("--workers", type=int, default=0, help="processes that draw the data (default: %(default)s)")
    command.add_argument("--config", metavar="FILE", help="JSON with sections model and training (default: as shipped)")
    add_options(command, "device", "quiet")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    from disco_samplers.training import CHECKPOINT, Trainer, distributed, load_config

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
    if options.start and options.resume:
        raise ValueError("--from and --resume exclude each other: a checkpoint has weights of its own")
    there = Path(options.out)
    resumed = options.resume is not None and Path(options.resume).resolve() == there.resolve()
    if (there / CHECKPOINT).exists() and not resumed and not options.force:
        raise ValueError(
            f"{there} holds a training already: continue it with --resume {there}, overwrite it with --force, or choose "
            "another folder with --out"
        )
    check_count("--workers", options.workers, 0)
    device = torch.device(device_name(options))
    distributed.setup(device)
    try:
        trainer = Trainer(model, config, options.out, device)
        if options.start:
            trainer.start_from(options.start)
        if options.resume:
            trainer.resume(options.resume)
        trainer.run(options.minutes, progress=not options.quiet, workers=options.workers)
        if distributed.rank() == 0:
            print(f"wrote {options.out}: {trainer.step} steps in {trainer.minutes:.1f} minutes of training so far")
    finally:
        distributed.cleanup()
