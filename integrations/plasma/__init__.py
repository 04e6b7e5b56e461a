"""Kinetic equations solved with particles whose collisions use the score that is read off the particles themselves."""

from .animation import Animation
from .checks import Check, startup_checks
from .collisions import Dougherty, Landau, MultispeciesLandau
from .grid import Grid
from .homogeneous import Homogeneous
from .loading import Beam, load, load_draws
from .mixture import Mixture
from .openpmd import OpenPMDWriter
from .result import History, PlasmaResult
from .scores import Blob, DiscoScore, Exact, Maxwellian
from .simulation import Simulation
from .types import CollisionOperator, Species, VelocityScore
from .walls import Walls

__all__ = [
    "Animation",
    "Beam",
    "Blob",
    "Check",
    "CollisionOperator",
    "DiscoScore",
    "Dougherty",
    "Exact",
    "Grid",
    "History",
    "Homogeneous",
    "Landau",
    "Maxwellian",
    "Mixture",
    "MultispeciesLandau",
    "OpenPMDWriter",
    "PlasmaResult",
    "Simulation",
    "Species",
    "VelocityScore",
    "Walls",
    "load",
    "load_draws",
    "startup_checks",
]
