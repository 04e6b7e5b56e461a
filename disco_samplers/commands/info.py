"""``disco info``: versions, devices and the model's sizes."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

import disco_samplers
from disco_samplers.commands.shared import add_options, load_model


def add(commands: Any) -> None:
    """Declares the subcommand."""
    command = commands.add_parser("info", help="versions, devices and the model's sizes")
    add_options(command, "model")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    model = load_model(options)
    count = sum(p.numel() for p in model.parameters())
    print(f"disco-samplers {disco_samplers.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"devices: cpu ({torch.get_num_threads()} threads){''.join(f', {name}' for name in gpus)}")
    print(f"weights: {options.model or 'shipped with the package'}, {count:,} parameters, every dimension")
    print("config: " + ", ".join(f"{key}={value}" for key, value in model.config.to_dict().items()))
