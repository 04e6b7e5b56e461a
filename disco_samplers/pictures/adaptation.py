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
    """Draws consistency loss and held-out criterion against the step, the step that was kept, and the coordinates tried.

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
    figure = figure_of(9.6 if tried else 6.4, 3.6, path)
    axes = figure.subplots(1, 2 if tried else 1, squeeze=False)[0]
    axis = axes[0]
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
        for name, color in (("radius", BLUE), ("columns", ORANGE)):
            strengths = [0.0, *(strength for kind, strength in tried if kind == name)]
            values = [tried[(name, t) if t else ("plain", 0.0)] for t in strengths]
            axes[1].plot(strengths, values, color=color, marker=".", label=name)
        for kind, style in (("independent", "-"), ("parts", "-."), ("whitened parts", ":")):
            if (kind, 0.0) in tried:
                axes[1].axhline(tried[kind, 0.0], color=GREY, ls=style, label=kind)
        axes[1].axvline(coordinates[1], color=GREY, ls="--")
        axes[1].set_xscale("symlog", linthresh=0.1)
        axes[1].set_xlim(-0.01, max(1.0, *(strength for _, strength in tried)))
        axes[1].set_xlabel("strength of the tail coordinates")
        axes[1].set_ylabel("cross-fitted -log density (nats)")
        shared = f", {100 * mixture:.0f} % mixture" if mixture else ""
        axes[1].set_title(f"coordinates: kept {coordinates[0]} (dashed){shared}")
        axes[1].legend()
    return saved(figure, path)
