"""The pictures of an estimate: what is evaluated where for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import default_names
from disco_samplers.draws import Support, evenly
from disco_samplers.estimate.places import off_edges, within
from disco_samplers.estimators import check_single
from disco_samplers.pictures import plot_line, plot_plane, widened

_SHOWN = 1500
"""Most samples in a picture of a plane."""


def plot_estimate(
    estimator: Any,
    samples: Tensor,
    dims: tuple[int, int] = (0, 1),
    path: str | None = None,
    *,
    names: Sequence[str] | None = None,
    support: Sequence[Support] | None = None,
) -> Any:
    """Draws samples (n, d) with the estimated density and score.

    In one dimension density and score are curves. In two or more, contours of the density and arrows of the score on the
    plane of ``dims``, through the sample of highest density where there are more dimensions than two.

    Raises:
        ValueError: if the samples are of a batch, ``dims`` are not two of their columns, or the extension is not that of a
            picture.
        ImportError: if matplotlib is not installed.
    """
    check_single(samples, "plot")
    d = samples.shape[1]
    if d > 1 and not isinstance(dims, (tuple, list)):
        raise TypeError(f"dims must be two columns, such as (0, 1), got {dims!r}")
    if d > 1 and not (len(dims) == len(set(dims)) == 2 and all(0 <= i < d for i in dims)):
        raise ValueError(f"dims must be two different columns in 0 .. {d - 1}, got {dims}")
    names = names or default_names(d)
    ends_of = support or [Support()] * d
    counts = estimator.core.counts
    x = evenly(samples.double(), counts)  # what is seen must have its weight
    if d == 1:
        ends = within(widened((float(x.min()), float(x.max())), 0.3), ends_of[0])
        grid = torch.linspace(*ends, 400, dtype=x.dtype, device=x.device)
        log_prob, score = estimator.log_prob_and_score(off_edges(grid, ends_of[0])[:, None])
        return plot_line(_plain(x[:, 0]), _plain(grid), _plain(log_prob), _plain(score[:, 0]), names[0], path)
    some = _spread(x, 2000)
    best = some[int(estimator.log_prob(some).argmax())]
    levels = torch.tensor([0.002, 0.998], dtype=x.dtype, device=x.device)
    ranges = [within(widened(torch.quantile(_spread(x, 100_000)[:, i], levels).tolist(), 0.15), ends_of[i]) for i in dims]

    def plane(count: int) -> tuple[Tensor, Tensor, Tensor]:
        a, b = (torch.linspace(*ends, count, dtype=x.dtype, device=x.device) for ends in ranges)
        points = best.expand(count, count, -1).clone()
        points[..., dims[0]] = off_edges(a, ends_of[dims[0]])[None, :]
        points[..., dims[1]] = off_edges(b, ends_of[dims[1]])[:, None]
        return a, b, points.flatten(0, 1)

    a, b, fine = plane(120)
    log_prob = estimator.log_prob(fine).view(len(b), len(a))
    _, _, coarse = plane(17)
    shown = list(dims)
    return plot_plane(
        _plain(_spread(x, _SHOWN)[:, shown]),
        (_plain(a), _plain(b), _plain(log_prob)),
        (_plain(coarse[:, shown]), _plain(estimator.score(coarse)[:, shown])),
        (names[dims[0]], names[dims[1]]),
        total=len(x),
        kind="samples" if counts is None else "distinct samples",
        slice_through="the densest sample" if d > 2 else "",
        path=path,
    )


def _spread(x: Tensor, most: int) -> Tensor:
    """At most so many rows, from all over the table: the first ones may all be of one chain."""
    if len(x) <= most:
        return x
    return x[torch.linspace(0, len(x) - 1, most, device=x.device).round().long()]


def _plain(values: Tensor) -> Any:
    return values.detach().cpu().numpy()
