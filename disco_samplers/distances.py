"""How far two sets of draws are apart."""

from __future__ import annotations

import torch
from torch import Tensor


def sliced_wasserstein(x: Tensor, y: Tensor, *, seed: int = 0, projections: int = 200) -> float:
    r"""Sliced Wasserstein-1 distance of two samples, in units of their columns' pooled standard deviations.

    .. math:: SW(x, y) = E_u\, \int_0^1 |F^{-1}_{u \cdot x}(t) - F^{-1}_{u \cdot y}(t)|\, dt, \quad u \sim U(S^{d-1})

    Arguments:
        x: (n, d).
        y: (m, d).
        seed: of the directions.
        projections: number of directions.

    References:
        Bonneel, Rabin, Peyre, Pfister, *Sliced and Radon Wasserstein barycenters of measures*, JMIV 2015.

    Example:
        >>> x = torch.arange(10.0)[:, None]
        >>> sliced_wasserstein(x, x)
        0.0
    """
    pooled = torch.cat([x, y]).double()
    scale = pooled.std(0).clamp_min(1e-300)
    u = torch.randn(x.shape[1], projections, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(x.device)
    u = u / u.norm(dim=0)
    levels = (torch.arange(1000, dtype=torch.float64, device=x.device) + 0.5) / 1000
    a = torch.quantile((x.double() / scale) @ u, levels, dim=0)
    b = torch.quantile((y.double() / scale) @ u, levels, dim=0)
    return float((a - b).abs().mean())
