"""Exact solutions and rates of collisional relaxation: what tests, pictures and benchmarks compare with."""

from .bkw import BKW
from .relaxation import coulomb_2v_rate, maxwell_pressure, ornstein_uhlenbeck, trubnikov_rate

__all__ = ["BKW", "coulomb_2v_rate", "maxwell_pressure", "ornstein_uhlenbeck", "trubnikov_rate"]
