"""Steps of collisions that keep each cell's energy over the step, not only in the rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disco_samplers.randomness import generator_on

from ..cells import Moments, moments, total
from ..mixture import Mixture
from ..types import CollisionOperator
from .answers import answer
from .multispecies import MultispeciesLandau

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
    rate = answer(operator(v, w, cell, num_cells, generator), v, "the collision operator")
    moved = v + dt * rate
    after = moments(moved, w, cell, num_cells)
    thermal = [float((m.weight * m.temperature).sum()) for m in (before, after)]
    _check_growth(rate, thermal[0], thermal[1], dt, "these collisions")
    return _restored(before, after, moved, cell)


def collide_species(
    operator: MultispeciesLandau,
    mixture: Mixture,
    dt: float,
    *,
    factor: Tensor | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""One Euler step of collisions between species, which gives every species the energy that its rate says.

    Each species a of a cell is first rescaled about its new mean velocity to the energy :math:`E_a + \Delta t\, P_a`,
    :math:`P_a = \sum m w\, v \cdot \dot v`, and so rid of the :math:`\tfrac12 \Delta t^2 \sum m w |\dot v|^2` that the Euler
    step adds. As the :math:`P_a` of a cell sum to zero, so do the changes. Rescaling all species alike would keep the sum,
    too, but hand the error of the electrons, which collide often, to the ions: :math:`\nu_e \Delta t\, m_i/m_e` times what
    they truly exchange. Then each cell is brought to the momentum and energy that it had, which corrects round-off, and more
    only where a species has a single particle in the cell.

    Arguments:
        operator: the collisions.
        mixture: of the species.
        dt: the step.
        factor: on the strength of each pair (k, k), symmetric; one by default.
        seed: of the operator; give this or ``generator``.
        generator: source of randomness of the operator.

    Returns:
        The new velocities (n, dv).

    Raises:
        ValueError: if the step is so long that the collisions overshoot, or the operator gave values that are not finite.

    Example:
        >>> from disco_samplers.integrations.plasma.scores import Maxwellian
        >>> from disco_samplers.integrations.plasma.types import Species
        >>> z = torch.randn(100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> w = torch.ones(50, dtype=torch.float64)
        >>> mixture = Mixture.of([Species("a", w, 3 * z[:50], w), Species("b", w, z[50:], w, mass=4.0)])
        >>> after = collide_species(MultispeciesLandau(Maxwellian(), strength=1e-3, exponent=0), mixture, dt=0.01)
        >>> mass = mixture.mass[mixture.kind, None]
        >>> torch.allclose((mass * after**2).sum(), (mass * mixture.v**2).sum(), rtol=1e-12)
        True
    """
    generator = generator_on(mixture.v.device, seed=seed, generator=generator)
    v, w, group = mixture.v, mixture.w, mixture.group
    rate = operator.rates(mixture, generator, factor=factor)
    moved = v + dt * rate
    groups = len(mixture.names) * mixture.num_cells
    before, push = moments(v, w, group, groups), moments(rate, w, group, groups)
    after = moments(moved, w, group, groups)
    # The thermal energy (over d W m / 2) that first order gives: what is left of the energy by the flow at its new speed.
    centred = v - before.mean[group]
    work = total(w * (centred * rate).sum(1), group, groups) / torch.where(before.weight > 0, before.weight, 1.0)
    meant = before.temperature + (2 * dt * work - dt**2 * push.mean.square().sum(1)) / v.shape[1]
    for k, name in enumerate(mixture.names):
        here = slice(k * mixture.num_cells, (k + 1) * mixture.num_cells)
        first, euler = (float((before.weight[here] * t[here]).sum()) for t in (meant.clamp_min(0.0), after.temperature))
        _check_growth(rate[mixture.kind == k], first, euler, dt, f"the collisions of {name}")
    scale = torch.where((meant > 0) & (after.temperature > 0), meant / after.temperature, 1.0).sqrt()
    stepped = after.mean[group] + scale[group, None] * (moved - after.mean[group])
    heavy = w * mixture.mass[mixture.kind]
    whole, now = (moments(values, heavy, mixture.cell, mixture.num_cells) for values in (v, stepped))
    return _restored(whole, now, stepped, mixture.cell)


def _check_growth(rate: Tensor, meant: float, thermal: float, dt: float, what: str) -> None:
    """Raises ValueError if a step has rates that are not finite or a thermal energy far above what it should have."""
    grown = thermal / meant if meant > 0 else thermal
    if not math.isfinite(grown):
        bad = int((~torch.isfinite(rate).all(-1)).sum())
        raise ValueError(
            f"collisions gave {bad} of {len(rate)} particles a rate that is not finite: look at velocities and score"
        )
    if grown > _GROWTH:
        raise ValueError(
            f"dt = {dt:g} is too long for {what}: a step would multiply the thermal energy by {grown:.3g} before it "
            "is brought back; shorten dt or weaken the collisions"
        )


def _restored(before: Moments, after: Moments, moved: Tensor, cell: Tensor) -> Tensor:
    """Velocities rescaled about each cell's mean to the energy, and moved to the momentum, that it had."""
    # A cell of one particle, or of equal ones, has no thermal energy and stays as it is.
    scale = torch.where(after.temperature > 0, before.temperature / after.temperature, 1.0).sqrt()
    return before.mean[cell] + scale[cell, None] * (moved - after.mean[cell])
