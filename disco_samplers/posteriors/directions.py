"""Directions in which draws are skewed, and densities along each of them."""

from __future__ import annotations

import torch
from torch import Tensor

_STEPS, _TOLERANCE = 200, 1e-12
_DEGREES = (2, 3, 4, 6)
_CELLS = 512
_BEYOND = 2.0
"""Standard deviations beyond the outermost draws up to which mass is counted."""

_NEWTON_STEPS = 50
_LONGEST = 5.0
"""Length of a step of Newton's method, at most."""

_RIDGE = 1e-9


def directions(third: Tensor) -> Tensor:
    r"""Orthonormal rows w_a (d, d) along which the skewness is large, found by rounds from the eigenvectors of T T.

    .. math:: w_a \leftarrow T_{ijk}\, w_{aj}\, w_{ak}, \qquad W \leftarrow (W W^\top)^{-1/2} W

    Where columns are a rotation of independent ones, these are found.

    Arguments:
        third: T, the third cumulants (d, d, d) where the draws are white.

    References:
        De Lathauwer, De Moor, Vandewalle, *A multilinear singular value decomposition*, SIAM J. Matrix Anal. Appl. 2000, the
        start; Hyvarinen, *Fast and robust fixed-point algorithms for independent component analysis*, IEEE Trans. Neural
        Networks 1999, the rounds.

    Example:
        >>> third = torch.zeros(2, 2, 2, dtype=torch.float64)
        >>> third[0, 0, 0], third[1, 1, 1] = 1.0, -0.5
        >>> directions(third).abs().round()
        tensor([[0., 1.],
                [1., 0.]], dtype=torch.float64)
    """
    flat = third.flatten(1)
    own: Tensor = torch.linalg.eigh(flat @ flat.T).eigenvectors.T
    for _ in range(_STEPS):
        left, _, right = torch.linalg.svd(_along(third, own))
        before, own = own, left @ right
        if float((own - before).abs().max()) < _TOLERANCE:
            break
    return own


def _along(third: Tensor, rows: Tensor) -> Tensor:
    """T w w (d, d) of each row w."""
    return torch.stack([rows @ part @ rows.T for part in third], -1).diagonal(dim1=0, dim2=1).T


class Exponents:
    r"""Densities of independent columns u, each a normal one with a polynomial in its exponent, by the highest likelihood.

    .. math:: \log f = -\tfrac12 |u|^2 + \sum_a h_a(u_a)

    The degree of each is that of the lowest Akaike criterion out of 2, 3, 4 and 6; beyond the draws h goes on as a line.

    Arguments:
        columns: u (n, d), white.
        worth: (n,), how many independent draws each row is worth.

    References:
        Barron, Sheu, *Approximation of density functions by sequences of exponential families*, Annals of Statistics 1991;
        Akaike, *A new look at the statistical model identification*, IEEE Trans. Automatic Control 1974.

    Example:
        >>> x = torch.rand(4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).log().neg().log()
        >>> x = (x - x.mean()) / x.std()  # log f = a y - e^y with another place and scale
        >>> value, slope = Exponents(x, torch.ones(4000).double()).value_and_slope(torch.tensor([[-3.0], [2.0]]).double())
        >>> value.round().tolist()  # it falls faster to the right
        [0.0, -3.0]
    """

    def __init__(self, columns: Tensor, worth: Tensor) -> None:
        self.low, self.high = columns.amin(0), columns.amax(0)
        first, width = self.low - _BEYOND, (self.high - self.low + 2 * _BEYOND) / (_CELLS - 1)
        grid = first + width * torch.arange(_CELLS, dtype=columns.dtype, device=columns.device)[:, None]
        place = ((columns - first) / width).clamp(0, _CELLS - 1.001)
        cell = place.floor().long()
        part = (place - cell) * worth[:, None]
        share = torch.zeros_like(grid).scatter_add_(0, cell, worth[:, None] - part).scatter_add_(0, cell + 1, part)
        share = share / worth.sum()
        terms = self._terms(grid)[0]
        self.coefficients = columns.new_zeros(columns.shape[1], max(_DEGREES))
        best = columns.new_full(columns.shape[1:], -torch.inf)
        for degree in _DEGREES:
            found, likelihood = _fitted(grid, share, terms[..., :degree])
            gain = likelihood - degree / worth.sum()
            better = gain > best
            best = torch.where(better, gain, best)
            padded = torch.nn.functional.pad(found, (0, max(_DEGREES) - degree))
            self.coefficients = torch.where(better[:, None], padded, self.coefficients)

    def value_and_slope(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of h (m,) and its gradient (m, d) at points (m, d)."""
        terms, slopes = self._terms(columns)
        value, slope = ((t * self.coefficients).sum(-1) for t in (terms, slopes))
        return value.sum(1), slope

    def _terms(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Legendre's polynomials (m, d, k) between the outermost draws, lines beyond, and their slopes."""
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        t = (columns - middle) / half
        inner = t.clamp(-1, 1)
        values, slopes = [torch.ones_like(t), inner], [torch.zeros_like(t), torch.ones_like(t)]
        for k in range(2, max(_DEGREES) + 1):
            values.append(((2 * k - 1) * inner * values[-1] - (k - 1) * values[-2]) / k)
            slopes.append(slopes[-2] + (2 * k - 1) * values[-2])
        value, slope = torch.stack(values[1:], -1), torch.stack(slopes[1:], -1)
        return value + slope * (t - inner)[..., None], slope / half[:, None]


def _fitted(grid: Tensor, share: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients (d, k) of the highest likelihood on a grid (g, d) with shares of draws, and that likelihood (d,)."""
    wanted = torch.einsum("gd,gdk->dk", share, terms)
    theta = torch.zeros_like(wanted)
    ridge = _RIDGE * torch.eye(wanted.shape[1], dtype=theta.dtype, device=theta.device)
    for _ in range(_NEWTON_STEPS):
        p = (-0.5 * grid.square() + (terms * theta).sum(-1)).softmax(0)
        mean = torch.einsum("gd,gdk->dk", p, terms)
        covariance = torch.einsum("gdk,gdl->dkl", p[..., None] * terms, terms) - mean[:, :, None] * mean[:, None]
        step = torch.linalg.solve(covariance + ridge, (wanted - mean)[..., None])[..., 0]
        theta = theta + step * (_LONGEST / step.norm(dim=1, keepdim=True).clamp_min(1e-300)).clamp_max(1.0)
        if float(step.abs().max()) < 1e-8:
            break
    log_f = -0.5 * grid.square() + (terms * theta).sum(-1)
    return theta, (share * (log_f - log_f.logsumexp(0))).sum(0)
