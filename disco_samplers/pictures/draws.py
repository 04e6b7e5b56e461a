"""Pictures of draws: marginals and traces, every two variables, and the ranks of each chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from disco_samplers.arrays import as_points
from disco_samplers.pictures.figure import BLUE, GREY, ORANGE, figure_of, saved, widened

_MOST_TRACES = 12
_MOST_PAIRS = 6
_MOST_RANKS = 12
_MOST_POINTS = 2000


def plot_traces(
    draws: np.ndarray,
    names: Sequence[str],
    reference: np.ndarray | Sequence[np.ndarray] | None = None,
    path: str | None = None,
) -> Any:
    """Draws each variable's marginal (with the references' beside) and its trace by chain; the first twelve variables.

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
    shown = min(draws.shape[2], _MOST_TRACES)
    figure = figure_of(9.0, 0.9 + 1.25 * shown, path)
    axes = figure.subplots(shown, 2, squeeze=False, width_ratios=(1, 1.6))
    for i in range(shown):
        left, right = axes[i]
        pooled = np.concatenate([draws[..., i].ravel(), *(one[:, i] for one in old)])
        bins = np.linspace(*widened(np.quantile(pooled, (0.001, 0.999)).tolist()), 45)
        if len(old) == 1:
            left.hist(old[0][:, i], bins, density=True, color=GREY, alpha=0.5, label="input")
        for k, one in enumerate(old if len(old) > 1 else []):
            shade = (0.75 - 0.5 * k / (len(old) - 1),) * 3
            left.hist(one[:, i], bins, density=True, histtype="step", color=shade, lw=0.9, label=f"input {k + 1}")
        left.hist(draws[..., i].ravel(), bins, density=True, histtype="step", color=BLUE, lw=1.4, label="new draws")
        left.set_ylabel(names[i])
        left.set_yticks([])
        for chain in draws[..., i]:
            right.plot(chain, lw=0.5, alpha=0.8)
        right.margins(x=0)
        right.tick_params(labelbottom=i == shown - 1)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=8, frameon=False, fontsize="small")
    axes[0, 0].set_title("marginal")
    axes[0, 1].set_title("trace, one colour a chain")
    axes[-1, 1].set_xlabel("draw")
    if shown < draws.shape[2]:
        figure.suptitle(f"first {shown} of {draws.shape[2]} variables")
    return saved(figure, path)


def plot_pairs(
    draws: np.ndarray,
    names: Sequence[str],
    reference: np.ndarray | Sequence[np.ndarray] | None = None,
    path: str | None = None,
) -> Any:
    """Draws every two variables against one another, with the marginals on the diagonal; the first six variables.

    Arguments:
        draws: (chain, draw, d).
        names: of the d variables.
        reference: draws (n, d) to show beside, several sets as one.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the reference has other columns than the draws, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    x = draws.reshape(-1, draws.shape[2])
    sets = [("new draws", x, BLUE)]
    if old := _references(reference, x.shape[1]):
        sets.insert(0, ("reference", np.concatenate(old), GREY))
    shown = min(x.shape[1], _MOST_PAIRS)
    figure = figure_of(1.0 + 1.7 * shown, 1.0 + 1.7 * shown, path)
    axes = figure.subplots(shown, shown, squeeze=False, sharex="col")
    for i in range(shown):
        for j in range(shown):
            axis = axes[i, j]
            if j > i:
                axis.set_visible(False)
                continue
            for name, values, colour in sets:
                if i == j:
                    axis.hist(values[:, i], 40, density=True, histtype="step", color=colour, label=name)
                    axis.set_yticks([])
                else:
                    some = values[np.linspace(0, len(values) - 1, min(len(values), _MOST_POINTS)).astype(int)]
                    axis.scatter(some[:, j], some[:, i], s=3, color=colour, alpha=0.4, linewidths=0)
            if j:
                axis.tick_params(labelleft=False)
            elif i:
                axis.set_ylabel(names[i])
            if i == shown - 1:
                axis.set_xlabel(names[j])
    if reference is not None:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, loc="upper right")
    return saved(figure, path)


def plot_ranks(draws: np.ndarray, names: Sequence[str], path: str | None = None) -> Any:
    """Draws a histogram of each chain's ranks among all draws, one row a variable; flat where chains have mixed.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Burkner, *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021, section 4.4.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    chains, count, d = draws.shape
    shown, across = min(d, _MOST_RANKS), min(chains, 8)
    figure = figure_of(1.0 + 1.3 * across, 0.8 + 1.1 * shown, path)
    axes = figure.subplots(shown, across, squeeze=False, sharex=True, sharey=True)
    bins = max(2, min(20, count // 10))
    for i in range(shown):
        ranks = draws[..., i].ravel().argsort(kind="stable").argsort().reshape(chains, count)
        for j in range(across):
            axes[i, j].hist(ranks[j], bins, range=(0, chains * count), color=BLUE, alpha=0.7)
            axes[i, j].axhline(count / bins, color=ORANGE, lw=1)
            axes[i, j].set_xticks([])
            axes[i, j].set_yticks([])
            if i == 0:
                axes[i, j].set_title(f"chain {j}", fontsize=9)
        axes[i, 0].set_ylabel(names[i])
    figure.supxlabel("rank among all chains' draws")
    return saved(figure, path)


def _references(reference: Any, d: int) -> list[np.ndarray]:
    sets = list(reference) if isinstance(reference, (list, tuple)) else [reference]
    return [_reference(one, d) for one in sets if one is not None]


def _reference(reference: np.ndarray, d: int) -> np.ndarray:
    return np.asarray(as_points(reference, "reference", d).detach().cpu())
