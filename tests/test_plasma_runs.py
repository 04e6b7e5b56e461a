"""Runs from files and from Python: saved and continued, written, drawn, and refused."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from disco_samplers.integrations.plasma import (
    Animation,
    Beam,
    Blob,
    Dougherty,
    Grid,
    Landau,
    MultispeciesLandau,
    OpenPMDWriter,
    Simulation,
    Species,
    load,
    startup_checks,
)
from disco_samplers.integrations.plasma.entropy import entropy, score_consistency
from disco_samplers.integrations.plasma.runfile import make_run, problems, read_run

from disco_samplers.cli import main

SMALL = """
title = "small"
[grid]
length = 12.566
cells = 16
[time]
dt = 0.1
end = 1.0
[[species]]
name = "electrons"
particles = 400
amplitude = 0.1
[[species.beams]]
drift = [0.0, 0.0]
temperature = [1.0, 2.0]
[collisions]
operator = "landau"
strength = 0.01
exponent = 0
score = "blob"
cells = 4
[output]
entropy = 5
openpmd = 5
checkpoint = 2
"""


def small(seed=0, **options):
    grid = Grid(12.566, 16)
    electrons = load(grid, [Beam((0.0, 0.0), (1.0, 2.0))], 600, amplitude=0.1, seed=seed)
    collisions = Landau(Blob(), strength=0.05, exponent=-2.0, method="batches", batch_size=16)
    defaults = {"collisions": collisions, "collision_cells": 4}
    return Simulation(grid, [electrons], 0.1, **(defaults | options))


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("fields", ["electrostatic", "electromagnetic"])
def test_a_continued_run_is_that_without_a_break_bit_for_bit(fields, tmp_path):
    whole = small(fields=fields)
    whole.run(8, progress=False)
    first = small(fields=fields)
    first.run(3, progress=False)
    first.save(tmp_path / "state.pt")
    second = small(fields=fields)
    second.load(tmp_path / "state.pt")
    second.run(5, progress=False)
    for a, b in zip(whole.state.species, second.state.species, strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.v, b.v)
    assert torch.equal(whole.state.electric, second.state.electric)
    assert whole.history.rows == second.history.rows


def test_a_state_of_another_simulation_is_refused(tmp_path):
    small().save(tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"another simulation: seed was 0 and is 1"):
        Simulation(Grid(12.566, 16), small().state.species, 0.1, seed=1, collision_cells=4, collisions=small().collisions).load(
            tmp_path / "state.pt"
        )
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        small().load(tmp_path / "nothing.pt")


def test_an_interrupt_keeps_what_was_done():
    def interrupt(run):
        if run.state.step == 3:
            raise KeyboardInterrupt

    result = small().run(10, observers=[interrupt], progress=False)
    assert not result.complete
    assert result.history["step"].tolist() == [0, 1, 2, 3]


def test_a_score_that_gives_nan_keeps_the_last_good_state():
    class Faulty:
        def __call__(self, v, w, cell, cells, generator=None):
            return torch.full_like(v, torch.nan)

    run = small(collisions=Faulty())
    before = run.state
    with pytest.raises((ValueError, RuntimeError), match="finite"):
        run.run(3, progress=False)
    assert run.state is before


def test_a_custom_start_score_and_operator_work_together():
    grid = Grid(6.0, 8)
    rng = torch.Generator().manual_seed(0)
    x, v = 6 * torch.rand(300, generator=rng), torch.rand(300, 2, generator=rng) - 0.5
    water_bag = Species("electrons", x, v, torch.full_like(x, 6 / 300))
    score = lambda v, w, cell, cells: -v / 0.1  # noqa: E731
    drag = lambda v, w, cell, cells, generator=None: 0.0 * v  # noqa: E731
    for collisions in (Landau(score, strength=0.1, exponent=0), drag, {"electrons": drag}):
        result = Simulation(grid, [water_bag], 0.05, collisions=collisions).run(4, entropy_every=2, progress=False)
        assert abs(result.energy_error) < 1e-3
    with pytest.raises(ValueError, match="collisions names no species: ions"):
        Simulation(grid, [water_bag], 0.05, collisions={"ions": drag})


def test_a_cell_with_one_particle_or_none_is_left_alone():
    grid = Grid(8.0, 8)
    x = torch.tensor([0.5] * 20 + [3.5])
    v = torch.randn(21, 2, generator=torch.Generator().manual_seed(0))
    cold = Species("a", x, v, torch.ones(21), charge=0.0)
    alone = Simulation(grid, [cold], 1e-6, fields="none", collisions=Landau(Blob(), strength=0.1, exponent=0))
    alone.step()
    end = alone.state.species[0].v
    assert torch.equal(end[20], v[20])
    assert torch.isfinite(end).all()
    fewest = next(check for check in startup_checks(alone) if check.name.startswith("fewest"))
    assert (fewest.verdict, fewest.value) == ("warn", 0)


def test_entropy_and_consistency_of_a_known_distribution():
    grid = Grid(8.0, 8)
    electrons = load(grid, [Beam((1.0, 0.0), (1.0, 4.0), 0.5)], 40_000)
    view = Simulation(grid, [electrons], 0.1, collision_cells=1).collision_view(electrons)
    # Of n N(u, diag(T)): -ln n + ln(2 pi e) + ln(T1 T2)/2, here with density 1/2.
    exact = math.log(2) + math.log(2 * math.pi * math.e) + 0.5 * math.log(4.0)
    scale = torch.tensor([1.0, 4.0], dtype=torch.float64)
    centred = electrons.v - torch.tensor([1.0, 0.0], dtype=torch.float64)

    class Exact:
        def log_prob(self, v, w, cell, cells):
            return -0.5 * (centred.square() / scale).sum(1) - math.log(2 * math.pi) - 0.5 * math.log(4.0)

    assert entropy(Exact(), *view) == pytest.approx(exact, abs=2e-3)
    assert score_consistency(-centred / scale, *view) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.tensor([0.5, 9.0, 1.0])}, r"1 of 3 particles have a position outside \[0, 8\), first at index 1"),
        ({"v": torch.tensor([[0.0], [torch.nan], [1.0]])}, r"1 of 3 particles have v not finite, first at index 1"),
        ({"w": torch.tensor([1.0, 0.0, 1.0])}, "a weight that is not positive"),
        ({"v": torch.zeros(3)}, r"shapes \(n,\), \(n, 1 to 3\)"),
        ({"v": torch.zeros(3, 1, dtype=torch.float64)}, "float32"),
        ({"mass": 0.0}, "mass must be positive"),
        ({"charge": math.nan}, "electrons: charge must be finite, got nan"),
    ],
)
def test_bad_particles_are_named(change, message):
    good = {"x": torch.tensor([0.5, 2.0, 1.0]), "v": torch.zeros(3, 1), "w": torch.ones(3)}
    with pytest.raises(ValueError, match=message):
        Simulation(Grid(8.0, 8), [Species("electrons", **(good | change))], 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields": "electromagnetic", "light_speed": 20.0}, "light crosses 2.55 cells"),
        ({"fields": "magnetic"}, "fields must be one of"),
        ({"shape": "cubic"}, "shape must be one of cic, quadratic"),
        ({"magnetic": torch.zeros(16)}, "needs fields="),
        ({"collide_every": 0}, "collide_every must be at least 1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)
    with pytest.raises(ValueError, match="dt must be positive"):
        Simulation(Grid(12.566, 16), small().state.species, 0.0)


@pytest.mark.parametrize(
    "collisions",
    [
        Landau(Blob(), strength=40.0, exponent=0),
        Dougherty(Blob(), frequency=30.0),
        {"electrons": Dougherty(Blob(), frequency=30.0)},
    ],
)
def test_a_run_whose_collision_time_is_below_the_step_is_refused(collisions):
    grid = Grid(12.566, 16)
    electrons = load(grid, [Beam((0.0, 0.0), (1.0, 1.0))], 400)
    run = Simulation(grid, [electrons], 0.05, collisions=collisions, collision_cells=2)
    often = run.collisions_in_a_step()["electrons"]
    with pytest.raises(ValueError, match=rf"nu dt \(electrons\) is {often:.3g} and must be below 1"):
        run.run(1, progress=False)
    assert run.state.step == 0


def test_operators_are_looked_at_before_a_run():
    with pytest.raises(TypeError, match="collisions must be callable, a CollisionOperator"):
        small(collisions=3)
    with pytest.raises(TypeError, match="collisions of electrons must be of this species alone"):
        small(collisions={"electrons": MultispeciesLandau(Blob(), strength=0.1)})
    with pytest.raises(TypeError, match=r"walls must be Walls\(...\)"):
        small(walls={"left": "absorbing"})
    with pytest.raises(ValueError, match="one velocity component; use Dougherty"):
        Simulation(Grid(6.0, 8), [load(Grid(6.0, 8), [Beam()], 99)], 0.1, collisions=small().collisions).run(1, progress=False)


def test_particles_that_are_no_list_or_no_tensors_are_named():
    grid, electrons = Grid(12.566, 16), small().state.species[0]
    with pytest.raises(TypeError, match=r"species must be a list, got one of them: \[electrons\]"):
        Simulation(grid, electrons, 0.1)
    with pytest.raises(TypeError, match="electrons: v must be a tensor, got ndarray"):
        Simulation(grid, [dataclasses.replace(electrons, v=electrons.v.numpy())], 0.1)
    with pytest.raises(TypeError, match="electrons: mass must be a number, got '1'"):
        Simulation(grid, [dataclasses.replace(electrons, mass="1")], 0.1)


def test_checks_warn_and_refuse():
    grid = Grid(400.0, 16)
    electrons = load(grid, [Beam((0.0, 0.0), (1.0, 1.0))], 1000)
    run = Simulation(grid, [electrons], 2.5, collisions=Landau(Blob(), strength=0.5, exponent=0))
    verdicts = {check.name: check.verdict for check in startup_checks(run)}
    assert verdicts["omega_p dt"] == "refuse"
    assert verdicts["dx / Debye length"] == "warn"
    assert verdicts["nu dt (electrons)"] == "refuse"
    assert verdicts["fewest particles/cell (electrons)"] == "warn"
    assert {check.verdict for check in startup_checks(read_run("landau-0.5").simulation)} == {"ok"}


def test_openpmd_files_hold_all_that_the_standard_asks_for(tmp_path):
    """openPMD 1.1.0 and its extension ED-PIC: what is required, on a condition or not, and what is recommended."""
    pytest.importorskip("openpmd_api")
    h5py = pytest.importorskip("h5py")
    run = small(fields="electromagnetic")
    run.run(2, observers=[OpenPMDWriter(tmp_path, every=2, author="A. Author <a@example.org>")], progress=False)
    for step in (0, 2):
        with h5py.File(tmp_path / f"data_{step:06d}.h5") as file:
            assert file.attrs["author"].decode() == "A. Author <a@example.org>"
            assert {"openPMD", "openPMDextension", "basePath", "iterationEncoding", "iterationFormat"} <= set(file.attrs)
            assert {"software", "softwareVersion", "date", "meshesPath", "particlesPath"} <= set(file.attrs)
            base = file[f"data/{step}"]
            meshes, particles = base["fields" if "fields" in base else "meshes"], base["particles/electrons"]
            for holder, names in (
                (meshes, ["fieldSolver", "currentSmoothing", "chargeCorrection"]),
                (meshes["E"], ["fieldSmoothing"]),
                (particles, ["particleSmoothing"]),
            ):
                for name in names:
                    simple = holder.attrs[name] in (b"none", b"Yee")
                    assert simple or len(holder.attrs[f"{name}Parameters"]) > 10
            patches = particles["particlePatches"]
            n = len(run.state.species[0].x)
            values = {name: patches[name][()].tolist() for name in ("numParticles", "numParticlesOffset")}
            values |= {name: patches[name]["x"][()].tolist() for name in ("offset", "extent")}
            assert values == {"numParticles": [n], "numParticlesOffset": [0], "offset": [0.0], "extent": [run.grid.length]}
            assert patches["numParticles"].dtype == np.uint64
            inside = particles["position/x"][()] - patches["offset/x"][0]
            assert ((inside >= 0) & (inside < patches["extent/x"][0])).all()


def test_openpmd_files_are_read_back(tmp_path):
    api = pytest.importorskip("openpmd_api")
    run = small(fields="electromagnetic")
    run.run(4, observers=[OpenPMDWriter(tmp_path, every=2)], progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"data_{step:06d}.h5" for step in (0, 2, 4)]
    series = api.Series(str(tmp_path / "data_%06T.h5"), api.Access.read_only)
    assert list(series.iterations) == [0, 2, 4]
    last = series.iterations[4]
    assert last.time == pytest.approx(0.4)
    particles = last.particles["electrons"]
    read = {axis: particles["momentum"][axis][:] for axis in "xy"}
    read |= {name: particles[name][api.Record_Component.SCALAR][:] for name in ("weighting", "charge", "mass")}
    read |= {"position": particles["position"]["x"][:], "offset": particles["positionOffset"]["x"][:]}
    electric, magnetic = last.meshes["E"]["y"][:], last.meshes["B"]["z"][:]
    density = last.meshes["rho"][api.Mesh_Record_Component.SCALAR][:]
    series.flush()
    s = run.state.species[0]
    np.testing.assert_array_equal(read["position"], s.x.numpy())
    np.testing.assert_array_equal(np.stack([read["x"], read["y"]], 1), s.v.numpy())
    np.testing.assert_array_equal(read["weighting"], s.w.numpy())
    assert set(read["charge"]) == {-1.0}
    assert set(read["mass"]) == {1.0}
    assert set(read["offset"]) == {0.0}
    np.testing.assert_array_equal(electric, run.state.electric[:, 1].numpy())
    np.testing.assert_array_equal(magnetic, run.state.magnetic[:, 0].numpy())
    np.testing.assert_allclose(density, run.fields.charge_density(run.state.species).numpy())
    assert particles.get_attribute("particleShape") == 2.0
    assert particles.get_attribute("particlePush") == "Boris"
    assert {"currentDeposition", "particleInterpolation", "particleSmoothing"} <= set(particles.attributes)
    assert particles["weighting"].get_attribute("macroWeighted") == 1
    assert {"fieldSolver", "fieldBoundary", "particleBoundary", "chargeCorrection"} <= set(last.meshes.attributes)
    assert series.author == "unknown"
    assert last.meshes["B"]["z"].position == [0.5]
    assert series.openPMD_extension == 1
    series.close()


def test_command_runs_resumes_and_writes_everything(run_file, tmp_path, capsys):
    folder = tmp_path / "out"
    run_file.write_text(SMALL + "animation = 5\n")
    arguments = ["plasma", "run", str(run_file), "--out", str(folder), "--quiet"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "omega_p dt" in printed
    assert "nu dt (electrons)" in printed
    names = {path.name for path in folder.iterdir()}
    assert names == {"checkpoint.pt", "diagnostics.csv", "picture.png", "phase_space.gif", "openpmd"}
    with open(folder / "diagnostics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11
    expected = {"step", "time", "field_energy", "kinetic_energy", "total_energy", "momentum_x", "momentum_y", "number"}
    kinetics = {f"{name}_electrons" for name in ("anisotropy", "entropy", "entropy_production", "score_consistency")}
    assert set(rows[0]) == expected | kinetics | {"drift_electrons", "temperature_electrons"}
    assert rows[5]["entropy_electrons"] != ""
    assert rows[4]["entropy_electrons"] == ""
    assert float(rows[5]["entropy_production_electrons"]) > 0
    assert main(arguments) == 1
    assert "holds a run already" in capsys.readouterr().err
    longer = run_file.with_name("longer.toml")
    longer.write_text(SMALL.replace("end = 1.0", "end = 1.5"))
    assert main(["plasma", "run", str(longer), "--out", str(folder), "--quiet", "--resume"]) == 0
    straight = tmp_path / "straight"
    assert main(["plasma", "run", str(longer), "--out", str(straight), "--quiet"]) == 0
    assert (folder / "diagnostics.csv").read_text() == (straight / "diagnostics.csv").read_text()


def test_command_keeps_an_interrupted_run(run_file, tmp_path, capsys, monkeypatch):
    step, count = Simulation.step, iter(range(100))

    def interrupted(self):
        if next(count) == 4:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(Simulation, "step", interrupted)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".picture.0123456789abcdef.png").touch()  # of a run that was killed
    assert main(["plasma", "run", str(run_file), "--out", str(folder), "--quiet"]) == 130
    out, err = capsys.readouterr()
    assert "interrupted: at step 4 of 10: go on with --resume" in err
    assert out.count("wrote ") == 4
    assert ".picture" not in out
    monkeypatch.undo()
    assert main(["plasma", "run", str(run_file), "--out", str(folder), "--quiet", "--resume"]) == 0
    with open(folder / "diagnostics.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 11


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("cells = 16", "cels = 16"), r"[grid] has an unknown key 'cels'; did you mean 'cells'?"),
        (("dt = 0.1", 'dt = "long"'), "'dt' in [time] must be a number, got 'long'"),
        (('operator = "landau"', 'operator = "landua"'), "did you mean 'landau'?"),
        (('score = "blob"', 'score = "blobb"'), "did you mean 'blob'?"),
        (("length = 12.566", ""), "[grid] lacks the key 'length'"),
        (("strength = 0.01", ""), "needs the key 'strength'"),
        (
            ("strength = 0.01", "strength = 0.01\nkeys = 8"),
            "keys would have no effect with operator 'landau' and score 'blob'",
        ),
        (("drift = [0.0, 0.0]", 'drift = [0.0, "fast"]'), "'drift' in [[species.beams]] must be a list of numbers"),
        (("entropy = 5", "entropy = -5"), "entropy in [output] must be at least 0"),
        (("end = 1.0", "end = 0"), "'end' in [time] must be positive"),
        (("dt = 0.1", "dt = 2.5"), "refused to start: omega_p dt"),
        (("particles = 400", "particles = 0"), "'particles' in [[species]] must be at least 1"),
        (("[grid]", "[grid"), "is not TOML"),
    ],
)
def test_bad_run_files_are_one_line(change, message, run_file, tmp_path, capsys):
    run_file.write_text(SMALL.replace(*change, 1))
    assert main(["plasma", "run", str(run_file), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_particles_drawn_at_random_are_worth_one():
    config = {"grid": {"length": 6.0, "cells": 8}, "time": {"dt": 0.1, "end": 1.0}, "species": [{"particles": 100}]}
    config["collisions"] = {"operator": "dougherty", "frequency": 0.1, "worth": 4}
    assert make_run(config).simulation.collisions["electrons"].score.worth == 4
    config["species"][0]["start"] = "random"
    with pytest.raises(ValueError, match="worth = 4 is of quiet starts; of electrons, drawn at random, it is 1"):
        make_run(config)


def test_command_names_what_it_cannot_find_or_write(run_file, tmp_path, capsys):
    assert main(["plasma", "run", "two-strem"]) == 1
    assert "there is no problem 'two-strem'; did you mean 'two-stream'?" in capsys.readouterr().err
    assert main(["plasma", "run", str(tmp_path / "none.toml")]) == 1
    assert "no run file at" in capsys.readouterr().err
    assert main(["plasma", "run", str(run_file), "--out", str(tmp_path / "none"), "--resume"]) == 1
    assert "no run to resume" in capsys.readouterr().err
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    assert main(["plasma", "run", str(run_file), "--out", str(blocked), "--quiet"]) == 1
    assert "blocked" in capsys.readouterr().err


def test_a_full_disk_costs_neither_the_run_nor_its_table(run_file, tmp_path, capsys, full_disk):
    """A checkpoint on the way, the state at the end and the picture cannot be written; the run goes on and is told of."""
    folder = tmp_path / "out"
    full_disk("checkpoint.pt", after=1)
    full_disk("picture.png")
    assert main(["plasma", "run", str(run_file), "--out", str(folder), "--quiet", "--json"]) == 1
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert {line.split()[2].rpartition("/")[2] for line in lines} == {"checkpoint.pt", "picture.png"}
    assert {line.split(" could not be written: ")[1] for line in lines} == {"No space left on device"}
    told = json.loads(out)
    assert (told["complete"], len(told["checks"]) > 3) == (True, True)
    assert abs(told["energy_error"]) < 1
    assert {path.rpartition("/")[2] for path in told["written"]} == {"checkpoint.pt", "diagnostics.csv", "openpmd"}
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_every_named_problem_can_start(capsys):
    assert main(["plasma", "list"]) == 0
    listed = capsys.readouterr().out
    for name in problems():
        assert name in listed
        run = read_run(name)
        assert all(check.verdict != "refuse" for check in startup_checks(run.simulation)), name
    assert main(["plasma", "list", "weibel"]) == 0
    assert "[grid]" in capsys.readouterr().out


def test_a_dictionary_is_as_good_as_a_file():
    run = make_run({"grid": {"length": 10, "cells": 8}, "time": {"dt": 0.1, "end": 1}, "species": [{"particles": 100}]})
    assert run.num_steps == 10
    assert json.dumps(run.title) == '"plasma"'


def test_pictures(tmp_path):
    run = small()
    animation = Animation(tmp_path / "a.gif", every=2)
    result = run.run(4, observers=[animation], progress=False)
    animation.save()
    result.plot(str(tmp_path / "all.png"), rate=-0.1)
    result.plot(str(tmp_path / "one.png"), panels=["phase space"], species="electrons")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("a.gif", "all.png", "one.png"))
    result.plot(str(tmp_path / "two.png"), panels=["temperature", "drift"], exact={"temperature_electrons": lambda t: 1.5 + t})
    assert (tmp_path / "two.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="exact names no column: heat"):
        result.plot(exact={"heat": math.sqrt})
    with pytest.raises(ValueError, match="panels must be some of"):
        result.plot(panels=["phases"])
    with pytest.raises(ValueError, match="species must be one of electrons"):
        result.plot(species="ions")
    with pytest.raises(ValueError, match=r"must be \.gif"):
        Animation("a.png", every=2)
    with pytest.raises(KeyError, match="was not measured"):
        result.history["entropy"]


@pytest.mark.parametrize("start", ["random", "quiet", "lattice"])
def test_starts_have_the_density_and_moments_asked_for(start):
    grid = Grid(10.0, 50)
    beams = [Beam((1.0, 0.0), (1.0, 4.0), 0.3), Beam((-2.0, 1.0), (0.25, 1.0), 0.7)]
    s = load(grid, beams, 40_000, start=start, amplitude=0.5, mode=2, mass=4.0)
    assert float(s.w.sum()) == pytest.approx(10.0)
    mean = (s.w[:, None] * s.v).sum(0) / 10
    # Of the random start, five standard deviations: false alarm 1e-6 a number.
    torch.testing.assert_close(mean, torch.tensor([-1.1, 0.7], dtype=torch.float64), atol=0.035, rtol=0)
    phase = 2 * torch.pi * 2 / 10 * s.x
    assert float((s.w * torch.cos(phase)).sum() / 10) == pytest.approx(0.25, abs=0.02)
    assert float((s.w * torch.sin(phase)).sum() / 10) == pytest.approx(0.0, abs=0.02)
    again = load(grid, beams, 40_000, start=start, amplitude=0.5, mode=2, mass=4.0)
    assert torch.equal(again.x, s.x)
    assert torch.equal(again.v, s.v)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"start": "noisy"}, ValueError, "start must be"),
        ({"amplitude": 1.5}, ValueError, "amplitude must lie between"),
        ({"count": 2.5}, TypeError, "count must be an integer"),
        ({"mode": 0}, ValueError, "mode must be at least 1"),
        ({"beams": []}, ValueError, "at least one beam"),
        ({"beams": [Beam(), Beam((0.0, 0.0), (1.0, 1.0))]}, ValueError, "as many velocity components"),
    ],
)
def test_bad_starts_are_named(change, error, message):
    with pytest.raises(error, match=message):
        load(Grid(1.0, 8), **({"beams": [Beam()], "count": 10} | change))


def test_bad_grids_and_beams_are_named():
    with pytest.raises(ValueError, match="length must be positive"):
        Grid(0.0, 8)
    with pytest.raises(ValueError, match="cells must be at least 4"):
        Grid(1.0, 3)
    with pytest.raises(ValueError, match="temperature and density"):
        Beam((0.0,), (-1.0,))
    with pytest.raises(ValueError, match="one to three components"):
        Beam((0.0,), (1.0, 1.0))
