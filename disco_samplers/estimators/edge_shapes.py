"""The shape of a column's density next to its edge, told by the rows there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.estimators.judge import mean

TERMS = 4
"""Of a shape: the logarithm of the distance, the distance, and the squares of both."""

_MODELS, _LEVEL = [(), (1,), (1, 3), (0,), (0, 1), (0, 2), (0, 3), (0, 1, 3)], 3
"""Terms that are tried together, and how many of the first do not vanish or diverge at the edge."""

_PRICE, _KNOWN = 2.0, 4.5
"""Nats by which a term must be likelier; and where a power is known beforehand."""

_WAVES, _UNFIT = 4, 7.8
"""Squared normal numbers, and their sum: by chance one in ten is above."""

_PLACES, _LONGEST, _STEPS = 301, 80.0, 25
"""Places of the integrals, e-folds of the distance over which they go, and Newton's steps."""


def terms(p: Tensor) -> Tensor:
    """The terms (..., 4) of a shape at distances p from the edge, in the units of the shape."""
    log = p.log()
    return torch.stack([log, p, -log.square(), p.square()], -1)


def slopes(p: Tensor) -> Tensor:
    """Their derivatives (..., 4)."""
    return torch.stack([1 / p, torch.ones_like(p), -2 * p.log() / p, 2 * p], -1)


def fit_shape(p: Tensor, worth: Tensor, *, power: float = 0.0, ends: int = 1) -> tuple[Tensor, bool]:
    r"""The shape :math:`\log g(p) = c^\top t(p)` of a density at distances p in (0, 1), and whether it fits them.

    Some sets of terms are averaged by how likely they are, less two nats for each term: what can hardly be told apart would
    else be chosen by chance, and is far apart at the edge. The density vanishes or diverges only where that is likelier than a
    slope, less half the logarithm of what the rows are worth. A shape fits if the first four Legendre polynomials of its
    distribution function have a mean of zero, but for noise.

    Arguments:
        p: distances (m,).
        worth: how many independent draws each is worth, (m,).
        power: of the distance in all shapes.
        ends: how many there are at which a power could be seen by chance.

    References:
        Neyman, *Smooth test for goodness of fit*, Skandinavisk Aktuarietidskrift 1937; Buckland, Burnham, Augustin, *Model
        selection: an integral part of inference*, Biometrics 1997, for the average.

    Example:
        >>> u = torch.rand(1000, generator=torch.Generator().manual_seed(0)).double()
        >>> level, fits = fit_shape(u, torch.ones_like(u))
        >>> bool(level.abs().max() < 0.02), fits
        (True, True)
        >>> power = float(fit_shape(u.sqrt(), torch.ones_like(u))[0][0])  # the density of a root of u is 2p
        >>> abs(power - 1) < 0.2
        True
    """
    n = float(worth.sum())
    place = torch.linspace(0, 1, _PLACES, dtype=torch.float64, device=p.device)
    t = _LONGEST * place.square()
    # Of dp = e^-t dt, dt going as the place; a trapezoid ends with half its height.
    volume = -(1 + power) * t + place.clamp_min(1e-12).log()
    volume[-1] -= math.log(2)
    scale = torch.tensor([1.0, 0.3, 4.5, 0.3], dtype=torch.float64, device=p.device)
    chosen = torch.zeros(len(_MODELS), TERMS, dtype=torch.float64, device=p.device)
    for i, model in enumerate(_MODELS):
        chosen[i, list(model)] = 1
    features = terms((-t).exp()) / scale
    seen = mean(terms(p.clamp_min(math.exp(-_LONGEST))) / scale, worth)
    c = torch.zeros_like(chosen)
    for _ in range(_STEPS):
        share = (c @ features.T + volume).softmax(1)
        expected = share @ features
        second = torch.einsum("mk,ki,kj->mij", share, features, features) - expected[:, :, None] * expected[:, None]
        both = chosen[:, :, None] * chosen[:, None]
        curved = torch.where(both > 0, second, 0.0) + torch.diag_embed(1 - chosen + 1e-9)
        step = torch.linalg.solve(curved, (chosen * (seen - expected))[..., None])[..., 0]
        c = c + step / step.norm(dim=1, keepdim=True).clamp_min(1.0)
    gain = n * (c @ seen - (c @ features.T + volume).logsumexp(1) + volume.logsumexp(0))
    # A density that is not integrable, or more than so.
    wrong = (c[:, 2] < 0) | ((c[:, 2] == 0) & (c[:, 0] + power <= -0.99)) | ~gain.isfinite()
    gain = torch.where(wrong, -math.inf, gain)
    price = _KNOWN if power else _PRICE
    value = gain - price * chosen.sum(1)
    # A slope that is not seen clearly looks a little like a power: of these one must be likelier for what it is.
    singular = value[_LEVEL:].amax() + price - 0.5 * math.log(max(n, 1.0)) - math.log(ends) > gain[:_LEVEL].amax()
    kept = slice(_LEVEL, None) if bool(singular) else slice(None, _LEVEL)
    best = value[kept].softmax(0) @ torch.where(gain.isfinite()[:, None], c, 0.0)[kept]
    share = (best @ features.T + volume).softmax(0)
    return best / scale, _fits(p, worth, share)


def _fits(p: Tensor, worth: Tensor, share: Tensor) -> bool:
    """Whether distances p (m,) are as shares of the places say."""
    below = share.cumsum(0) - 0.5 * share
    at = (-p.log() / _LONGEST).clamp(0, 1).sqrt() * (_PLACES - 1)
    i = at.long().clamp_max(_PLACES - 2)
    u = 2 * torch.lerp(below[i], below[i + 1], at - i) - 1
    legendre = [torch.ones_like(u), u]
    for k in range(1, _WAVES):
        legendre.append(((2 * k + 1) * u * legendre[-1] - k * legendre[-2]) / (k + 1))
    waves = torch.stack([math.sqrt(2 * k + 1) * wave for k, wave in enumerate(legendre[1:], 1)], 1)
    return float(worth.sum() * mean(waves, worth).square().sum()) < _UNFIT
