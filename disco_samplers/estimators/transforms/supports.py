"""Coordinates without edges for columns that lie in half-lines and intervals."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.special import log_ndtr, ndtri

from disco_samplers.draws import Support
from disco_samplers.estimators.judge import mean
from disco_samplers.estimators.transforms.base import ClosedForm
from disco_samplers.estimators.transforms.johnson import JohnsonTransform
from disco_samplers.estimators.transforms.quantiles import quantile

_NEAREST = 1e-12
"""Points come no closer to an edge than this share of the column's scale there."""

_FAR = 500.0
"""Scales from the edge of a half-line from which on the normal quantile goes straight on, before it overflows."""

_LOG_ROOT = 0.5 * math.log(2 * math.pi)


class Slopes(NamedTuple):
    """Of z at points: log |dz/dx|, dz/dx, and the derivative of the first, each of the points' shape."""

    log: Tensor
    first: Tensor
    of_log: Tensor


class Form(ABC):
    """One column's change of variables, from its support to the real line; ``log`` where it is by logarithms of distances."""

    log: bool

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """z at points x."""

    @abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """x at images z."""

    @abstractmethod
    def slopes(self, x: Tensor) -> Slopes:
        """The derivatives at points x."""


class HalfLine(Form):
    r"""With t the distance from the edge in units of ``scale``: :math:`z = \log t`, or :math:`z = \Phi^{-1}(1 - e^{-t})`.

    The normal quantile takes an exponential law to a normal one, and what does not vanish at the edge to a normal tail.
    """

    def __init__(self, edge: float, sign: float, scale: float, log: bool) -> None:
        self.edge, self.sign, self.scale, self.log = edge, sign, scale, log

    def __call__(self, x: Tensor) -> Tensor:
        t = self._distance(x)
        if self.log:
            return t.log()
        near = t.clamp_max(_FAR)
        z = _normal_quantile(-torch.expm1(-near), (-near).exp())
        return z + (t - near) * _TURN.slope

    def inverse(self, z: Tensor) -> Tensor:
        if self.log:
            t = z.clamp_max(600.0).exp()
        else:
            near = z.clamp_max(_TURN.z)
            t = -log_ndtr(-near) + (z - near) / _TURN.slope
        return self.edge + self.sign * self.scale * t

    def slopes(self, x: Tensor) -> Slopes:
        t = self._distance(x)
        unit = self.sign / self.scale
        if self.log:
            log, of_log = -t.log(), -1 / t
        else:
            z, far = self(x), t > _FAR
            log = torch.where(far, math.log(_TURN.slope), -t + 0.5 * z.clamp_max(_TURN.z).square() + _LOG_ROOT)
            of_log = torch.where(far, 0.0, z * log.exp() - 1)
        log = log - math.log(self.scale)
        return Slopes(log, self.sign * log.exp(), unit * of_log)

    def _distance(self, x: Tensor) -> Tensor:
        return (self.sign * (x - self.edge) / self.scale).clamp_min(_NEAREST)


class Interval(Form):
    r"""With p and q the distances from the edges: :math:`z = \log(p / q)`, or :math:`z = \Phi^{-1}(p / (p + r q))`.

    The normal quantile takes a uniform law (r = 1) to a normal one; r, the odds of the median, brings that to zero.
    """

    def __init__(self, low: float, high: float, odds: float, log: bool) -> None:
        self.low, self.high, self.odds, self.log = low, high, odds, log

    def __call__(self, x: Tensor) -> Tensor:
        p, q = self._distances(x)
        if self.log:
            return p.log() - q.log()
        whole = p + self.odds * q
        return _normal_quantile(p / whole, self.odds * q / whole)

    def inverse(self, z: Tensor) -> Tensor:
        width = self.high - self.low
        # As shares of the nearer edge, where rounding would eat them.
        u, v = (z.sigmoid(), (-z).sigmoid()) if self.log else (log_ndtr(z).exp(), log_ndtr(-z).exp())
        r = 1.0 if self.log else self.odds
        whole = r * u + v  # p / q = r u / v
        return torch.where(r * u < v, self.low + width * r * u / whole, self.high - width * v / whole)

    def slopes(self, x: Tensor) -> Slopes:
        p, q = self._distances(x)
        width = math.log(self.high - self.low)
        if self.log:
            log = width - p.log() - q.log()
            return Slopes(log, log.exp(), 1 / q - 1 / p)
        z, whole = self(x), p + self.odds * q
        log = math.log(self.odds) + width - 2 * whole.log() + 0.5 * z.square() + _LOG_ROOT
        first = log.exp()
        return Slopes(log, first, z * first - 2 * (1 - self.odds) / whole)

    def _distances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        least = _NEAREST * (self.high - self.low)
        return (x - self.low).clamp_min(least), (self.high - x).clamp_min(least)


class Tamed(Form):
    r"""A column without ends by :math:`z = \operatorname{asinh}((x - \xi) / \lambda)`, as :class:`JohnsonTransform` has it."""

    log = False

    def __init__(self, location: float, width: float) -> None:
        self.location, self.width = location, width

    def __call__(self, x: Tensor) -> Tensor:
        return torch.asinh((x - self.location) / self.width)

    def inverse(self, z: Tensor) -> Tensor:
        return self.location + self.width * torch.sinh(z.clamp(-350, 350))

    def slopes(self, x: Tensor) -> Slopes:
        u = x - self.location
        whole = torch.hypot(u, torch.full_like(u, self.width))
        return Slopes(-whole.log(), 1 / whole, -u / whole.square())


class SupportTransform(ClosedForm):
    r"""The columns of bounded support on the real line, each by a form of its own; the others as they are, or tamed.

    Of two forms, the logarithm of the distance (of the ratio of the distances from both edges) and the normal quantile of
    an exponential (a uniform) law's distribution function, a column has the one in which its values are likelier as a normal
    law's, :math:`-\tfrac n2 \log \operatorname{var}(z) + \sum_i \log |dz/dx|(x_i)`.

    Arguments:
        forms: for each column, None for one that stays as it is.

    Example:
        >>> x = -torch.rand(500, 1, generator=torch.Generator().manual_seed(0)).double().log()
        >>> change = SupportTransform.fit(x, [Support.of("positive")])
        >>> z = change(x)
        >>> abs(float(((z - z.mean()) / z.std()).pow(3).mean())) < 0.3
        True
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, forms: Sequence[Form | None]) -> None:
        super().__init__()
        self.forms = list(forms)

    @classmethod
    @torch.inference_mode(False)  # or what is made of it could not be differentiated
    def fit(
        cls,
        samples: Tensor,
        supports: Sequence[Support],
        counts: Tensor | None = None,
        others: JohnsonTransform | None = None,
    ) -> SupportTransform:
        """Chooses the forms by samples (n, d) inside the supports, each worth so many draws (n,), or one.

        With ``others``, of all d columns, those without a bound are read by it.
        """
        columns = zip(samples.detach().double().unbind(1), supports, strict=True)
        forms = [_likelier(column, support, counts) if support else None for column, support in columns]
        if others is not None:
            tame = zip(others.location.tolist(), others.width.tolist(), strict=True)
            tamed = [None if math.isinf(width) else Tamed(location, width) for location, width in tame]
            forms = [form or other for form, other in zip(forms, tamed, strict=True)]
        return cls(forms)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-volume (...,) at points x (..., d)."""
        found = [form.slopes(column).log for form, column in self._bounded(x)]
        return torch.stack(found).sum(0) if found else x.new_zeros(x.shape[:-1])

    def log_slopes(self, x: Tensor) -> Tensor:
        """What each column (..., d) has of it."""
        columns = zip(self.forms, x.double().unbind(-1), strict=True)
        found = [torch.zeros_like(column) if form is None else form.slopes(column).log for form, column in columns]
        return torch.stack(found, -1)

    def pull_back(self, x: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        volume, pulled = torch.zeros_like(x[..., 0], dtype=torch.float64), list(score.unbind(-1))
        for i, form in enumerate(self.forms):
            if form is not None:
                log, first, of_log = form.slopes(x[..., i].double())
                volume, pulled[i] = volume + log, first * pulled[i] + of_log
        return volume, torch.stack([column.to(volume.dtype) for column in pulled], -1)

    def _bounded(self, x: Tensor) -> list[tuple[Form, Tensor]]:
        return [(form, column) for form, column in zip(self.forms, x.double().unbind(-1), strict=True) if form is not None]

    def _call(self, x: Tensor) -> Tensor:
        columns = zip(self.forms, x.double().unbind(-1), strict=True)
        return torch.stack([column if form is None else form(column) for form, column in columns], -1)

    def _inverse(self, y: Tensor) -> Tensor:
        columns = zip(self.forms, y.double().unbind(-1), strict=True)
        return torch.stack([column if form is None else form.inverse(column) for form, column in columns], -1)


class _Turn(NamedTuple):
    """Where the normal quantile of a half-line goes straight on."""

    z: float
    slope: float


def _turn() -> _Turn:
    z = float(-ndtri(torch.tensor(-_FAR, dtype=torch.float64).exp()))
    return _Turn(z, math.exp(-_FAR + 0.5 * z**2 + _LOG_ROOT))


_TURN = _turn()


def _normal_quantile(share: Tensor, rest: Tensor) -> Tensor:
    """The normal quantile of a share, exact for small ones of it or of the rest."""
    lower = share < rest
    half = torch.full_like(share, 0.5)
    return torch.where(lower, ndtri(torch.where(lower, share, half)), -ndtri(torch.where(lower, half, rest)))


def _likelier(x: Tensor, support: Support, counts: Tensor | None) -> Form:
    """The form in which a column (n,) is likelier as a normal law's."""
    low, high = support
    middle = float((x.median() if counts is None else quantile(x[:, None], counts, x.new_tensor([0.5]))).squeeze())
    forms: list[Form]
    if low is not None and high is not None:
        odds = (middle - low) / (high - middle)
        forms = [Interval(low, high, odds, log) for log in (False, True)]
    else:
        edge, sign = (low, 1.0) if low is not None else (high, -1.0)
        assert edge is not None
        forms = [HalfLine(edge, sign, sign * (middle - edge) / math.log(2), log) for log in (False, True)]

    def likelihood(form: Form) -> float:
        z = form(x)[:, None]
        spread = mean((z - mean(z, counts)).square(), counts)
        return float(-0.5 * spread.log() + mean(form.slopes(x).log[:, None], counts))

    return max(forms, key=likelihood)
