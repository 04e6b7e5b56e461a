"""The Landau rate over pairs of particles: all pairs of a cell, or those of random batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..cells import padded, shuffled

_TILE = 2**18
"""Pairs held at a time: a few matrices of this size stay in a core's cache."""


def pair_rate(
    v: Tensor, s: Tensor, w: Tensor, cell: Tensor, num_cells: int, exponent: float, kind: Tensor | None = None
) -> Tensor:
    r"""The sum over all pairs of a cell, in tiles; O(n m) for cells of m particles.

    .. math:: Q_i = \sum_j w_j |z|^g (|z|^2 I - z z^\top)(s_i - s_j), \qquad z = v_i - v_j

    The force of a pair is antisymmetric and perpendicular to z, so momentum and energy are kept whatever the score.
    A pair at the same velocity has no force.

    Arguments:
        v: velocities (n, dv).
        s: scores (n, dv).
        w: weights (n,); with ``kind`` (n, k), the weight that each particle has for particles of each kind.
        cell: the cell of each particle (n,).
        num_cells: number of cells.
        exponent: g.
        kind: which of k kinds each particle is of (n,), int64.

    Returns:
        Q (n, dv).

    Example:
        >>> v, s = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, -1.0]])
        >>> pair_rate(v, s, torch.ones(2), torch.zeros(2, dtype=torch.int64), 1, 0.0)
        tensor([[ 0.,  8.],
                [ 0., -8.]])
    """
    rate = torch.zeros_like(v)
    for rows, mask in padded(cell, num_cells, _TILE, power=2):
        vs = torch.cat([v[rows], s[rows]], -1)
        weights = w[rows] * mask.reshape(*mask.shape, *[1] * (w.ndim - 1))
        step = max(1, _TILE // rows.numel())
        for start in range(0, rows.shape[1], step):
            tile = slice(start, start + step)
            # Particles of a kind see one row of weights.
            mine = None if kind is None else one_hot(kind[rows[:, tile]], w.shape[1]).to(w.dtype)
            seen = weights[:, None] if mine is None else mine @ weights.mT
            force = _force(vs[:, tile], vs, seen, exponent)
            rate[rows[:, tile][mask[:, tile]]] = force[mask[:, tile]]
    return rate


def batch_rate(
    v: Tensor,
    s: Tensor,
    w: Tensor,
    cell: Tensor,
    num_cells: int,
    exponent: float,
    batch_size: int,
    generator: torch.Generator | None,
    kind: Tensor | None = None,
) -> Tensor:
    r"""The sum over pairs estimated in random batches inside each cell; O(n p), unbiased.

    A cell of m particles is shuffled and cut into batches of nearly equal size p, and the sum over a batch is scaled by
    (m - 1)/(p - 1). The force of a pair stays antisymmetric, so conservation is as exact as with all pairs. The batches of a
    cell depend on no other cell.

    Arguments:
        v: velocities (n, dv).
        s: scores (n, dv).
        w: weights (n,), or (n, k) with ``kind``, as for :func:`pair_rate`.
        cell: the cell of each particle (n,).
        num_cells: number of cells.
        exponent: g.
        batch_size: p, about; batches of a cell differ by one at most.
        generator: source of randomness.
        kind: of each particle (n,); batches hold all kinds alike.

    Returns:
        An estimate of Q (n, dv).

    References:
        Jin, Li, Liu, *Random batch methods for interacting particle systems*, J. Comput. Phys. 2020, algorithm 1.

    Example:
        >>> v, w, cell = torch.eye(4), torch.ones(4), torch.zeros(4, dtype=torch.int64)
        >>> batch_rate(v, -v, w, cell, 1, -3.0, 2, torch.Generator()).abs().max() < 1e-6
        tensor(True)
    """
    count = torch.bincount(cell, minlength=num_cells)
    first = count.cumsum(0) - count
    order = shuffled(cell, num_cells, torch.randint(2**62, (), generator=generator, device=cell.device))
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    rank = place - first[cell]
    batches = (count + batch_size // 2).div(batch_size, rounding_mode="floor").clamp_min(1)
    batch = (batches.cumsum(0) - batches)[cell] + (rank * batches[cell]).div(count[cell], rounding_mode="floor")
    num_batches = int(batches.sum())
    size = torch.bincount(batch, minlength=num_batches)[batch]
    scale = (count[cell] - 1) / (size - 1).clamp_min(1)
    return scale.to(v.dtype)[:, None] * pair_rate(v, s, w, batch, num_batches, exponent, kind)


def _force(tile: Tensor, others: Tensor, weights: Tensor, exponent: float) -> Tensor:
    """Q (b, t, dv) of a tile's rows (b, t, 2 dv), velocities beside scores, from all rows (b, m, 2 dv) of the cell.

    Weights are (b, t, m), or (b, 1, m) where they are the same for all.
    """
    d = tile.shape[-1] // 2
    r2: Tensor | float = 0.0
    zs: Tensor | float = 0.0
    # Direct differences, one component at a time: the expanded square would cancel where the kernel is largest.
    for k in range(d):
        z = tile[..., k, None] - others[..., None, :, k]
        r2 = torch.addcmul(torch.as_tensor(r2, dtype=z.dtype, device=z.device), z, z)
        ds = tile[..., d + k, None] - others[..., None, :, d + k]
        zs = torch.addcmul(torch.as_tensor(zs, dtype=z.dtype, device=z.device), z, ds)
    assert isinstance(r2, Tensor)
    kernel = weights * _power(r2, exponent)
    a, b = kernel * r2, kernel * zs
    one = torch.ones_like(others[..., :1])
    from_scores = a @ torch.cat([others[..., d:], one], -1)
    from_velocities = b @ torch.cat([others[..., :d], one], -1)
    return (
        tile[..., d:] * from_scores[..., -1:]
        - from_scores[..., :-1]
        - tile[..., :d] * from_velocities[..., -1:]
        + from_velocities[..., :-1]
    )


def _power(r2: Tensor, exponent: float) -> Tensor:
    """|z|^g from |z|^2, zero where z is zero."""
    if exponent >= 0:
        return r2 ** (exponent / 2)
    inverse = torch.where(r2 > 0, r2, torch.inf).rsqrt()
    return inverse**-exponent
