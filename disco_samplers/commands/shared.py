"""Options and steps that several subcommands share."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from disco_samplers import io
from disco_samplers._arrays import check_count


def add_options(command: argparse.ArgumentParser, *names: str) -> None:
    """Declares some of the options --seed, --weights, --adapt, --device and --quiet."""
    options: dict[str, dict[str, Any]] = {
        "seed": {"type": int, "default": 0, "help": "(default: %(default)s)"},
        "weights": {"metavar": "PATH", "help": "folder, file or hub id (default: the shipped weights)"},
        "adapt": {"type": int, "default": 0, "metavar": "STEPS", "help": "adapt the model to the data first"},
        "device": {"default": "cpu", "help": "cpu or cuda (default: %(default)s)"},
        "quiet": {"action": "store_true", "help": "no progress bar"},
    }
    for name in names:
        command.add_argument(f"--{name}", **options[name])


def load_model(options: argparse.Namespace) -> Any:
    """The model of --weights on --device."""
    from disco_samplers import DiScoFormer

    return DiScoFormer.from_pretrained(options.weights, map_location=device_name(options))


def device_name(options: argparse.Namespace) -> str:
    """The device of --device, checked."""
    name = str(getattr(options, "device", "cpu"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: torch sees no GPU here")
    try:
        return str(torch.device(name))
    except RuntimeError as error:
        raise ValueError(f"--device {name} is not a device; use cpu or cuda") from error


def conditioned(options: argparse.Namespace, table: io.Table) -> Any:
    """The estimate of a table's density, adapted where --adapt asks for it."""
    estimate = load_model(options).condition(table.values)
    check_count("--adapt", options.adapt, 0)
    if options.adapt:
        estimate = estimate.adapt(options.adapt, seed=options.seed, progress=not options.quiet)
        report = estimate.report
        print(f"adapted: kept step {report.chosen} of {len(report.losses)} ({report.seconds:.1f} s)")
    return estimate
