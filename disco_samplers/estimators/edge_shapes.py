"""The shape of a column's density next to its edge, told by the rows there."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from disco_samplers.estimators.judge import mean

TERMS = 5
"""Of a shape: logarithm of the distance, distance, the squares of both, and logarithm of the distance from the other end."""

_MODELS = [(), (1,), (1, 3), (4,), (0,), (0, 1), (0, 2), (0, 3), (0, 1, 3), (0, 4), (0, 1, 4)]
"""Terms that are tried together; first those that do not vanish or diverge at the edge."""

_LEAST = 1e-30
"""Least share of the width, and least step between places."""

_PRICE, _KNOWN = 2.0, 4.5
"""Nats by which a term must be likelier; and where a power is known beforehand."""

_ROWS = 8.0
"""Independent rows that every term takes: of fewer, shapes are told that no further row would confirm."""

_WAVES, _UNFIT = 4, 7.8
"""Squared normal numbers, and their sum: by chance one in ten is above."""

_PLACES, _LONGEST, _STEPS, _STRIDE = 200, 80.0, 40, 4.0
"""Places of the integrals from either end, e-folds of the distance over which they go, Newton's steps and their length."""


class Shape(NamedTuple):
    """A shape's terms (5,), whether it fits, whether it has a power, and whether the rows are likelier with one."""

    terms: Tensor
    fits: bool
    singular: bool
    leads: bool


def terms(p: Tensor, width: Tensor) -> Tensor:
    """The terms (..., 5) of a shape at distances p from the edge, the other end being a width away, or infinitely far."""
    log = p.log()
    return torch.stack([log, p, -log.square(), p.square(), (1 - p / width).clamp_min(_LEAST).log()], -1)


def slopes(p: Tensor, width: Tensor) -> Tensor:
    """Their derivatives (..., 5)."""
    return torch.stack([1 / p, torch.ones_like(p), -2 * p.log() / p, 2 * p, 1 / (p - width)], -1)


def fit_shape(p: Tensor, worth: Tensor, *, width: float = math.inf, power: float = 0.0, ends: int = 1) -> Shape:
    r"""The shape :math:`\log g(p) = c^\top t(p)` of a density at distances p in (0, 1), and whether it fits them.

    Some sets of terms are averaged by how likely they are, less two nats for each term, of which there is at most one for every
    eight rows: what can hardly be told apart would else be chosen by chance, and is far apart at the edge. The density vanishes
    or diverges only where that is likelier by half the logarithm of what the rows are worth. A shape fits if the first four
    Legendre polynomials of its distribution function have a mean of zero, but for noise.

    Arguments:
        p: distances (m,).
        worth: how many independent draws each is worth, (m,).
        width: where the other end is, at least 1.
        power: of the distance in all shapes.
        ends: how many there are at which a power could be seen by chance.

    References:
        Neyman, *Smooth test for goodness of fit*, Skandinavisk Aktuarietidskrift 1937; Buckland, Burnham, Augustin, *Model
        selection: an integral part of inference*, Biometrics 1997, for the average.

    Example:
        >>> u = torch.rand(1000, generator=torch.Generator().manual_seed(0)).double()
        >>> level = fit_shape(u, torch.ones_like(u))
        >>> bool(level.terms.abs().max() < 0.02), level.fits
        (True, True)
        >>> power = float(fit_shape(u.sqrt(), torch.ones_like(u)).terms[0])  # the density of a root of u is 2p
        >>> abs(power - 1) < 0.2
        True
    """
    n, end = float(worth.sum()), p.new_tensor(width)
    # Of what is less than half, and of what it is less than one by, the logarithm goes as the square of the place.
    place = torch.arange(1, _PLACES + 1, dtype=torch.float64, device=p.device) / _PLACES
    near = -_LONGEST * place.square() - math.log(2)
    log_p = torch.cat([near.flip(0), torch.log1p(-near.exp())])
    rest = torch.cat([1 - near.flip(0).exp(), near.exp()])
    volume = near + place.log()
    volume = torch.cat([volume.flip(0), volume]) + power * log_p
    scale = torch.tensor([1.0, 0.3, 4.5, 0.3, 1.0], dtype=torch.float64, device=p.device)
    models = [model for model in _MODELS if len(model) * _ROWS <= n and (math.isfinite(width) or 4 not in model)] or [()]
    level = sum(0 not in model for model in models)
    chosen = torch.zeros(len(models), TERMS, dtype=torch.float64, device=p.device)
    for i, model in enumerate(models):
        chosen[i, list(model)] = 1
    features = terms(log_p.exp(), end)
    if math.isfinite(width):
        features[:, 4] = ((width - 1 + rest) / width).log()
    features = features / scale
    seen = mean(terms(p.clamp_min(float(log_p[0].exp())), end) / scale, worth)
    start = torch.zeros_like(chosen)
    if (0, 2) in models:
        start[models.index((0, 2))] = _lognormal(p, worth, power) * scale
    c = _likeliest(start, features, volume, seen, chosen, power)
    gain = n * (_likelihood(c, features, volume, seen) + volume.logsumexp(0))
    wrong = _boundless(c, power) | ~gain.isfinite()
    value = torch.where(wrong, -math.inf, gain) - (_KNOWN if power else _PRICE) * chosen.sum(1)
    lead = float(value[level:].amax() - value[:level].amax()) if len(models) > level else -math.inf
    # A slope that is not seen clearly looks a little like a power: one must be likelier for what it is.
    singular = lead + (_KNOWN if power else _PRICE) > 0.5 * math.log(max(n, 1.0)) + math.log(ends)
    kept = slice(level, None) if singular else slice(None, level)
    best = value[kept].softmax(0) @ torch.where(wrong[:, None], 0.0, c)[kept]
    share = (best @ features.T + volume).softmax(0)
    return Shape(best / scale, _fits(p, worth, log_p, share), singular, lead > 0)


def _boundless(c: Tensor, power: float) -> Tensor:
    """Whether a density of coefficients (..., k) is not integrable, or hardly so, (...)."""
    return (c[..., 2] < 0) | ((c[..., 2] == 0) & (c[..., 0] + power <= -0.99))


def _likelihood(c: Tensor, features: Tensor, volume: Tensor, seen: Tensor) -> Tensor:
    """Mean log-likelihood (...) of coefficients (..., k)."""
    return c @ seen - (c @ features.T + volume).logsumexp(-1)


def _lognormal(p: Tensor, worth: Tensor, power: float) -> Tensor:
    """The terms (5,) of a lognormal law with the mean and variance of the logarithms: a long way from level."""
    log = p.clamp_min(_LEAST).log()
    center = mean(log, worth)
    precision = 1 / mean((log - center).square(), worth).clamp_min(1e-12)
    none = torch.zeros_like(center)
    return torch.stack([center * precision - 1 - power, none, precision / 2, none, none])


def _likeliest(start: Tensor, features: Tensor, volume: Tensor, seen: Tensor, chosen: Tensor, power: float) -> Tensor:
    """The coefficients (m, k), of the chosen terms, of highest likelihood, by Newton's steps no longer than they help."""
    c, every = start, torch.arange(len(chosen), device=chosen.device)
    lengths = 0.5 ** torch.arange(8, dtype=torch.float64, device=chosen.device)[:, None, None]
    both = chosen[:, :, None] * chosen[:, None]
    for _ in range(_STEPS):
        share = (c @ features.T + volume).softmax(1)
        expected = share @ features
        second = torch.einsum("mk,ki,kj->mij", share, features, features) - expected[:, :, None] * expected[:, None]
        curved = torch.where(both > 0, second, 0.0) + torch.diag_embed(1 - chosen + 1e-9)
        step = torch.linalg.solve(curved, (chosen * (seen - expected))[..., None])[..., 0]
        tried = c + lengths * step / (step.norm(dim=1, keepdim=True) / _STRIDE).clamp_min(1.0)
        found = torch.where(_boundless(tried, power), -math.inf, _likelihood(tried, features, volume, seen))
        better = (found.amax(0) > _likelihood(c, features, volume, seen))[:, None]
        c = torch.where(better, tried[found.argmax(0), every], c)
        if not bool(better.any()):
            break
    return c


def _fits(p: Tensor, worth: Tensor, log_p: Tensor, share: Tensor) -> bool:
    """Whether distances p (m,) are as shares of places, whose logarithms rise, say."""
    below, at = share.cumsum(0) - 0.5 * share, p.log()
    i = torch.searchsorted(log_p, at).clamp(1, len(log_p) - 1)
    weight = (at - log_p[i - 1]) / (log_p[i] - log_p[i - 1]).clamp_min(_LEAST)
    u = 2 * torch.lerp(below[i - 1], below[i], weight.clamp(0, 1)) - 1
    legendre = [torch.ones_like(u), u]
    for k in range(1, _WAVES):
        legendre.append(((2 * k + 1) * u * legendre[-1] - k * legendre[-2]) / (k + 1))
    waves = torch.stack([math.sqrt(2 * k + 1) * wave for k, wave in enumerate(legendre[1:], 1)], 1)
    return float(worth.sum() * mean(waves, worth).square().sum()) < _UNFIT
