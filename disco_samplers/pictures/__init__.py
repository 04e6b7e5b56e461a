"""Pictures: plain arrays in, a figure out. Each needs matplotlib."""

from disco_samplers.pictures.adaptation import plot_adaptation
from disco_samplers.pictures.density import plot_line, plot_plane
from disco_samplers.pictures.distribution import plot_distribution
from disco_samplers.pictures.draws import plot_pairs, plot_ranks, plot_traces
from disco_samplers.pictures.figure import BLUE, DARK, GREY, ORANGE, figure_of, saved, widened, writable

__all__ = [
    "BLUE",
    "DARK",
    "GREY",
    "ORANGE",
    "figure_of",
    "plot_adaptation",
    "plot_distribution",
    "plot_line",
    "plot_pairs",
    "plot_plane",
    "plot_ranks",
    "plot_traces",
    "saved",
    "widened",
    "writable",
]
