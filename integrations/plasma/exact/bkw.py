"""The Bobylev-Krook-Wu solution: the one relaxation of the Landau equation that is known in full."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.arrays import check_count, check_number, check_positive
from disco_samplers.randomness import generator_on, seed_of

from ..velocities import standardised


class BKW:
    r"""A distribution that stays of one form while Landau collisions of Maxwell molecules (exponent 0) relax it.

    At density and temperature one,

    .. math:: f(v, t) = (2 \pi K)^{-d/2} e^{-v^2/2K} (P + Q v^2), \qquad K = 1 - (1 - K_0)\, e^{-2 (d-1) C t},

    with :math:`P = ((d+2) K - d)/2K`, :math:`Q = (1-K)/2K^2`. The covariance is the identity at all times, the fourth moment
    :math:`\mathbb E|v|^4 = d (d+2) [1 - (1-K)^2]` is not.

    Arguments:
        dim: number of velocity components d, at least 2.
        strength: C of the collisions; by default 1/16 for d = 2 and 1/24 beyond, as published examples have it.
        start: K at time zero, in [d/(d+2), 1); by default the lowest, where f vanishes at v = 0.

    Raises:
        ValueError: if an argument is out of range.

    References:
        Bobylev, Sov. Phys. Dokl. 1976; Krook, Wu, *Exact solutions of the Boltzmann equation*, Phys. Fluids 1977; Carrillo,
        Hu, Wang, Wu, *A particle method for the homogeneous Landau equation*, J. Comput. Phys. X 2020, examples 1 and 2.

    Example:
        >>> solution = BKW(2)
        >>> v = solution.sample(1000, seed=0)
        >>> v.shape, solution.fourth_moment(0.0)
        (torch.Size([1000, 2]), 6.0)
    """

    def __init__(self, dim: int, *, strength: float | None = None, start: float | None = None) -> None:
        check_count("dim", dim, 2)
        self.dim = dim
        self.strength = (1 / 16 if dim == 2 else 1 / 24) if strength is None else strength
        self.start = dim / (dim + 2) if start is None else start
        check_positive("strength", self.strength)
        check_number("start", self.start)
        if not dim / (dim + 2) <= self.start < 1:
            raise ValueError(f"start must lie in [d/(d+2), 1) = [{dim / (dim + 2):.3g}, 1), or f is negative; got {start}")

    def width(self, time: float = 0.0) -> float:
        """K at a time."""
        return 1 - (1 - self.start) * math.exp(-2 * (self.dim - 1) * self.strength * time)

    def fourth_moment(self, time: float = 0.0) -> float:
        """The mean of |v|^4."""
        return self.dim * (self.dim + 2) * (1 - (1 - self.width(time)) ** 2)

    def log_prob(self, v: Tensor, time: float = 0.0) -> Tensor:
        """Log-density (n,) at velocities (n, d)."""
        k, p, q = self._coefficients(time)
        r2 = v.square().sum(-1)
        log_f: Tensor = (p + q * r2).log() - 0.5 * (r2 / k + self.dim * math.log(2 * math.pi * k))
        return log_f

    def score(self, v: Tensor, time: float = 0.0) -> Tensor:
        """Score (n, d) at velocities (n, d)."""
        k, p, q = self._coefficients(time)
        return v * (2 * q / (p + q * v.square().sum(-1, keepdim=True)) - 1 / k)

    def entropy(self, time: float = 0.0) -> float:
        """The entropy in nats, by quadrature over the speed."""
        r = torch.linspace(0, 14, 20001, dtype=torch.float64, device="cpu")[1:]
        point = r.new_zeros(len(r), self.dim)
        point[:, 0] = r
        log_f = self.log_prob(point, time)
        log_area = math.log(2) + 0.5 * self.dim * math.log(math.pi) - math.lgamma(0.5 * self.dim)
        integrand = (log_area + (self.dim - 1) * r.log() + log_f).exp() * log_f
        return -float(torch.trapezoid(integrand, r))

    def sample(
        self,
        num_samples: int,
        time: float = 0.0,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Independent velocities (n, d): v^2/K is chi-squared with d degrees of freedom with probability P, else with d + 2."""
        check_count("num_samples", num_samples, 1)
        generator = generator_on(device, seed=seed, generator=generator)
        k, p, _ = self._coefficients(time)
        z = torch.randn(num_samples, self.dim + 2, generator=generator, dtype=dtype, device=device)
        other = torch.rand(num_samples, generator=generator, dtype=dtype, device=device) >= p
        r2 = z[:, : self.dim].square().sum(1) + other * z[:, self.dim :].square().sum(1)
        direction = z[:, : self.dim] / torch.linalg.vector_norm(z[:, : self.dim], dim=1, keepdim=True)
        velocities: Tensor = (k * r2).sqrt()[:, None] * direction
        return velocities

    def quiet(
        self,
        num_samples: int,
        time: float = 0.0,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Evenly placed velocities (n, d) of mean zero and covariance one.

        Even steps go through the inverse of the speed's distribution and a scrambled Sobol sequence gives directions; then mean
        and covariance are made exact.
        """
        check_count("num_samples", num_samples, self.dim + 1)
        seed = seed_of(seed=seed, generator=generator)
        k, p, _ = self._coefficients(time)
        level = (torch.arange(num_samples, dtype=torch.float64, device="cpu") + 0.5) / num_samples
        with torch.device("cpu"):
            points = torch.quasirandom.SobolEngine(self.dim, scramble=True, seed=seed).draw(num_samples, dtype=torch.float64)
        half = torch.full_like(level, 0.5 * self.dim)
        low, high = torch.zeros_like(half), torch.full_like(half, 200.0 + 4 * self.dim)
        for _ in range(60):  # bisection on v^2/2K
            middle = 0.5 * (low + high)
            below = p * torch.special.gammainc(half, middle) + (1 - p) * torch.special.gammainc(half + 1, middle) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        direction = torch.special.ndtri(points.clamp(2.0**-31, 1 - 2.0**-31))  # the sequence has thirty binary digits
        direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        return standardised((2 * k * high).sqrt()[:, None] * direction).to(dtype)

    def _coefficients(self, time: float) -> tuple[float, float, float]:
        k = self.width(time)
        return k, max(((self.dim + 2) * k - self.dim) / (2 * k), 0.0), (1 - k) / (2 * k * k)
