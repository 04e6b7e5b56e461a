"""Run files: a simulation as TOML, checked key by key."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from disco_samplers._extras import optional

from .collisions import Dougherty, Landau
from .exact import BKW
from .grid import Grid
from .loading import Beam, load
from .schema import check_section, nearest
from .scores import Blob, DiscoScore, Maxwellian
from .simulation import Simulation
from .theory import Population, electrostatic_mode, transverse_mode
from .types import CollisionOperator, Species, VelocityScore

_PROBLEMS = files(__package__) / "problems"


@dataclasses.dataclass(frozen=True)
class Output:
    """Steps between outputs of each kind; 0 for none."""

    diagnostics: int = 1
    entropy: int = 0
    openpmd: int = 0
    checkpoint: int = 100
    animation: int = 0


@dataclasses.dataclass(frozen=True)
class RunFile:
    """A run as its file says.

    Arguments:
        title: of pictures.
        steps: how many.
        output: what is written, how often.
        rate: growth or damping of the field's amplitude in collisionless linear theory; None without a perturbation.
        simulation: ready to run.
    """

    title: str
    steps: int
    output: Output
    rate: float | None
    simulation: Simulation


def problems() -> dict[str, str]:
    """The named problems that come with the package, and their titles.

    Example:
        >>> problems()["two-stream"]
        'Two-stream instability, k = 0.2'
    """
    paths = sorted((entry for entry in _PROBLEMS.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    return {path.name.removesuffix(".toml"): _parsed(path.read_text(), path.name)["title"] for path in paths}


def problem_text(name: str) -> str:
    """The run file of a named problem, to start one's own from.

    Raises:
        ValueError: if there is none of that name, with the nearest one.
    """
    known = list(problems())
    if name not in known:
        raise ValueError(f"there is no problem {name!r}{nearest(name, known)}")
    return (_PROBLEMS / f"{name}.toml").read_text()


def read_run(source: str, *, device: torch.device | str = "cpu") -> RunFile:
    """Reads a run file, or a named problem, and makes its simulation.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there is no such problem, the file is not TOML, or a key or value in it is wrong.
        TypeError: if a value has a wrong type.

    Example:
        >>> read_run("landau-0.5").simulation.grid
        Grid(length=12.566370614359172, cells=64)
    """
    path = Path(source)
    if path.suffix == ".toml" and not path.is_file():
        raise FileNotFoundError(f"no run file at {path}")
    text = path.read_text(encoding="utf-8") if path.suffix == ".toml" else problem_text(source)
    return make_run(_parsed(text, source), device=device)


def make_run(config: Mapping[str, Any], *, device: torch.device | str = "cpu") -> RunFile:
    """The run that a dictionary of a run file's contents describes. Raises as :func:`read_run` does."""
    check_section(config, "", "the run file")
    for section in ("grid", "time", "fields", "collisions", "output"):
        check_section(config.get(section, {}), section, f"[{section}]")
    precision = config.get("precision", "float64")
    if precision not in ("float32", "float64"):
        raise ValueError(f'precision must be "float32" or "float64", got {precision!r}')
    grid = Grid(float(config["grid"]["length"]), config["grid"]["cells"])
    seed = config.get("seed", 0)
    species, populations, perturbed = [], [], None
    for i, entry in enumerate(config["species"]):
        check_section(entry, "species", "[[species]]")
        options = {key: value for key, value in entry.items() if key not in ("beams", "particles", "velocities")}
        options |= {"seed": 1000 * seed + i, "dtype": getattr(torch, precision), "device": device}
        for beam in entry.get("beams", [{}]):
            check_section(beam, "beams", "[[species.beams]]")
        beams = [Beam(**{key: _tuple(value) for key, value in beam.items()}) for beam in entry.get("beams", [{}])]
        loaded = load(grid, beams, entry["particles"], **options)
        species.append(_with_velocities(loaded, entry.get("velocities", "maxwellian"), options["seed"]))
        populations += [Population(beam, entry.get("charge", -1.0), entry.get("mass", 1.0)) for beam in beams]
        if entry.get("amplitude", 0.0) != 0 and perturbed is None:
            perturbed = entry.get("mode", 1)
    fields = dict(config.get("fields", {}))
    amplitude, mode = fields.pop("magnetic_amplitude", None), fields.pop("mode", 1)
    magnetic = None if amplitude is None else _wave(grid, amplitude, mode, species[0].v)
    collisions, options = _collisions(config.get("collisions", {}), [s.name for s in species])
    dt, end = config["time"]["dt"], config["time"]["end"]
    solver = fields.pop("solver", "electrostatic")
    simulation = Simulation(
        grid, species, dt, fields=solver, magnetic=magnetic, collisions=collisions, seed=seed, **fields, **options
    )
    if not end > 0:
        raise ValueError(f"end must be positive, got {end}")
    rate = None
    if magnetic is not None:
        rate = transverse_mode(2 * torch.pi * mode / grid.length, populations, simulation.fields.light_speed).imag
    elif perturbed is not None and solver != "none":
        rate = electrostatic_mode(2 * torch.pi * perturbed / grid.length, populations).imag
    output = Output(**config.get("output", {}))
    return RunFile(config.get("title", "plasma"), round(end / dt), output, rate, simulation)


def _collisions(config: Mapping[str, Any], names: list[str]) -> tuple[dict[str, CollisionOperator], dict[str, Any]]:
    """Operators by species, and the simulation's options."""
    kind = config.get("operator", "none")
    names_of = {"cells": "collision_cells", "every": "collide_every"}
    options = {name: config[key] for key, name in names_of.items() if key in config}
    used = {"none": (), "landau": ("strength", "exponent", "method", "batch_size"), "dougherty": ("frequency",)}
    if kind not in used:
        raise ValueError(f"operator must be one of {', '.join(used)}, got {kind!r}{nearest(kind, list(used))}")
    if kind == "none":
        return {}, options
    given = {key: config[key] for key in used[kind] if key in config}
    needed = used[kind][0]
    if needed not in given:
        raise ValueError(f"[collisions] with operator {kind!r} needs the key {needed!r}")
    score = _score(config)
    operator: CollisionOperator = Landau(score, **given) if kind == "landau" else Dougherty(score, **given)
    return dict.fromkeys(config.get("species", names), operator), options


def _score(config: Mapping[str, Any]) -> VelocityScore:
    name = config.get("score", "discoformer")
    if name == "discoformer":
        return DiscoScore(keys=config.get("keys"))
    if name == "blob":
        return Blob(config.get("bandwidth"))
    if name == "maxwellian":
        return Maxwellian()
    known = ["discoformer", "blob", "maxwellian"]
    raise ValueError(f"score must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}")


def _with_velocities(species: Species, kind: str, seed: int) -> Species:
    """The species itself, or with velocities of the solution of Bobylev, Krook and Wu."""
    known = ["maxwellian", "bkw"]
    if kind not in known:
        raise ValueError(f"velocities must be one of {', '.join(known)}, got {kind!r}{nearest(kind, known)}")
    if kind == "maxwellian":
        return species
    n, dim = species.v.shape
    return dataclasses.replace(species, v=BKW(dim).quiet(n, seed=seed, dtype=species.v.dtype).to(species.v.device))


def _wave(grid: Grid, amplitude: float, mode: int, like: Tensor) -> Tensor:
    place = torch.arange(grid.cells, dtype=like.dtype, device=like.device) + 0.5
    return amplitude * torch.cos(2 * torch.pi * mode / grid.cells * place)


def _parsed(text: str, name: str) -> dict[str, Any]:
    toml: Any = optional("tomllib" if sys.version_info >= (3, 11) else "tomli", "plasma")
    try:
        return dict(toml.loads(text))
    except toml.TOMLDecodeError as error:
        raise ValueError(f"{name} is not TOML: {error}") from error


def _tuple(value: Any) -> Any:
    return tuple(map(float, value)) if isinstance(value, list) else value
