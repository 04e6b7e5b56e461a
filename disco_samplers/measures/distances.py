"""How far two sets of draws are apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import as_points, check_count, check_positive, like
from disco_samplers.draws import Draws, align, evenly, names_of
from disco_samplers.estimators import quantile
from disco_samplers.randomness import seed_of
from disco_samplers.types import ArrayLike

_TILE = 2**22
"""Distances held at a time."""


def sliced_wasserstein(
    x: ArrayLike | Draws,
    y: ArrayLike | Draws,
    *,
    order: int = 1,
    standardize: bool = True,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    projections: int = 200,
) -> float:
    r"""Sliced Wasserstein distance of two samples, in units of their columns' pooled standard deviations.

    .. math:: SW_p(x, y)^p = E_u\, \int_0^1 |F^{-1}_{u \cdot x}(t) - F^{-1}_{u \cdot y}(t)|^p\, dt, \quad u \sim U(S^{d-1})

    Arguments:
        x: (n, d), or :class:`~disco_samplers.Draws`, which count by their weights.
        y: (m, d), or draws.
        order: p.
        standardize: whether each column is measured in its own standard deviation; if not, all in the data's units.
        seed: of the directions, 0 if neither is given; give this or ``generator``.
        generator: source of randomness.
        projections: number of directions.

    Raises:
        TypeError: if ``order`` or ``projections`` is not an integer, or a set not numeric.
        ValueError: if one is not positive, or the sets differ in columns or hold NaN.

    References:
        Bonneel, Rabin, Peyre, Pfister, *Sliced and Radon Wasserstein barycenters of measures*, JMIV 2015.

    Example:
        >>> x = torch.arange(10.0)[:, None]
        >>> sliced_wasserstein(x, x)
        0.0
    """
    check_count("order", order, 1)
    check_count("projections", projections, 1)
    seed = seed_of(seed=seed, generator=generator)
    (x, x_share), (y, y_share) = _pair(x, y)
    # Draws as often as they weigh, so that both sets count by their rows, as without weights.
    pooled = torch.cat([evenly(x, x_share), evenly(y, y_share)])
    # Without its centre a column of one value stays zero, however small its standard deviation comes out.
    center, scale = pooled.mean(0), pooled.std(0).clamp_min(1e-300) if standardize else torch.ones_like(pooled[0])
    seeded = torch.Generator().manual_seed(seed)
    u = torch.randn(x.shape[1], projections, dtype=torch.float64, generator=seeded, device=seeded.device).to(x.device)
    u = u / u.norm(dim=0)
    levels = (torch.arange(1000, dtype=torch.float64, device=x.device) + 0.5) / 1000
    a, b = (
        torch.quantile(z, levels, dim=0) if share is None else quantile(z, share, levels)
        for z, share in ((((x - center) / scale) @ u, x_share), (((y - center) / scale) @ u, y_share))
    )
    return float((a - b).abs().pow(order).mean() ** (1 / order))


def maximum_mean_discrepancy(x: ArrayLike | Draws, y: ArrayLike | Draws, *, bandwidth: float | None = None) -> float:
    r"""Unbiased squared maximum mean discrepancy of two samples under a Gaussian kernel; about zero for equal distributions.

    .. math:: MMD^2 = E\,k(x, x') + E\,k(y, y') - 2\, E\,k(x, y), \qquad k(x, y) = e^{-|x - y|^2 / 2 h^2}

    Arguments:
        x: (n, d), or :class:`~disco_samplers.Draws`, which count by their weights.
        y: (m, d), or draws.
        bandwidth: h; the median distance between the rows of ``y`` (up to 1000 of them) if not given.

    References:
        Gretton, Borgwardt, Rasch, Scholkopf, Smola, *A kernel two-sample test*, JMLR 2012, eq. 3.

    Example:
        >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> maximum_mean_discrepancy(x, x + 3.0) > 0.5
        True
    """
    if bandwidth is not None:
        check_positive("bandwidth", bandwidth)
    (x, x_share), (y, y_share) = _pair(x, y, 2)
    p, q = (z.new_full((len(z),), 1 / len(z)) if share is None else share for z, share in ((x, x_share), (y, y_share)))
    h = float(torch.pdist(y[:1000]).median()) if bandwidth is None else bandwidth

    def total(a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor) -> float:
        sums = torch.cat([tile.square().div(-2 * h**2).exp() @ of_b for tile in _distances(a, b)])
        return float(sums @ of_a)

    def within(a: Tensor, share: Tensor) -> float:
        # A row's kernel with itself is one, and says nothing.
        own = float(share.square().sum())
        return (total(a, a, share, share) - own) / (1 - own)

    return within(x, p) + within(y, q) - 2 * total(x, y, p, q)


def precision_recall(generated: ArrayLike | Draws, real: ArrayLike | Draws, *, neighbours: int = 3) -> tuple[float, float]:
    """Share of generated rows within the real ones' manifold, and of real rows within the generated ones'.

    A set's manifold is the union of balls around its rows that reach to their k-th nearest neighbours.

    Arguments:
        generated: (n, d), independent and of equal weight.
        real: (m, d), likewise; compare sets of equal size, or the balls are not alike.
        neighbours: k.

    Raises:
        TypeError: if ``neighbours`` is not an integer.
        ValueError: if it is not positive, or a set has no more rows.

    References:
        Kynkaanniemi, Karras, Laine, Lehtinen, Aila, *Improved precision and recall metric for assessing generative models*,
        NeurIPS 2019, eq. 1.

    Example:
        >>> x = torch.arange(10.0)[:, None]
        >>> precision_recall(x[:5], x)
        (1.0, 0.8)
    """
    check_count("neighbours", neighbours, 1)
    real = align(real, "real", names_of(generated), "generated has")
    generated, real = (torch.as_tensor(z.independent()) if isinstance(z, Draws) else z for z in (generated, real))
    (generated, _), (real, _) = _pair(generated, real, 1, ("generated", "real"))
    if neighbours >= min(len(generated), len(real)):
        raise ValueError(
            f"neighbours is {neighbours}: generated and real must have more rows than that, got {len(generated)}, {len(real)}"
        )

    def share(points: Tensor, manifold: Tensor) -> float:
        # The first neighbour is the row itself.
        radii = [tile.kthvalue(neighbours + 1, 1).values for tile in _distances(manifold, manifold)]
        radius = torch.cat(radii)
        return float(torch.cat([(tile <= radius).any(1) for tile in _distances(points, manifold)]).double().mean())

    return share(generated, real), share(real, generated)


def nearest_distances(points: ArrayLike, others: ArrayLike) -> Any:
    """Distance of each point (n, d) to the nearest of the others (m, d), as (n,).

    Example:
        >>> nearest_distances(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [6.0, 8.0]]))
        tensor([5.])
    """
    (x, _), (y, _) = _pair(points, others, 1, ("points", "others"))
    return like(torch.cat([tile.amin(1) for tile in _distances(x, y)]), points)


def _pair(
    x: ArrayLike | Draws, y: ArrayLike | Draws, least: int = 1, names: tuple[str, str] = ("x", "y")
) -> tuple[tuple[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]:
    """Of two sets the rows in float64, matched by the names of columns, and, of draws, their shares of all weight."""
    y = align(y, names[1], names_of(x), f"{names[0]} has")
    first, second = (_weighted(z, name) for z, name in zip((x, y), names, strict=True))
    for (rows, _), name in zip((first, second), names, strict=True):
        if len(rows) < least:
            raise ValueError(f"{name} must have at least {least} rows, got {len(rows)}")
    if first[0].shape[1] != second[0].shape[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same columns, got {first[0].shape[1]} and {second[0].shape[1]}"
        )
    return first, second


def _weighted(x: ArrayLike | Draws, name: str) -> tuple[Tensor, Tensor | None]:
    if not isinstance(x, Draws):
        points = as_points(x, name).double()
        if points.ndim != 2:
            raise ValueError(f"{name} must have shape (n, d), got {tuple(points.shape)}")
        return points, None
    rows, counts = x.counts()
    return rows.double(), None if counts is None else (counts / counts.sum()).double()


def _distances(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Distances (tile, m) of the rows of x, a tile at a time."""
    for tile in x.split(max(1, _TILE // len(y))):
        yield torch.cdist(tile, y, compute_mode="donot_use_mm_for_euclid_dist")
