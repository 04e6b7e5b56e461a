"""Statistical assertions that state how often they fail when nothing is wrong."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.arrays import as_tensor, check_number
from disco_samplers.randomness import seed_of
from disco_samplers.types import ArrayLike


def assert_mean_close(
    draws: ArrayLike,
    mean: ArrayLike | float,
    sd: ArrayLike | float | None = None,
    *,
    false_alarm: float = 1e-6,
    ess: ArrayLike | float | None = None,
) -> None:
    r"""Asserts that draws have the given mean.

    .. math:: \max_k \frac{|\bar x_k - \mu_k|}{\sigma_k / \sqrt{n_k}} \le z, \qquad \Phi(-z) = \frac{\text{false alarm}}{2 d}

    Fails with probability ``false_alarm`` when the mean is right, as far as the mean of the draws is normal: exactly for
    normal draws of known ``sd``, else by the central limit theorem.

    Arguments:
        draws: (n,) or (n, d).
        mean: expected mean, () or (d,).
        sd: standard deviation of one draw, () or (d,); that of the draws if not given.
        false_alarm: probability of failing by chance, over all d columns together.
        ess: effective number of draws, () or (d,), where they are correlated; n if not given.

    Raises:
        AssertionError: if a mean is too far off, or a draw is not finite.
        ValueError: if there are fewer than two draws or ``false_alarm`` does not lie in (0, 1).

    Example:
        >>> assert_mean_close(torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)), 0.0, 1.0)
    """
    x = _columns(draws, "draws")
    _check(x, false_alarm, "draws")
    expected = torch.as_tensor(mean, dtype=torch.float64, device="cpu")
    spread = x.std(0) if sd is None else torch.as_tensor(sd, dtype=torch.float64, device="cpu")
    count = torch.as_tensor(len(x) if ess is None else ess, dtype=torch.float64, device="cpu")
    error = (x.mean(0) - expected).abs()
    limit = _normal_quantile(false_alarm / (2 * x.shape[1])) * spread / count.sqrt()
    off = (error - limit).argmax()
    limit = limit.expand_as(error)
    assert (error <= limit).all(), (
        f"column {int(off)} has mean {float(x.mean(0)[off]):.6g}, {float(error[off]):.3g} away from what is expected, "
        f"where {float(limit[off]):.3g} is allowed at a false-alarm probability of {false_alarm:g}"
    )


def assert_same_distribution(
    x: ArrayLike,
    y: ArrayLike,
    *,
    false_alarm: float = 1e-6,
    projections: int = 16,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> None:
    r"""Asserts that two sets of independent draws may come from one distribution.

    The Kolmogorov-Smirnov distance of the two is taken along every axis and along random directions,

    .. math:: \sup_t |F_x(t) - F_y(t)| \le \epsilon_n + \epsilon_m, \qquad
        \epsilon_n = \sqrt{\frac{1}{2n} \log \frac{4 K}{\text{false alarm}}},

    with K the number of directions. By the Dvoretzky-Kiefer-Wolfowitz inequality it fails with probability at most
    ``false_alarm`` when the distributions are the same, whatever they are.

    Arguments:
        x: (n,) or (n, d).
        y: (m,) or (m, d).
        false_alarm: probability of failing by chance, over all directions together.
        projections: number of random directions besides the axes; none are needed for d = 1.
        seed: of the directions, 0 if neither is given; give this or ``generator``.
        generator: source of randomness.

    Raises:
        AssertionError: if the distributions differ, or a draw is not finite.
        ValueError: if the columns differ, there are fewer than two draws or ``false_alarm`` does not lie in (0, 1).

    References:
        Massart, *The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality*, Ann. Probab. 1990, corollary 1.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> assert_same_distribution(torch.randn(500, 3, generator=g), torch.randn(400, 3, generator=g))
    """
    a, b = _columns(x, "x"), _columns(y, "y")
    _check(a, false_alarm, "x")
    _check(b, false_alarm, "y")
    d = a.shape[1]
    if b.shape[1] != d:
        raise ValueError(f"x and y must have the same number of columns, got {d} and {b.shape[1]}")
    directions = torch.eye(d, dtype=torch.float64, device="cpu")
    if d > 1:
        seeded = torch.Generator().manual_seed(seed_of(seed=seed, generator=generator))
        random = torch.randn(d, projections, dtype=torch.float64, generator=seeded, device="cpu")
        # Columns of very different size would hide one another in a sum.
        directions = torch.cat([directions, random / torch.cat([a, b]).std(0).clamp_min(1e-300)[:, None]], 1)
    count = directions.shape[1]
    distance = _kolmogorov_smirnov((a @ directions).T.contiguous(), (b @ directions).T.contiguous())
    limit = sum(math.sqrt(math.log(4 * count / false_alarm) / (2 * len(t))) for t in (a, b))
    worst = int(distance.argmax())
    where = f"axis {worst}" if worst < d else f"random direction {worst - d}"
    assert float(distance[worst]) <= limit, (
        f"the distributions differ along {where}: Kolmogorov-Smirnov distance {float(distance[worst]):.3g}, where "
        f"{limit:.3g} is allowed at a false-alarm probability of {false_alarm:g}"
    )


def _kolmogorov_smirnov(a: Tensor, b: Tensor) -> Tensor:
    """Largest difference of the empirical distribution functions of rows (k, n) and (k, m), as (k,)."""
    a, b = a.sort(-1).values, b.sort(-1).values
    points = torch.cat([a, b], -1)
    below = [torch.searchsorted(t, points, right=True) / t.shape[-1] for t in (a, b)]
    return (below[0] - below[1]).abs().amax(-1)


def _normal_quantile(tail: float) -> float:
    """The z that a standard normal exceeds with probability ``tail``."""
    return -float(torch.special.ndtri(torch.tensor(tail, dtype=torch.float64, device="cpu")))


def _columns(draws: ArrayLike, name: str) -> Tensor:
    x = as_tensor(draws, name).detach().double().cpu()
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape (n,) or (n, d), got {tuple(x.shape)}")
    return x


def _check(x: Tensor, false_alarm: float, name: str) -> None:
    if len(x) < 2:
        raise ValueError(f"{name} must hold at least two draws, got {len(x)}")
    check_number("false_alarm", false_alarm)
    if not 0 < false_alarm < 1:
        raise ValueError(f"false_alarm must lie in (0, 1), got {false_alarm}")
    assert torch.isfinite(x).all(), f"{name} holds NaN or infinite values"
