"""A local web page: a table of draws goes in; corner plot, density, score, new draws and unusual rows come out."""

from disco_samplers.app.page import build, serve

__all__ = ["build", "serve"]
