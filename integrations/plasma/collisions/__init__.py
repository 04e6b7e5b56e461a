"""Collision operators: callables that give each particle the rate of change of its velocity."""

from .dougherty import Dougherty
from .landau import Landau
from .multispecies import MultispeciesLandau
from .step import collide, collide_species

__all__ = ["Dougherty", "Landau", "MultispeciesLandau", "collide", "collide_species"]
