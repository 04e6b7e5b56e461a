"""Where columns end, and how an estimate that is read on the real line is brought to go on there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.draws import Support
from disco_samplers.estimators.judge import mean
from disco_samplers.estimators.transforms import SupportTransform, quantile
from disco_samplers.estimators.wrapper import Wrapper

_FEWEST = 5
"""The nearest rows, among which a density that vanishes or diverges follows its power."""

_ERRORS = 3.0
"""Standard errors by which a density must rise or fall towards an edge not to be level."""

_NEAREST = (1e-12, 1e-3)
"""Where a power ends, as a share of where it begins: one that vanishes at the edge, and one that diverges."""


class Edges(NamedTuple):
    r"""Where columns end, and how the estimate goes on next to their ends, where there are few rows to tell the density by.

    It goes as a power of the distance p from the edge, from the point e on beyond which few rows lie:
    :math:`f(p) = f(e) (p / e)^\alpha`. Where f goes so, the mean of :math:`\log(p_{(k)} / p_{(i)})` over the k nearest rows
    is :math:`1 / (1 + \alpha)`, give or take :math:`1/\sqrt k` of it. With :math:`k = n^{2/3}`, alpha is zero where that mean
    is one within three standard errors, unless a column is read by logarithms: the density neither vanishes nor diverges, and
    is level over the nearer half of these rows. (Over all of them it would have fallen or risen, and over fewer these are too
    few to tell its level by.)

    Arguments:
        low, high: of each column, (d,), infinite where there is no bound.
        first, last: the points e of each column, (d,).
        powers: alpha at either end, (2, d).

    References:
        Hill, *A simple general approach to inference about the tail of a distribution*, Annals of Statistics 1975.
    """

    low: Tensor
    high: Tensor
    first: Tensor
    last: Tensor
    powers: Tensor

    @classmethod
    def of(
        cls,
        samples: Tensor,
        supports: Sequence[Support],
        transform: SupportTransform,
        counts: Tensor | None = None,
        natural: Sequence[float] = (),
    ) -> Edges:
        """The edges of samples (n, d), each worth so many draws (n,), or one, that are read by a transform.

        With ``natural``, (d,), alpha is that at the upper ends, and not zero, where it may be.
        """
        x = samples.detach().double()
        low = [-math.inf if support.low is None else support.low for support in supports]
        high = [math.inf if support.high is None else support.high for support in supports]
        logs = [form is not None and form.log for form in transform.forms]
        own = natural or [0.0] * len(logs)
        lower = [_nearby(c - a, log, counts) for c, a, log in zip(x.unbind(1), low, logs, strict=True)]
        upper = [_nearby(b - c, log, counts, power) for c, b, log, power in zip(x.unbind(1), high, logs, own, strict=True)]
        first = [a + near for a, (near, _) in zip(low, lower, strict=True)]
        last = [b - near for b, (near, _) in zip(high, upper, strict=True)]
        powers = [[power for _, power in ends] for ends in (lower, upper)]
        return cls(*(x.new_tensor(ends) for ends in (low, high, first, last, powers)))

    def outside(self, points: Tensor) -> Tensor:
        """Whether points (..., d) are, (...)."""
        return ((points < self.low) | (points > self.high)).any(-1)

    def inner(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (..., d) no nearer to the ends than e, and what goes on from there: log-density (...,) and score (..., d)."""
        kept, rise, score = torch.minimum(torch.maximum(points, self.first), self.last), [], []
        ends = ((points < self.first, self.low, self.first, 1.0), (points > self.last, self.high, self.last, -1.0))
        for (near, edge, start, sign), power in zip(ends, self.powers, strict=True):
            whole = torch.where(near, sign * (start - edge), 1.0)
            least = torch.where(power < 0, _NEAREST[1], _NEAREST[0]) * whole
            distance = torch.maximum(torch.where(near, sign * (points - edge), 1.0), least)
            rise.append((power * (distance / whole).log()).sum(-1))
            score.append(torch.where(near, sign * power / distance, 0.0))
        return kept, rise[0] + rise[1], score[0] + score[1]

    def to(self, device: torch.device) -> Edges:
        """The same on another device."""
        return Edges(*(ends.to(device) for ends in self))


class EdgedEstimator(Wrapper):
    r"""An estimate read on the real line, z, that goes on next to the edges of columns x as :class:`Edges` say.

    Beyond z(e) it is the density at z(e), times the power, times :math:`|dx/dz|` over what that is at e: its integral and its
    draws are those of the columns themselves.

    Arguments:
        base: of z, (m, d).
        transform: from x to z.
        edges: of the columns x.
    """

    def __init__(self, base: Any, transform: SupportTransform, edges: Edges) -> None:
        super().__init__(base)
        self.transform, self.edges = transform, edges

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, d) at points z (m, d)."""
        x = self.transform.inv(points)
        kept, rise, own = self.edges.inner(x)
        near = kept != x
        z = torch.where(near, self.transform(kept), points.double())
        log_prob, score = self.base.log_prob_and_score(z)
        columns = list(score.unbind(-1))
        for i, form in enumerate(self.transform.forms):
            if form is not None:
                _, first, of_log = form.slopes(x[..., i])
                columns[i] = torch.where(near[..., i], (own[..., i] - of_log) / first, columns[i])
        return log_prob + rise + self._volume(kept) - self._volume(x), torch.stack(columns, -1)

    def log_prob(self, points: Tensor) -> Tensor:
        """The log-density alone."""
        z, added = self._kept(points)
        log_prob: Tensor = self.base.log_prob(z)
        return log_prob + added

    def score(self, points: Tensor) -> Tensor:
        """The score alone."""
        return self.log_prob_and_score(points)[1]

    def white_log_prob(self, z: Tensor) -> Tensor:
        """Log-density in the core's whitened coordinates."""
        points = self.base.from_core(self.unwhitened(z))
        kept, added = self._kept(points)
        found: Tensor = self.base.white_log_prob(z)
        near = (kept != points).any(-1)
        if near.any():
            found = found.clone()
            with torch.no_grad():
                found[0, near] += self.base.log_prob(kept[near]) - self.base.log_prob(points[near])
        return found + added

    def with_base(self, base: Any) -> EdgedEstimator:
        """The same edges of another estimator."""
        return EdgedEstimator(base, self.transform, self.edges.to(base.core.samples.device))

    def _kept(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points no nearer to the ends than e, and what is added to their log-density."""
        x = self.transform.inv(points)
        kept, rise, _ = self.edges.inner(x)
        z = torch.where(kept != x, self.transform(kept), points.double())
        return z, rise + self._volume(kept) - self._volume(x)

    def _volume(self, x: Tensor) -> Tensor:
        return self.transform.log_abs_det_jacobian(x, x)


def _nearby(distance: Tensor, log: bool, counts: Tensor | None, natural: float = 0.0) -> tuple[float, float]:
    """How near to an edge rows at these distances (n,) tell the density, and the power with which it goes on from there."""
    if not bool(torch.isfinite(distance[0])):
        return 0.0, 0.0
    worth = torch.ones_like(distance) if counts is None else counts.double()
    n = float(worth.sum())
    shares = distance.new_tensor([n ** (-1 / 3), n ** (-1 / 3) / 2, _FEWEST / n]).clamp_max(1)
    far, half, nearest = (float(value) for value in quantile(distance[:, None], worth, shares)[:, 0])
    inner = distance < far
    if not bool(inner.any()):  # many rows at one distance
        return half, natural
    slope = float(mean((far / distance[inner]).log()[:, None], worth[inner]))
    if (natural or not log) and abs(slope * (1 + natural) - 1) < _ERRORS / math.sqrt(float(worth[inner].sum())):
        return half, natural
    return nearest, 1 / slope - 1
