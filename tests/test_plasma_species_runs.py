"""Runs of species that collide with one another: continued, measured, checked and refused, from Python and from files."""

import dataclasses
import math

import pytest
import torch
from disco_samplers.integrations.plasma import (
    Beam,
    Blob,
    Grid,
    Maxwellian,
    Mixture,
    MultispeciesLandau,
    Simulation,
    Species,
    load,
    startup_checks,
)
from disco_samplers.integrations.plasma.runfile import make_run

from disco_samplers.cli import main

FILE = """
title = "electrons and ions"
[grid]
length = 12.566
cells = 16
[time]
dt = 0.1
end = 0.6
[[species]]
name = "electrons"
particles = 300
amplitude = 0.1
[[species.beams]]
drift = [0.0, 0.0]
temperature = [2.0, 2.0]
[[species]]
name = "ions"
charge = 1.0
mass = 25.0
particles = 200
[[species.beams]]
drift = [0.0, 0.0]
temperature = [1.0, 1.0]
[collisions]
operator = "multispecies"
exponent = -2
method = "batches"
score = "blob"
cells = 2
[collisions.matrix]
electrons = { electrons = 0.1, ions = 0.2 }
[output]
entropy = 3
checkpoint = 2
"""


def both(seed=0, *, ratio=25.0, strength=0.05, score=None, **options):
    grid = Grid(12.566, 16)
    electrons = load(grid, [Beam((0.0, 0.0), (2.0, 2.0))], 400, amplitude=0.1, seed=seed)
    ions = load(grid, [Beam((0.0, 0.0), (1.0, 1.0))], 300, name="ions", charge=1.0, mass=ratio, seed=seed + 1)
    operator = MultispeciesLandau(
        score or Blob(), strength=strength, exponent=-2.0, method="batches", batch_size=16, subcycle=0.1
    )
    return Simulation(grid, [electrons, ions], 0.1, **({"collisions": operator, "collision_cells": 4} | options))


def test_a_continued_run_is_that_without_a_break_bit_for_bit(tmp_path):
    """Whatever steps the pairs wait for."""
    whole, first, second = both(), both(), both()
    assert whole.cycles.unique().tolist() != [1]
    whole.run(9, progress=False)
    first.run(3, progress=False)
    first.save(tmp_path / "state.pt")
    second.load(tmp_path / "state.pt")
    second.run(6, progress=False)
    for a, b in zip(whole.state.species, second.state.species, strict=True):
        assert torch.equal(a.v, b.v)
    assert whole.history.rows == second.history.rows


def test_rows_hold_each_species_and_all_together():
    run = both(strength=0.5)
    result = run.run(12, entropy_every=4, progress=False)
    history = result.history
    assert abs(result.energy_error) < 1e-3
    assert abs(history["momentum_x"][-1] - history["momentum_x"][0]) < 1e-10
    assert history["temperature_electrons"][0] == pytest.approx(2.0, abs=0.1)
    assert history["temperature_ions"][-1] > history["temperature_ions"][0]
    assert abs(history["drift_electrons"][0]) < 0.1
    measured = ~torch.isnan(torch.from_numpy(history["entropy"]))
    assert measured.nonzero().flatten().tolist() == [0, 4, 8, 12]
    production = history["entropy_production"][measured.numpy()]
    assert (production > 0).all()
    # Both have the same number of physical particles.
    parts = sum(history[f"entropy_production_{name}"][measured.numpy()] for name in ("electrons", "ions"))
    assert parts / 2 == pytest.approx(production)


def test_sub_cycles_spare_the_steps_and_keep_the_time():
    """A pair that collides seldom does so for as much longer."""
    calls = []

    class Counting(Maxwellian):
        def __call__(self, v, w, cell, num_cells):
            calls.append(len(v))
            return super().__call__(v, w, cell, num_cells)

    runs = []
    for subcycle in (None, 0.1):
        calls.clear()
        # Electrons and protons of which only the light collide in every step, with one another and with the slow ones.
        operator = MultispeciesLandau(Counting(), strength=0.1, exponent=0, subcycle=subcycle)
        run = both(ratio=1836.0, collisions=operator, collision_cells=1, fields="none")
        start = [float(s.v.square().mean()) for s in run.state.species]
        for _ in range(64):
            run.step()
        runs.append((float(run.state.species[1].v.square().mean()) / start[1] - 1, calls.count(400), calls.count(300)))
    (heated, *_), (spared, electrons, protons) = runs
    assert run.cycles.tolist() == [[1, 2], [2, 64]]
    assert (electrons, protons) == (64, 32)
    assert heated > 0.0005
    assert spared == pytest.approx(heated, rel=0.01)


def test_checks_tell_how_often_each_pair_collides():
    checks = {check.name: check for check in startup_checks(both(strength={("electrons", "ions"): 50.0}))}
    pair = checks["nu dt (electrons, ions)"]
    assert pair.verdict == "refuse"
    assert pair.value > 1
    assert f"the collision time is {1 / pair.value:.3g} of their step" in str(pair)
    assert "nu dt (ions, ions)" not in checks  # they do not collide
    fine = {check.name: check.verdict for check in startup_checks(both(strength=0.01))}
    assert {fine[f"nu dt ({pair})"] for pair in ("electrons, electrons", "electrons, ions", "ions, ions")} == {"ok"}


def test_a_cell_without_one_of_the_species_has_collisions_of_the_others_only():
    grid = Grid(8.0, 8)
    rng = torch.Generator().manual_seed(0)
    x, v = 4 * torch.rand(60, generator=rng), torch.randn(60, 2, generator=rng)
    light = Species("light", torch.cat([x, x + 4]), torch.cat([v, 2 * v]), torch.ones(120), charge=0.0)
    heavy = Species("heavy", x, v / 10, torch.ones(60), charge=0.0, mass=50.0)
    operator = MultispeciesLandau(Maxwellian(), strength={("light", "heavy"): 0.1}, exponent=0)
    run = Simulation(grid, [light, heavy], 1e-6, fields="none", collisions=operator, collision_cells=2)
    fewest = next(check for check in startup_checks(run) if check.name == "fewest particles/cell (heavy)")
    assert (fewest.value, fewest.verdict) == (0, "warn")
    run.step()
    moved = run.state.species[0].v - light.v
    assert moved[:60].abs().max() > 0
    assert moved[60:].abs().max() < 1e-6 * light.v.abs().max()
    assert all(torch.isfinite(s.v).all() for s in run.state.species)


def test_an_applied_field_accelerates_by_charge_and_mass():
    run = both(collisions=None, fields="none", applied=0.3)
    before = [s.v.mean(0) for s in run.state.species]
    for _ in range(5):
        run.step()
    for s, start, rate in zip(run.state.species, before, (-0.3, 0.3 / 25), strict=True):
        torch.testing.assert_close(s.v.mean(0), start + torch.tensor([0.5 * rate, 0.0]).double(), rtol=0, atol=1e-7)


def test_fields_that_are_not_finite_are_named():
    run = both(collisions=None)
    broken = run.state.species[0].w.clone()
    broken[3] = math.inf
    run.state = dataclasses.replace(
        run.state, species=(dataclasses.replace(run.state.species[0], w=broken), run.state.species[1])
    )
    kept = run.state
    with pytest.raises(RuntimeError, match="step 1: the electric field is no longer finite at 16 of 16 nodes"):
        run.step()
    assert run.state is kept
    with pytest.raises(ValueError, match="magnetic must hold finite numbers, got 1 of 16 that are not"):
        both(fields="electromagnetic", magnetic=torch.tensor([math.nan] + [0.0] * 15))
    with pytest.raises(ValueError, match="applied must be finite"):
        both(applied=math.nan)


def test_a_mass_of_zero_is_named():
    gas = Species("gas", torch.zeros(3), torch.randn(3, 2), torch.ones(3), mass=0.0)
    with pytest.raises(ValueError, match="mass of gas must be positive"):
        Mixture.of([gas])


def test_a_species_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="names no species: 'ion'; did you mean 'ions'"):
        both(strength={("electrons", "ion"): 1.0})


def test_the_command_runs_them(tmp_path, capsys):
    path, folder = tmp_path / "run.toml", tmp_path / "out"
    path.write_text(FILE)
    assert main(["plasma", "run", str(path), "--out", str(folder), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "nu dt (electrons, ions)" in printed
    assert "nu dt (ions, ions)" not in printed
    header = (folder / "diagnostics.csv").read_text().splitlines()[0].split(",")
    assert {"temperature_ions", "drift_electrons", "entropy", "entropy_production", "entropy_ions"} <= set(header)
    longer = tmp_path / "longer.toml"
    longer.write_text(FILE.replace("end = 0.6", "end = 0.8").replace("entropy = 3", "entropy = 4"))
    assert main(["plasma", "run", str(longer), "--out", str(folder), "--quiet", "--resume"]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("dt = 0.1", "dt = 0.05"), "whose file has changed since: time.dt was 0.1 and is 0.05"),
        (("mass = 25.0", "mass = 26.0"), "species[1].mass was 25.0 and is 26.0"),
        (
            ("temperature = [2.0, 2.0]", "temperature = [2.0, 1.0]"),
            "species[0].beams[0].temperature was [2.0, 2.0] and is [2.0, 1.0]",
        ),
        (("ions = 0.2", "ions = 0.3"), "collisions.matrix.electrons.ions was 0.2 and is 0.3"),
        (('score = "blob"', 'score = "blob"\nbandwidth = 1.0'), "collisions.bandwidth was not there and is 1.0"),
        (("amplitude = 0.1\n", ""), "species[0].amplitude was 0.1 and is not there"),
    ],
)
def test_a_run_whose_file_changed_is_not_continued(change, message, tmp_path, capsys):
    path, folder = tmp_path / "run.toml", str(tmp_path / "out")
    path.write_text(FILE)
    assert main(["plasma", "run", str(path), "--out", folder, "--quiet"]) == 0
    capsys.readouterr()
    path.write_text(FILE.replace(*change, 1))
    assert main(["plasma", "run", str(path), "--out", folder, "--quiet", "--resume"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("ions = 0.2", "ion = 0.2"), "[collisions.matrix] names no species: 'ion'; did you mean 'ions'?"),
        (("electrons = { electrons", "electron = { electrons"), "[collisions.matrix] names no species: 'electron'"),
        (("ions = 0.2", "ions = -0.2"), "strength of electrons and ions must be zero or positive, got -0.2"),
        (("ions = 0.2", 'ions = "much"'), "strength of electrons and ions in [collisions.matrix] must be a number, got 'much'"),
        (
            ("electrons = { electrons = 0.1, ions = 0.2 }", "electrons = 0.1"),
            "must be a table of species and strengths, got 0.1",
        ),
        (("ions = 0.2 }", "ions = 0.2 }\nions = { electrons = 0.1 }"), "names the pair of electrons and ions twice"),
        (("exponent = -2", "exponent = -2\nstrength = 0.1"), "give strength, for all pairs, or matrix, not both"),
        (
            ('operator = "multispecies"', 'operator = "landau"\nstrength = 0.1'),
            "matrix would have no effect with operator 'landau'",
        ),
        (("ions = 0.2", "ions = 90.0"), "refused to start: nu dt (electrons, ions) is "),
        (("mass = 25.0", "mass = 0.0"), "species 2 'ions': mass must be positive, got 0.0"),
        (("particles = 200", "particles = 0"), "species 2 'ions': 'particles' in [[species]] must be at least 1, got 0"),
        (
            ("temperature = [1.0, 1.0]", "temperature = [1.0, -1.0]"),
            "species 2 'ions': temperature and density of a beam must be",
        ),
        (("exponent = -2", "exponent = -2\nsubcycle = -1.0"), "subcycle must be positive, got -1.0"),
        (("electrons = { electrons = 0.1, ions = 0.2 }", ""), "strength must be that of one pair of species at least"),
        (("[grid]", "seed = -1\n[grid]"), "seed must be at least 0, got -1"),
        (("[grid]", "[fields]\nmode = 2\n[grid]"), "'mode' in [fields] would have no effect without magnetic_amplitude"),
        (
            ("[grid]", '[fields]\nsolver = "electromagnetic"\nmagnetic_amplitude = 0.1\nmode = 0\n[grid]'),
            "'mode' in [fields] must be at least 1, got 0",
        ),
    ],
)
def test_bad_run_files_are_one_line(change, message, tmp_path, capsys):
    path = tmp_path / "run.toml"
    path.write_text(FILE.replace(*change, 1))
    assert main(["plasma", "run", str(path), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_strength_of_all_pairs_is_that_of_the_charges():
    species = [{"name": "a", "particles": 50, "beams": [{"drift": [0.0, 0.0], "temperature": [1.0, 1.0]}]}]
    species.append(species[0] | {"name": "b", "charge": 2.0})
    collisions = {"operator": "multispecies", "strength": 0.1, "exponent": 0, "score": "maxwellian"}
    config = {"grid": {"length": 10.0, "cells": 8}, "time": {"dt": 0.1, "end": 1}, "species": species, "collisions": collisions}
    run = make_run(config).simulation
    matrix = run.between.matrix(run.mixture(run.state.species))
    torch.testing.assert_close(matrix, torch.tensor([[0.1, 0.4], [0.4, 1.6]]).double())
    with pytest.raises(ValueError, match="needs the key 'strength'"):
        make_run(config | {"collisions": {"operator": "multispecies"}})
