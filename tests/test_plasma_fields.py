"""Grid, shapes, fields and push: exact solutions, conservation and orders of convergence."""

import itertools
import math

import pytest
import torch
from disco_samplers.integrations.plasma import Beam, Grid, Simulation, Species, load
from disco_samplers.integrations.plasma.boris import boris
from disco_samplers.integrations.plasma.maxwell import advance_electric, advance_magnetic
from disco_samplers.integrations.plasma.poisson import electric_field
from disco_samplers.integrations.plasma.shapes import deposit, gather, stencil

SHAPES = ["cic", "quadratic"]


def order(errors):
    """Observed orders of convergence when the step is halved."""
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_of_a_particle_sum_to_one_and_keep_its_place(shape, dtype, rng):
    grid = Grid(3.0, 12)
    x = 3 * torch.rand(500, generator=rng, dtype=dtype)
    at = stencil(x, grid, shape)
    torch.testing.assert_close(at.weights.sum(1), torch.ones_like(x))
    assert (at.weights >= 0).all()
    # The first moment of a spline is the particle's place, modulo the length.
    distance = torch.remainder(at.nodes * grid.dx - x[:, None] + 1.5, 3.0) - 1.5
    torch.testing.assert_close((at.weights * distance).sum(1), torch.zeros_like(x), atol=2e-6, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_gather_is_the_adjoint_of_deposit(shape, rng):
    grid = Grid(2.0, 8)
    at = stencil(2 * torch.rand(100, generator=rng, dtype=torch.float64), grid, shape)
    q = torch.randn(100, generator=rng, dtype=torch.float64)
    field = torch.randn(8, generator=rng, dtype=torch.float64)
    torch.testing.assert_close((deposit(at, q, grid) * field).sum() * grid.dx, (q * gather(at, field)).sum())


def test_field_of_a_wave_is_exact():
    grid = Grid(5.0, 20)
    x = torch.arange(20, dtype=torch.float64) * grid.dx
    k = 2 * math.pi * 3 / 5.0
    torch.testing.assert_close(electric_field(torch.cos(k * x) + 7, grid), torch.sin(k * x) / k)


def test_rotation_keeps_the_speed_and_turns_the_right_way(rng):
    v = torch.randn(200, 3, generator=rng, dtype=torch.float64)
    magnetic = torch.randn(200, 2, generator=rng, dtype=torch.float64)
    turned = v
    for _ in range(1000):
        turned = boris(turned, torch.zeros(200, 1, dtype=torch.float64), magnetic, 0.3)
    torch.testing.assert_close(turned.norm(dim=1), v.norm(dim=1), rtol=1e-12, atol=0)
    # dv/dt = v x B to first order in the step, B = (0, By, Bz).
    b = torch.stack([torch.zeros(200, dtype=torch.float64), magnetic[:, 1], magnetic[:, 0]], 1)
    step = 1e-6
    rate = (boris(v, torch.zeros(200, 1, dtype=torch.float64), magnetic, step) - v) / step
    torch.testing.assert_close(rate, torch.linalg.cross(v, b), atol=1e-4, rtol=0)


def test_gyration_converges_with_order_two():
    exact = torch.tensor([math.cos(1.0), -math.sin(1.0)], dtype=torch.float64)
    errors = []
    for n in (10, 20, 40):
        v = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        for _ in range(n):
            v = boris(v, torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64), 1 / n)
        errors.append(float((v[0] - exact).norm()))
    assert all(1.95 < p < 2.05 for p in order(errors))


@pytest.mark.parametrize("component", [0, 1])
def test_light_in_vacuum_converges_with_order_two(component):
    c, errors = 2.0, []
    for cells in (16, 32, 64):
        grid = Grid(2 * math.pi, cells)
        dt = 0.4 * grid.dx / c
        steps = round(1.0 / dt)
        x = torch.arange(cells, dtype=torch.float64) * grid.dx
        sign = 1.0 if component == 0 else -1.0
        electric, magnetic = torch.zeros(cells, 2, dtype=torch.float64), torch.zeros(cells, 2, dtype=torch.float64)
        electric[:, component] = torch.cos(x)
        magnetic[:, component] = sign * torch.cos(x + 0.5 * grid.dx) / c
        for _ in range(steps):
            magnetic = advance_magnetic(magnetic, electric, 0.5 * dt, grid)
            electric = advance_electric(electric, magnetic, torch.zeros_like(electric), dt, grid, c)
            magnetic = advance_magnetic(magnetic, electric, 0.5 * dt, grid)
        errors.append(float((electric[:, component] - torch.cos(x - c * steps * dt)).abs().max()))
    assert all(1.9 < p < 2.1 for p in order(errors))


@pytest.mark.parametrize("shape", SHAPES)
def test_force_converges_with_order_two_in_dx(shape):
    k, amplitude, errors = 1.0, 0.1, []
    for cells in (8, 16, 32):
        grid = Grid(2 * math.pi, cells)
        electrons = load(grid, [Beam()], cells * 1600, amplitude=amplitude)
        at = stencil(electrons.x, grid, shape)
        felt = gather(at, electric_field(deposit(at, electrons.charge * electrons.w, grid), grid))
        errors.append(float((felt + amplitude / k * torch.sin(k * electrons.x)).abs().max()))
    assert all(1.8 < p < 2.2 for p in order(errors))


@pytest.mark.parametrize("fields", ["electrostatic", "electromagnetic"])
def test_steps_converge_with_order_two_in_dt(fields):
    grid = Grid(2 * math.pi, 8)
    k_half = torch.arange(8, dtype=torch.float64) + 0.5
    ends = []
    for n in (10, 20, 40, 160):
        beams = [Beam((0.0, u), (0.02, 0.02), 0.5) for u in (-0.3, 0.3)]
        options = {"magnetic": 0.1 * torch.cos(k_half * grid.dx)} if fields == "electromagnetic" else {}
        # Shapes of order two are smooth enough for the order to be seen.
        run = Simulation(
            grid, [load(grid, beams, 400, start="lattice", amplitude=0.2)], 2.0 / n, fields=fields, shape="quadratic", **options
        )
        for _ in range(n):
            run.step()
        ends.append(run.state.species[0])
    spread = [torch.remainder(end.x - ends[-1].x + math.pi, 2 * math.pi) - math.pi for end in ends[:-1]]
    assert all(1.8 < p < 2.3 for p in order([float(error.square().mean().sqrt()) for error in spread]))
    assert all(1.8 < p < 2.3 for p in order([float((end.v - ends[-1].v).square().mean().sqrt()) for end in ends[:-1]]))


def test_free_streaming_is_exact(rng):
    grid = Grid(7.0, 16)
    x, v = 7 * torch.rand(1000, generator=rng, dtype=torch.float64), torch.randn(1000, 3, generator=rng, dtype=torch.float64)
    run = Simulation(grid, [Species("neutrals", x, v, torch.ones_like(x), charge=0.0)], 0.1, fields="none")
    for _ in range(200):
        run.step()
    end = run.state.species[0]
    assert torch.equal(end.v, v)
    distance = torch.remainder(end.x - (x + 20.0 * v[:, 0]) + 3.5, 7.0) - 3.5
    assert distance.abs().max() < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_charge_gauss_law_and_momentum_are_kept_to_round_off(shape):
    grid = Grid(10.0, 32)
    electrons = load(grid, [Beam((0.3, 0.0, 0.0), (1.0, 1.0, 1.0))], 2000, start="random", amplitude=0.3)
    ions = load(grid, [Beam((0.0,) * 3, (0.1,) * 3)], 1000, start="random", name="ions", charge=1.0, mass=10.0, seed=1)
    run = Simulation(grid, [electrons, ions], 0.1, shape=shape)
    before = sum(s.mass * (s.w[:, None] * s.v).sum(0) for s in run.state.species)
    for _ in range(50):
        run.step()
    rho = run.fields.charge_density(run.state.species)
    assert abs(float(rho.sum() * grid.dx)) < 1e-12  # electrons and ions have the same number
    modes = torch.fft.rfft(run.state.electric[:, 0]) * 1j * grid.wavenumbers(rho)
    torch.testing.assert_close(modes[:-1], torch.fft.rfft(rho - rho.mean())[:-1], atol=1e-11, rtol=0)
    after = sum(s.mass * (s.w[:, None] * s.v).sum(0) for s in run.state.species)
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0)


def test_longitudinal_field_is_that_of_amperes_law():
    grid, dt = Grid(2 * math.pi, 32), 0.02
    run = Simulation(grid, [load(grid, [Beam((0.0, 0.0), (0.1, 0.1))], 64000, amplitude=0.2)], dt, fields="electromagnetic")
    for _ in range(20):
        run.step()
    before = run.state
    run.step()
    halfway = 0.5 * (before.species[0].v + run.state.species[0].v)[:, 0]
    at = stencil(grid.wrap(before.species[0].x + 0.5 * dt * halfway), grid, "quadratic")
    current = torch.fft.rfft(deposit(at, -before.species[0].w * halfway, grid))
    rate = torch.fft.rfft(run.state.electric[:, 0] - before.electric[:, 0]) / dt
    # Waves of many cells; the shortest ones feel that particles jump.
    torch.testing.assert_close(rate[1:4], -current[1:4], atol=1e-3 * float(current[1].abs()), rtol=0)


def test_two_mobile_species_oscillate_at_their_common_plasma_frequency():
    grid = Grid(2 * math.pi, 32)
    cold = Beam((0.0,), (1e-8,))
    electrons = load(grid, [cold], 3200, amplitude=1e-3)
    ions = load(grid, [cold], 3200, name="ions", charge=1.0, mass=4.0)
    dt = 0.02
    run = Simulation(grid, [electrons, ions], dt)
    field = []
    for _ in range(round(2 * math.pi / math.sqrt(1.25) / dt)):
        run.step()
        field.append(float(torch.fft.rfft(run.state.electric[:, 0])[1].imag))
    first = field[0]
    # One period of sqrt(1 + 1/4) later the field is back where it was.
    assert abs(field[-1] / first - 1) < 5e-3
    assert min(value / first for value in field) < -0.98


def test_single_precision_stays_single_and_is_close_to_double():
    grid = Grid(4 * math.pi, 32)
    ends = {}
    for dtype in (torch.float32, torch.float64):
        run = Simulation(grid, [load(grid, [Beam()], 3000, amplitude=0.1, dtype=dtype)], 0.1)
        result = run.run(30, progress=False)
        end = run.state.species[0]
        assert end.x.dtype == end.v.dtype == run.state.electric.dtype == dtype
        assert ((end.x >= 0) & (end.x < grid.length)).all()
        ends[dtype] = result.history["field_energy"]
    torch.testing.assert_close(torch.tensor(ends[torch.float32]), torch.tensor(ends[torch.float64]), rtol=1e-3, atol=1e-6)


def test_wrap_brings_every_position_inside():
    grid = Grid(1.1, 8)
    x = torch.tensor([-1e-9, 1.1, 2.3, -5.0, 0.0], dtype=torch.float32)
    inside = grid.wrap(x)
    assert ((inside >= 0) & (inside < grid.length)).all()
