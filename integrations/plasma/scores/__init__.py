"""Scores of velocities: interchangeable callables that read each cell's score off its particles."""

from .blob import Blob
from .calibrated import Calibrated
from .disco import DiscoScore
from .exact import Exact
from .maxwellian import Maxwellian

__all__ = ["Blob", "Calibrated", "DiscoScore", "Exact", "Maxwellian"]
