"""Pair and rank plots of draws; traces and marginals are :func:`disco_samplers.plotting.plot_draws`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from disco_samplers import plotting
from disco_samplers._arrays import as_points

if TYPE_CHECKING:
    from disco_samplers.samplers.result import SamplerResult

_MOST_PAIRS = 6
_MOST_RANKS = 12
_MOST_POINTS = 2000


def plot_pairs(result: SamplerResult, reference: Any = None, path: str | None = None) -> Any:
    """Draws every two variables against one another, with the marginals on the diagonal; the first six variables.

    Arguments:
        result: of a sampler.
        reference: draws (n, d) to show beside.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the reference has other columns than the draws, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    x = result.numpy().reshape(-1, result.draws.shape[2])
    sets = [("new draws", x, plotting._BLUE)]
    if reference is not None:
        other = np.asarray(as_points(reference, "reference", x.shape[1]).detach().cpu())
        sets.insert(0, ("reference", other, plotting._GREY))
    shown = min(x.shape[1], _MOST_PAIRS)
    figure = plotting._figure(1.0 + 1.7 * shown, 1.0 + 1.7 * shown, path)
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
                axis.set_ylabel(result.names[i])
            if i == shown - 1:
                axis.set_xlabel(result.names[j])
    if reference is not None:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, loc="upper right")
    return plotting._saved(figure, path)


def plot_ranks(result: SamplerResult, path: str | None = None) -> Any:
    """Draws a histogram of each chain's ranks among all draws, one row a variable; flat where chains have mixed.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Burkner, *Rank-normalization, folding, and localization: an improved R-hat*,
        Bayesian Analysis 2021, section 4.4.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    draws = result.numpy()
    chains, count, d = draws.shape
    shown, across = min(d, _MOST_RANKS), min(chains, 8)
    figure = plotting._figure(1.0 + 1.3 * across, 0.8 + 1.1 * shown, path)
    axes = figure.subplots(shown, across, squeeze=False, sharex=True, sharey=True)
    bins = max(2, min(20, count // 10))
    for i in range(shown):
        ranks = draws[..., i].ravel().argsort(kind="stable").argsort().reshape(chains, count)
        for j in range(across):
            axes[i, j].hist(ranks[j], bins, range=(0, chains * count), color=plotting._BLUE, alpha=0.7)
            axes[i, j].axhline(count / bins, color=plotting._ORANGE, lw=1)
            axes[i, j].set_xticks([])
            axes[i, j].set_yticks([])
            if i == 0:
                axes[i, j].set_title(f"chain {j}", fontsize=9)
        axes[i, 0].set_ylabel(result.names[i])
    figure.supxlabel("rank among all chains' draws")
    return plotting._saved(figure, path)
