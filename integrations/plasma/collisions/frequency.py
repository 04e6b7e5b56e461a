"""How often particles collide: what the step of a run is compared with."""

from __future__ import annotations

from ..mixture import Mixture
from ..types import CollisionOperator
from .dougherty import Dougherty
from .landau import Landau
from .multispecies import MultispeciesLandau


def frequency(operator: CollisionOperator, mixture: Mixture) -> float | None:
    """The rate at which collisions of one species with itself relax it; None of an operator that is not of this package.

    It is nu of Dougherty collisions, and of Landau ones what :meth:`.MultispeciesLandau.frequencies` gives.

    Arguments:
        operator: the collisions.
        mixture: of the one species.

    Example:
        >>> import torch
        >>> from disco_samplers.integrations.plasma.scores import Maxwellian
        >>> from disco_samplers.integrations.plasma.types import Species
        >>> w = torch.ones(8)
        >>> frequency(Dougherty(Maxwellian(), frequency=0.1), Mixture.of([Species("electrons", w, torch.randn(8, 2), w)]))
        0.1
    """
    if isinstance(operator, Dougherty):
        return operator.frequency
    if not isinstance(operator, Landau):
        return None
    name, mass = mixture.names[0], float(mixture.mass[0])
    alone = MultispeciesLandau(
        operator.score, strength={(name, name): operator.strength * mass**2}, exponent=operator.pairs.exponent
    )
    return float(alone.frequencies(mixture))


def check_step(collisions: dict[str, float], dt: float) -> None:
    """Raises ValueError where a collision time is below the step, as of a run that would be wrong without a word.

    Arguments:
        collisions: in a step by who collides with whom, nu dt.
        dt: the step.
    """
    for names, often in collisions.items():
        if often >= 1:
            raise ValueError(
                f"dt = {dt:g} is too long: nu dt ({names}) is {often:.3g} and must be below 1, as the collision time is "
                f"{1 / often:.3g} of the time between two collisions; shorten dt or weaken the collisions"
            )
