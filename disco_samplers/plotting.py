"""Pictures of estimates, draws and adaptations. Figures are made without pyplot, so no global state changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from disco_samplers._arrays import as_points
from disco_samplers._extras import optional
from disco_samplers.checkpoint import write

if TYPE_CHECKING:
    from disco_samplers.adapt import AdaptationReport
    from disco_samplers.estimate import DensityEstimate
    from disco_samplers.samplers.result import SamplerResult

_BLUE, _ORANGE, _GREY, _DARK = "#2563a8", "#d1661b", "#8a8f98", "#20242c"
_MOST_ROWS = 12


def plot_estimate(estimate: DensityEstimate, dims: tuple[int, int] = (0, 1), path: str | None = None) -> Any:
    """Draws the samples with the estimated density and score.

    In one dimension density and score are curves. In two or more, contours of the density and arrows of the score on the
    plane of ``dims``, through the sample of highest density where there are more dimensions than two.

    Arguments:
        estimate: of one data set.
        dims: the two columns to show.
        path: where to save the picture, if anywhere; the extension says the format.

    Raises:
        ValueError: if the estimate is of a batch, ``dims`` are not two of its columns, or the extension is not that of a
            picture.
        ImportError: if matplotlib is not installed.
    """
    if estimate.samples.ndim == 3:
        raise ValueError("plot works on one data set; condition on samples of shape (n, d)")
    if estimate.dim > 1 and not (len(dims) == len(set(dims)) == 2 and all(0 <= i < estimate.dim for i in dims)):
        raise ValueError(f"dims must be two different columns in 0 .. {estimate.dim - 1}, got {dims}")
    figure = _figure(6.4, 5.0, path)
    if estimate.dim == 1:
        _plot_line(estimate, figure)
    else:
        _plot_plane(estimate, figure, dims)
    return _saved(figure, path)


def plot_draws(result: SamplerResult, reference: Tensor | np.ndarray | None = None, path: str | None = None) -> Any:
    """Draws each variable's marginal (with the reference's beside) and its trace by chain; the first twelve variables.

    Arguments:
        result: of a sampler.
        reference: draws (n, d) to compare with, for instance those the estimate was conditioned on.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the reference has other columns than the draws, or the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    draws = result.numpy()
    old = None if reference is None else np.asarray(as_points(reference, "reference", draws.shape[2]).detach().cpu())
    shown = min(draws.shape[2], _MOST_ROWS)
    figure = _figure(9.0, 0.9 + 1.25 * shown, path)
    axes = figure.subplots(shown, 2, squeeze=False, width_ratios=(1, 1.6))
    for i in range(shown):
        left, right = axes[i]
        pooled = draws[..., i].ravel() if old is None else np.concatenate([draws[..., i].ravel(), old[:, i]])
        bins = np.linspace(*_widened(np.quantile(pooled, (0.001, 0.999)).tolist()), 45)
        if old is not None:
            left.hist(old[:, i], bins, density=True, color=_GREY, alpha=0.5, label="input")
        left.hist(draws[..., i].ravel(), bins, density=True, histtype="step", color=_BLUE, lw=1.4, label="new draws")
        left.set_ylabel(result.names[i])
        left.set_yticks([])
        for chain in draws[..., i]:
            right.plot(chain, lw=0.5, alpha=0.8)
        right.margins(x=0)
        right.tick_params(labelbottom=i == shown - 1)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize="small")
    axes[0, 0].set_title("marginal")
    axes[0, 1].set_title("trace, one colour a chain")
    axes[-1, 1].set_xlabel("draw")
    if shown < draws.shape[2]:
        figure.suptitle(f"first {shown} of {draws.shape[2]} variables")
    return _saved(figure, path)


def plot_adaptation(report: AdaptationReport, path: str | None = None) -> Any:
    """Draws consistency loss and held-out criterion against the step, the step that was kept, and the coordinates tried.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    figure = _figure(9.6 if report.tried else 6.4, 3.6, path)
    axes = figure.subplots(1, 2 if report.tried else 1, squeeze=False)[0]
    axis = axes[0]
    axis.plot(report.losses, color=_ORANGE, marker=".")
    axis.set_xlabel("step")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_ylabel("consistency loss", color=_ORANGE)
    other = axis.twinx()
    other.plot(report.criterion, color=_BLUE, marker=".")
    other.set_ylabel("held-out criterion", color=_BLUE)
    axis.axvline(report.chosen, color=_GREY, ls="--")
    axis.set_title(f"kept: step {report.chosen}")
    if report.tried:
        for name, color in (("radius", _BLUE), ("columns", _ORANGE)):
            strengths = [0.0, *(strength for kind, strength in report.tried if kind == name)]
            values = [report.tried[(name, t) if t else ("plain", 0.0)] for t in strengths]
            axes[1].plot(strengths, values, color=color, marker=".", label=name)
        for kind, style in (("independent", "-"), ("parts", "-."), ("whitened parts", ":")):
            if (kind, 0.0) in report.tried:
                axes[1].axhline(report.tried[kind, 0.0], color=_GREY, ls=style, label=kind)
        axes[1].axvline(report.coordinates[1], color=_GREY, ls="--")
        axes[1].set_xscale("symlog", linthresh=0.1)
        axes[1].set_xlim(left=-0.01)
        axes[1].set_xlabel("strength of the tail coordinates")
        axes[1].set_ylabel("cross-fitted -log density / nats")
        axes[1].set_title(f"read: {report.coordinates[0]}")
        axes[1].legend()
    return _saved(figure, path)


def plot_distribution(
    values: np.ndarray,
    label: str,
    marks: dict[str, float],
    *,
    others: dict[str, np.ndarray] | None = None,
    band: tuple[float, float] | None = None,
    path: str | None = None,
) -> Any:
    """Draws the distribution of values with marked places, for instance scores with their threshold.

    Arguments:
        values: (n,).
        label: what they are.
        marks: places to mark, by what they are called.
        others: further values to compare with, by what they are called.
        band: ends of a shaded range.
        path: where to save the picture, if anywhere.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    figure = _figure(6.4, 3.8, path)
    axis = figure.subplots()
    others = others or {}
    pooled = np.concatenate([values, *others.values()])
    # One far value would leave a single bar: the ends are cut and what lies beyond stands in the outermost bars.
    quartiles = np.quantile(pooled, (0.25, 0.75))
    reach = 6 * (quartiles[1] - quartiles[0])
    inside = pooled[(pooled >= quartiles[0] - reach) & (pooled <= quartiles[1] + reach)]
    places = [*marks.values(), *(band or ())]
    low, high = _widened((min(inside.min(), *places), max(inside.max(), *places)), 0.03)
    bins = np.linspace(low, high, 51)
    axis.hist(np.clip(values, low, high), bins, color=_BLUE, alpha=0.75, label=f"{len(values)} rows")
    for name, other in others.items():
        # As many as there are values, so that the shapes can be compared.
        scale = np.full(len(other), len(values) / len(other))
        axis.hist(np.clip(other, low, high), bins, weights=scale, histtype="step", color=_DARK, label=name)
    if band is not None:
        axis.axvspan(*band, color=_ORANGE, alpha=0.3, lw=0)
    for name, place in marks.items():
        axis.axvline(place, color=_ORANGE, lw=1.6, label=name)
    axis.set_xlabel(label)
    axis.set_ylabel("rows")
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize="small")
    return _saved(figure, path)


def writable(path: str | Path) -> None:
    """Says before any work is done whether a picture could be saved there.

    Raises:
        ValueError: if the extension is not that of a picture.
        ImportError: if matplotlib is not installed.
    """
    kinds = sorted(optional("matplotlib.backend_bases", "plot").FigureCanvasBase.get_supported_filetypes())
    if Path(path).suffix[1:] not in kinds:
        raise ValueError(f"{path}: the extension of a picture must be one of {', '.join(kinds)}")


def _widened(ends: Sequence[float], margin: float = 0.0) -> tuple[float, float]:
    """A range with a margin on both sides; a range of no width gets one."""
    low, high = ends
    margin = margin * (high - low) if high > low else max(0.1 * abs(low), 1e-3)
    return low - margin, high + margin


def _plot_line(estimate: DensityEstimate, figure: Any) -> None:
    x = estimate.samples[:, 0].double()
    ends = _widened((float(x.min()), float(x.max())), 0.3)
    grid = torch.linspace(*ends, 400, dtype=torch.float64, device=x.device)
    log_prob, score = estimate.log_prob_and_score(grid[:, None])
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.hist(x.cpu().numpy(), 50, density=True, color=_GREY, alpha=0.5, label="samples")
    top.plot(grid.cpu(), log_prob.exp().cpu(), color=_BLUE, label="density")
    top.legend(frameon=False)
    top.set_ylabel("density")
    bottom.plot(grid.cpu(), score[:, 0].cpu(), color=_ORANGE)
    bottom.axhline(0, color=_GREY, lw=0.5)
    bottom.set_ylabel("score")
    bottom.set_xlabel("x")


def _plot_plane(estimate: DensityEstimate, figure: Any, dims: tuple[int, int]) -> None:
    x = estimate.samples.double()
    best = x[int(estimate.log_prob(x[:2000]).argmax())]
    levels = torch.tensor([0.002, 0.998], dtype=x.dtype, device=x.device)
    ranges = [_widened(torch.quantile(x[:100_000, i], levels).tolist(), 0.15) for i in dims]

    def plane(count: int) -> tuple[Tensor, Tensor, Tensor]:
        a, b = (torch.linspace(*ends, count, dtype=x.dtype, device=x.device) for ends in ranges)
        points = best.expand(count, count, -1).clone()
        points[..., dims[0]], points[..., dims[1]] = a[None, :], b[:, None]
        return a, b, points.flatten(0, 1)

    a, b, points = plane(120)
    log_prob = estimate.log_prob(points).view(len(b), len(a)).cpu()
    axis = figure.subplots()
    top = float(np.ceil(2 * float(log_prob.max())) / 2)
    # The darkest blues are left out, so that samples can be seen on them.
    colours = {"cmap": "Blues", "vmin": top - 8, "vmax": top + 4}
    filled = axis.contourf(a.cpu(), b.cpu(), log_prob, levels=np.linspace(top - 8, top, 17), extend="min", **colours)
    figure.colorbar(filled, label="log-density")
    some = x[:1500].cpu()
    axis.scatter(some[:, dims[0]], some[:, dims[1]], s=4, color=_DARK, alpha=0.6, linewidths=0)
    a, b, points = plane(17)
    arrows = estimate.score(points)[:, list(dims)].cpu()
    length = arrows.norm(dim=1, keepdim=True)
    # Long arrows are shortened, or those at the rim would hide the picture.
    arrows = arrows / length.clamp_min(1e-12) * torch.tanh(length / length.median())
    axis.quiver(
        points[:, dims[0]].cpu(), points[:, dims[1]].cpu(), arrows[:, 0], arrows[:, 1], color=_ORANGE, width=0.0028, scale=26
    )
    axis.set(xlim=ranges[0], ylim=ranges[1])
    axis.set_xlabel(f"x{dims[0]}")
    axis.set_ylabel(f"x{dims[1]}")
    axis.set_title("samples, log-density, score" + ("" if estimate.dim == 2 else " (slice through the densest sample)"))


def _figure(width: float, height: float, path: str | None) -> Any:
    if path is not None:
        writable(path)
    return optional("matplotlib.figure", "plot").Figure(figsize=(width, height), layout="constrained")


def _saved(figure: Any, path: str | None) -> Any:
    if path is not None:
        write(path, lambda temporary: figure.savefig(temporary, dpi=130))
    return figure
