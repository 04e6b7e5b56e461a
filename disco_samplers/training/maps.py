"""Smooth invertible maps of points (b, m, d), random and batched, and the laws that they make of others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.reference import ReferenceDensity

_NEWTON_STEPS = 12


class Map:
    """A smooth invertible map of points (b, m, d)."""

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The preimage (b, m, d) and the log-determinant of the inverse's Jacobian (b, m)."""
        raise NotImplementedError


class Linear(Map):
    """y = x S R with positive scales S and a rotation R, batched."""

    def __init__(self, rotation: Tensor, scales: Tensor) -> None:
        self.rotation, self.scales = rotation, scales  # (b, d, d), (b, 1, d)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scales) @ self.rotation

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y @ self.rotation.mT / self.scales, -self.scales.log().sum(-1).expand(y.shape[:-1])


class Factor(Map):
    """y = x M with a positive definite matrix M (b, d, d)."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.cholesky = matrix, torch.linalg.cholesky(matrix)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cholesky_solve(y.mT, self.cholesky).mT
        return x, -2 * self.cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True).expand(y.shape[:-1])


class Autoregression(Map):
    r"""Columns in a row, each leaning on the one before: :math:`y_a = \rho y_{a-1} + \sqrt{1 - \rho^2} x_a`."""

    def __init__(self, rho: Tensor) -> None:
        self.rho = rho  # (b, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        noise = (1 - self.rho[..., 0].square()).sqrt()
        columns = [x[..., 0]]
        for a in range(1, x.shape[-1]):
            columns.append(self.rho[..., 0] * columns[-1] + noise * x[..., a])
        return torch.stack(columns, -1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        noise = (1 - self.rho.square()).sqrt()
        x = torch.cat([y[..., :1], (y[..., 1:] - self.rho * y[..., :-1]) / noise], -1)
        return x, -(y.shape[-1] - 1) * noise[..., 0].log().expand(y.shape[:-1])


class SinhArcsinh(Map):
    """Coordinatewise skew and tail weight: y = sinh((asinh(x) + a) / b).

    References:
        Jones, Pewsey, *Sinh-arcsinh distributions*, Biometrika 2009.
    """

    def __init__(self, batch: int, d: int, generator: torch.Generator) -> None:
        strength = uniform((batch, 1, 1), generator)
        self.skew = 0.6 * strength * normal((batch, 1, d), generator)
        self.tail = (0.2 * strength * normal((batch, 1, d), generator)).exp().clamp(0.7, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sinh((torch.asinh(x) + self.skew) / self.tail)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.tail * torch.asinh(y) - self.skew
        # log cosh written so that it neither overflows nor loses its gradient.
        log_cosh = inner.abs() + torch.log1p((-2 * inner.abs()).exp()) - math.log(2)
        return torch.sinh(inner), (self.tail.log() + log_cosh - 0.5 * torch.log1p(y.square())).sum(-1)


class SineShear(Map):
    """y = x + u a sin(omega w.x + phase) with u orthogonal to w: bends a set and keeps its volume."""

    def __init__(self, batch: int, d: int, generator: torch.Generator) -> None:
        q = rotation(batch, d, generator)
        self.u, self.w = q[:, :1], q[:, 1:2]  # (b, 1, d)
        self.amplitude = 1.5 * normal((batch, 1, 1), generator)
        self.omega = 0.3 + 1.2 * uniform((batch, 1, 1), generator)
        self.phase = 2 * math.pi * uniform((batch, 1, 1), generator)

    def _shift(self, x: Tensor) -> Tensor:
        angle = self.omega * (x * self.w).sum(-1, keepdim=True) + self.phase
        return self.amplitude * torch.sin(angle) * self.u

    def forward(self, x: Tensor) -> Tensor:
        return x + self._shift(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y - self._shift(y), y.new_zeros(y.shape[:-1])


class Coupling(Map):
    r"""Some columns shift and stretch the others: :math:`y_B = x_B e^{s(x_A)} + t(x_A), \; y_A = x_A`.

    s and t are smooth random functions, sums of ridge functions :math:`c_k\, g(w_k \cdot x_A + b_k)` with g a hyperbolic
    tangent, a sine or a logarithm of a hyperbolic cosine; s is kept within a random bound. With one column in A and no
    shift it is a hierarchical law, whose scale is a variable of its own.

    References:
        Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP* (https://arxiv.org/abs/1605.08803).
    """

    def __init__(self, batch: int, d: int, generator: torch.Generator, *, hierarchical: bool = False) -> None:
        device = generator.device
        size = 1 if hierarchical else int(torch.randint(1, d, (), generator=generator, device=device))
        order = torch.randperm(d, generator=generator, device=device)
        self.a, self.b = order[:size], order[size:]
        hidden = 8
        scale = 0.3 + 1.2 * uniform((batch, 1, 1), generator)
        self.w = scale * normal((batch, size, hidden), generator) / math.sqrt(size)
        self.bias = normal((batch, 1, hidden), generator)
        self.kind = torch.randint(3, (batch, 1, hidden), generator=generator, device=device)
        # A common direction of the stretch lets one variable drive all others, as a hierarchical scale does.
        common = uniform((batch, 1, 1), generator) if not hierarchical else torch.ones((batch, 1, 1), device=device)
        stretch = normal((batch, hidden, d - size), generator)
        stretch = common * stretch[..., :1] + (1 - common) * stretch
        self.stretch = 1.2 * uniform((batch, 1, 1), generator) * stretch / math.sqrt(hidden)
        self.bound = 0.4 * 6 ** uniform((batch, 1, 1), generator)
        sizes = 2.5 * uniform((batch, 1, 1), generator) * (0.0 if hierarchical else 1.0)
        few = normal((batch, hidden, d - size), generator) * uniform((batch, 1, d - size), generator).square()
        self.shift = sizes * few / math.sqrt(hidden)
        if hierarchical:  # a monotone scale: only tangents, all of one sign
            self.kind = torch.zeros_like(self.kind)
            self.stretch = 2 * self.stretch[..., :1].abs().expand_as(self.stretch)
            self.w = self.w.abs() * 0.5

    def _conditioners(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u = x[..., self.a] @ self.w + self.bias
        log_cosh = u.abs() + torch.log1p((-2 * u.abs()).exp())
        ridge = torch.where(self.kind == 0, torch.tanh(u), torch.where(self.kind == 1, torch.sin(u), log_cosh))
        return self.bound * torch.tanh(ridge @ self.stretch / self.bound), ridge @ self.shift

    def forward(self, x: Tensor) -> Tensor:
        s, t = self._conditioners(x)
        return x.index_copy(-1, self.b, x[..., self.b] * s.exp() + t)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self._conditioners(y)
        return y.index_copy(-1, self.b, (y[..., self.b] - t) * (-s).exp()), -s.sum(-1)


class Monotone(Map):
    """A map of each column by itself with slopes between ``least`` and 1, inverted by Newton's method."""

    least: Tensor  # (b, 1, d)

    def value(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def slope(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def start(self, y: Tensor) -> Tensor:
        """Where Newton's method starts; from there it moves towards the root without passing it."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            x = self.start(y)
            for _ in range(_NEWTON_STEPS):
                x = x - (self.value(x) - y) / self.slope(x)
            slope = self.slope(x)
        # One more step, this time with its derivative: dx/dy is 1 / slope, of first order as the score needs.
        x = x - (self.value(x) - y) / slope if not y.requires_grad else _Root.apply(y, x, slope)
        return x, -self.slope(x).log().sum(-1)


class _Root(torch.autograd.Function):
    """The preimage of y with its derivative."""

    @staticmethod
    def forward(ctx, y: Tensor, x: Tensor, slope: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(slope)
        return x.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        return grad / ctx.saved_tensors[0], None, None


class Edge(Monotone):
    r"""Columns pressed against an edge: :math:`y = (1 - e) \log(1 + e^{k x})/k + e x`, about x where positive, e x elsewhere.

    What lies below zero ends up in a layer e times as thick: half-normals, exponentials and spikes with smooth flanks.
    """

    def __init__(self, batch: int, d: int, generator: torch.Generator) -> None:
        self.least = 0.06 * 8 ** uniform((batch, 1, d), generator)
        self.least = torch.where(uniform((batch, 1, d), generator) < 0.4, 1.0, self.least)  # some columns as they were
        self.k = 1.5 * 5 ** uniform((batch, 1, d), generator)
        self.shift = 1.5 * normal((batch, 1, d), generator) * uniform((batch, 1, 1), generator)

    def value(self, x: Tensor) -> Tensor:
        u = x - self.shift
        return (1 - self.least) * torch.nn.functional.softplus(self.k * u) / self.k + self.least * u

    def slope(self, x: Tensor) -> Tensor:
        return (1 - self.least) * torch.sigmoid(self.k * (x - self.shift)) + self.least

    def start(self, y: Tensor) -> Tensor:
        # The map is convex and lies above both its asymptotes: to the right of the root.
        return torch.where(y > 0, y, y / self.least) + self.shift


class Box(Monotone):
    r"""Columns pressed into an interval: :math:`y = (1 - e) \tanh(k x)/k + e x`, steep in the middle, slope e outside."""

    def __init__(self, batch: int, d: int, generator: torch.Generator) -> None:
        self.least = 0.06 * 8 ** uniform((batch, 1, d), generator)
        self.least = torch.where(uniform((batch, 1, d), generator) < 0.4, 1.0, self.least)
        self.k = 0.4 * 4 ** uniform((batch, 1, d), generator)
        self.shift = 0.7 * normal((batch, 1, d), generator) * uniform((batch, 1, 1), generator)

    def value(self, x: Tensor) -> Tensor:
        u = x - self.shift
        return (1 - self.least) * torch.tanh(self.k * u) / self.k + self.least * u

    def slope(self, x: Tensor) -> Tensor:
        return (1 - self.least) * (1 - torch.tanh(self.k * (x - self.shift)).square()) + self.least

    def start(self, y: Tensor) -> Tensor:
        # Concave to the right of zero, convex to the left, slopes at most 1: on the near side of the root.
        return y + self.shift


class Pushforward(ReferenceDensity):
    """A base distribution moved by a chain of maps."""

    def __init__(self, base: ReferenceDensity, maps: list[Map]) -> None:
        self.base, self.maps = base, maps
        self.dim, self.dtype, self.device = base.dim, base.dtype, base.device

    def evaluate(self, y: Tensor) -> Tensor:
        total = y.new_zeros(y.shape[:-1])
        for step in reversed(self.maps):
            y, log_det = step.inverse(y)
            total = total + log_det
        return total + self.base.evaluate(y)

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        x = self.base.draw(num_samples, generator)
        for step in self.maps:
            x = step.forward(x)
        return x


def uniform(shape: tuple[int, ...] | torch.Size, generator: torch.Generator) -> Tensor:
    """Uniform numbers on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Normal numbers on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device)


def rotation(batch: int, d: int, generator: torch.Generator) -> Tensor:
    """Random rotations (b, d, d)."""
    turned: Tensor = torch.linalg.qr(normal((batch, d, d), generator))[0]
    return turned


def linear(batch: int, d: int, generator: torch.Generator) -> Linear:
    """Scales about one, in half of the sets followed by a rotation."""
    turned = rotation(batch, d, generator)
    keep = uniform((batch, 1, 1), generator) < 0.5
    turned = torch.where(keep, torch.eye(d, device=generator.device), turned)
    return Linear(turned, (0.5 * normal((batch, 1, d), generator)).exp())
