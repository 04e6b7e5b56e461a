"""Waves of a collisionless and a weakly collisional plasma against linear theory."""

import math

import numpy as np
import pytest
import torch
from disco_samplers.integrations.plasma import Beam, Blob, Dougherty, Grid, Simulation, load
from disco_samplers.integrations.plasma.theory import Population, electrostatic_mode, transverse_mode

curve_fit = pytest.importorskip("scipy.optimize").curve_fit

STREAMS = [Beam((u,), (1.0,), 0.5) for u in (-2.4, 2.4)]


def first_mode(field):
    return complex(torch.fft.rfft(field)[1])


def history(run, steps, measure):
    values = []
    for _ in range(steps):
        run.step()
        values.append(measure(run.state))
    return run.dt * np.arange(1, steps + 1), np.array(values)


def damped(time, amplitude, after):
    """Rate and frequency of a damped oscillation, by least squares."""
    keep = time > after
    time, amplitude = time[keep], amplitude[keep] / np.abs(amplitude).max()

    def model(t, size, rate, frequency, phase):
        return size * np.exp(rate * t) * np.cos(frequency * t + phase)

    found, _ = curve_fit(model, time, amplitude, p0=[1.0, -0.1, 1.3, 0.0])
    return found[1], abs(found[2])


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


def dougherty_rate(k, frequency, terms=300):
    """Damping of the linearised Vlasov-Dougherty system with one velocity, in Hermite functions of the velocity.

    Collisions damp the n-th of them at n times their frequency, but for number, momentum and energy, n = 0, 1, 2.
    """
    n = np.arange(terms)
    streaming = k * (np.diag(np.sqrt(n[1:]), -1) + np.diag(np.sqrt(n[1:]), 1))
    system = streaming - 1j * frequency * np.diag(np.where(n > 2, n, 0))
    system[1, 0] += 1 / k  # the field of the density
    modes = np.linalg.eigvals(system)
    return modes[modes.real > 0.5].imag.max()


@pytest.mark.parametrize(("frequency", "known"), [(0.05, -0.12431), (0.1, -0.10537)])
def test_landau_damping_with_dougherty_collisions(frequency, known):
    assert abs(dougherty_rate(0.5, frequency) - known) < 1e-5
    grid = Grid(4 * math.pi, 64)
    electrons = load(grid, [Beam()], 64 * 128, start="lattice", amplitude=0.05)
    collisions = Dougherty(Blob(0.25), frequency=frequency)
    run = Simulation(grid, [electrons], 0.1, collisions=collisions, collision_cells=32, collide_every=4)
    time, field = history(run, 120, lambda state: first_mode(state.electric[:, 0]).imag)
    rate, _ = damped(time, field, after=3.0)
    assert abs(rate / known - 1) < 0.05


@pytest.mark.parametrize("k", [0.2, 0.4])
def test_two_stream_growth(k):
    theory = electrostatic_mode(k, [Population(beam) for beam in STREAMS]).imag
    grid = Grid(2 * math.pi / k, 64)
    run = Simulation(grid, [load(grid, STREAMS, 64 * 160, start="lattice", amplitude=1e-6)], 0.1)
    time, field = history(run, round(10 / theory / 0.1), lambda state: abs(first_mode(state.electric[:, 0])))
    assert abs(grown(time, field) / theory - 1) < 0.02


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
