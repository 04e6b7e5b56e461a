"""Collision operators: callables that give each particle the rate of change of its velocity."""

from .dougherty import Dougherty
from .landau import Landau
from .step import collide

__all__ = ["Dougherty", "Landau", "collide"]
