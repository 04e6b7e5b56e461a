"""Data sets of the diffusers benchmarks: three in the plane, and scikit-learn's bundled 8x8 digits."""

from __future__ import annotations

import math

import torch
from sklearn.datasets import load_digits
from torch import Tensor


def rings(count: int, generator: torch.Generator) -> Tensor:
    radius = torch.where(torch.rand(count, generator=generator) < 0.5, 1.0, 0.45)
    radius = radius + 0.04 * torch.randn(count, generator=generator)
    return 1.4 * radius[:, None] * _directions(2 * math.pi * torch.rand(count, generator=generator))


def spiral(count: int, generator: torch.Generator) -> Tensor:
    angle = 3 * math.pi * torch.rand(count, generator=generator).sqrt()
    curve = angle[:, None] / (3 * math.pi) * _directions(angle)
    return 1.6 * (curve + 0.03 * torch.randn(count, 2, generator=generator))


def moons(count: int, generator: torch.Generator) -> Tensor:
    upper = _directions(math.pi * torch.rand(count, generator=generator))
    flipped = torch.rand(count, generator=generator) < 0.5
    points = torch.where(flipped[:, None], torch.tensor([1.0, 0.5]) - upper, upper)
    return 1.2 * (points - torch.tensor([0.5, 0.25]) + 0.06 * torch.randn(count, 2, generator=generator))


def digits(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``count`` training images (n, 1, 8, 8) in [-1, 1], drawn at random, and all the others as held-out ones."""
    images = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    images = images[torch.randperm(len(images), generator=generator)]
    return images[:count], images[count:]


PLANE = {"rings": rings, "spiral": spiral, "moons": moons}


def split(name: str, count: int, held_out: int, seed: int) -> tuple[Tensor, Tensor]:
    """Training and held-out samples of a data set."""
    generator = torch.Generator().manual_seed(seed)
    if name == "digits":
        return digits(count, generator)
    points = PLANE[name](count + held_out, generator)
    return points[:count], points[count:]


def _directions(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], 1)
