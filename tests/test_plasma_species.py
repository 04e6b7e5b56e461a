"""Collisions between species: conservation, detailed balance and entropy; equilibration, slowing down and friction."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from disco_samplers.integrations.plasma import Blob, DiscoScore, Landau, Maxwellian, Mixture, MultispeciesLandau, Species
from disco_samplers.integrations.plasma.cells import moments, total
from disco_samplers.integrations.plasma.collisions import collide_species
from disco_samplers.integrations.plasma.exact import (
    SPITZER,
    equilibration_rate,
    friction_rate,
    isotropic_coulomb,
    maxwell_pressure,
    maxwell_species,
    trubnikov_beam,
)
from disco_samplers.integrations.plasma.velocities import gaussian_velocities

CELLS = 4


def any_score(v, w, cell, num_cells):
    """Scores that have nothing to do with the particles."""
    return torch.randn(v.shape, dtype=v.dtype, generator=torch.Generator().manual_seed(len(v)))


def mixture(d=3, masses=(1.0, 2.5, 1836.0), dtype=torch.float64):
    """Three species of unequal weights in four cells; one cell has none of the second, and one of the third alone."""
    rng = torch.Generator().manual_seed(0)
    species, cells = [], []
    for k, mass in enumerate(masses):
        n = (90, 60, 40)[k]
        v = torch.randn(n, d, dtype=torch.float64, generator=rng) * (1 + k) / mass**0.5 + 0.3 * k
        w = 0.5 + torch.rand(n, dtype=torch.float64, generator=rng)
        cell = torch.randint(0, CELLS - 1, (n,), generator=rng)
        cell = cell.clamp_max(CELLS - 3) if k == 1 else cell
        if k == 2:
            cell[0] = CELLS - 1
        species.append(Species(f"s{k}", w.to(dtype), v.to(dtype), w.to(dtype), (-1.0, 2.0, 1.0)[k], mass))
        cells.append(cell)
    return Mixture.of(species, cells, CELLS)


def alone(species):
    """Species in one cell, each given as name, temperature, mass, drift along x, particles and density."""
    made = []
    for i, (name, temperature, mass, drift, n, density) in enumerate(species):
        v = gaussian_velocities(n, [temperature / mass] * 3, mean=[drift, 0.0, 0.0], seed=i)
        w = torch.full((n,), density / n, dtype=v.dtype)
        made.append(Species(name, w, v, w, 1.0 if i else -1.0, mass))
    return Mixture.of(made)


def temperatures(mixture, v=None):
    found = moments(mixture.v if v is None else v, mixture.w, mixture.kind, len(mixture.names))
    return mixture.mass * found.temperature


def dense(mixture, s, matrix, exponent):
    """The definition, all pairs at once."""
    m = mixture.mass[mixture.kind]
    z = mixture.v[:, None] - mixture.v
    p = (s / m[:, None])[:, None] - s / m[:, None]
    r2 = z.square().sum(-1)
    power = torch.where(r2 > 0, r2, torch.inf if exponent < 0 else 0.0) ** (exponent / 2)
    weight = mixture.w * matrix[mixture.kind][:, mixture.kind] * (mixture.cell[:, None] == mixture.cell) * power
    force = weight[..., None] * (r2[..., None] * p - (z * p).sum(-1, keepdim=True) * z)
    return -force.sum(1) / m[:, None]


METHODS = [(-3.0, "pairs"), (-3.0, "batches"), (0.0, "pairs"), (0.0, "moments"), (0.0, "batches"), (-2.0, "pairs")]
MATRIX = {("s0", "s0"): 0.2, ("s1", "s0"): 0.5, ("s0", "s2"): 0.3, ("s2", "s2"): 1.0, ("s1", "s1"): 0.1}
"""Of the pairs all but one."""


@pytest.mark.parametrize(("exponent", "method"), METHODS)
@pytest.mark.parametrize("strength", [0.3, MATRIX], ids=["charges", "matrix"])
def test_rate_conserves_momentum_and_energy_of_every_pair_in_every_cell(exponent, method, strength):
    """For any score, weights and masses: what one species loses to another that one gains."""
    here = mixture()
    operator = MultispeciesLandau(any_score, strength=strength, exponent=exponent, method=method)
    matrix = operator.matrix(here)
    heavy = here.w * here.mass[here.kind]
    pairs = [(a, b) for a in range(3) for b in range(a, 3) if matrix[a, b] > 0]
    for pair in [None, *pairs]:
        factor = torch.ones(3, 3) if pair is None else torch.zeros(3, 3)
        if pair is not None:
            factor[pair] = factor[pair[::-1]] = 1
        rate = operator.rates(here, torch.Generator().manual_seed(0), factor=factor)
        assert torch.isfinite(rate).all()
        assert rate.abs().max() > 1e-9  # the heavy barely move one another
        momentum = total(heavy[:, None] * rate, here.cell, CELLS)
        power = total(heavy * (here.v * rate).sum(1), here.cell, CELLS)
        size = (heavy[:, None] * rate).abs().sum() * (1 + here.v.abs().max())
        assert momentum.abs().max() < 1e-14 * size
        assert power.abs().max() < 1e-14 * size
        assert rate[here.cell == CELLS - 1].abs().max() == 0  # nothing to collide with
        if pair is not None:
            assert rate[~torch.isin(here.kind, torch.tensor(pair))].abs().max() == 0


@pytest.mark.parametrize(("exponent", "method"), [m for m in METHODS if m[1] != "batches"])
def test_rate_is_the_definition(exponent, method):
    here = mixture()
    operator = MultispeciesLandau(any_score, strength=MATRIX, exponent=exponent, method=method)
    s = torch.cat([any_score(v, None, None, None) for v in here.split(here.v)])
    expected = dense(here, s, operator.matrix(here), exponent)
    rate = operator.rates(here)
    for k in range(3):  # the heavy have small rates, held to their own size
        of = here.kind == k
        torch.testing.assert_close(rate[of], expected[of], rtol=1e-9, atol=1e-11 * float(expected[of].abs().max()))


def test_one_species_alone_is_the_operator_of_one():
    here = alone([("electrons", 2.0, 1.0, 0.5, 200, 1.0)])
    for exponent in (0.0, -3.0):
        one = Landau(Blob(), strength=0.1, exponent=exponent)(here.v, here.w, here.cell, 1)
        rate = MultispeciesLandau(Blob(), strength=0.1, exponent=exponent).rates(here)
        torch.testing.assert_close(rate, one, rtol=1e-12, atol=1e-14)


def test_random_batches_are_unbiased():
    here = mixture()
    full = MultispeciesLandau(any_score, strength=MATRIX, exponent=0.0, method="pairs").rates(here)
    batches = MultispeciesLandau(any_score, strength=MATRIX, exponent=0.0, method="batches", batch_size=8)
    rng = torch.Generator().manual_seed(3)
    draws = torch.stack([batches.rates(here, rng) for _ in range(600)])
    deviation = (draws.mean(0) - full).abs() / (draws.std(0) / math.sqrt(600) + 1e-12)
    # 570 normal means beyond 5.5 standard errors: false alarm 2e-5.
    assert deviation.max() < 5.5
    assert draws.std(0).max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["pairs", "batches"])
def test_step_keeps_momentum_and_energy_of_every_cell(dtype, method):
    here = mixture(dtype=dtype)
    operator = MultispeciesLandau(any_score, strength=1e-3, method=method)
    after = collide_species(operator, here, 0.02, seed=0)
    assert (after - here.v).abs().max() > 1e-4
    heavy = here.w * here.mass[here.kind]
    eps = torch.finfo(dtype).eps
    for values in (heavy[:, None] * here.v, heavy * here.v.square().sum(1)):
        before = total(values, here.cell, CELLS)
        now = total(heavy[:, None] * after if values.ndim == 2 else heavy * after.square().sum(1), here.cell, CELLS)
        torch.testing.assert_close(now, before, rtol=200 * eps, atol=200 * eps * float(before.abs().max()))


@pytest.mark.parametrize("exponent", [0.0, -3.0])
@pytest.mark.parametrize("ratio", [1.0, 25.0, 1836.0])
def test_one_temperature_and_drift_are_a_fixed_point(exponent, ratio):
    """Detailed balance: Maxwellians that have them stay as they are, whatever masses, charges and weights."""
    here = alone([("electrons", 1.5, 1.0, 0.7, 300, 1.0), ("ions", 1.5, ratio, 0.7, 200, 0.5)])
    operator = MultispeciesLandau(Maxwellian(), strength=0.1, exponent=exponent)
    assert operator.rates(here).abs().max() < 1e-12
    hotter = alone([("electrons", 1.5, 1.0, 0.7, 300, 1.0), ("ions", 1.6, ratio, 0.7, 200, 0.5)])
    assert operator.rates(hotter).abs().max() > 1e-6


@pytest.mark.parametrize(("exponent", "method"), METHODS)
def test_entropy_of_all_species_together_is_produced_and_never_lowered(exponent, method):
    """For any score the production is a sum of squares; of one species alone it may be negative."""
    here = mixture()
    operator = MultispeciesLandau(any_score, strength=0.3, exponent=exponent, method=method)
    s = torch.cat([any_score(v, None, None, None) for v in here.split(here.v)])
    s[here.kind == 2] /= 40  # of a size with the others once divided by the mass's root
    rate = operator.rates(here, torch.Generator().manual_seed(0))
    rate = MultispeciesLandau(
        {f"s{k}": lambda *a, k=k: s[here.kind == k] for k in range(3)}, strength=0.3, exponent=exponent, method=method
    ).rates(here, torch.Generator().manual_seed(0))
    production = total(-here.w * (s * rate).sum(1), here.cell, CELLS)
    assert (production[:3] > 0).all()
    # The colder of two Maxwellians is heated and gains, the hotter is cooled and loses less.
    two = alone([("hot", 4.0, 1.0, 0.0, 300, 1.0), ("cold", 1.0, 3.0, 0.0, 300, 1.0)])
    maxwellian = MultispeciesLandau(Maxwellian(), strength=0.3, exponent=exponent, method=method)
    rate = maxwellian.rates(two, torch.Generator().manual_seed(0))
    s = torch.cat([Maxwellian()(v, torch.ones(300).double(), torch.zeros(300).long(), 1) for v in two.split(two.v)])
    hot, cold = (float(x.sum()) for x in two.split(-two.w * (s * rate).sum(1)))
    assert hot < 0 < cold
    assert hot + cold > 0


def test_entropy_rises_step_by_step():
    """The regularised entropy whose gradient the blob's score is, of both species together."""
    here = alone([("electrons", 3.0, 1.0, 0.0, 150, 1.0), ("ions", 0.5, 10.0, 0.8, 150, 1.0)])
    score = {name: Blob(0.5 * spread) for name, spread in (("electrons", 1.7), ("ions", 0.22))}
    operator = MultispeciesLandau(score, strength=0.2)

    def entropy(mixture):
        parts = zip(mixture.names, mixture.split(mixture.v), mixture.split(mixture.w), strict=True)
        return sum(-float((w * score[name].log_prob(v, w, torch.zeros(len(v)).long(), 1)).sum()) for name, v, w in parts)

    values = [entropy(here)]
    for _ in range(30):
        here = dataclasses.replace(here, v=collide_species(operator, here, 0.05))
        values.append(entropy(here))
    steps = torch.tensor(values).diff()
    assert (steps > 0).all()
    assert values[-1] - values[0] > 0.05


@pytest.mark.parametrize("ratio", [1.0, 4.0, 100.0])
@pytest.mark.parametrize("exponent", [0.0, -1.0, -3.0])
def test_temperatures_equilibrate_at_the_closed_rate(ratio, exponent):
    here = alone([("light", 2.0, 1.0, 0.0, 1000, 1.0), ("heavy", 1.0, ratio, 0.0, 800, 0.7)])
    operator = MultispeciesLandau(Maxwellian(), strength={("light", "heavy"): 0.1}, exponent=exponent, method="pairs")
    dt = 0.01
    change = (temperatures(here, collide_species(operator, here, dt)) - temperatures(here)) / dt
    rates = [
        equilibration_rate(t, m, strength=0.1, density=n, exponent=exponent)
        for t, m, n in (((2.0, 1.0), (1.0, ratio), 0.7), ((1.0, 2.0), (ratio, 1.0), 1.0))
    ]
    expected = torch.tensor([-rates[0], rates[1]], dtype=change.dtype)
    torch.testing.assert_close(change, expected, rtol=0.03, atol=0)


@pytest.mark.parametrize(("ratio", "subcycle"), [(2.0, None), (25.0, None), (25.0, 0.1), (1836.0, 0.1)])
def test_the_whole_curve_of_maxwell_molecules_is_that_of_the_moment_equations(ratio, subcycle):
    """Of three species without drift: isotropic Maxwellians stay so, and what is wrong is of the order of the step."""
    here = alone([("a", 2.0, 1.0, 0.0, 60, 1.0), ("b", 1.0, ratio, 0.0, 40, 0.6), ("c", 4.0, 0.5 * ratio, 0.0, 50, 0.4)])
    here = Mixture.of(
        [
            Species(name, torch.ones(2 * len(v)), torch.cat([v, -v]), torch.cat([w, w]) / 2, charge, mass)
            for name, v, w, charge, mass in zip(
                here.names, here.split(here.v), here.split(here.w), here.charge.tolist(), here.mass.tolist(), strict=True
            )
        ]
    )
    operator = MultispeciesLandau(Maxwellian(), strength=0.03, exponent=0, subcycle=subcycle)
    end, errors = 16.0, []
    start = moments(here.v, here.w, here.kind, 3)
    covariance = start.temperature[:, None, None] * torch.eye(3, dtype=here.v.dtype)
    options = {"density": start.weight, "mass": here.mass, "strength": operator.matrix(here)}
    exact = here.mass * maxwell_species(start.mean, covariance, end, **options)[1][:, 0, 0]
    change = (exact - temperatures(here)).abs()
    for steps in (64, 128):
        cycles = operator.cycles(here, end / steps)
        assert (cycles.max() > 2) == (subcycle is not None)
        now = here
        for step in range(1, steps + 1):
            factor = torch.where(step % cycles == 0, cycles, 0)
            now = dataclasses.replace(now, v=collide_species(operator, now, end / steps, factor=factor))
        errors.append(float(((temperatures(now) - exact).abs() / change).max()))
    assert errors[1] < 0.02
    if subcycle is None:  # halved with the step: nothing else is wrong
        assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)


def test_moment_equations_are_those_of_the_pair_force():
    """Of drifting anisotropic Gaussians, by quadrature over particles that are its nodes."""
    x, weight = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(5))
    nodes, w = torch.cartesian_prod(x, x, x), torch.cartesian_prod(*[weight / weight.sum()] * 3).prod(1)
    spreads = torch.tensor([[1.0, 2.0, 0.5], [0.3, 0.4, 0.9]]).double()
    drifts, density, mass = torch.tensor([[0.5, 0.0, 0.2], [-0.3, 0.1, 0.0]]).double(), (1.0, 0.6), (1.0, 3.0)
    made = [
        Species(name, w, u + t.sqrt() * nodes, n * w, mass=m)
        for name, u, t, n, m in zip("ab", drifts, spreads, density, mass, strict=True)
    ]
    here = Mixture.of(made)
    scores = {s.name: (lambda v, *_, u=u, t=t: -(v - u) / t) for s, u, t in zip(made, drifts, spreads, strict=True)}
    operator = MultispeciesLandau(scores, strength={("a", "a"): 0.3, ("a", "b"): 0.7, ("b", "b"): 0.2}, exponent=0)
    h, covariance = 1e-5, torch.diag_embed(spreads)
    ends = [
        maxwell_species(
            drifts,
            covariance,
            t,
            density=torch.tensor(density).double(),
            mass=here.mass,
            strength=operator.matrix(here),
            num_steps=1,
        )
        for t in (h, -h)
    ]
    for k, (rate, s) in enumerate(zip(here.split(operator.rates(here)), made, strict=True)):
        torch.testing.assert_close(w @ rate, (ends[0][0] - ends[1][0])[k] / (2 * h), rtol=1e-7, atol=1e-9)
        change = (w[:, None] * (s.v - drifts[k])).T @ rate
        torch.testing.assert_close(change + change.T, (ends[0][1] - ends[1][1])[k] / (2 * h), rtol=1e-7, atol=1e-9)


def test_moment_equations_are_those_of_one_species_where_there_is_one():
    start = torch.diag(torch.tensor([1.8, 0.2, 1.0]).double())
    one = torch.ones(1).double()
    _, end = maxwell_species(torch.zeros(1, 3).double(), start[None], 0.3, density=one, mass=one, strength=one[None])
    torch.testing.assert_close(end[0], maxwell_pressure(start, 0.3, strength=1.0))


@pytest.mark.parametrize("speed", [0.7, 1.5, 3.0])
@pytest.mark.parametrize("masses", [(1.0, 1836.0), (1836.0, 1.0)], ids=["light on heavy", "heavy on light"])
def test_a_beam_is_slowed_and_scattered_as_trubnikov_says(speed, masses):
    """A narrow Maxwellian beam in a Maxwellian background of temperature one; speed in units of the lighter's thermal one."""
    thermal = math.sqrt(1 / min(masses))
    spread = (1e-4 * speed * thermal) ** 2 * masses[0]
    here = alone([("beam", spread, masses[0], speed * thermal, 600, 1.0), ("background", 1.0, masses[1], 0.0, 2000, 1.0)])
    operator = MultispeciesLandau(Maxwellian(), strength={("beam", "background"): 1.0})
    rate, v = here.split(operator.rates(here))[0], here.split(here.v)[0]
    theory = trubnikov_beam(speed * thermal, masses, temperature=1.0, strength=1.0, density=1.0)
    square = (speed * thermal) ** 2
    centred = v - v.mean(0)
    growth = 2 * (centred * (rate - rate.mean(0))).mean(0) / square
    assert -float(rate[:, 0].mean()) / (speed * thermal) == pytest.approx(theory.slowing, rel=0.05)
    assert float(growth[1:].sum()) == pytest.approx(theory.across, rel=0.05)
    assert float(growth[0]) == pytest.approx(theory.along, rel=0.05)


def weighted(name, temperature, mass, n, density):
    """A Maxwellian of particles drawn from a wider one, with weights that make up for it, a hundredfold apart."""
    z = 1.3 * gaussian_velocities(n, [1.0] * 3, seed=9)
    w = torch.softmax(-0.5 * z.square().sum(1) * (1 - 1 / 1.3**2), 0)
    z = z - w @ z
    z = z / (w @ z.square()).sqrt() * math.sqrt(temperature / mass)
    return Species(name, w, z, density * w, 1.0, mass)


def test_unequal_weights_relax_as_equal_ones_do():
    equal = alone([("a", 2.0, 1.0, 0.0, 500, 1.0), ("b", 1.0, 5.0, 0.0, 400, 0.6)])
    unequal = Mixture.of([weighted("a", 2.0, 1.0, 500, 1.0), weighted("b", 1.0, 5.0, 400, 0.6)])
    assert float(unequal.w.max() / unequal.w.min()) > 100
    operator = MultispeciesLandau(Maxwellian(), strength=2.0)
    ends = []
    for start in (equal, unequal):
        here = start
        for _ in range(8):
            here = dataclasses.replace(here, v=collide_species(operator, here, 0.1))
        ends.append(temperatures(here) - temperatures(start))
    assert ends[0].abs().max() > 0.05
    torch.testing.assert_close(ends[1], ends[0], rtol=0.01, atol=0)


@pytest.mark.parametrize("mass", [(1.0, 1.0), (1.0, 10.0, 40.0)])
def test_relaxation_on_a_grid_of_speeds(mass):
    """Conserves, starts at the closed rates, leaves one temperature as it is, and ends there."""
    k = len(mass)
    temperature, density = [2.0, 1.0, 3.0][:k], [1.0, 0.7, 0.2][:k]
    options = {"mass": mass, "density": density, "strength": np.ones((k, k))}
    start, soon, late = isotropic_coulomb([0.0, 0.02, 4.0], temperature=temperature, dt=0.01, **options).temperature
    assert start == pytest.approx(temperature, rel=1e-3)
    rates = [
        sum(
            equilibration_rate((temperature[a], temperature[b]), (mass[a], mass[b]), strength=1.0, density=density[b])
            * (temperature[b] - temperature[a])
            for b in range(k)
        )
        for a in range(k)
    ]
    assert (soon - start) / 0.02 == pytest.approx(rates, rel=0.03)
    assert density @ late == pytest.approx(density @ start, rel=1e-3)
    assert np.ptp(late) < np.ptp(start)
    still = isotropic_coulomb([5.0], temperature=[1.5] * k, **options)
    assert still.temperature[0] == pytest.approx([1.5] * k, rel=2e-3)
    assert still.fourth[0] == pytest.approx([1.0] * k, rel=2e-3)
    with pytest.raises(ValueError, match="points must be at least 10"):
        isotropic_coulomb([1.0], temperature=temperature, points=3, **options)


@pytest.mark.slow
def test_discoformer_follows_coulomb_equilibration_away_from_maxwellians(velocities):
    """At this mass ratio the slow among the light cool first, and what they lack delays all: by three times the tolerance."""
    now = alone([("light", 2.0, 1.0, 0.0, 600, 1.0), ("heavy", 1.0, 10.0, 0.0, 600, 1.0)])
    operator = MultispeciesLandau(DiscoScore(velocities), strength=1.0, method="batches")
    exact = isotropic_coulomb([8.0], temperature=[2.0, 1.0], mass=[1.0, 10.0], density=[1.0, 1.0], strength=np.ones((2, 2)))
    rng = torch.Generator().manual_seed(0)
    for _ in range(80):
        now = dataclasses.replace(now, v=collide_species(operator, now, 0.1, generator=rng))
    assert temperatures(now).numpy() == pytest.approx(exact.temperature[0], abs=0.012)


@pytest.mark.slow
def test_discoformer_equilibrates_temperatures_and_reads_weights(velocities):
    """Of Maxwell molecules, the whole curve; particles of a species weigh a hundred times as much as others."""
    start = Mixture.of([weighted("a", 3.0, 1.0, 700, 1.0), weighted("b", 1.0, 4.0, 500, 0.6)])
    operator = MultispeciesLandau(DiscoScore(velocities), strength=0.1, exponent=0)
    unit = torch.eye(3, dtype=start.v.dtype) * (temperatures(start) / start.mass)[:, None, None]
    options = {"density": torch.tensor([1.0, 0.6]).double(), "mass": start.mass, "strength": operator.matrix(start)}
    now, curve = start, []
    for step in range(1, 21):
        now = dataclasses.replace(now, v=collide_species(operator, now, 0.1))
        exact = start.mass * maxwell_species(torch.zeros(2, 3).double(), unit, 0.1 * step, **options)[1][:, 0, 0]
        curve.append((temperatures(now) - exact).abs() / (exact - temperatures(start)).abs())

    assert (exact - temperatures(start)).abs().min() > 0.1
    assert torch.stack(curve).max() < 0.03


@pytest.mark.slow
def test_electrons_in_a_weak_field_have_spitzers_resistivity(velocities):
    """Friction of a steady current on protons, over that of a drifting Maxwellian: half, as the field drives the fast ones."""
    c, proton = 0.1, 1836.0
    now = alone([("electrons", 1.0, 1.0, 0.0, 1000, 1.0), ("ions", 1.0, proton, 0.0, 200, 1.0)])
    scores = {"electrons": DiscoScore(velocities, keys=512), "ions": Maxwellian()}
    strength = {("electrons", name): c for name in now.names}
    operator = MultispeciesLandau(scores, strength=strength, method="batches")
    nu = friction_rate(1.0, (1.0, proton), strength=c, density=1.0)
    dt, electrons, rng, found = 0.06 / nu, now.kind == 0, torch.Generator().manual_seed(0), []
    for _ in range(120):
        v = now.v.clone()
        v[electrons, 0] += 0.1 * nu * dt
        here = dataclasses.replace(now, v=v)
        now = dataclasses.replace(now, v=collide_species(operator, here, dt, generator=rng))
        drift = moments(v, now.w, now.kind, 2).mean[:, 0]
        friction = -float((now.v - v)[electrons, 0].mean()) / dt
        maxwellian = friction_rate(float(temperatures(here)[0]), (1.0, proton), strength=c, density=1.0)
        found.append(friction / (maxwellian * float(drift[0] - drift[1])))
    assert np.mean(found[10:20]) > 0.9  # a drifting Maxwellian, as it begins
    assert np.mean(found[-40:]) == pytest.approx(SPITZER, rel=0.1)


def test_bad_input_is_named():
    here = mixture()
    with pytest.raises(ValueError, match="strength of the collisions names no species: 'ion'; did you mean 'ions'"):
        MultispeciesLandau(Blob(), strength={("electrons", "ion"): 1.0}).check(["electrons", "ions"])
    with pytest.raises(ValueError, match="score of the collisions lacks the species s1, s2"):
        MultispeciesLandau({"s0": Blob()}, strength=1.0).rates(here)
    with pytest.raises(ValueError, match="strength names the pair of a and b twice"):
        MultispeciesLandau(Blob(), strength={("a", "b"): 1.0, ("b", "a"): 1.0})
    with pytest.raises(TypeError, match=r'pairs of names, such as \("electrons", "ions"\), for keys, got .electrons.'):
        MultispeciesLandau(Blob(), strength={"electrons": 1.0})
    with pytest.raises(ValueError, match="strength of a and b must be zero or positive"):
        MultispeciesLandau(Blob(), strength={("a", "b"): -1.0})
    with pytest.raises(ValueError, match="subcycle must be positive"):
        MultispeciesLandau(Blob(), strength=1.0, subcycle=0.0)
    with pytest.raises(TypeError, match="score of s1"):
        MultispeciesLandau({"s1": 3}, strength=1.0)
    with pytest.raises(ValueError, match=r'needs exponent 0, got -3\.0; use "pairs"'):
        MultispeciesLandau(Blob(), strength=1.0, method="moments")
    with pytest.raises(ValueError, match="one velocity component"):
        MultispeciesLandau(Blob(), strength=1.0).rates(mixture(d=1))
    with pytest.raises(ValueError, match=r"dt = 1e\+06 is too long for the collisions of s0: .* shorten dt"):
        collide_species(MultispeciesLandau(any_score, strength=1.0, exponent=0), here, 1e6)
    with pytest.raises(ValueError, match="the score of s0 gave 90 of 90 particles values that are not finite"):
        collide_species(MultispeciesLandau(lambda v, *_: v * math.nan, strength=1.0), here, 0.1)
