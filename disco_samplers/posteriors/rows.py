"""Draws as what is computed with: rows in real coordinates, what each weighs, and parts that are nearly independent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints
from torch.distributions.transforms import StackTransform, Transform

from disco_samplers.convergence import diagnostic
from disco_samplers.draws import TURN, Circle, Draws, Support, distinct_rows, groups_of
from disco_samplers.estimators import sparsest
from disco_samplers.types import ArrayLike

MOST_CONTEXT = 2048
"""Rows on which the network is conditioned; of more an even part."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows (chain, draw, d) with shares (chain, draw) that sum to one; a table is one chain in random order.

    ``size`` is how many independent draws they are worth; ``log_prob`` (chain, draw) what was stored with them, if anything.
    """

    values: Tensor
    share: Tensor
    size: float
    chains: bool
    log_prob: Tensor | None = None

    @classmethod
    def of(cls, draws: Draws, generator: torch.Generator | None) -> Rows:
        """The rows of draws: of a table the distinct ones, shuffled."""
        values, log_prob, shares = draws.values.detach().double(), draws.log_prob, draws.weights
        if shares is None:
            shares = torch.full((len(values),), 1 / len(values), dtype=torch.float64, device=values.device)
        if draws.num_chains is not None:
            shape = (draws.num_chains, -1)
            lp = None if log_prob is None else log_prob.view(shape)
            return cls(values.view(*shape, draws.dim), shares.view(shape), draws.effective_size, True, lp)
        draws.counts()  # which warns of rows that are worth little
        kept = shares > 0
        rows, own = distinct_rows(values[kept])
        share = torch.zeros(len(rows), dtype=torch.float64, device=rows.device).index_add_(0, own, shares[kept])
        order = torch.randperm(len(rows), generator=generator, device=rows.device)
        lp = None if log_prob is None else torch.zeros_like(share).scatter_(0, own, log_prob[kept])[order][None]
        return cls(rows[order][None], share[order][None], draws.effective_size, False, lp)

    @property
    def flat(self) -> Tensor:
        """The rows (n, d)."""
        return self.values.flatten(0, 1)

    def parts(self, count: int) -> list[Tensor]:
        """Numbers of the draws of each chain in so many parts of equal length: runs of successive draws."""
        return list(torch.arange(self.values.shape[1], device=self.values.device).tensor_split(count))

    def take(self, times: Tensor) -> Rows:
        """Some draws of every chain."""
        share = self.share[:, times]
        size = max(1.0, self.size * len(times) / self.values.shape[1])
        log_prob = None if self.log_prob is None else self.log_prob[:, times]
        return Rows(self.values[:, times], share / share.sum(), size, self.chains, log_prob)

    def thin(self, most: int) -> Rows:
        """At most so many rows: every k-th draw of the chains, or the first of a table, which are in random order."""
        chains, draws = self.share.shape
        kept = torch.arange(draws, device=self.share.device)
        return self.take(kept[:: -(-chains * draws // most)] if self.chains else kept[:most])

    def mean(self, f: Tensor) -> tuple[Tensor, float]:
        """The mean of values (n,) at the rows, and its variance: by autocorrelation of chains, by weights of a table."""
        share = self.share.flatten()
        mean = (share * f).sum()
        scatter = float((share * (f - mean)).square().sum())
        # Where rows are worth less than their weights say.
        by_size = scatter * max(1.0, 1 / float(share.square().sum()) / self.size)
        if not self.chains or float(share.max() / share.min()) > 1 + 1e-9:
            return mean, by_size
        error = float(diagnostic("mcse", f.view(self.share.shape)[..., None].cpu().numpy())[0])
        return mean, error**2 if math.isfinite(error) else by_size

    def equal(self, generator: torch.Generator | None) -> Tensor:
        """Rows (n, d) of equal weight."""
        share = self.share.flatten()
        if float(share.max() / share.min()) < 1 + 1e-9:
            return self.flat
        drawn: Tensor = Draws(self.flat, weights=share).resample(round(self.size) + 1, generator=generator).values
        return drawn

    def context(self, generator: torch.Generator | None) -> Draws:
        """What the network is conditioned on: at most 2048 rows."""
        rows = self.thin(MOST_CONTEXT) if self.chains else self
        if self.chains and float(rows.share.std()) == 0:
            return Draws(rows.values)
        if rows.share.numel() > MOST_CONTEXT:
            return Draws(rows.equal(generator)[:MOST_CONTEXT])
        return Draws(rows.flat, weights=rows.share.flatten())


def straightened(sets: Sequence[Draws]) -> list[Draws]:
    """Sets of draws of the same columns, angles as columns of an interval: the turn begins where all draws are sparsest.

    So the seam of the turn in which they were given is no end, and angles 350 and 10 are neighbours. All sets then have the
    support of the first that has one.

    Example:
        >>> import numpy as np
        >>> a, b = (Draws(np.array([[350.0], [5.0], [k]]), support=["circular:360"]) for k in (10.0, 40.0))
        >>> [x.values.ravel().tolist() for x in straightened([a, b])]
        [[350.0, 365.0, 370.0], [350.0, 365.0, 400.0]]
    """
    support = next((x.support for x in sets if x.support is not None), None)
    circles = {i: one for i, one in enumerate(support or []) if isinstance(one, Circle)}
    if support is None or not circles:
        return list(sets)
    values, ends = [x.values.clone() for x in sets], list(support)
    counts = torch.cat([(torch.ones_like(x.values[:, 0]) if x.weights is None else x.weights * len(x)).double() for x in sets])
    for i, circle in circles.items():
        unit = circle.period / TURN
        low = unit * sparsest(torch.cat([x[:, i] for x in values]).double() / unit, counts)
        ends[i] = Support(low, low + circle.period)
        for x in values:
            x[:, i] = low + torch.remainder(x[:, i] - low, circle.period)
    return [x.replaced(y, names=x.names if x.has_names else None, support=ends) for x, y in zip(sets, values, strict=True)]


class Turn(Transform):
    """Angles of a turn that begins at ``low`` as those of the turn in which they are given.

    Example:
        >>> from disco_samplers.draws import Circle
        >>> turn = Turn(-100.0, Circle(0.0, 360.0))
        >>> turn(torch.tensor(-10.0)), turn.inv(torch.tensor([350.0, 710.0]))
        (tensor(350.), tensor([-10., -10.]))
    """

    domain = codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, low: float, given: Circle) -> None:
        super().__init__()
        self.low, self.given = low, given

    def _call(self, x: Tensor) -> Tensor:
        return self.given.wrapped(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.low + torch.remainder(y - self.low, self.given.period)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Zeros: a turn changes no volume."""
        return torch.zeros_like(x)


def ends(support: Sequence[Support] | None) -> list[Any]:
    """Of each column; of angles the period, in whatever turn they are given."""
    return [one.period if isinstance(one, Circle) else one for one in support or []]


def real_coordinates(draws: Draws) -> Transform | None:
    """The transform from the real numbers to the columns' support; None where no column has a bound."""
    bounds = draws.support or []
    if groups := [group for group in groups_of(bounds) if group.kind == "simplex"]:
        told = ", ".join(draws.names[i] for i in groups[0].columns)
        raise ValueError(
            f"columns {told} are a simplex, and have no density of their own: leave one of them out, and its support"
        )
    if all(low is None and high is None for low, high in bounds):
        return None
    return StackTransform([biject_to(_constraint(low, high)) for low, high in bounds], dim=-1)


def to_real(draws: Draws, transform: Transform | None) -> Draws:
    """Draws in real coordinates, with the stored log-densities of those.

    Raises:
        ValueError: if a row lies on a bound.
    """
    if transform is None:
        return draws
    x = draws.values.detach().double()
    t = transform.inv(x)
    low = x.new_tensor([-math.inf if low is None else low for low, _ in draws.support or []])
    high = x.new_tensor([math.inf if high is None else high for _, high in draws.support or []])
    on = (x <= low) | (x >= high)
    if on.any():
        row, column = on.nonzero()[0].tolist()
        raise ValueError(
            f"draws lie on the bound of column {draws.names[column]}, the first at row {row}: the support must be open"
        )
    log_prob = None if draws.log_prob is None else draws.log_prob + volume(transform, t)
    shape = (draws.num_chains, -1) if draws.num_chains is not None else (len(t),)
    weights = None if draws.weights is None else draws.weights.view(shape)
    names = draws.names if draws.has_names else None
    return Draws(t.view(*shape, draws.dim), weights=weights, names=names, log_prob=log_prob)


def volume(transform: Transform | None, t: Tensor) -> Tensor:
    """Log of the Jacobian's determinant |dx/dt| (m,) at real coordinates (m, d)."""
    if transform is None:
        return t.new_zeros(len(t))
    found: Tensor = transform.log_abs_det_jacobian(t, transform(t)).sum(-1)
    return found


def as_draws(values: ArrayLike | Draws, name: str, device: torch.device | None) -> Draws:
    """Draws as they are, or of an array or data frame, on a device if one is wanted; errors name the argument.

    Raises:
        TypeError, ValueError: as :class:`~disco_samplers.Draws`, and if a tensor is on another device.
    """
    if isinstance(values, Draws):
        return values.on(device, name)
    try:
        draws = Draws(values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
    return draws.on(device, name)


def check_enough(draws: Draws, name: str) -> None:
    """Raises ValueError unless there are ten distinct rows a column."""
    if draws.num_distinct < 10 * draws.dim:
        raise ValueError(
            f"{name} has {draws.num_distinct} distinct draws of {draws.dim} parameters: ten times as many draws as parameters "
            "are needed"
        )


def _constraint(low: float | None, high: float | None) -> Any:
    if low is None:
        return constraints.real if high is None else constraints.less_than(high)
    return constraints.greater_than(low) if high is None else constraints.interval(low, high)
