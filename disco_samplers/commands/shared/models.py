"""The model that a command was asked for, and the estimate of a table's density."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from disco_samplers import files
from disco_samplers.arrays import check_double
from disco_samplers.commands.shared.tables import supported
from disco_samplers.draws import Draws, suggest_supports


def load_model(options: argparse.Namespace) -> Any:
    """The model of --model on --device."""
    from disco_samplers import DiScoFormer

    return DiScoFormer.from_pretrained(options.model, map_location=device_name(options))


def proposing_model(options: argparse.Namespace) -> Any:
    """The model of --model on --device for the estimate of --proposal, None where a mixture alone is asked for.

    Raises:
        ValueError: if a mixture is asked for on another device: it is fitted on the CPU.
    """
    if options.proposal == "mixture" and options.device != "cpu":
        raise ValueError(
            f"--device {options.device} is for DiScoFormer's estimate, and --proposal mixture makes none: leave it out, or say "
            "--proposal auto or estimate"
        )
    return load_model(options) if options.proposal != "mixture" or options.model else None


def device_name(options: argparse.Namespace) -> str:
    """The device of --device, checked."""
    name = str(getattr(options, "device", "cpu"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: torch sees no GPU here")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device {name} is not a device; use cpu or cuda") from error
    check_double(device, "--device")
    return str(device)


def conditioned(options: argparse.Namespace, table: files.Table) -> tuple[Any, Draws]:
    """The estimate of a table's density, adapted where --adapt asks for it, and the draws it is made of."""
    draws = supported(table, options.support).draws(iid=options.iid)
    if not options.json and (looks := suggest_supports(draws)):
        said = {name if isinstance(name, str) else ",".join(name): look for name, look in looks.items()}
        print("looks bounded: --support " + " ".join(f"{name}={look}" for name, look in said.items()))
    # Rows that are said to be independent are worth their number, however they look.
    estimate = load_model(options).condition(draws, effective_size=draws.num_distinct if options.iid else None)
    if options.adapt:
        estimate = estimate.adapt(seed=options.seed, progress=not options.quiet)
        if not options.json:
            print(estimate.report)
    return estimate, draws
