"""Targets outside the families that training draws from, with exact density, score and draws."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from disco_samplers.reference import GaussianMixture, Laplace, ReferenceDensity, StudentT


class _Target(ReferenceDensity):
    def __init__(self, dim: int) -> None:
        self.dim, self.dtype, self.device = dim, torch.float64, torch.device("cpu")

    def normal(self, num_samples: int, generator: torch.Generator | None, dim: int | None = None) -> Tensor:
        return torch.randn(num_samples, dim or self.dim, dtype=self.dtype, generator=generator)


class SkewNormal(_Target):
    """Independent skew-normal coordinates of shape 5: 2 phi(x) Phi(5 x)."""

    def evaluate(self, y: Tensor) -> Tensor:
        return (math.log(2) - 0.5 * y.square() - 0.5 * math.log(2 * math.pi) + torch.special.log_ndtr(5 * y)).sum(-1)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        delta = 5 / math.sqrt(26)
        first, second = self.normal(num_samples, generator), self.normal(num_samples, generator)
        return delta * first.abs() + math.sqrt(1 - delta**2) * second


class Banana(_Target):
    """A normal bent along a parabola: the second coordinate is shifted by (x_1^2 - 4)/2, with x_1 ~ N(0, 4)."""

    def evaluate(self, y: Tensor) -> Tensor:
        first, second = y[..., 0], y[..., 1] - (y[..., 0].square() - 4) / 2
        rest = y[..., 2:].square().sum(-1)
        return -0.5 * (first.square() / 4 + second.square() + rest) - math.log(2) - 0.5 * self.dim * math.log(2 * math.pi)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        z = self.normal(num_samples, generator)
        z[:, 0] *= 2
        z[:, 1] += (z[:, 0].square() - 4) / 2
        return z


class Funnel(_Target):
    """Neal's funnel of moderate depth: v ~ N(0, 1.5^2), the others N(0, exp v)."""

    def evaluate(self, y: Tensor) -> Tensor:
        v, rest = y[..., 0], y[..., 1:]
        conditional = -0.5 * rest.square().sum(-1) * (-v).exp() - 0.5 * (self.dim - 1) * v
        return conditional - 0.5 * (v / 1.5).square() - math.log(1.5) - 0.5 * self.dim * math.log(2 * math.pi)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        z = self.normal(num_samples, generator)
        v = 1.5 * z[:, :1]
        return torch.cat([v, z[:, 1:] * (v / 2).exp()], 1)


class Ring(_Target):
    """Radius N(3, 0.3^2) around the origin of the plane, uniform angle."""

    def evaluate(self, y: Tensor) -> Tensor:
        radius = torch.linalg.vector_norm(y, dim=-1)
        radial = -0.5 * ((radius - 3) / 0.3).square() - math.log(0.3) - 0.5 * math.log(2 * math.pi)
        return radial - radius.log() - math.log(2 * math.pi)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        z = self.normal(num_samples, generator)
        radius = 3 + 0.3 * self.normal(num_samples, generator, 1)
        return radius * z / torch.linalg.vector_norm(z, dim=-1, keepdim=True)


class SoftBall(_Target):
    """The uniform ball of radius 2 blurred at its rim: density proportional to a logistic function of (2 - |y|)/0.1."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        r = torch.linspace(0, 6, 60_001, dtype=self.dtype)
        shell = torch.sigmoid((2 - r) / 0.1) * r ** (dim - 1)
        self._radii, self._cumulative = r, torch.cumulative_trapezoid(shell, r)
        surface = math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(dim / 2)
        self._log_volume = surface + float(self._cumulative[-1].log())

    def evaluate(self, y: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid((2 - torch.linalg.vector_norm(y, dim=-1)) / 0.1) - self._log_volume

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        z = self.normal(num_samples, generator)
        share = torch.rand(num_samples, dtype=self.dtype, generator=generator)
        radius = self._radii[torch.searchsorted(self._cumulative / self._cumulative[-1], share) + 1]
        return radius[:, None] * z / torch.linalg.vector_norm(z, dim=-1, keepdim=True)


def many_modes(dim: int, generator: torch.Generator) -> GaussianMixture:
    """11 to 19 components with means U[-3, 3]^d and diagonal variances U[0.2, 1]^d of equal weight."""
    k = int(torch.randint(11, 20, (), generator=generator))
    means = 6 * torch.rand(k, dim, dtype=torch.float64, generator=generator) - 3
    return GaussianMixture(torch.ones(k), means, 0.2 + 0.8 * torch.rand(k, dim, dtype=torch.float64, generator=generator))


def anisotropic(dim: int, generator: torch.Generator) -> GaussianMixture:
    """1 to 5 randomly oriented components whose variances span a factor of 400."""
    k = int(torch.randint(1, 6, (), generator=generator))
    means = 6 * torch.rand(k, dim, dtype=torch.float64, generator=generator) - 3
    rotation = torch.linalg.qr(torch.randn(k, dim, dim, dtype=torch.float64, generator=generator))[0]
    spread = torch.logspace(-1, math.log10(2), dim, dtype=torch.float64) if dim > 1 else torch.ones(1, dtype=torch.float64)
    factor = rotation * spread
    return GaussianMixture(torch.ones(k), means, factor @ factor.mT)


def _fixed(target: ReferenceDensity) -> Callable[[torch.Generator], ReferenceDensity]:
    return lambda generator: target


def _zeros(dim: int) -> Tensor:
    return torch.zeros(dim, dtype=torch.float64)


OUT_OF_FAMILY: dict[str, Callable[[torch.Generator], ReferenceDensity]] = {
    "Laplace, d=2": _fixed(Laplace(_zeros(2), _zeros(2) + 1)),
    "Laplace, d=10": _fixed(Laplace(_zeros(10), _zeros(10) + 1)),
    "Student-t 3, d=2": _fixed(StudentT(_zeros(2), torch.eye(2, dtype=torch.float64), 3.0)),
    "Student-t 3, d=10": _fixed(StudentT(_zeros(10), torch.eye(10, dtype=torch.float64), 3.0)),
    "11-19 modes, d=2": lambda generator: many_modes(2, generator),
    "11-19 modes, d=10": lambda generator: many_modes(10, generator),
    "skewed, d=2": _fixed(SkewNormal(2)),
    "skewed, d=10": _fixed(SkewNormal(10)),
    "banana, d=2": _fixed(Banana(2)),
    "banana, d=10": _fixed(Banana(10)),
    "funnel, d=2": _fixed(Funnel(2)),
    "funnel, d=5": _fixed(Funnel(5)),
    "ring, d=2": _fixed(Ring(2)),
    "ball, d=2": _fixed(SoftBall(2)),
    "ball, d=5": _fixed(SoftBall(5)),
    "anisotropic, d=2": lambda generator: anisotropic(2, generator),
    "anisotropic, d=10": lambda generator: anisotropic(10, generator),
}
