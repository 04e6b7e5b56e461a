"""``disco info``: versions, devices and the model's sizes."""

from __future__ import annotations

import argparse
from typing import Any

from disco_samplers.commands.shared.options import add_options, ending


def add(commands: Any) -> None:
    """Declares the subcommand."""
    printed = {
        "devices": "what can be named in --device: cpu, and each GPU that torch sees",
        "weights": "whose sizes follow, those of --model",
    }
    command = commands.add_parser(
        "info", help="versions, devices and the model's sizes", **ending("disco info --model rotations", printed)
    )
    add_options(command, "model", "json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Does what the subcommand says."""
    import numpy as np
    import torch

    import disco_samplers
    from disco_samplers.commands.shared.models import load_model
    from disco_samplers.commands.shared.output import Output

    model = load_model(options)
    count, config = sum(p.numel() for p in model.parameters()), model.config.to_dict()
    versions = {"disco-samplers": disco_samplers.__version__, "torch": torch.__version__, "numpy": np.__version__}
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    lines = [
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"devices: cpu ({torch.get_num_threads()} threads){''.join(f', {name}' for name in gpus)}",
        f"weights: {options.model or 'shipped with the package'}, {count:,} parameters, every dimension",
        "config: " + ", ".join(f"{key}={value}" for key, value in config.items()),
    ]
    devices = ["cpu", *gpus]
    return Output(options).tell("\n".join(lines), versions=versions, devices=devices, parameters=count, config=config)
