r"""Slices of one or two free columns, integrated on grids that are dense where the free columns are expected.

A grid is regular in u, :math:`-6 \le u_j \le 6`. In a column's own coordinate, the real line of its support, it lies at

.. math:: z = c_i + L \sinh(u),

with :math:`c_i` the linear prediction of the free columns by the given ones and L a root of the covariance of what is left. So
it has steps of a quarter of a standard deviation around the prediction, and goes 200 of them out, as far as power laws want.
The trapezoidal rule in u converges faster than any power of its step where densities are smooth, and so a step and twice the
step give the same integral as soon as a slice is resolved; where they do not, the step is halved.

References:
    Trefethen, Weideman, *The exponentially convergent trapezoidal rule*, SIAM Review 2014; Takahasi, Mori, *Double exponential
    formulas for numerical integration*, 1974, for rules of this kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.estimators.judge import mean
from disco_samplers.estimators.moments import moments
from disco_samplers.estimators.slices import Slices
from disco_samplers.estimators.transforms import SupportTransform

MAX_FREE = 2
"""Free columns that are integrated on a grid."""

_REACH = 6.0
_NODES = {1: (49, 5), 2: (49, 2)}
"""Of an axis at first, and how often their step may be halved."""

_TOLERANCE = {1: 5e-3, 2: 1e-2}
"""Nats that the bound of an integral's error may be; of smooth slices the error is about its square."""

_FINE = {1: (769, 2), 2: (97, 1)}
"""Nodes of an axis, at least, between which densities are taken for linear, and how often the step is halved for that."""

_TILE, _HELD = 2**18, 2**22
"""Nodes evaluated at a time, and densities held."""

_BELOW = 2
"""How often the step is halved for the mass below a point."""

_FALL = 800.0
"""Nats below its top where a slice's log-density ends, for the interpolation between nodes."""


class Places(NamedTuple):
    """Where b slices of k free columns are expected: centres (b, k) and factor (k, k) on the real lines of their supports."""

    centres: Tensor
    factor: Tensor
    change: SupportTransform

    @classmethod
    def of(cls, slices: Slices, rows: Tensor, counts: Tensor | None, change: SupportTransform) -> Places:
        """By a linear fit to rows (n, d), each worth so many draws (n,), or one, in the coordinates of a change of columns."""
        free, given = slices.free, slices.given
        to_free, to_given = (SupportTransform([change.forms[i] for i in columns]) for columns in (free, given))
        z = change(rows.double())
        n, d = z.shape
        center = mean(z, counts)
        spread = (z - center).abs().amax(0).clamp_min(torch.finfo(z.dtype).tiny)
        unit = (z - center) / spread
        share = unit.new_full((n,), 1 / n) if counts is None else counts.double() / counts.double().sum()
        covariance = (share[:, None] * unit).T @ unit
        # A direction without variance has a width all the same, and few rows do not tell many slopes.
        ridge = 1e-6 + min(1.0, (d * float(share.square().sum())) ** 2)
        covariance = covariance + torch.diag(ridge * covariance.diagonal() + 1e-12)
        slope = torch.linalg.solve(covariance[given][:, given], covariance[given][:, free])
        left = covariance[free][:, free] - covariance[free][:, given] @ slope
        factor = torch.linalg.cholesky(left) * spread[free][:, None]
        offset = ((to_given(slices.values) - center[given]) / spread[given]) @ slope
        kept = offset.clamp(unit[:, free].amin(0), unit[:, free].amax(0))
        return cls(center[free] + spread[free] * kept, factor, to_free)

    def at(self, u: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Points (b, m, k) of some rows (b,) at u (m, k), or (b, m, k), and the log-volume (b, m) of a unit of u there."""
        z = self.centres[rows][:, None] + u.sinh() @ self.factor.T
        y = self.change.inv(z)
        volume = u.cosh().log().sum(-1) + self.factor.diagonal().log().sum()
        return y, volume - self.change.log_abs_det_jacobian(y, z)

    def inverse(self, points: Tensor, rows: Tensor) -> Tensor:
        """Where points (b,) of one free column of some rows (b,) are, u (b,)."""
        z: Tensor = self.change(points[:, None])
        return ((z - self.centres[rows]) / self.factor[0, 0]).asinh()[:, 0]


class Grid(NamedTuple):
    """Slices of some rows (b,) on one grid: log-density by u (b, K) or (b, K, K), log-integral and its error (b,)."""

    rows: Tensor
    log_density: Tensor
    log_z: Tensor
    error: Tensor


class Quadrature:
    r"""The integrals of slices of one or two free columns, and what follows from them.

    Arguments:
        slices: of b given values.
        places: where the free columns are expected.
        refine: whether the step is halved for slices that are not resolved.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> law = Gaussian(torch.zeros(2).double(), torch.eye(2).double())
        >>> slices = Slices(law, [0], torch.zeros(1, 1).double(), 2)
        >>> places = Places(torch.ones(1, 1).double(), torch.eye(1).double(), SupportTransform([None]))
        >>> found = Quadrature(slices, places)
        >>> found.log_z.exp(), found.quantile(torch.tensor([0.975]))
        (tensor([0.3989], dtype=torch.float64), tensor([[1.9600]], dtype=torch.float64))
    """

    def __init__(self, slices: Slices, places: Places, *, refine: bool = True) -> None:
        self.slices, self.places, self.k = slices, places, len(slices.free)
        b = len(slices.values)
        nodes, self._halvings = _NODES[self.k][0], _NODES[self.k][1] if refine else 0
        rows = torch.arange(b, device=slices.values.device)
        with torch.no_grad():
            self._grids = [grid for part in rows.split(max(1, _TILE // nodes**self.k)) for grid in self._integrate(part)]
        self._order = torch.cat([grid.rows for grid in self._grids]).argsort()

    @property
    def log_z(self) -> Tensor:
        """Logs of the integrals, (b,)."""
        return torch.cat([grid.log_z for grid in self._grids])[self._order]

    @property
    def error(self) -> Tensor:
        """Bounds of their errors, in nats, (b,)."""
        return torch.cat([grid.error for grid in self._grids])[self._order]

    def tempered(self, powers: Tensor) -> Tensor:
        """Logs (b, p) of the integrals of powers (p,) of the density."""
        found = []
        for grid in self._grids:
            nodes = grid.log_density.shape[1]
            log_density, volume = grid.log_density.flatten(1), self.places.at(self._u(nodes), grid.rows)[1]
            parts = [(power * (log_density - volume) + volume).logsumexp(1) for power in powers]
            found.append(torch.stack(parts, 1) + self.k * math.log(2 * _REACH / (nodes - 1)))
        return torch.cat(found)[self._order]

    def below(self, points: Tensor, powers: Tensor) -> Tensor:
        """Shares (b, p) of the mass of powers (p,) of the density of one free column that lie below points (b,)."""
        found = []
        for grid in self._grids:
            log_density = _finer(grid.log_density, _BELOW)
            nodes = log_density.shape[1]
            step, volume = 2 * _REACH / (nodes - 1), self.places.at(self._u(nodes), grid.rows)[1]
            u = self.places.inverse(points[grid.rows], grid.rows)
            densities = [(power * (log_density - volume) + volume).softmax(1) for power in powers]
            found.append(torch.stack([_below(density, step, u) for density in densities], 1))
        shares = torch.cat(found)[self._order]
        return 1 - shares if self._falls() else shares

    def moments(self, periods: Sequence[float] | None = None) -> tuple[Tensor, Tensor]:
        """Means and variances of the data's free columns, both (b, k); ``periods`` as of :func:`.moments.moments`."""
        found = []
        for grid in self._grids:
            log_density = grid.log_density
            y, _ = self.places.at(self._u(log_density.shape[1]), grid.rows)
            y = self.slices.outward(y, grid.rows)
            found.append(moments(y, torch.softmax(log_density.flatten(1), 1), periods))
        means, variances = (torch.cat(parts) for parts in zip(*found, strict=True))
        return means[self._order], variances[self._order]

    def quantile(self, levels: Tensor) -> Tensor:
        """Quantiles (b, q) of the one free coordinate at levels (q,), or (b, q)."""
        found = []
        levels = (1 - levels if self._falls() else levels).expand(len(self._order), -1)
        for rows, density, step in self._fine():
            u = _inverse(density, step, levels[rows].to(density))
            found.append(self.places.at(u[..., None], rows)[0][..., 0])
        return torch.cat(found)[self._order]

    def sample(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        """Draws (b, num_samples, k) of the data's free columns."""
        found = []
        for rows, density, step in self._fine():
            options: dict[str, Any] = {"generator": generator, "dtype": density.dtype, "device": density.device}
            shares = torch.rand(self.k, len(density), num_samples, **options)
            first = _inverse(density if self.k == 1 else density.sum(-1), step, shares[0])
            if self.k == 1:
                u = first[..., None]
            else:
                second = [_second(*row, step) for row in zip(density, first, shares[1], strict=True)]
                u = torch.stack([first, torch.stack(second)], -1)
            found.append(self.slices.outward(self.places.at(u, rows)[0], rows))
        return torch.cat(found)[self._order]

    def _falls(self) -> bool:
        """Whether the one free column falls with its coordinate, as one that ends above only does."""
        rows = self._grids[0].rows[:1]
        ends = self.places.at(torch.tensor([[-1.0], [1.0]], dtype=torch.float64, device=rows.device), rows)[0][0, :, 0]
        return bool(ends[0] > ends[1])

    def _fine(self) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Rows (b,), their densities up to a constant of each, so dense that they are linear between nodes, and the step."""
        least, times = _FINE[self.k]
        for grid in self._grids:
            nodes = grid.log_density.shape[1]
            halvings = max(times, math.ceil(math.log2((least - 1) / (nodes - 1))))
            nodes = (nodes - 1) * 2**halvings + 1
            many = max(1, _HELD // nodes**self.k)
            for rows, log_density in zip(grid.rows.split(many), grid.log_density.split(many), strict=True):
                fine = _finer(log_density, halvings)
                top = fine.amax(tuple(range(1, self.k + 1)), keepdim=True)
                yield rows, (fine - top).exp(), 2 * _REACH / (nodes - 1)

    def _integrate(self, rows: Tensor) -> Iterator[Grid]:
        """Grids of rows, each as fine as its rows need it: what is asked together does not matter."""
        nodes, halvings = _NODES[self.k][0], self._halvings
        every = torch.ones(nodes**self.k, dtype=torch.bool, device=rows.device)
        log_density = self._evaluate(nodes, rows, every).view(len(rows), *[nodes] * self.k)
        for i in range(halvings + 1):
            log_z, error = _integral(log_density)
            wide = error > (_TOLERANCE[self.k] if i < halvings else math.inf)
            if not wide.all():
                yield Grid(rows[~wide], log_density[~wide], log_z[~wide], error[~wide])
            if not wide.any():
                return
            rows, log_density = rows[wide], _finer(log_density[wide])
            nodes = log_density.shape[1]
            odd = torch.arange(nodes, device=rows.device) % 2 == 1
            new = odd if self.k == 1 else (odd[:, None] | odd).flatten()
            log_density.view(len(rows), -1)[:, new] = self._evaluate(nodes, rows, new)

    def _evaluate(self, nodes: int, rows: Tensor, wanted: Tensor) -> Tensor:
        """Log-density by u, (b, m), at the wanted ones of the nodes (nodes**k,)."""
        u = self._u(nodes)[wanted]
        parts = []
        for part in rows.split(max(1, _TILE // len(u))):
            y, volume = self.places.at(u, part)
            parts.append(self.slices.log_prob(y, part).double() + volume)
        log_density = torch.cat(parts).nan_to_num(nan=-math.inf)
        return torch.maximum(log_density, log_density.amax(1, keepdim=True) - _FALL)

    def _u(self, nodes: int) -> Tensor:
        axis = torch.linspace(-_REACH, _REACH, nodes, dtype=torch.float64, device=self.slices.values.device)
        return torch.cartesian_prod(*[axis] * self.k).view(-1, self.k)


def _integral(log_density: Tensor) -> tuple[Tensor, Tensor]:
    """Log of the trapezoidal rule's integral (b,), and a bound of its error (b,).

    The bound is by how much it differs from that of twice the step, or an eighth of the difference at the steps before: at a
    kink, where errors go with the step's square, one of them may be small by chance.
    """
    k, nodes = log_density.ndim - 1, log_density.shape[1]
    found = []
    for times in (1, 2, 4):
        some = log_density[(slice(None), *[slice(None, None, times)] * k)]
        found.append(some.flatten(1).logsumexp(1) + k * math.log(times * 2 * _REACH / (nodes - 1)))
    one, two, four = found
    return one, torch.maximum((one - two).abs(), (two - four).abs() / 8)


def _finer(log_density: Tensor, halvings: int = 1) -> Tensor:
    """The log-density (b, K) or (b, K, K) on a grid of half the step, or less: polynomials of six nodes between the nodes."""
    for axis in [*range(1, log_density.ndim)] * halvings:
        f = log_density.movedim(axis, -1)
        steps = torch.tensor([2.0, 1.0], dtype=f.dtype, device=f.device)
        before, after = (
            f[..., :1] - steps * (f[..., 1:2] - f[..., :1]),
            f[..., -1:] + steps.flip(0) * (f[..., -1:] - f[..., -2:-1]),
        )
        g = torch.cat([before, f, after], -1).unfold(-1, 6, 1)
        middle = (150 * (g[..., 2] + g[..., 3]) - 25 * (g[..., 1] + g[..., 4]) + 3 * (g[..., 0] + g[..., 5])) / 256
        # Between two cliffs a polynomial would rise above both of its ends.
        middle = torch.minimum(middle, torch.maximum(f[..., :-1], f[..., 1:]) + 1)
        both = torch.stack([f[..., :-1], middle], -1).flatten(-2)
        log_density = torch.cat([both, f[..., -1:]], -1).movedim(-1, axis)
    return log_density.contiguous()


def _inverse(density: Tensor, step: float, shares: Tensor) -> Tensor:
    """The u (b, q) below which the given shares (b, q) of the mass of densities (b, K), linear between nodes, lie."""
    mass = 0.5 * step * (density[:, 1:] + density[:, :-1])
    below = torch.nn.functional.pad(mass.cumsum(1), (1, 0))
    wanted = shares * below[:, -1:]
    j = (torch.searchsorted(below, wanted.contiguous(), right=True) - 1).clamp(0, mass.shape[1] - 1)
    first, last = density.gather(1, j), density.gather(1, j + 1)
    rest = (wanted - below.gather(1, j)).clamp_min(0)
    # Of the two roots that which does not cancel.
    root = (first.square() + 2 * (last - first) * rest / step).clamp_min(0).sqrt()
    within = 2 * rest / (first + root).clamp_min(torch.finfo(density.dtype).tiny)
    return -_REACH + step * j + within.clamp(0, step)


def _below(density: Tensor, step: float, u: Tensor) -> Tensor:
    """The share (b,) of the mass of densities (b, K), linear between nodes, below u (b,)."""
    mass = 0.5 * step * (density[:, 1:] + density[:, :-1])
    below = torch.nn.functional.pad(mass.cumsum(1), (1, 0))
    place = ((u + _REACH) / step).clamp(0, mass.shape[1])
    j = place.long().clamp_max(mass.shape[1] - 1)[:, None]
    first, last, part = density.gather(1, j)[:, 0], density.gather(1, j + 1)[:, 0], place - j[:, 0]
    within = step * part * (first + 0.5 * part * (last - first))
    return (below.gather(1, j)[:, 0] + within) / below[:, -1]


def _second(density: Tensor, first: Tensor, shares: Tensor, step: float) -> Tensor:
    """The second u (n,) of one law's density (K, K), given the first (n,) and shares (n,)."""
    found = []
    for part, share in zip(first.split(_TILE // len(density)), shares.split(_TILE // len(density)), strict=True):
        place = (part + _REACH) / step
        j = place.long().clamp(0, len(density) - 2)
        weight = (place - j)[:, None]
        found.append(_inverse((1 - weight) * density[j] + weight * density[j + 1], step, share[:, None])[:, 0])
    return torch.cat(found)
