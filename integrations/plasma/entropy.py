"""Entropy of particles in phase space, from distances to near neighbours."""

from __future__ import annotations

import math

import numpy as np

from disco_samplers._extras import optional

from .types import Species

_MOST = 10_000
"""Particles whose neighbours are looked up."""


def phase_space_entropy(species: Species, length: float, neighbours: int = 4) -> float:
    r"""The entropy :math:`-\int f\ln f\,dx\,dv` per particle of the distribution normalised to one.

    The estimator of Kozachenko and Leonenko in (x, v): the density at a particle from the distance to its k-th neighbour,

    .. math:: \hat S = \psi(n) - \psi(k) + \ln c_d + \frac dn \sum_i \ln r_i,

    c_d the volume of the unit ball. Noise is about :math:`1/\sqrt n`. It needs neither grid nor bandwidth nor the score that
    collisions use, so it can testify about them. Of more than ten thousand particles, evenly chosen ones are taken; NaN for
    particles of unequal weight.

    Arguments:
        species: the particles.
        length: of the periodic line.
        neighbours: k.

    Raises:
        ImportError: if scipy is not installed.

    References:
        Kraskov, Stögbauer, Grassberger, Physical Review E 69 (2004) 066138, eq. 20.

    Example:
        >>> import torch
        >>> rng = torch.Generator().manual_seed(0)
        >>> x, v = torch.rand(5000, generator=rng), torch.randn(5000, 1, generator=rng)
        >>> exact = 0.5 * math.log(2 * math.pi * math.e)
        >>> abs(phase_space_entropy(Species("electrons", x, v, torch.ones(5000)), 1.0) - exact) < 0.08
        True
    """
    if not bool((species.w == species.w[0]).all()):
        return math.nan
    special, spatial = optional("scipy.special", "plasma"), optional("scipy.spatial", "plasma")
    stride = -(-len(species.x) // _MOST)
    v = species.v[::stride].double().cpu().numpy()
    scale = np.maximum(v.std(0), 1e-300)
    # Coordinates of similar spread make balls that fit the density.
    points = np.column_stack([species.x[::stride].double().cpu().numpy() / length % 1.0, v / scale])
    n, d = points.shape
    if n <= neighbours:
        return math.nan
    tree = spatial.cKDTree(points, boxsize=[1.0] + [0.0] * (d - 1))
    radius = tree.query(points, neighbours + 1)[0][:, -1]
    ball = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1)
    entropy = special.digamma(n) - special.digamma(neighbours) + ball + d * np.log(np.maximum(radius, 1e-300)).mean()
    return float(entropy + math.log(length) + np.log(scale).sum())
