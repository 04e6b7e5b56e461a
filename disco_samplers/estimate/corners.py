"""The corner picture of estimates: what is evaluated where for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from disco_samplers.arrays import check_number, check_positive, default_names
from disco_samplers.draws import Support, evenly, index_of
from disco_samplers.estimate.places import off_edges, within
from disco_samplers.estimate.regions import density_levels
from disco_samplers.estimators import check_single
from disco_samplers.pictures import Plane, Posterior, plot_corner, widened, writable
from disco_samplers.randomness import generator_on

MAX_COLUMNS = 8
"""Columns whose pairs can still be seen."""

_PLACES, _SIDE = 300, 80
"""Places of a curve, and of a side of a plane."""

_ENDS = [0.003, 0.997]
"""Quantiles of the rows between which, and a little beyond, a marginal is looked at."""

_MASSES = (0.95, 0.68)


def corner(
    estimates: Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    truth: Mapping[str | int, float] | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
    width: float = 7.0,
    path: str | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> Any:
    """Draws the marginals of one and two columns of estimates: densities on the diagonal, regions of 68 and 95 % below it.

    Each is the estimate of those columns alone, by ``estimate.marginal``, and each region that of highest density, as
    ``highest_density`` tells it. Curves are drawn as high as their panel, so that narrow and wide ones can be compared.

    Arguments:
        estimates: of the same columns, by name where they have names; at most 8 columns.
        labels: of the estimates, for the legend; by default their numbers, where there are several.
        truth: values to mark, by name or number of the column.
        names: of the columns, in the order of the first estimate's, as they are to stand on the axes.
        title: of the picture; by default what is drawn, such as "1,000 draws of 3 columns, regions of 68 and 95 %". "" is none.
        width: of the picture in inches; one column of a paper is 3.4 wide, two are 7.
        path: where to save the picture, if anywhere; the extension says the format.
        seed: of the randomness; give this or ``generator``.
        generator: source of randomness, on the estimates' device.
        progress: whether to show a progress bar.

    Raises:
        TypeError: if ``estimates`` is not a list of estimates, ``width`` is not a number, ``truth`` is no mapping, or a column
            in it is neither a name nor a number.
        ValueError: if ``width`` is not positive, there is no estimate, one is of a batch, they are of different columns or of
            more than 8; if ``truth`` names no such column or is not finite, ``labels`` or ``names`` are not as many as what
            they name, or the extension is not that of a picture; or as ``marginal`` does.
        ImportError: if matplotlib is not installed.

    Example:
        >>> from disco_samplers import DiScoFormer, corner
        >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> model = DiScoFormer.from_pretrained()
        >>> figure = corner([model.condition(x), model.condition(x + 1)], labels=["before", "after"], truth={0: 0.5})
        >>> len(figure.axes)
        3
    """
    check_positive("width", width)
    if path is not None:
        writable(path)
    estimates, columns = _checked(estimates)
    own = columns[0]
    d = len(own)
    shown = [str(name) for name in _as_many("names", names, own, "columns")]
    default = [""] if len(estimates) == 1 else [str(i + 1) for i in range(len(estimates))]
    said = _as_many("labels", labels, default, "estimates")
    marks = _marks(truth or {}, own)
    generator = generator_on(estimates[0].device, seed=seed, generator=generator)
    with tqdm(total=len(estimates) * d * (d + 1) // 2, desc="marginals", disable=not progress) as bar:
        posteriors = [
            _posterior(label, estimate, [order.index(name) for name in own], generator, bar)
            for label, estimate, order in zip(said, estimates, columns, strict=True)
        ]
    title = _title(estimates, d) if title is None else title
    return plot_corner(posteriors, shown, marks, title=title, width=width, path=path)


def _title(estimates: Sequence[Any], d: int) -> str:
    """What is drawn: rows that are equal are one, so of these it is said what they are worth."""
    one, columns = estimates[0], f"{d} column{'s' * (d > 1)}"
    regions = ", regions of 68 and 95 %" if d > 1 else ""
    if len(estimates) > 1:
        return f"{len(estimates)} posteriors of {columns}{regions}"
    if one.counts is None:
        return f"{len(one.samples):,} draws of {columns}{regions}"
    return f"draws of {columns}, worth {one.effective_size:,.0f}{regions}"


def _checked(estimates: Sequence[Any]) -> tuple[list[Any], list[list[str]]]:
    """The estimates, and the names of each one's columns, which are the same names."""
    if not isinstance(estimates, Iterable) or hasattr(estimates, "marginal"):
        raise TypeError(f"estimates must be a list of estimates, as [estimate] is, got {type(estimates).__name__}")
    estimates = list(estimates)
    if not estimates:
        raise ValueError("estimates is empty: give at least one")
    for i, one in enumerate(estimates):
        if not hasattr(one, "marginal"):
            raise TypeError(f"estimates[{i}] must be an estimate, as condition(draws) gives it, got {type(one).__name__}")
        check_single(one.samples, "corner")
    columns = [list(one.names or default_names(one.dim)) for one in estimates]
    for i, own in enumerate(columns):
        if set(own) != set(columns[0]):
            raise ValueError(f"estimates[{i}] has the columns {', '.join(own)}, estimates[0] has {', '.join(columns[0])}")
    if len(columns[0]) > MAX_COLUMNS:
        raise ValueError(
            f"a corner picture shows at most {MAX_COLUMNS} columns, and there are {len(columns[0])}: choose some, as by "
            "estimate.marginal([0, 1]), or with --columns"
        )
    return estimates, columns


def _as_many(argument: str, given: Sequence[str] | None, default: list[str], what: str) -> list[str]:
    if given is None:
        return default
    if isinstance(given, str) or len(given) != len(default):
        raise ValueError(f"{argument} must be a list of {len(default)}, one for each of the {what}, got {given!r}")
    return list(given)


def _marks(truth: Mapping[str | int, float], names: Sequence[str]) -> dict[int, float]:
    """The values to mark, by number of the column."""
    if not isinstance(truth, Mapping):
        raise TypeError(f"truth must give values by column, such as {{{names[0]!r}: 1.0}}, got {truth!r}")
    for column, value in truth.items():
        check_number(f"truth of {column}", value)
        if not math.isfinite(value):
            raise ValueError(f"truth of {column} must be finite, got {value}")
    return {index_of(column, names): float(value) for column, value in truth.items()}


def _posterior(label: str, estimate: Any, index: list[int], generator: torch.Generator | None, bar: Any) -> Posterior:
    """What is drawn of one estimate, its columns in the order of an index; the bar is told of each marginal."""
    ranges = [_range(estimate, column) for column in index]

    def seen(*part: int) -> Any:
        columns = [index[i] for i in part]
        marginal = estimate if columns == list(range(estimate.dim)) else estimate.marginal(columns)
        found = _seen(marginal, [ranges[i] for i in part], generator)
        bar.update()
        return found

    d = len(index)
    return Posterior(label, [seen(i) for i in range(d)], {pair: seen(*pair) for pair in itertools.combinations(range(d), 2)})


def _range(estimate: Any, column: int) -> tuple[float, float]:
    """Where a marginal is looked at: within its support."""
    x = evenly(estimate.samples[:, [column]].double(), estimate.counts)[:, 0].cpu().numpy()
    ends = widened(np.quantile(x, _ENDS).tolist(), 0.1)
    return within(ends, Support() if estimate.support is None else estimate.support[column])


def _seen(marginal: Any, ranges: list[tuple[float, float]], generator: torch.Generator | None) -> Any:
    """The curve of a marginal of one column, or the plane of one of two."""
    count = _PLACES if len(ranges) == 1 else _SIDE
    supports = marginal.support or [Support()] * len(ranges)
    axes = [np.linspace(*ends, count) for ends in ranges]
    points = np.stack(np.meshgrid(*(off_edges(*of) for of in zip(axes, supports, strict=True))), -1).reshape(-1, len(axes))
    log_prob = marginal.log_prob(torch.from_numpy(points).to(marginal.device)).cpu().numpy()
    if len(axes) == 1:
        return axes[0], np.exp(log_prob)
    outer, inner = density_levels(marginal, _MASSES, generator)
    return Plane(axes[0], axes[1], log_prob.reshape(count, count), (outer, inner))
