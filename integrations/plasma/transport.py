"""Fokker-Planck equations and gradient flows solved by moving particles along their own score."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.arrays import as_points, check_callable, check_not_negative
from disco_samplers.solvers import FIXED, solver
from disco_samplers.types import ArrayLike

from .relaxation_pictures import plot_trajectory
from .types import VelocityScore


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """Particles at several times.

    Arguments:
        times: (k,).
        x: (k, n, d).
    """

    times: Tensor
    x: Tensor

    @property
    def mean(self) -> Tensor:
        """Means (k, d)."""
        return self.x.mean(1)

    @property
    def covariance(self) -> Tensor:
        """Covariances (k, d, d)."""
        c = self.x - self.x.mean(1, keepdim=True)
        return c.mT @ c / self.x.shape[1]

    def plot(self, exact: Callable[[float], tuple[Tensor, Tensor]] | None = None, path: str | None = None) -> Any:
        """Draws means and variances against time, dashed what is exact; see :func:`.relaxation_pictures.plot_trajectory`."""
        times, variance = self.times.tolist(), self.covariance.diagonal(dim1=-2, dim2=-1)
        return plot_trajectory(times, self.mean.cpu().numpy(), variance.cpu().numpy(), exact, path)


def transport(
    x: ArrayLike,
    times: Sequence[float],
    *,
    drift: Callable[[Tensor], Tensor],
    diffusion: float,
    score: VelocityScore,
    method: str = "dopri5",
    step_size: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    progress: bool = True,
) -> Trajectory:
    r"""Solves a Fokker-Planck equation with deterministic particles.

    .. math:: \partial_t f = -\nabla \cdot (b f) + D \Delta f, \qquad \frac{dx}{dt} = b(x) - D\, \nabla \log f(x, t),

    with the score of f read off the particles at every stage. For :math:`b = -\nabla V` this is the gradient flow of the
    free energy :math:`\int f V + D \int f \log f`. An interrupt (Ctrl-C) keeps the times reached, and is passed on
    before the first of them.

    Arguments:
        x: particles (n, d) at the first time.
        times: when to report, increasing.
        drift: b, maps (n, d) to (n, d).
        diffusion: D.
        score: of the particles.
        method: of ``torchdiffeq``: "dopri5", "dopri8", "bosh3", "fehlberg2" and "adaptive_heun" choose their steps, "euler",
            "midpoint", "heun2", "heun3" and "rk4" need ``step_size``.
        step_size: of a method with fixed steps.
        rtol: relative tolerance of a method that chooses its steps, 1e-3 by default.
        atol: absolute one, 1e-4 by default.
        progress: whether to show a progress bar over the times.

    Returns:
        A :class:`Trajectory`.

    Raises:
        ValueError: if x, the times, ``diffusion`` or an option of the solver is out of range, or the method does not heed one.
        KeyboardInterrupt: if interrupted before the first time is reached.
        ImportError: if torchdiffeq is not installed.

    References:
        Maoutsa, Reich, Opper, *Interacting particle solutions of Fokker-Planck equations through gradient-log-density
        estimation*, Entropy 2020, eq. 9.

    Example:
        >>> from disco_samplers.integrations.plasma.scores import Maxwellian
        >>> x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
        >>> path = transport(x, [0.0, 9.0], drift=lambda x: -x, diffusion=2.0, score=Maxwellian(), progress=False)
        >>> round(float(path.covariance[-1]), 2)  # the Ornstein-Uhlenbeck process of variance two
        2.0
    """
    start = as_points(x, "x")
    if start.ndim != 2 or len(start) < 2:
        raise ValueError(f"x must have shape (n, d) with n >= 2, got {tuple(start.shape)}")
    if not times or not all(map(math.isfinite, times)) or any(b <= a for a, b in itertools.pairwise(times)):
        raise ValueError(f"times must increase, got {list(times)}")
    check_not_negative("diffusion", diffusion)
    check_callable("drift", drift, "(n, d) -> (n, d)")
    check_callable("score", score, "a VelocityScore")
    integrate = solver(method, rtol=rtol, atol=atol, step_size=step_size)
    if method in FIXED and step_size is None:
        raise ValueError(f"method {method!r} takes steps of a fixed size: give step_size")
    w = start.new_full((len(start),), 1 / len(start))
    cell = torch.zeros(len(start), dtype=torch.int64, device=start.device)

    def rate(_time: Tensor, now: Tensor) -> Tensor:
        return drift(now) - diffusion * score(now, w, cell, 1)

    places, reached = [start], list(times)
    ends = torch.tensor(reached, dtype=start.dtype, device=start.device)
    try:
        for i in tqdm(range(1, len(reached)), disable=not progress, desc="transport"):
            places.append(integrate(rate, places[-1], ends[i - 1 : i + 1])[-1])
    except KeyboardInterrupt:
        if len(places) == 1:
            raise
    return Trajectory(ends[: len(places)], torch.stack(places))
