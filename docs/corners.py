"""Draws docs/_static/corners.png: the same draws in our corner picture, in getdist's and in corner's, beside the exact law.

``pip install getdist corner && python docs/corners.py``

Every program as it comes: regions of 68 and 95 % are asked for, and the edge is given to those that can be told of it.
"""

from __future__ import annotations

from pathlib import Path

import corner
import numpy as np
import torch
from getdist import MCSamples, plots
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

from disco_samplers import DiScoFormer, Draws
from disco_samplers.pictures import Plane, Posterior, plot_corner

MASSES = (0.68, 0.95)
NAMES = [r"$\mu$", r"$\tau$", r"$\theta$"]
COUNT, WIDTH = 500, 4.4
ENDS = ((-3.3, 3.3), (0.0, 3.3), (-1.3, 5.0))


def main() -> None:
    """Draws them."""
    rng = np.random.default_rng(0)
    mu, tau = rng.normal(size=COUNT), np.abs(rng.normal(size=COUNT))
    draws = np.stack([mu, tau, mu**2 / 2 + 0.4 * rng.normal(size=COUNT)], 1)
    shown = {
        "exact": exact(),
        f"disco-samplers, {COUNT} draws": ours(draws),
        f"getdist, {COUNT} draws": getdists(draws),
        f"corner, {COUNT} draws": corners(draws),
    }
    figure = Figure(figsize=(2 * WIDTH, 2.12 * WIDTH), layout="constrained")
    for axis, (title, picture) in zip(figure.subplots(2, 2).ravel(), shown.items(), strict=True):
        axis.imshow(picture, interpolation="antialiased")
        axis.set_title(title)
        axis.set_axis_off()
    figure.savefig(Path(__file__).parent / "_static" / "corners.png", dpi=110)


def exact() -> np.ndarray:
    """A normal mu, a half-normal tau, and a theta that lies about mu^2 / 2: the law that the draws are of."""
    x, y, z = (np.linspace(*ends, 400) for ends in ENDS)
    theta_given_mu = stats.norm.pdf(z[:, None], x**2 / 2, 0.4)
    curves = [stats.norm.pdf(x), stats.halfnorm.pdf(y), theta_given_mu @ stats.norm.pdf(x) * (x[1] - x[0])]
    planes = {
        (0, 1): plane(x, y, curves[1][:, None] * curves[0]),
        (0, 2): plane(x, z, theta_given_mu * curves[0]),
        (1, 2): plane(y, z, curves[2][:, None] * curves[1]),
    }
    sides = zip((x, y, z), curves, strict=True)
    return pixels(plot_corner([Posterior("", list(sides), planes)], NAMES, {}, width=WIDTH))


def plane(x: np.ndarray, y: np.ndarray, density: np.ndarray) -> Plane:
    """A density on a grid, with the levels of its regions."""
    falling = np.sort(density.ravel())[::-1]
    inner, outer = (float(np.log(falling[np.searchsorted(falling.cumsum() / falling.sum(), mass)])) for mass in MASSES)
    return Plane(x, y, np.log(density.clip(1e-300)), (outer, inner))


def ours(draws: np.ndarray) -> np.ndarray:
    """``estimate.corner``."""
    read = Draws(torch.from_numpy(draws).float(), names=["mu", "tau", "theta"])
    estimate = DiScoFormer.from_pretrained().condition(read, support={"tau": "positive"})
    return pixels(estimate.corner(names=NAMES, title="", width=WIDTH, seed=0))


def getdists(draws: np.ndarray) -> np.ndarray:
    """A triangle plot of getdist's, which knows the edge."""
    labels = [name.strip("$") for name in NAMES]
    samples = MCSamples(samples=draws, names=["a", "b", "c"], labels=labels, ranges={"b": (0, None)})
    plotter = plots.get_subplot_plotter(width_inch=WIDTH)
    plotter.triangle_plot([samples], filled=True)
    return pixels(plotter.fig)


def corners(draws: np.ndarray) -> np.ndarray:
    """A picture of corner's, with the regions that the others draw."""
    blank = Figure(figsize=(WIDTH, WIDTH))
    return pixels(corner.corner(draws, labels=NAMES, levels=MASSES, fig=blank, max_n_ticks=3))


def pixels(figure: Figure) -> np.ndarray:
    """A figure as it is drawn."""
    figure.set_dpi(200)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


if __name__ == "__main__":
    main()
