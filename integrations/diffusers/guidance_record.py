"""What a guidance saw, step by step."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from disco_samplers.pictures import BLUE, figure_of, saved, styled


@dataclasses.dataclass
class GuidanceRecord:
    """Means over the batch after each step of a pipeline; NaN where there is no reference to measure against.

    Arguments:
        sigma: noise level.
        log_prob: log-density under the reference at that level.
        score_norm: norm of the reference's score.
        distance: to the nearest reference sample.
        moved: root mean square of what the guidance added, in the data's units.

    Example:
        >>> record = GuidanceRecord()
        >>> record.add(sigma=1.0, moved=0.0)
        >>> len(record)
        1
    """

    sigma: list[float] = dataclasses.field(default_factory=list)
    log_prob: list[float] = dataclasses.field(default_factory=list)
    score_norm: list[float] = dataclasses.field(default_factory=list)
    distance: list[float] = dataclasses.field(default_factory=list)
    moved: list[float] = dataclasses.field(default_factory=list)

    def add(
        self,
        *,
        sigma: float,
        moved: float,
        log_prob: float = math.nan,
        score_norm: float = math.nan,
        distance: float = math.nan,
    ) -> None:
        """Adds a step."""
        self.sigma.append(sigma)
        self.log_prob.append(log_prob)
        self.score_norm.append(score_norm)
        self.distance.append(distance)
        self.moved.append(moved)

    def __len__(self) -> int:
        return len(self.sigma)

    @styled
    def plot(self, path: str | None = None) -> Any:
        """Draws log-density, score norm, distance and movement against the step. Needs matplotlib."""
        figure = figure_of(9.0, 5.0, path)
        names = {
            "log_prob": "log-density (nats)",
            "score_norm": "score norm",
            "distance": "distance to the reference",
            "moved": "moved",
        }
        for axis, (name, label) in zip(figure.subplots(2, 2, sharex=True).flat, names.items(), strict=True):
            axis.plot(getattr(self, name), color=BLUE, marker=".", lw=1)
            axis.set_ylabel(label)
            axis.set_xlabel("step" if name in ("distance", "moved") else "")
            if name in ("score_norm", "distance"):
                axis.set_yscale("log")
        figure.suptitle(f"guidance in {len(self)} steps")
        return saved(figure, path)
