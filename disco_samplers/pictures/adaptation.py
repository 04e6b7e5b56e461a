"""Picture of an adaptation: what was tried and what was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from disco_samplers.pictures.figure import figure_of, saved
from disco_samplers.pictures.style import BLUE, GREY, ORANGE, styled


@styled
def plot_adaptation(
    losses: Sequence[float],
    criterion: Sequence[float],
    chosen: int,
    tried: Mapping[tuple[str, float], float],
    coordinates: tuple[str, float],
    mixture: float = 0.0,
    path: str | None = None,
) -> Any:
    """Draws the coordinates tried and, where steps were made, consistency loss and held-out criterion against the step.

    Arguments:
        losses: before each step.
        criterion: before the first and after each step.
        chosen: the step that was kept.
        tried: minus the log-density in the coordinates tried, by kind and strength.
        coordinates: the chosen ones.
        mixture: the share that a mixture of Gaussians has.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    steps = bool(losses) or not tried
    figure = figure_of(9.6 if steps and tried else 6.4, 3.6, path)
    axes = list(figure.subplots(1, steps + bool(tried), squeeze=False)[0])
    if steps:
        axis = axes.pop(0)
        axis.plot(losses, color=ORANGE, marker=".")
        axis.set_xlabel("step")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_ylabel("consistency loss (lower is better)", color=ORANGE)
        other = axis.twinx()
        other.plot(criterion, color=BLUE, marker=".")
        other.set_ylabel("held-out criterion (lower is better)", color=BLUE)
        axis.axvline(chosen, color=GREY, ls="--")
        other.spines["right"].set_visible(True)
        axis.set_title(f"adaptation: kept step {chosen} (dashed) of {len(losses)}")
    if tried:
        axis = axes[0]
        for name, color in (("radius", BLUE), ("columns", ORANGE)):
            strengths = [0.0, *(strength for kind, strength in tried if kind == name)]
            values = [tried[(name, t) if t else ("plain", 0.0)] for t in strengths]
            axis.plot(strengths, values, color=color, marker=".", label=name)
        for kind, style in (("independent", "-"), ("parts", "-."), ("whitened parts", ":")):
            if (kind, 0.0) in tried:
                axis.axhline(tried[kind, 0.0], color=GREY, ls=style, label=kind)
        axis.axvline(coordinates[1], color=GREY, ls="--")
        axis.set_xscale("symlog", linthresh=0.1)
        axis.set_xlim(-0.01, max(1.0, *(strength for _, strength in tried)))
        axis.set_xlabel("strength of the tail coordinates")
        axis.set_ylabel("cross-fitted -log density (nats)")
        shared = f", {100 * mixture:.0f} % mixture" if mixture else ""
        axis.set_title(f"coordinates: kept {coordinates[0]} (dashed){shared}")
        axis.legend()
    return saved(figure, path)
