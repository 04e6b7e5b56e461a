"""Directions in which draws are skewed, and densities along each of them."""

from __future__ import annotations

import torch
from torch import Tensor

_STEPS, _TOLERANCE = 200, 1e-12
_DEGREES = (2, 3, 4, 6)
_CELLS = 512
_BEYOND = 2.0
"""Standard deviations beyond the outermost draws up to which mass is counted."""

_HALF = 0.5
_UNIT = 2.0
"""Standard deviations in which powers of the columns are about as large as one."""

_NEWTON_STEPS = 50
_RIDGE, _ENDED = 1e-9, 1e-8


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

    The degree of each is that of the lowest Schwarz criterion out of 2, 3, 4 and 6, where those above 2 pay for the choice of
    their direction as well; beyond the draws h goes on as a line.

    Arguments:
        columns: u (n, d), white.
        worth: (n,), how many independent draws each row is worth.

    References:
        Barron, Sheu, *Approximation of density functions by sequences of exponential families*, Annals of Statistics 1991;
        Schwarz, *Estimating the dimension of a model*, Annals of Statistics 1978.

    Example:
        >>> x = torch.rand(4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).log().neg().log()
        >>> x = (x - x.mean()) / x.std()  # log f = a y - e^y with another place and scale
        >>> value, slope = Exponents(x, torch.ones(4000).double()).value_and_slope(torch.tensor([[-3.0], [2.0]]).double())
        >>> value.round().tolist()  # it falls faster to the right
        [1.0, -2.0]
    """

    def __init__(self, columns: Tensor, worth: Tensor) -> None:
        self.low, self.high = _outermost(columns, worth), -_outermost(-columns, worth)
        first, width = self.low - _BEYOND, (self.high - self.low + 2 * _BEYOND) / (_CELLS - 1)
        grid = first + width * torch.arange(_CELLS, dtype=columns.dtype, device=columns.device)[:, None]
        place = ((columns - first) / width).clamp(0, _CELLS - 1.001)
        cell = place.floor().long()
        part = (place - cell) * worth[:, None]
        share = torch.zeros_like(grid).scatter_add_(0, cell, worth[:, None] - part).scatter_add_(0, cell + 1, part)
        share = share / worth.sum()
        terms = self._terms(grid)
        self.coefficients = columns.new_zeros(columns.shape[1], max(_DEGREES))
        best = columns.new_full(columns.shape[1:], -torch.inf)
        for degree in _DEGREES:
            found, likelihood = _fitted(grid, share, terms[..., :degree])
            price = degree + 0.5 * (columns.shape[1] - 1) * (degree > 2)  # a direction has as many angles, shared by two
            gain = likelihood - 0.5 * price * worth.sum().log() / worth.sum()
            better = gain > best
            best = torch.where(better, gain, best)
            padded = torch.nn.functional.pad(found, (0, max(_DEGREES) - degree))
            self.coefficients = torch.where(better[:, None], padded, self.coefficients)

    @property
    def flat(self) -> Tensor:
        """The columns, by number, whose density is as a normal one."""
        return (~self.coefficients[:, 2:].any(1)).nonzero()[:, 0]

    def value_and_slope(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of h (m,) and its gradient (m, d) at points (m, d)."""
        inner = columns.clamp(self.low, self.high)
        t = inner / _UNIT
        value, slope = torch.zeros_like(t), torch.zeros_like(t)
        for own in self.coefficients.T.flip(0):  # Horner's rule, of the polynomial over t
            slope = slope * t + value
            value = value * t + own
        slope = (slope * t + value) / _UNIT
        return (value * t + slope * (columns - inner)).sum(1), slope

    def _terms(self, columns: Tensor) -> Tensor:
        """Powers (m, d, k) between the outermost draws, lines beyond."""
        inner, k = columns.clamp(self.low, self.high), torch.arange(1, max(_DEGREES) + 1, device=columns.device)
        t = inner[..., None] / _UNIT
        return t**k + k * t ** (k - 1) * (columns - inner)[..., None] / _UNIT


def _outermost(columns: Tensor, worth: Tensor) -> Tensor:
    """The place (d,) in each column below which half a draw lies: of draws of worth one the smallest."""
    ordered, index = columns.sort(0)
    below = worth[index].cumsum(0)
    half = _HALF * below[-1].clamp_max(1.0)
    return ordered.gather(0, torch.searchsorted(below.T.contiguous(), half[:, None]).T)[0]


def _fitted(grid: Tensor, share: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients (d, k) of the highest likelihood on a grid (g, d) with shares of draws, and that likelihood (d,)."""
    # In units in which the draws' terms are white, Newton's steps are as long as they should be.
    centre = torch.einsum("gd,gdk->dk", share, terms)
    ridge = _RIDGE * torch.eye(centre.shape[1], dtype=centre.dtype, device=centre.device)
    terms = terms - centre
    lower = torch.linalg.cholesky(torch.einsum("gdk,gdl->dkl", share[..., None] * terms, terms) + ridge)
    white = torch.linalg.solve_triangular(lower, terms.permute(1, 2, 0), upper=False).permute(2, 0, 1)

    def log_density(theta: Tensor) -> Tensor:
        found: Tensor = (-0.5 * grid.square() + (white * theta).sum(-1)).log_softmax(0)
        return found

    theta, factor = torch.zeros_like(centre), torch.ones_like(centre[:, :1])
    log_f = log_density(theta)
    for _ in range(_NEWTON_STEPS):
        p = log_f.exp()
        mean = torch.einsum("gd,gdk->dk", p, white)
        covariance = torch.einsum("gdk,gdl->dkl", p[..., None] * white, white) - mean[:, :, None] * mean[:, None]
        step = -torch.linalg.solve(covariance + ridge, mean[..., None])[..., 0]
        tried = theta + factor * step
        log_tried = log_density(tried)
        better = (share * (log_tried - log_f)).sum(0) >= 0  # the likelihood is concave: a short step is
        theta, log_f = torch.where(better[:, None], tried, theta), torch.where(better, log_tried, log_f)
        factor = torch.where(better[:, None], 2 * factor, factor / 4).clamp_max(1.0)
        if float(step.abs().max()) < _ENDED:
            break
    found = torch.linalg.solve_triangular(lower.mT, theta[..., None], upper=True)[..., 0]
    return found, (share * log_f).sum(0)
