"""The Landau rate of Maxwell molecules in O(n), through moments."""

from __future__ import annotations

import torch
from torch import Tensor

from ..cells import moments, total


def moment_rate(v: Tensor, s: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
    r"""The sum over pairs for exponent 0, which factorises.

    .. math:: Q_i = \sum_j w_j (|z|^2 I - z z^\top)(s_i - s_j), \qquad z = v_i - v_j

    With velocities and scores centred in their cell, :math:`W = \sum w`, :math:`P = \sum w v v^\top`, :math:`G = \sum w s
    v^\top`, :math:`t = \sum w (|v|^2 s - v (v \cdot s))`,

    .. math:: Q_i = (W |v_i|^2 + \operatorname{tr} P) s_i - W v_i (v_i \cdot s_i) - P s_i + (2 G - G^\top
        - \operatorname{tr} G) v_i - t.

    Arguments:
        v: velocities (n, dv).
        s: scores (n, dv).
        w: weights (n,).
        cell: the cell of each particle (n,).
        num_cells: number of cells.

    Returns:
        Q (n, dv).

    Example:
        >>> v, w, cell = torch.eye(2), torch.ones(2), torch.zeros(2, dtype=torch.int64)
        >>> moment_rate(v, -v, w, cell, 1)  # a Maxwellian's score
        tensor([[0., 0.],
                [0., 0.]])
    """
    weight, mean, _ = moments(v, w, cell, num_cells)
    v = v - mean[cell]
    # Only differences of scores count; centred ones spare terms and their cancellation.
    s = s - moments(s, w, cell, num_cells).mean[cell]
    r2, vs = v.square().sum(-1, keepdim=True), (v * s).sum(-1, keepdim=True)
    wv = w[:, None] * v
    pressure = total(wv[:, :, None] * v[:, None, :], cell, num_cells)
    mixed = total(s[:, :, None] * wv[:, None, :], cell, num_cells)
    third = total(w[:, None] * (r2 * s - vs * v), cell, num_cells)
    trace = mixed.diagonal(dim1=-2, dim2=-1).sum(-1)
    turn = 2 * mixed - mixed.mT - torch.diag_embed(trace[:, None].expand(-1, v.shape[1]))
    linear = torch.einsum("nij,nj->ni", turn[cell], v) - torch.einsum("nij,nj->ni", pressure[cell], s) - third[cell]
    heat = pressure.diagonal(dim1=-2, dim2=-1).sum(-1)
    density = weight[cell, None]
    return (density * r2 + heat[cell, None]) * s - density * vs * v + linear
