"""The precision of training: bfloat16 where the processor multiplies in it."""

from __future__ import annotations

import torch

_WITHOUT = ("DEFAULT", "AVX2")
"""Instruction sets without bfloat16, which then takes twice the time of float32 instead of half."""


def training_dtype(device: torch.device) -> torch.dtype:
    """The type in which products of matrices are quickest.

    Example:
        >>> training_dtype(torch.device("cuda"))
        torch.bfloat16
    """
    slow = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in _WITHOUT
    return torch.float32 if slow else torch.bfloat16


def training_precision(device: torch.device) -> torch.autocast:
    """Forward passes in :func:`training_dtype`.

    Example:
        >>> with training_precision(torch.device("cpu")):
        ...     product = torch.ones(2, 2) @ torch.ones(2, 2)
        >>> product.dtype == training_dtype(torch.device("cpu"))
        True
    """
    dtype = training_dtype(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
