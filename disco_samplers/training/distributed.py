"""Several training processes, as ``torchrun`` starts them; with one process every function here does nothing."""

from __future__ import annotations

import os

import torch
from torch import distributed as dist
from torch import nn


def setup(device: torch.device) -> None:
    """Joins the processes that ``torchrun`` started, if it did (gloo on CPU, nccl on GPU)."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def cleanup() -> None:
    """Leaves the group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def is_used() -> bool:
    """Whether there are several processes."""
    return dist.is_initialized()


def rank() -> int:
    """This process's number, 0 for the one that writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def local_device(device: torch.device) -> torch.device:
    """This process's own GPU where there are several."""
    if device.type == "cuda" and dist.is_initialized():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def wrap(network: nn.Module) -> nn.Module:
    """The network with its gradients averaged over the processes."""
    return nn.parallel.DistributedDataParallel(network) if dist.is_initialized() else network


def agree(value: float, device: torch.device) -> float:
    """The first process's value, so that all stop at the same step."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor(value, dtype=torch.float32, device=device)
    dist.broadcast(shared, 0)
    return float(shared)
