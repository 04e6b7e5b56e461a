"""Walls: fields between them, particles that they take or send back, and the account of both."""

import contextlib
import itertools
import math

import numpy as np
import pytest
import torch
from disco_samplers.integrations.plasma import Beam, Grid, OpenPMDWriter, Simulation, Species, Walls, load
from disco_samplers.integrations.plasma.exact import floating_drop, sheath_drop
from disco_samplers.integrations.plasma.poisson import field_between_walls
from disco_samplers.integrations.plasma.runfile import read_run
from disco_samplers.integrations.plasma.shapes import ORDERS, deposit, gather, stencil, volumes

from disco_samplers.cli import main

LINE = Grid(5.0, 10, periodic=False)
SOURCE = {"electrons": 1.0, "ions": 0.1}


def plasma(walls, *, n=2000, mass=25.0, dt=0.1, amplitude=0.0, **options):
    grid = Grid(10.0, 20)
    electrons = load(grid, [Beam((0.0, 0.0), (1.0, 1.0))], n, amplitude=amplitude)
    ions = load(grid, [Beam((0.0, 0.0), (0.1, 0.1))], n // 2, name="ions", charge=1.0, mass=mass, seed=1)
    return Simulation(grid, [electrons, ions], dt, walls=walls, **options)


def gas(walls, x, v, *, dt=0.1, length=5.0, **options):
    x, v = (torch.as_tensor(values, dtype=torch.float64) for values in (x, v))
    alone = Species("gas", x, v[:, None] if v.ndim == 1 else v, torch.full_like(x, 0.5), charge=0.0)
    return Simulation(Grid(length, 10), [alone], dt, fields="none", walls=walls, **options)


@pytest.mark.parametrize("bias", [0.0, -0.7])
def test_potential_between_conductors_converges_with_order_two(bias):
    errors = []
    for cells in (10, 20, 40):
        grid = Grid(2.0, cells, periodic=False)
        x = torch.linspace(0, 2, cells + 1, dtype=torch.float64)
        field, potential = field_between_walls(torch.exp(x) * grid.widths(x), grid, torch.tensor(9.0), bias=bias)
        exact = 1 - torch.exp(x) + x / 2 * (bias + math.exp(2) - 1)
        exact_field = torch.exp(x) - (bias + math.exp(2) - 1) / 2
        errors.append([float((potential - exact).abs().max()), float((field - exact_field).abs().max())])
        assert float(potential[-1]) == pytest.approx(bias, abs=1e-13)
    orders = [[math.log2(a / b) for a, b in itertools.pairwise(column)] for column in zip(*errors, strict=True)]
    assert all(1.9 < p < 2.1 for column in orders for p in column), orders


def test_field_of_charged_plates_is_uniform_between_them():
    field, potential = field_between_walls(torch.zeros(11, dtype=torch.float64), LINE, torch.tensor(0.3, dtype=torch.float64))
    torch.testing.assert_close(field, torch.full_like(field, 0.3))
    torch.testing.assert_close(potential, -0.3 * torch.linspace(0, 5, 11, dtype=torch.float64))


@pytest.mark.parametrize("shape", ["cic", "quadratic"])
def test_particles_near_an_end_keep_their_charge_and_place(shape, rng):
    x = torch.cat([5 * torch.rand(400, generator=rng, dtype=torch.float64), torch.tensor([0.0, 0.25, 4.75, 4.9999]).double()])
    at = stencil(x, LINE, shape)
    assert (at.weights >= 0).all()
    torch.testing.assert_close(at.weights.sum(1), torch.ones_like(x))
    torch.testing.assert_close((at.weights * at.nodes * LINE.dx).sum(1), x)
    q, field = (torch.randn(size, generator=rng, dtype=torch.float64) for size in (len(x), LINE.nodes))
    amount = deposit(at, q, LINE) * volumes(LINE, ORDERS[shape], q)
    torch.testing.assert_close(amount.sum(), q.sum())
    torch.testing.assert_close((amount * field).sum(), (q * gather(at, field)).sum())


def test_an_absorbing_wall_takes_what_has_reached_it_and_counts_it():
    x = torch.linspace(0.05, 4.95, 50, dtype=torch.float64)
    run = gas(Walls(), x, torch.where(torch.arange(50) % 2 == 0, 1.0, -2.0))
    result = run.run(10, progress=False)
    right, left = (
        int(((x + 1.0 >= 5) & (torch.arange(50) % 2 == 0)).sum()),
        int(((x - 2.0 < 0) & (torch.arange(50) % 2 == 1)).sum()),
    )
    assert run.state.ledger.taken.tolist() == [[left, right]]
    assert result.history["absorbed_left_gas"][-1] == 0.5 * left
    assert result.history["absorbed_right_gas"][-1] == 0.5 * right
    assert len(run.state.species[0].x) == 50 - left - right
    assert result.history["wall_energy"][-1] == pytest.approx(0.25 * (right + 4 * left))
    assert abs(result.energy_error) < 1e-14


def test_a_mirror_is_the_line_of_twice_the_length(rng):
    x, v = 5 * torch.rand(200, generator=rng, dtype=torch.float64), 3 * torch.randn(200, 2, generator=rng, dtype=torch.float64)
    mirrored = gas(Walls("reflecting", "reflecting"), x, v)
    ring = gas(None, x, v, length=10.0)
    for run in (mirrored, ring):
        run.run(40, progress=False)
    unfolded = ring.state.species[0].x
    torch.testing.assert_close(mirrored.state.species[0].x, torch.minimum(unfolded, 10 - unfolded))
    torch.testing.assert_close(mirrored.state.species[0].v.abs(), v.abs(), rtol=0, atol=0)
    assert mirrored.state.ledger.taken.sum() == 0


def test_a_particle_may_cross_the_line_several_times_in_a_step():
    run = gas(Walls("reflecting", "reflecting"), [1.0], [330.0])
    run.step()
    assert float(run.state.species[0].x[0]) == pytest.approx(4.0)  # 1 + 33 = 34, folded into 0 to 5
    with pytest.raises(RuntimeError, match="more than 100 times in a step: shorten dt"):
        gas(Walls("reflecting", "reflecting"), [1.0], [1e6]).step()


def test_mirrors_keep_the_energy_that_a_plasma_and_its_field_exchange():
    run = plasma(Walls("reflecting", "reflecting"), amplitude=0.5)
    history = run.run(40, progress=False).history
    energy, field = history["total_energy"], history["field_energy"]
    assert np.abs(energy / energy[0] - 1).max() < 1.5e-3
    assert np.ptp(field) > 20 * np.ptp(energy)
    assert run.state.ledger.taken.sum() == 0


@pytest.mark.parametrize("bias", [None, 0.5])
def test_particles_charge_and_energy_are_accounted_for(bias):
    walls = Walls("absorbing", "absorbing", bias=bias, source=SOURCE)
    run = plasma(walls, dt=0.05)
    result = run.run(100, every=4, progress=False)
    state, ledger = run.state, run.state.ledger
    assert ledger.taken.min() > 0
    assert [len(s.x) + int(t) - int(g) for s, t, g in zip(state.species, ledger.taken.sum(1), ledger.given, strict=True)] == [
        2000,
        1000,
    ]
    assert ledger.given.tolist() == [int(ledger.taken[1].sum())] * 2
    inside = sum(s.charge * float(s.w.sum()) for s in state.species)
    held = sum(result.history[f"wall_charge_{side}"][-1] for side in ("left", "right"))
    assert inside + held == pytest.approx(0, abs=1e-11)  # whatever a circuit moves
    surface = state.electric[[0, -1], 0] * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(surface.tolist(), [result.history[f"wall_charge_{side}"][-1] for side in ("left", "right")])
    if bias is not None:
        assert result.history["potential_drop"].tolist() == pytest.approx([-bias] * 26)
    assert abs(result.energy_error) < 3e-3
    assert result.history["wall_energy"].max() > 0.05 * result.history["total_energy"][0]


def test_a_gas_between_thermal_walls_stays_maxwellian():
    rng = torch.Generator().manual_seed(3)
    n = 20_000
    x, v = (
        5 * torch.rand(n, generator=rng, dtype=torch.float64),
        math.sqrt(2) * torch.randn(n, 2, generator=rng, dtype=torch.float64),
    )
    run = gas(Walls("thermal", "thermal", temperature={"gas": 2.0}), x, v, dt=0.5)
    run.run(20, progress=False)
    s = run.state.species[0]
    # Five standard deviations: false alarm 6e-7 a number.
    assert float(s.x.mean()) == pytest.approx(2.5, abs=5 * 5 / math.sqrt(12 * n))
    for component in s.v.T:
        assert float(component.square().mean()) == pytest.approx(2.0, abs=5 * 2 * math.sqrt(2 / n))
        assert float(component.pow(4).mean()) == pytest.approx(12.0, abs=5 * 4 * math.sqrt(96 / n))
    assert not torch.equal(s.v.abs(), v.abs())


def test_a_thermal_wall_reflects_species_that_it_has_no_temperature_of():
    run = plasma(Walls("thermal", "reflecting", temperature={"electrons": 1.0}), fields="none")
    before = run.state.species
    run.run(30, progress=False)
    electrons, ions = (s.v[:, 1] for s in run.state.species)
    assert torch.equal(ions, before[1].v[:, 1])
    assert not torch.equal(electrons, before[0].v[:, 1])


def test_walls_are_saved_and_continued_bit_for_bit(tmp_path):
    walls = Walls("thermal", temperature={"electrons": 1.0}, source=SOURCE)
    whole, first, second = (plasma(walls) for _ in range(3))
    whole.run(30, progress=False)
    first.run(20, progress=False)
    first.save(tmp_path / "state.pt")
    second.load(tmp_path / "state.pt")
    second.run(10, progress=False)
    for a, b in zip(whole.state.species, second.state.species, strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.v, b.v)
        assert torch.equal(a.w, b.w)
    for name, value in vars(whole.state.ledger).items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(vars(second.state.ledger)[name])), name
    assert whole.history.rows == second.history.rows
    with pytest.raises(ValueError, match="left of the walls was thermal and is absorbing"):
        plasma(Walls(source=SOURCE)).load(tmp_path / "state.pt")


def test_pairs_start_where_the_source_is_and_are_neutral():
    run = plasma(Walls(source=SOURCE, source_length=1.0), dt=0.01)
    while int(run.state.ledger.given.sum()) == 0:
        run.step()
    given = int(run.state.ledger.given[0])
    electrons, ions = run.state.species
    assert 0 <= electrons.x[-given:].min() <= electrons.x[-given:].max() < 1.0
    torch.testing.assert_close(electrons.w[-given:], ions.w[-given:])
    assert torch.equal(electrons.x[-given:], ions.x[-given:])


def test_a_species_that_walls_have_taken_whole_ends_the_run():
    run = gas(Walls(), [2.5, 2.6], [1.0, -1.0])
    with pytest.raises(RuntimeError, match="the walls have taken the last particle of gas"):
        run.run(100, progress=False)
    assert len(run.state.species[0].x) == 2 - int(run.state.ledger.taken.sum())


def test_openpmd_files_of_walls_say_what_they_are(tmp_path):
    pytest.importorskip("openpmd_api")
    h5py = pytest.importorskip("h5py")
    walls = Walls("thermal", "absorbing", temperature={"electrons": 1.0}, bias=0.5)
    run = plasma(walls)
    run.run(2, observers=[OpenPMDWriter(tmp_path, every=2)], progress=False)
    with h5py.File(tmp_path / "data_000002.h5") as file:
        base = file["data/2"]
        meshes = base["fields" if "fields" in base else "meshes"]
        assert [text.decode() for text in meshes.attrs["particleBoundary"]] == ["reinjecting", "absorbing"]
        assert [text.decode() for text in meshes.attrs["fieldBoundary"]] == ["other", "other"]
        assert len(meshes.attrs["fieldBoundaryParameters"]) == len(meshes.attrs["particleBoundaryParameters"]) == 2
        assert b"left wall" in meshes.attrs["fieldSolverParameters"]
        assert meshes["rho"].shape == (21,)
        assert len(base["particles/ions/position/x"]) == len(run.state.species[1].x)


@pytest.mark.parametrize("walls", [None, Walls("thermal", "reflecting", temperature={"electrons": 1.0}), Walls(bias=0.5)])
def test_openpmd_files_are_valid_to_the_standards_own_validator(walls, tmp_path, monkeypatch, capsys):
    validator = pytest.importorskip("openpmd_validator.check_h5")
    pytest.importorskip("openpmd_api")
    plasma(walls).run(2, observers=[OpenPMDWriter(tmp_path, every=2)], progress=False)
    for step in (0, 2):
        monkeypatch.setattr("sys.argv", ["openPMD_check_h5", "-i", str(tmp_path / f"data_{step:06d}.h5"), "--EDPIC"])
        with contextlib.suppress(SystemExit):  # its way to end, with the number of errors
            validator.main()
        assert "Result: 0 Errors and 0 Warnings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"left": "absorbin"},
            ValueError,
            "left wall must be one of absorbing, reflecting, thermal, got 'absorbin'; did you mean",
        ),
        ({"right": "thermal"}, ValueError, "a thermal wall needs temperature"),
        ({"temperature": {"electrons": 1.0}}, ValueError, "no other wall has one"),
        ({"source": {"electrons": -1.0}}, ValueError, "source of electrons at the walls"),
        ({"source": 1.0}, TypeError, "must be a mapping from species to temperatures"),
        ({"bias": "high"}, TypeError, "bias"),
        ({"bias": math.inf}, ValueError, "bias must be finite"),
        (
            {"source": {"electrons": 1.0, "iron": 1.0}},
            ValueError,
            "source of the walls names no species: 'iron'; did you mean 'ions'",
        ),
        ({"source_length": 1.0}, ValueError, "no effect without a source"),
        ({"source": SOURCE, "source_length": 11.0}, ValueError, "source_length must be at most that of the line, 10, got 11"),
        ({"source": {"electrons": 1.0}}, ValueError, "one species of positive and one of negative charge"),
    ],
)
def test_bad_walls_are_named(options, error, message):
    with pytest.raises(error, match=message):
        plasma(Walls(**options))


def test_walls_take_no_electromagnetic_fields():
    with pytest.raises(ValueError, match="walls need fields="):
        plasma(Walls(), fields="electromagnetic")


def test_a_run_file_with_walls_runs_and_is_drawn(tmp_path, capsys):
    text = """
[grid]
length = 10.0
cells = 20
[time]
dt = 0.1
end = 1.0
[walls]
left = "reflecting"
source = { electrons = 1.0, ions = 0.1 }
[[species]]
name = "electrons"
particles = 400
[[species]]
name = "ions"
charge = 1.0
mass = 25.0
particles = 400
"""
    path, folder = tmp_path / "walls.toml", tmp_path / "out"
    path.write_text(text)
    assert main(["plasma", "run", str(path), "--out", str(folder), "--quiet"]) == 0
    assert (folder / "picture.png").exists()
    assert "absorbed_right_ions" in (folder / "diagnostics.csv").read_text().splitlines()[0]
    path.write_text(text.replace('left = "reflecting"', 'left = "mirror"'))
    assert main(["plasma", "run", str(path), "--out", str(tmp_path / "two"), "--quiet"]) == 1
    assert "left wall must be one of" in capsys.readouterr().err
    path.write_text(text.replace("reflecting", "absorbing").replace("end = 1.0", "end = 2.0"))
    assert main(["plasma", "run", str(path), "--out", str(folder), "--quiet", "--resume"]) == 1
    assert "left" in capsys.readouterr().err


@pytest.mark.parametrize("shape", ["cic", "quadratic"])
def test_a_uniform_density_between_walls_is_uniform_on_the_nodes(shape):
    """To round-off: particles at the Gauss points of each half of a cell, with which the weights are integrated exactly."""
    half = 0.5 * LINE.dx
    point, share = np.polynomial.legendre.leggauss(2)
    x = half * (torch.arange(20, dtype=torch.float64)[:, None] + 0.5 * (1 + torch.from_numpy(point))).flatten()
    w = 0.5 * half * torch.from_numpy(share).repeat(20)
    density = deposit(stencil(x, LINE, shape), w, LINE)
    torch.testing.assert_close(density, torch.ones(11, dtype=torch.float64), rtol=0, atol=1e-13)
    electrons = Species("electrons", x, torch.zeros_like(x)[:, None], w, charge=-1.0)
    run = Simulation(Grid(5.0, 10), [electrons], 0.1, shape=shape, walls=Walls("reflecting", "reflecting"))
    assert run.state.electric.abs().max() < 1e-13  # the background has the same volumes


def test_panels_of_walls_and_entropy_want_what_they_show(tmp_path):
    result = plasma(Walls(), n=200).run(3, progress=False)
    result.plot(str(tmp_path / "walls.png"), panels=["drop", "walls"], exact={"potential_drop": lambda t: 2.1})
    assert (tmp_path / "walls.png").exists()
    with pytest.raises(ValueError, match="needs a run with entropy_every="):
        result.plot(panels=["entropy"])
    with pytest.raises(ValueError, match="needs a run between walls"):
        plasma(None, n=200).run(1, progress=False).plot(panels=["drop"])


def test_theories_of_the_drop_agree_on_what_they_share():
    # The pre-sheath's drop of 0.854 leaves a density and, with the flux of all ions, a speed above that of Bohm at the edge.
    flux = 2 * 0.5410442 / math.pi * math.sqrt(2)
    edge = math.exp(-(0.9241388730**2))
    for mass in (25.0, 1836.0):
        assert floating_drop(mass) == pytest.approx(sheath_drop(mass) + 0.854 - math.log(flux / edge), abs=1e-3)


@pytest.mark.slow
def test_a_floating_wall_falls_to_the_potential_of_theory():
    simulation = read_run("sheath").simulation
    history = simulation.run(5000, every=5, progress=False).history
    drop = history["potential_drop"][history["time"] > 400].mean()
    assert drop == pytest.approx(floating_drop(100.0), rel=0.1)
