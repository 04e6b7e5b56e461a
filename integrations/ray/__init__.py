"""Ray: estimates of tables on many machines, fitted by merging summaries and asked by workers that encode them once."""

from .datasets import fit, score
from .parts import RayParts

__all__ = ["RayParts", "fit", "score"]
