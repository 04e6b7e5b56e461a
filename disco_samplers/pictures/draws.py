"""Pictures of draws: marginals and traces, every two variables, and the ranks of each chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from disco_samplers.arrays import as_points
from disco_samplers.pictures.figure import brief, figure_of, legend_below, saved, some_of
from disco_samplers.pictures.histogram import draw_histogram, edges
from disco_samplers.pictures.style import BLUE, CYCLE, GREY, ORANGE, styled

_MOST_CHAINS = 8
_MOST_TRACES = 12
_MOST_PAIRS = 6
_MOST_RANKS = 12
_MOST_POINTS = 2000


@styled
def plot_traces(
    draws: np.ndarray,
    names: Sequence[str],
    reference: np.ndarray | Sequence[np.ndarray] | None = None,
    path: str | None = None,
) -> Any:
    """Draws each variable's marginal (with the references' beside) and its trace by chain; the first twelve
    variables, and eight of the chains.

    Values far out stand in a hatched bar beyond either end of the marginal, with their count.

    Arguments:
        draws: (chain, draw, d).
        names: of the d variables.
        reference: draws (n, d) to compare with, for instance those the estimate was conditioned on; of several sets, as of the
            shards of a posterior, each has an outline of its own.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the reference has other columns than the draws, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    old = _references(reference, draws.shape[2])
    shown, chains = min(draws.shape[2], _MOST_TRACES), some_of(len(draws), _MOST_CHAINS)
    figure = figure_of(9.0, 1.1 + 1.25 * shown, path)
    axes = figure.subplots(shown, 2, squeeze=False, width_ratios=(1, 1.6))
    for i in range(shown):
        left, right = axes[i]
        pooled = np.concatenate([draws[..., i].ravel(), *(one[:, i] for one in old)])
        bins = edges(pooled, 44)
        if len(old) == 1:
            draw_histogram(left, old[0][:, i], bins, color=GREY, label="input", counted=False)
        for k, one in enumerate(old if len(old) > 1 else []):
            shade = (0.75 - 0.5 * k / (len(old) - 1),) * 3
            draw_histogram(left, one[:, i], bins, color=shade, label=f"input {k + 1}", filled=False, counted=False)
        draw_histogram(left, draws[..., i].ravel(), bins, color=BLUE, label="new draws", filled=False)
        left.set_ylabel(brief(names[i]))
        left.set_yticks([])
        for colour, chain in zip(CYCLE, chains, strict=False):
            right.plot(draws[chain, :, i], color=colour, lw=0.5, alpha=0.8)
        right.margins(x=0)
        right.tick_params(labelbottom=i == shown - 1)
    legend_below(figure, axes[0, 0], 8)
    axes[0, 0].set_title("marginal density")
    axes[0, 1].set_title(f"trace of {_some(len(chains), len(draws), 'chain')}, one colour each")
    axes[-1, 0].set_xlabel("value")
    axes[-1, 1].set_xlabel("draw")
    figure.suptitle(f"{draws.shape[0] * draws.shape[1]:,} draws of {_some(shown, draws.shape[2], 'variable')}")
    return saved(figure, path)


@styled
def plot_pairs(
    draws: np.ndarray,
    names: Sequence[str],
    reference: np.ndarray | Sequence[np.ndarray] | None = None,
    path: str | None = None,
    *,
    label: str = "new draws",
) -> Any:
    """Draws every two variables against one another, with the marginals on the diagonal; the first six variables.

    Arguments:
        draws: (chain, draw, d).
        names: of the d variables.
        reference: draws (n, d) to show beside, several sets as one.
        path: where to save the picture, if anywhere.
        label: what the draws are.

    Raises:
        ValueError: if the reference has other columns than the draws, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    x = draws.reshape(-1, draws.shape[2])
    sets = [(label, x, BLUE)]
    if old := _references(reference, x.shape[1]):
        sets.insert(0, ("reference", np.concatenate(old), GREY))
    shown, points = min(x.shape[1], _MOST_PAIRS), min(_MOST_POINTS, *(len(values) for _, values, _ in sets), len(x))
    figure = figure_of(max(3.4, 1.0 + 1.7 * shown), max(3.4, 1.0 + 1.7 * shown), path)
    axes = figure.subplots(shown, shown, squeeze=False, sharex="col")
    for i in range(shown):
        bins = np.histogram_bin_edges(np.concatenate([values[:, i] for _, values, _ in sets]), 40)
        for j in range(shown):
            axis = axes[i, j]
            if j > i:
                axis.set_visible(False)
                continue
            for name, values, colour in sets:
                if i == j:
                    draw_histogram(axis, values[:, i], bins, color=colour, label=name, filled=False)
                    axis.set_yticks([])
                else:
                    some = values[some_of(len(values), points)]
                    axis.scatter(some[:, j], some[:, i], s=3, color=colour, alpha=0.4, linewidths=0)
            if j:
                axis.tick_params(labelleft=False)
            else:
                axis.set_ylabel(brief(names[i]))
            if i == shown - 1:
                axis.set_xlabel(brief(names[j]))
    legend_below(figure, axes[0, 0])
    figure.suptitle(f"{len(x):,} draws of {_some(shown, x.shape[1], 'variable')}, two at a time")
    return saved(figure, path)


@styled
def plot_ranks(draws: np.ndarray, names: Sequence[str], path: str | None = None) -> Any:
    """Draws a histogram of each chain's ranks among all draws, one row a variable; flat where chains have mixed.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Burkner, *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021, section 4.4.

    Raises:
        ValueError: if there is but one chain, whose ranks are always flat, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    chains, count, d = draws.shape
    if chains < 2:
        raise ValueError("ranks compare chains: at least two are needed, got 1")
    shown, which = min(d, _MOST_RANKS), some_of(chains, _MOST_CHAINS)
    across = len(which)
    figure = figure_of(max(4.8, 1.0 + 1.3 * across), 1.0 + 1.1 * shown, path)
    axes = figure.subplots(shown, across, squeeze=False, sharex=True, sharey=True)
    bins = max(2, min(20, count // 10))
    for i in range(shown):
        ranks = draws[..., i].ravel().argsort(kind="stable").argsort().reshape(chains, count)
        for j, chain in enumerate(which):
            axes[i, j].hist(ranks[chain], bins, range=(0, chains * count), color=BLUE, alpha=0.7)
            axes[i, j].axhline(count / bins, color=ORANGE, lw=1)
            axes[i, j].set_xticks([])
            axes[i, j].set_yticks([])
            if i == 0:
                axes[i, j].set_title(f"chain {chain}")
        axes[i, 0].set_ylabel(brief(names[i]))
    figure.supxlabel("rank among all chains' draws", fontsize="medium")
    figure.suptitle(f"ranks of {_some(across, chains, 'chain')} in {_some(shown, d, 'variable')}; flat where they have mixed")
    return saved(figure, path)


def _some(shown: int, there: int, what: str) -> str:
    """How many of what there is are shown."""
    return f"{there} {what}{'s' * (there != 1)}" if shown == there else f"{shown} of {there} {what}s"


def _references(reference: Any, d: int) -> list[np.ndarray]:
    sets = list(reference) if isinstance(reference, (list, tuple)) else [reference]
    return [_reference(one, d) for one in sets if one is not None]


def _reference(reference: np.ndarray, d: int) -> np.ndarray:
    return np.asarray(as_points(reference, "reference", d).detach().cpu())
