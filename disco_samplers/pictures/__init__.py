"""Pictures: plain arrays in, a figure out. Each needs matplotlib."""

from disco_samplers.pictures.adaptation import plot_adaptation
from disco_samplers.pictures.contours import closed_lines
from disco_samplers.pictures.corner import Plane, Posterior, plot_corner
from disco_samplers.pictures.density import plot_line, plot_plane
from disco_samplers.pictures.distribution import plot_distribution
from disco_samplers.pictures.draws import plot_pairs, plot_ranks, plot_traces
from disco_samplers.pictures.figure import brief, figure_of, legend_below, saved, some_of, widened, writable
from disco_samplers.pictures.histogram import draw_histogram, edges
from disco_samplers.pictures.laws import Law, plot_laws
from disco_samplers.pictures.style import BLUE, CYCLE, DARK, GREY, ORANGE, styled
from disco_samplers.pictures.surprises import plot_surprises

__all__ = [
    "BLUE",
    "CYCLE",
    "DARK",
    "GREY",
    "ORANGE",
    "Law",
    "Plane",
    "Posterior",
    "brief",
    "closed_lines",
    "draw_histogram",
    "edges",
    "figure_of",
    "legend_below",
    "plot_adaptation",
    "plot_corner",
    "plot_distribution",
    "plot_laws",
    "plot_line",
    "plot_pairs",
    "plot_plane",
    "plot_ranks",
    "plot_surprises",
    "plot_traces",
    "saved",
    "some_of",
    "styled",
    "widened",
    "writable",
]
