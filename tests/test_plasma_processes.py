"""Several processes: the same run as one, whoever lets which cells collide."""

import json
import os
import subprocess
import sys

import pytest
import torch
from disco_samplers.integrations.plasma import (
    Beam,
    Blob,
    DiscoScore,
    Grid,
    Landau,
    MultispeciesLandau,
    Simulation,
    Walls,
    load,
)
from disco_samplers.integrations.plasma.cells import shuffled
from disco_samplers.integrations.plasma.processes import Team

SCRIPT = """
import sys, torch
sys.path.insert(0, sys.argv[1])
import test_plasma_processes as case
torch.distributed.init_process_group("gloo")
found = {name: case.outcome(name, distributed=True) for name in case.CASES}
if torch.distributed.get_rank() == 0:
    torch.save(found, sys.argv[2])
torch.distributed.destroy_process_group()
"""


def one_species(score, exponent=-2.0, **options):
    grid = Grid(12.566, 16)
    electrons = load(grid, [Beam((0.0, 0.0), (1.0, 2.0))], 1500, amplitude=0.3)
    collisions = Landau(score, strength=0.05, exponent=exponent, method="batches", batch_size=16)
    return Simulation(grid, [electrons], 0.1, collisions=collisions, collision_cells=6, **options)


def two_species(**options):
    grid = Grid(10.0, 20)
    beams = [Beam((0.0, 0.0), (1.0, 1.0))]
    electrons = load(grid, beams, 900, amplitude=0.3)
    ions = load(grid, beams, 600, name="ions", charge=1.0, mass=25.0, seed=1)
    collisions = MultispeciesLandau(Blob(), strength=0.02, exponent=-2.0, method="batches")
    walls = Walls("thermal", "absorbing", temperature={"electrons": 1.0}, source={"electrons": 1.0, "ions": 0.5})
    return Simulation(grid, [electrons, ions], 0.1, collisions=collisions, collision_cells=5, walls=walls, **options)


CASES = {
    "blob": lambda **options: one_species(Blob(), **options),
    "electromagnetic": lambda **options: one_species(Blob(), fields="electromagnetic", light_speed=5.0, **options),
    "discoformer": lambda **options: one_species(DiscoScore(keys=64), **options),
    "species and walls": two_species,
}


def outcome(name, **options):
    run = CASES[name](**options)
    history = run.run(4, entropy_every=4, progress=False).history
    state = run.state
    columns = {column: history[column][-1] for column in history.columns}
    return {"x": [s.x for s in state.species], "v": [s.v for s in state.species], "E": state.electric, "row": columns}


def test_the_order_in_a_cell_is_random_and_does_not_depend_on_other_cells():
    rng = torch.Generator().manual_seed(0)
    cell = torch.randint(0, 5, (300,), generator=rng)
    order = shuffled(cell, 6, key=7)
    assert torch.equal(order.sort().values, torch.arange(300))
    assert torch.equal(cell[order], cell.sort().values)
    some = (cell == 1) | (cell == 4)
    kept = some.nonzero().squeeze(1)
    assert torch.equal(kept[shuffled(cell[some], 6, key=7)], order[some[order]])
    assert not torch.equal(shuffled(cell, 6, key=8), order)
    # Where the particles of a cell of 10 come, over 4,000 keys: chi-square of 81 degrees of freedom, below 150 with
    # probability 1 - 5e-6.
    places = torch.stack([shuffled(torch.zeros(10, dtype=torch.int64), 1, key) for key in range(4000)])
    counts = torch.stack([torch.bincount(column, minlength=10) for column in places.T]).double()
    assert float(((counts - 400) ** 2 / 400).sum()) < 150


def test_cells_are_dealt_out_whole_and_evenly():
    cell = torch.randint(0, 40, (4000,), generator=torch.Generator().manual_seed(0))
    team, parts = Team(), []
    team.size = 3
    for team.rank in range(3):
        parts.append(team.part(cell, 40))
    assert torch.equal(torch.stack(parts).sum(0), torch.ones(4000, dtype=torch.int64))
    assert all(abs(int(part.sum()) - 1333) < 120 for part in parts)
    owners = [{int(c) for c in cell[part]} for part in parts]
    assert not owners[0] & owners[1]
    assert not owners[1] & owners[2]
    assert isinstance(Team().part(cell, 40), slice)


def test_a_distributed_simulation_without_processes_says_how_to_start_them():
    with pytest.raises(RuntimeError, match="start it by torchrun"):
        one_species(Blob(), distributed=True)


def test_a_run_says_what_its_time_went_into():
    run = one_species(Blob())
    run.run(2, progress=False)
    assert set(run.seconds) == {"push", "fields", "collisions", "measuring"}
    assert all(seconds > 0 for seconds in run.seconds.values())


def start(arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)


@pytest.mark.slow
def test_two_processes_give_what_one_gives_to_round_off(tmp_path):
    script, answer = tmp_path / "script.py", tmp_path / "answer.pt"
    script.write_text(SCRIPT)
    done = start([str(script), os.path.dirname(__file__), str(answer)])
    assert done.returncode == 0, done.stderr[-3000:]
    both = torch.load(answer, weights_only=False)
    for name in CASES:
        alone = outcome(name)
        tolerance = 1e-5 if name == "discoformer" else 1e-11  # the network is in single precision
        for key in ("x", "v", "E"):
            torch.testing.assert_close(both[name][key], alone[key], rtol=tolerance, atol=tolerance, msg=f"{name}: {key}")
        assert both[name]["row"] == pytest.approx(alone["row"], rel=1e-4, abs=1e-4), name


@pytest.mark.slow
def test_the_command_runs_in_two_processes(tmp_path):
    path, folder = tmp_path / "run.toml", tmp_path / "out"
    path.write_text("""
[grid]
length = 12.566
cells = 16
[time]
dt = 0.1
end = 0.5
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
""")
    arguments = ["-m", "disco_samplers.cli", "plasma", "run", str(path), "--out", str(folder), "--quiet"]
    done = start([*arguments, "--json"])
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["processes"] == 2
    assert told["seconds"]["collisions"] > 0
    assert {entry.name for entry in folder.iterdir()} == {"checkpoint.pt", "diagnostics.csv", "picture.png"}
    assert start(arguments).returncode != 0
    path.write_text(path.read_text().replace("end = 0.5", "end = 0.7"))
    done = start([*arguments, "--resume"])
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("seconds: push") == 1
