"""Spark: the rows of a data frame answered by its executors, which encode a fitted estimate once."""

from .frames import score

__all__ = ["score"]
