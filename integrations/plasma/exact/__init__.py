"""Exact solutions and rates of collisional relaxation: what tests, pictures and benchmarks compare with."""

from .bkw import BKW
from .isotropic import IsotropicRelaxation, isotropic_coulomb
from .relaxation import coulomb_2v_rate, maxwell_pressure, ornstein_uhlenbeck, trubnikov_rate
from .sheath import floating_drop, sheath_drop
from .species import SPITZER, BeamRates, equilibration_rate, friction_rate, maxwell_species, trubnikov_beam

__all__ = [
    "BKW",
    "SPITZER",
    "BeamRates",
    "IsotropicRelaxation",
    "coulomb_2v_rate",
    "equilibration_rate",
    "floating_drop",
    "friction_rate",
    "isotropic_coulomb",
    "maxwell_pressure",
    "maxwell_species",
    "ornstein_uhlenbeck",
    "sheath_drop",
    "trubnikov_beam",
    "trubnikov_rate",
]
