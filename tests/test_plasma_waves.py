"""Waves of a collisionless and a weakly collisional plasma against linear theory."""

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from disco_samplers.integrations.plasma import Beam, Blob, Dougherty, Grid, Maxwellian, Simulation, load
from disco_samplers.integrations.plasma.scores import Calibrated
from disco_samplers.integrations.plasma.theory import (
    Population,
    dougherty_mode,
    electrostatic_mode,
    ion_acoustic_guess,
    transverse_mode,
)

pytest.importorskip("scipy.optimize")
sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from fits import damped

STREAMS = [Beam((u,), (1.0,), 0.5) for u in (-2.4, 2.4)]


def first_mode(field):
    return complex(torch.fft.rfft(field)[1])


def history(run, steps, measure):
    values = []
    for _ in range(steps):
        run.step()
        values.append(measure(run.state))
    return run.dt * np.arange(1, steps + 1), np.array(values)


def grown(time, amplitude):
    """Rate of growth over the second half."""
    half = len(time) // 2
    return np.polyfit(time[half:], np.log(np.abs(amplitude[half:])), 1)[0]


# Literature values of omega + i gamma, by wavenumber.
LANDAU = {
    0.2: 1.06398 - 5.51e-5j,
    0.3: 1.15985 - 0.01262j,
    0.4: 1.28506 - 0.06613j,
    0.5: 1.41566 - 0.15336j,
    0.6: 1.54571 - 0.26411j,
    1.0: 2.04591 - 0.85133j,
}


@pytest.mark.parametrize("k", LANDAU)
def test_theory_has_the_known_landau_roots(k):
    assert abs(electrostatic_mode(k, [Population(Beam())]) - LANDAU[k]) < 1e-5


@pytest.mark.parametrize(("k", "rate"), [(0.2, 0.225844), (0.25, 0.2318), (0.4, 0.1504), (0.5, 0.0262)])
def test_theory_has_the_known_two_stream_rates(k, rate):
    assert abs(electrostatic_mode(k, [Population(beam) for beam in STREAMS]).imag - rate) < 5e-5


@pytest.mark.parametrize(("k", "rate"), [(0.2, 0.05566), (1.0, 0.18466), (1.5, 0.19742), (2.0, 0.18432)])
def test_theory_has_the_known_weibel_rates(k, rate):
    assert abs(transverse_mode(k, [Population(beam) for beam in weibel_beams()]).imag - rate) < 1e-5


@pytest.mark.parametrize(("k", "end"), [(0.3, 36.0), (0.4, 25.0), (0.5, 20.0), (0.6, 15.0)])
def test_landau_damping(k, end):
    grid = Grid(2 * math.pi / k, 64)
    run = Simulation(grid, [load(grid, [Beam()], 64 * 160, start="lattice", amplitude=1e-4)], 0.1)
    time, field = history(run, round(end / 0.1), lambda state: first_mode(state.electric[:, 0]).imag)
    rate, frequency = damped(time, field, after=4.0)
    theory = LANDAU[k]
    assert abs(rate / theory.imag - 1) < 0.02
    assert abs(frequency / theory.real - 1) < 0.02


# Literature values of the damping at k = 0.5, by the number of velocity components and the frequency of collisions.
DOUGHERTY = {
    (1, 0.01): -0.14640,
    (1, 0.05): -0.12431,
    (1, 0.1): -0.10537,
    (1, 0.2): -0.08227,
    (3, 0.01): -0.15103,
    (3, 0.05): -0.14346,
    (3, 0.1): -0.13664,
    (3, 0.2): -0.12695,
}


@pytest.mark.parametrize(("dim", "frequency"), DOUGHERTY)
def test_theory_has_the_known_rates_with_dougherty_collisions(dim, frequency):
    assert abs(dougherty_mode(0.5, frequency, dim=dim).imag - DOUGHERTY[dim, frequency]) < 1e-5


def test_theory_with_rare_dougherty_collisions_is_landau_damping():
    assert abs(dougherty_mode(0.3, 0.005) - LANDAU[0.3]) < 0.002
    with pytest.raises(ValueError, match="k and frequency must be positive"):
        dougherty_mode(0.5, 0.0)
    with pytest.raises(ValueError, match="dim must be at least 1"):
        dougherty_mode(0.5, 0.1, dim=0)


def test_theory_with_frequent_dougherty_collisions_is_a_sound_wave_of_three_degrees_of_freedom():
    assert dougherty_mode(0.1, 100.0, dim=3) == pytest.approx(math.sqrt(1 + 5 / 3 * 0.01), abs=1e-4)


_along = Calibrated(Blob(0.25))


def of_along_times_maxwellian(v, w, cell, num_cells):
    """The score where the distribution across the line is a Maxwellian of the cell's temperature there.

    Theory says that what this leaves out, the flow of the energy across along v_x, changes none of the rates by 0.5 %.
    """
    along = _along(v[:, :1], w, cell, num_cells)
    return along if v.shape[1] == 1 else torch.cat([along, Maxwellian()(v[:, 1:], w, cell, num_cells)], 1)


@pytest.mark.parametrize(
    ("dim", "frequency"),
    [pytest.param(*case, marks=() if case in {(1, 0.1), (3, 0.05)} else pytest.mark.slow) for case in DOUGHERTY],
)
def test_landau_damping_with_dougherty_collisions(dim, frequency):
    grid = Grid(4 * math.pi, 128)
    electrons = load(grid, [Beam()], 128 * 48, start="lattice", amplitude=0.05)
    if dim == 3:  # energy 1 across for all, in directions that go round evenly
        angle = math.pi * (3 - math.sqrt(5)) * torch.arange(len(electrons.x), dtype=torch.float64)
        across = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], 1)
        electrons = dataclasses.replace(electrons, v=torch.cat([electrons.v, across], 1))
    collisions = Dougherty(of_along_times_maxwellian, frequency=frequency)
    every = 2 if frequency > 0.1 else 4  # a collision step longer than 0.04 / frequency is itself off by per cents
    run = Simulation(grid, [electrons], 0.1, collisions=collisions, collision_cells=16, collide_every=every)
    time, field = history(run, 140, lambda state: first_mode(state.electric[:, 0]).imag)
    rate, _ = damped(time, field, after=3.0, heat=True)
    assert abs(rate / DOUGHERTY[dim, frequency] - 1) < 0.05


@pytest.mark.parametrize("k", [0.2, 0.4])
def test_two_stream_growth(k):
    theory = electrostatic_mode(k, [Population(beam) for beam in STREAMS]).imag
    grid = Grid(2 * math.pi / k, 64)
    run = Simulation(grid, [load(grid, STREAMS, 64 * 160, start="lattice", amplitude=1e-6)], 0.1)
    time, field = history(run, round(10 / theory / 0.1), lambda state: abs(first_mode(state.electric[:, 0])))
    assert abs(grown(time, field) / theory - 1) < 0.02


IONS = Beam(temperature=(0.05,))


def with_ions(k, beams, mass, *, particles, finer=1, dt=0.2, amplitude):
    """Electrons and mobile ions, both perturbed, and the populations of linear theory."""
    grid, starts = Grid(2 * math.pi / k, 32), Grid(2 * math.pi / k, 32 * finer)
    options = {"start": "lattice", "amplitude": amplitude}
    electrons = load(starts, beams, starts.cells * particles, **options)
    ions = load(starts, [IONS], starts.cells * 20, name="ions", charge=1.0, mass=mass, **options)
    return Simulation(grid, [electrons, ions], dt), [*map(Population, beams), Population(IONS, 1.0, mass)]


def test_ion_acoustic_wave():
    """Frequency and damping, and the field itself beside the integral equation of linear theory, within 2 %."""
    k, mass, amplitude = 0.7, 10.0, 1e-3
    run, populations = with_ions(k, [Beam()], mass, particles=320, finer=2, dt=0.4, amplitude=amplitude)
    theory = electrostatic_mode(k, populations, near=ion_acoustic_guess(k, populations))
    assert theory.real == pytest.approx(0.2045, abs=1e-4)
    time, field = history(run, 187, lambda state: first_mode(state.electric[:, 0]).imag)
    unit = 1.3 / theory.real  # the fit starts from a frequency of 1.3
    rate, frequency = damped(time / unit, field, after=2 * math.pi / 1.3)
    assert rate / unit == pytest.approx(theory.imag, rel=0.02)
    assert frequency / unit == pytest.approx(theory.real, rel=0.02)
    # R(t) = R_0(t) - int_0^t sum_s omega_s^2 (t - t') exp(-k^2 v_s^2 (t - t')^2/2) R(t') dt', R the charge.
    h = 0.05
    t = h * np.arange(1501)
    mixed = [np.exp(-0.5 * (k * p.spread(0) * t) ** 2) for p in populations]
    kernel = sum(p.frequency_squared * t * m for p, m in zip(populations, mixed, strict=True))
    charge = sum(p.charge * m for p, m in zip(populations, mixed, strict=True))
    for n in range(1, len(t)):
        memory = kernel[n:0:-1] * charge[:n]
        charge[n] -= h * (memory.sum() - 0.5 * memory[0])
    expected = -16 * amplitude / k * np.interp(time, t, charge)  # 16 is half the nodes
    assert np.abs(field - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("streams", "mass"), [((3.0,), 10.0), ((-2.4, 2.4), 25.0), ((-2.4, 2.4), 4.0)], ids=["one", "two", "two, light ions"]
)
def test_two_stream_growth_with_mobile_ions(streams, mass):
    """One stream through ions, and two, whose growth at rest becomes one that oscillates."""
    k, density = 0.4, 1 / len(streams)
    run, populations = with_ions(k, [Beam((u,), (1.0,), density) for u in streams], mass, particles=320, amplitude=1e-5)
    theory = electrostatic_mode(k, populations)
    assert abs(theory - electrostatic_mode(k, populations[:-1])) > 0.1  # ions do matter
    time, field = history(run, round(8 / theory.imag / 0.2), lambda state: first_mode(state.electric[:, 0]))
    if len(streams) == 1:
        half = len(time) // 2
        frequency = -np.polyfit(time[half:], np.unwrap(np.angle(field[half:])), 1)[0]
        rate = grown(time, field)
    else:  # a wave each way
        unit = 1.3 / theory.real
        rate, frequency = (x / unit for x in damped(time / unit, field.imag, after=0.5 * time[-1] / unit))
    assert rate == pytest.approx(theory.imag, rel=0.02)
    assert frequency == pytest.approx(theory.real, rel=0.02)


def weibel_beams():
    return [Beam((0.0, u), (0.005, 0.005), 0.5) for u in (-0.3, 0.3)]


@pytest.mark.parametrize("k", [1.0, 1.5])
def test_weibel_growth(k):
    theory = transverse_mode(k, [Population(beam) for beam in weibel_beams()]).imag
    grid = Grid(2 * math.pi / k, 32)
    between = (torch.arange(32, dtype=torch.float64) + 0.5) * grid.dx
    electrons = load(grid, weibel_beams(), 32 * 2 * 14**2, start="lattice")
    dt = 0.75 * grid.dx
    run = Simulation(grid, [electrons], dt, fields="electromagnetic", magnetic=1e-6 * torch.cos(k * between))
    time, field = history(run, round(5 / theory / dt), lambda state: abs(first_mode(state.magnetic[:, 0])))
    assert abs(grown(time, field) / theory - 1) < 0.05


def test_weibel_grows_alike_in_both_transverse_directions():
    grid = Grid(2 * math.pi, 16)
    energies = []
    for axis in (1, 2):
        drift = [[0.0, 0.3 * sign * (axis == 1), 0.3 * sign * (axis == 2)] for sign in (-1, 1)]
        electrons = load(
            grid, [Beam(tuple(u), (0.005,) * 3, 0.5) for u in drift], 16 * 2 * 8**3, start="lattice", amplitude=0.0
        )
        # A seed in the current instead of the field: it can be turned with the beams.
        electrons.v[:, axis] += 1e-4 * torch.cos(electrons.x)
        run = Simulation(grid, [electrons], 0.2, fields="electromagnetic")
        result = run.run(60, progress=False)
        energies.append(result.history["field_energy"])
        assert abs(result.energy_error) < 1e-6
    assert energies[0][-1] > 10 * energies[0][5]
    np.testing.assert_allclose(energies[0][1:], energies[1][1:], rtol=1e-9)
