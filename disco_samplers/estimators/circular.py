"""An estimator of columns of angles: rows laid out along a line, and the turns of the line added up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from disco_samplers.draws import Circle, Support
from disco_samplers.estimators.judge import mean
from disco_samplers.estimators.wrapper import Wrapper
from disco_samplers.randomness import check_seed

MAX_CIRCLES = 3
"""Circular columns at most: each doubles the queries."""

_TURNS = 2
"""Turns to either side over which a flat column is laid out: a normal law of deviation pi has the rest at 5 deviations."""

_HARMONICS = 3
_PLACES = 64
"""Places among which the sparsest is looked for, by so many harmonics."""

_CLEAR = 10.0
"""Of n times a squared mean of harmonics from which on a column is not flat; where it is, e^-10 of them are above."""

_MIXED = 6
"""Sums and differences of circles that are taken one after another, at most."""

_STEPS = [math.sqrt(2), math.sqrt(3), math.sqrt(5)]
"""Of the sequences that deal rows to turns, one for each circle: multiples of irrational numbers, whose parts are even."""


class Layout(NamedTuple):
    r"""How the rows of circular columns are laid out along lines: each on one of the turns, by a smooth window w.

    With t the angle in turns of :math:`2\pi` from a centre, and :math:`\sum_k w(t + 2\pi k) = 1`, a row is on turn k with
    probability :math:`w(t + 2\pi k)`. Laid out so, rows of density f have the density

    .. math:: g(t) = f(t)\, w(t), \qquad \text{and} \quad f(t) = \sum_k g(t + 2\pi k),

    whatever w is, and one integrates to one where the other does. The window is

    .. math:: w(t) = \cos^2\big(\tfrac12 (|t| - \tfrac\pi2)\big) \quad\text{for}\quad \tfrac\pi2 \le |t| \le \tfrac{3\pi}2,

    one within and zero without, its centre half a turn from where rows are sparsest, so that few of them are near its slopes.
    A column that is flat and depends on no other has a normal law's, :math:`w \propto e^{-t^2 / 2\pi^2}`: it is normal then.

    Of several circles one may be replaced by its sum with another, or the difference, if that is more concentrated: as the mean
    longitude of an orbit, the sum of two angles that are not known, may be known well. Such changes keep volumes.

    Arguments:
        columns: numbers of the circular columns.
        circles: their turns.
        mix: of the angles to those that are laid out, whole numbers (c, c) of determinant one.
        centres: of the windows of these, in radians.
        flat: whether the window is a normal law's.
    """

    columns: list[int]
    circles: list[Circle]
    mix: list[list[float]]
    centres: list[float]
    flat: list[bool]

    @classmethod
    def of(cls, samples: Tensor, supports: Sequence[Support], counts: Tensor | None = None) -> Layout:
        """By samples (n, d), each worth so many draws (n,), or one.

        Raises:
            ValueError: if more than three columns are circular.
        """
        columns = [i for i, support in enumerate(supports) if isinstance(support, Circle)]
        if len(columns) > MAX_CIRCLES:
            raise ValueError(f"support has {len(columns)} circular columns; at most {MAX_CIRCLES} are supported")
        circles = [support for support in supports if isinstance(support, Circle)]
        x = samples.detach().double()
        plain = cls(columns, circles, [], [], []).angles(x)
        mix = _concentrated(plain, counts)
        angles = list((plain @ mix.T).unbind(-1))
        lines = [_ranked(x[:, i]) for i in range(x.shape[1]) if i not in columns]
        flat = [_is_flat(angle, [a for a in angles if a is not angle] + lines, counts) for angle in angles]
        return cls(columns, circles, mix.tolist(), [sparsest(angle, counts) + math.pi for angle in angles], flat)

    def __bool__(self) -> bool:
        return bool(self.columns)

    def angles(self, points: Tensor) -> Tensor:
        """The circular columns of points (..., d) in radians, (..., c)."""
        scale, start = self._units(points)
        return (points[..., self.columns].double() - start) / scale

    def laid(self, points: Tensor) -> Tensor:
        """The angles that are laid out (m, c) of points (m, d), in half a turn around their centres."""
        centres = self._centres(points)
        mixed = self.angles(points) @ self._mix(points).T
        return centres + torch.remainder(mixed - centres + math.pi, 2 * math.pi) - math.pi

    def placed(self, points: Tensor, angles: Tensor) -> Tensor:
        """Points (..., d) with laid out angles (..., c) in the place of their circular columns, in their units."""
        scale, start = self._units(points)
        columns = list(points.double().expand(*angles.shape[:-1], -1).unbind(-1))
        for i, column in zip(self.columns, (start + scale * angles).unbind(-1), strict=True):
            columns[i] = column
        return torch.stack(columns, -1)

    def dealt(self, samples: Tensor) -> Tensor:
        """Rows (n, d), each on one of the turns: the same ones whatever their order."""
        angles = self.laid(samples)
        turns = torch.arange(-_TURNS, _TURNS + 1, dtype=angles.dtype, device=angles.device)
        found = []
        for angle, centre, flat, step in zip(angles.unbind(-1), self.centres, self.flat, _STEPS, strict=False):
            share = _window((angle - centre)[:, None] + 2 * math.pi * turns, flat)
            u = (0.5 + angle.argsort(stable=True).argsort().double() * step) % 1
            below = share.cumsum(1) / share.sum(1, keepdim=True)
            found.append(angle + 2 * math.pi * turns[(u[:, None] > below).sum(1).clamp_max(2 * _TURNS)])
        return self.placed(samples, torch.stack(found, -1))

    def images(self, points: Tensor) -> Tensor:
        """All turns (k, m, d) on which points (m, d) may lie."""
        angles, moves = self.laid(points), []
        for angle, centre, flat in zip(angles.unbind(-1), self.centres, self.flat, strict=True):
            # The window ends within the next turn, on the side where the point is.
            turn = torch.full_like(angle, 2 * math.pi)
            side = torch.where(angle < centre, turn, -turn)
            every = [k * turn for k in range(-_TURNS, _TURNS + 1)]
            moves.append(every if flat else [torch.zeros_like(angle), side])
        return self.placed(points, torch.stack([angles + torch.stack(chosen, -1) for chosen in itertools.product(*moves)]))

    def scores(self, score: Tensor) -> Tensor:
        """Scores (..., d) of points from those of laid out points."""
        scale, _ = self._units(score)
        mixed = (score[..., self.columns].double() * scale) @ self._mix(score) / scale
        columns = list(score.unbind(-1))
        for i, column in zip(self.columns, mixed.unbind(-1), strict=True):
            columns[i] = column
        return torch.stack(columns, -1)

    def wrapped(self, points: Tensor) -> Tensor:
        """Points (m, d) of laid out ones, in the turns in which draws are given."""
        found = list(self.placed(points, self.angles(points) @ torch.linalg.inv(self._mix(points)).T).unbind(-1))
        for i, circle in zip(self.columns, self.circles, strict=True):
            found[i] = circle.wrapped(found[i])
        return torch.stack(found, -1)

    def _units(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Units of a radian, and where turns start, both (c,)."""
        options: dict[str, Any] = {"dtype": torch.float64, "device": like.device}
        scale = torch.tensor([circle.period / (2 * math.pi) for circle in self.circles], **options)
        return scale, torch.tensor([circle.start for circle in self.circles], **options)

    def _centres(self, like: Tensor) -> Tensor:
        return torch.tensor(self.centres, dtype=torch.float64, device=like.device)

    def _mix(self, like: Tensor) -> Tensor:
        return torch.tensor(self.mix, dtype=torch.float64, device=like.device)


class CircularEstimator(Wrapper):
    """A density of angles, read off rows that are laid out along lines: the sum over all turns, without a seam.

    Arguments:
        base: of the lines, (m, d): an estimator, or any density.
        layout: of the circular columns.

    Example:
        >>> from disco_samplers.reference import Gaussian
        >>> layout = Layout([0], [Circle(0.0, 2 * math.pi)], [[1.0]], [math.pi], [False])
        >>> narrow = CircularEstimator(Gaussian(torch.full((1,), math.pi).double(), torch.eye(1).double()), layout)
        >>> narrow.log_prob(torch.tensor([[0.0], [2 * math.pi]]).double()).exp()  # twice the normal law's at pi
        tensor([0.0057, 0.0057], dtype=torch.float64)
    """

    def __init__(self, base: Any, layout: Layout) -> None:
        super().__init__(base)
        self.layout = layout

    def log_prob_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (m,) and score (m, d) at points (m, d)."""
        images = self.layout.images(points)
        log_prob, score = self.base.log_prob_and_score(images.flatten(0, 1))
        log_prob, score = log_prob.view(images.shape[:2]), score.view(images.shape)
        return log_prob.logsumexp(0), self.layout.scores((_shares(log_prob)[..., None] * score).sum(0))

    def log_prob(self, points: Tensor) -> Tensor:
        """The log-density alone."""
        images = self.layout.images(points)
        log_prob: Tensor = self.base.log_prob(images.flatten(0, 1))
        return log_prob.view(images.shape[:2]).logsumexp(0)

    def score(self, points: Tensor) -> Tensor:
        """The score alone."""
        return self.log_prob_and_score(points)[1]

    def __call__(self, points: Tensor) -> Tensor:
        """The score."""
        return self.score(points)

    def sample(self, num_samples: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draws (num_samples, d), where the base can be drawn from; give ``seed`` or ``generator``."""
        check_seed(seed, generator)
        source = {"generator": generator} if seed is None else {"seed": seed}
        return self.layout.wrapped(self.base.sample(num_samples, **source))

    def from_base(self, points: Tensor) -> Tensor:
        """The data's points of the base's points."""
        return self.layout.wrapped(points)

    def whiten(self, points: Tensor) -> Tensor:
        """Whitened coordinates of the core, on the turn around the centres."""
        white: Tensor = self.base.whiten(self.layout.placed(points, self.layout.laid(points)))
        return white

    def white_log_prob(self, z: Tensor) -> Tensor:
        """Log-density in the core's whitened coordinates, of the lines."""
        log_prob: Tensor = self.base.white_log_prob(z)
        return log_prob

    def with_base(self, base: Any) -> CircularEstimator:
        """The same layout around another estimator."""
        return CircularEstimator(base, self.layout)


def _window(t: Tensor, flat: bool) -> Tensor:
    """Windows at angles, up to a factor."""
    if flat:
        return (-0.5 * (t / math.pi).square()).exp()
    return (0.5 * (t.abs() - math.pi / 2).clamp(0, math.pi)).cos().square()


def _shares(log_prob: Tensor) -> Tensor:
    """Shares of turns (k, m) in a density; all are zero where none has any."""
    return torch.softmax(log_prob, 0).nan_to_num(0.0)


def _concentrated(angles: Tensor, counts: Tensor | None) -> Tensor:
    """Sums and differences (c, c) of angles (n, c) that are more concentrated than these, the clearest first."""
    c = angles.shape[1]
    n = float(len(angles) if counts is None else counts.sum())
    mix = torch.eye(c, dtype=angles.dtype, device=angles.device)
    changes = [(j, i, sign) for j in range(c) for i in range(c) for sign in (1.0, -1.0) if i != j]
    for _ in range(_MIXED if changes else 0):
        mixed = angles @ mix.T
        now = _concentration(mixed, counts)
        tried = _concentration(torch.stack([mixed[:, j] + sign * mixed[:, i] for j, i, sign in changes], 1), counts)
        gain = tried - now[[j for j, _, _ in changes]]
        best = int(gain.argmax())
        if n * float(gain[best]) < _CLEAR:
            break
        j, i, sign = changes[best]
        mix[j] = mix[j] + sign * mix[i]
    return mix


def _concentration(angles: Tensor, counts: Tensor | None) -> Tensor:
    """Squared means of angles (n, c) as unit vectors, (c,)."""
    return mean(angles.cos(), counts).square() + mean(angles.sin(), counts).square()


def sparsest(angle: Tensor, counts: Tensor | None) -> float:
    """Where angles (n,) are sparsest, by their first harmonics, each less the higher it is."""
    places = torch.arange(_PLACES, dtype=angle.dtype, device=angle.device) * (2 * math.pi / _PLACES)
    order = torch.arange(1, _HARMONICS + 1, dtype=angle.dtype, device=angle.device)
    waves = torch.cat([(angle[:, None] * order).cos(), (angle[:, None] * order).sin()], 1)
    weight = (1 - order / (_HARMONICS + 1)).repeat(2) * mean(waves, counts)
    rise = torch.cat([(places[:, None] * order).cos(), (places[:, None] * order).sin()], 1) @ weight
    return float(places[rise.argmin()])


def _is_flat(angle: Tensor, others: list[Tensor], counts: Tensor | None) -> bool:
    """Whether angles (n,) look uniform and independent of others: none of their mixed harmonics is more than noise."""
    n = float(len(angle) if counts is None else counts.sum())
    for k in range(1, _HARMONICS + 1):
        mixed = [k * angle, *(k * angle + sign * m * other for other in others for m in (1, 2) for sign in (1, -1))]
        waves = torch.stack([part for phase in mixed for part in (phase.cos(), phase.sin())], 1)
        squared = mean(waves, counts).view(-1, 2).square().sum(1)
        if bool((n * squared > _CLEAR).any()):
            return False
    return True


def _ranked(x: Tensor) -> Tensor:
    """Numbers (n,) as angles of less than half a turn, by their ranks."""
    return x.argsort().argsort().double() * (math.pi / len(x))
