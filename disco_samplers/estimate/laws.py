"""The pictures of conditional laws: what is evaluated where for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from disco_samplers.draws import Circle, Support
from disco_samplers.estimate.places import off_edges, within
from disco_samplers.pictures import Law, plot_laws, plot_plane, widened

_PLACES, _DRAWS = 400, 1000

_LEVELS = [0.002, 0.05, 0.95, 0.998]
"""Of the ends of a curve and of its shaded interval."""


def plot_curves(laws: Any, labels: list[str], name: str, support: Support, title: str, path: str | None) -> Any:
    """Draws the densities of laws of one column, (b, m) at points (b, m, 1), each with the interval that holds 90 % of it."""
    ends = np.asarray(laws.quantile(_LEVELS)).reshape(len(labels), -1)
    seen = np.stack([np.linspace(*_range(row[0], row[-1], support), _PLACES) for row in ends])
    points = torch.from_numpy(off_edges(seen, support))[..., None].to(laws.device)
    density = laws.log_prob(points if laws.batched else points[0]).exp().cpu().numpy().reshape(seen.shape)
    drawn = [Law(*row[:3], (row[3][1], row[3][2])) for row in zip(labels, seen, density, ends, strict=True)]
    return plot_laws(drawn, name, title, path)


def _range(low: float, high: float, support: Support) -> tuple[float, float]:
    """Where a law of one column is looked at; of an angle around it, and no more than a turn."""
    ends = widened((low, high), 0.15)
    if not isinstance(support, Circle):
        return within(ends, support)
    most = max(0.0, ends[1] - ends[0] - support.period) / 2
    return ends[0] + most, ends[1] - most


def plot_contours(law: Any, names: tuple[str, str], support: list[Support], path: str | None) -> Any:
    """Draws the density of one law of two columns, with arrows of its score and draws."""
    draws = np.asarray(law.sample(_DRAWS, seed=0), dtype=float)
    ranges = [
        within(widened(np.quantile(column, [_LEVELS[0], _LEVELS[-1]]).tolist(), 0.15), bounds)
        for column, bounds in zip(draws.T, support, strict=True)
    ]

    def plane(count: int) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
        a, b = (np.linspace(*ends, count) for ends in ranges)
        points = np.stack(np.meshgrid(off_edges(a, support[0]), off_edges(b, support[1])), -1).reshape(-1, 2)
        return a, b, torch.from_numpy(points).to(law.device)

    a, b, fine = plane(120)
    _, _, coarse = plane(17)
    log_prob, score = (answer.detach().cpu().numpy() for answer in (law.log_prob(fine), law.score(coarse)))
    return plot_plane(draws, (a, b, log_prob.reshape(len(b), len(a))), (coarse.cpu().numpy(), score), names, path=path)
