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
    shares: Mapping[tuple[str, float], float],
    path: str | None = None,
) -> Any:
    """Draws the ways that were tried and, where steps were made, consistency loss and held-out criterion against the step.

    Arguments:
        losses: before each step.
        criterion: before the first and after each step.
        chosen: the step that was kept.
        tried: minus the log-density of the ways to read the samples that were tried, by kind and strength.
        shares: what share of the density each of them has.
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
        names = [f"{name} {strength}" if strength else name for name, strength in tried]
        values = [tried["plain", 0.0] - value for value in tried.values()]
        colors = [ORANGE if kind in shares else BLUE for kind in tried]
        axis.barh(names, values, color=colors)
        axis.invert_yaxis()
        low = -2 * max(*values, 0.01)
        for row, (kind, value) in enumerate(zip(tried, values, strict=True)):
            if kind in shares:
                share = f"{100 * shares[kind]:.0f} %"
                axis.annotate(share, (max(value, 0), row), (3, 0), textcoords="offset points", va="center")
            elif value < low:
                axis.annotate(f"{value:.2f}", (0, row), (3, 0), textcoords="offset points", va="center")
        axis.set_xlim(left=max(low, 1.1 * min(values)), right=1.3 * max(*values, 0.01))
        axis.axvline(0, color=GREY)
        axis.set_xlabel("nats by which held-out rows are likelier")
        mixture = f"; a Gaussian mixture has {100 * shares['mixture', 0.0]:.0f} %" if ("mixture", 0.0) in shares else ""
        axis.set_title(f"ways to read the samples, and their shares (orange){mixture}")
    return saved(figure, path)
