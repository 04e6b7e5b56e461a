"""A step of collisions that keeps each cell's energy over the step, not only in the rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.randomness import generator_on

from ..cells import moments
from ..types import CollisionOperator

_GROWTH = 2.0
"""Factor of the thermal energy over a step, before it is brought back, beyond which the step is refused."""


def collide(
    operator: CollisionOperator,
    v: Tensor,
    w: Tensor,
    cell: Tensor,
    num_cells: int,
    dt: float,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""One Euler step of collisions, then each cell is rescaled about its mean velocity to the energy it had.

    .. math:: v_i^* = v_i + \Delta t\, \dot v_i, \qquad v_i' = u + \sqrt{E/E^*}\,(v_i^* - u^*)

    The Euler step alone adds :math:`\tfrac12 \Delta t^2 \sum w |\dot v|^2` to the energy. First order in dt.

    Arguments:
        operator: the collisions.
        v: velocities (n, dv).
        w: weights (n,) over the cell's volume.
        cell: the cell of each particle (n,).
        num_cells: number of cells.
        dt: the step.
        seed: of the operator; give this or ``generator``.
        generator: source of randomness of the operator.

    Returns:
        The new velocities (n, dv).

    Raises:
        ValueError: if the step is so long that the collisions overshoot, or the operator gave values that are not finite.

    Example:
        >>> from disco_samplers.integrations.plasma.collisions import Landau
        >>> from disco_samplers.integrations.plasma.scores import Blob
        >>> v = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> w, cell = torch.full((100,), 0.01), torch.zeros(100, dtype=torch.int64)
        >>> after = collide(Landau(Blob(), strength=1.0, exponent=0), v, w, cell, 1, dt=0.01)
        >>> torch.allclose(after.square().sum(), v.square().sum())
        True
    """
    generator = generator_on(v.device, seed=seed, generator=generator)
    before = moments(v, w, cell, num_cells)
    rate = operator(v, w, cell, num_cells, generator)
    moved = v + dt * rate
    after = moments(moved, w, cell, num_cells)
    thermal = [float((m.weight * m.temperature).sum()) for m in (before, after)]
    grown = thermal[1] / thermal[0] if thermal[0] > 0 else thermal[1]
    if not math.isfinite(grown):
        bad = int((~torch.isfinite(rate).all(-1)).sum())
        raise ValueError(f"collisions gave {bad} of {len(v)} particles a rate that is not finite: look at velocities and score")
    if grown > _GROWTH:
        raise ValueError(
            f"dt = {dt:g} is too long for these collisions: a step would multiply the thermal energy by {grown:.3g} before it "
            "is brought back; shorten dt or weaken the collisions"
        )
    # A cell of one particle, or of equal ones, has no thermal energy and stays as it is.
    scale = torch.where(after.temperature > 0, before.temperature / after.temperature, 1.0).sqrt()
    return before.mean[cell] + scale[cell, None] * (moved - after.mean[cell])
