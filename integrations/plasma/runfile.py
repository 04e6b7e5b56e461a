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

from disco_samplers.arrays import check_count
from disco_samplers.extras import optional

from .collisions import Dougherty, Landau, MultispeciesLandau
from .exact import BKW
from .grid import Grid
from .loading import Beam, load
from .schema import check_section, nearest
from .scores import Blob, DiscoScore, Maxwellian
from .simulation import Collisions, Simulation
from .theory import Population, electrostatic_mode, transverse_mode
from .types import CollisionOperator, Species, VelocityScore
from .walls import Walls

_PROBLEMS = files(__package__) / "problems"


@dataclasses.dataclass(frozen=True)
class Output:
    """Steps between outputs of each kind; 0 for none."""

    diagnostics: int = 1
    entropy: int = 0
    openpmd: int = 0
    checkpoint: int = 100
    animation: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_count(f"{field.name} in [output]", getattr(self, field.name), int(field.name == "diagnostics"))


@dataclasses.dataclass(frozen=True)
class RunFile:
    """A run as its file says.

    Arguments:
        title: what it is.
        num_steps: how many.
        output: what is written, how often.
        rate: growth or damping of the field's amplitude in collisionless linear theory; None without a perturbation.
        simulation: ready to run.
    """

    title: str
    num_steps: int
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


def read_run(source: str, *, device: torch.device | str = "cpu", distributed: bool = False) -> RunFile:
    """Reads a run file, or a named problem, and makes its simulation, of one process or of several.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there is no such problem, the file is not TOML, or a key or value in it is wrong.
        TypeError: if a value has a wrong type.

    Example:
        >>> read_run("landau-0.5").simulation.grid
        Grid(length=12.566370614359172, cells=64, periodic=True)
    """
    path = Path(source)
    if path.suffix == ".toml" and not path.is_file():
        raise FileNotFoundError(f"no run file at {path}")
    text = path.read_text(encoding="utf-8") if path.suffix == ".toml" else problem_text(source)
    return make_run(_parsed(text, source), device=device, distributed=distributed)


def make_run(config: Mapping[str, Any], *, device: torch.device | str = "cpu", distributed: bool = False) -> RunFile:
    """The run that a dictionary of a run file's contents describes. Raises as :func:`read_run` does.

    Example:
        >>> time, species = {"dt": 0.1, "end": 5.0}, [{"particles": 100}]
        >>> make_run({"grid": {"length": 6.0, "cells": 8}, "time": time, "species": species}).num_steps
        50
    """
    check_section(config, "", "the run file")
    for section in ("grid", "time", "fields", "walls", "collisions", "output"):
        check_section(config.get(section, {}), section, f"[{section}]")
    grid = Grid(float(config["grid"]["length"]), config["grid"]["cells"])
    dt, end, seed = config["time"]["dt"], config["time"]["end"], config.get("seed", 0)
    if not end > 0:
        raise ValueError(f"'end' in [time] must be positive, got {end}")
    check_count("seed", seed, 0)
    precision = config.get("precision", "float64")
    if precision not in ("float32", "float64"):
        raise ValueError(f'precision must be "float32" or "float64", got {precision!r}')
    species, populations = [], []
    for i, entry in enumerate(config["species"]):
        try:
            loaded, beams = _species(entry, grid, 1000 * seed + i, getattr(torch, precision), device)
        except (ValueError, TypeError) as error:
            named = f" {entry['name']!r}" if isinstance(entry, Mapping) and "name" in entry else ""
            raise type(error)(f"species {i + 1}{named}: {error}") from error
        species.append(loaded)
        populations += [Population(beam, loaded.charge, loaded.mass) for beam in beams]
    fields = dict(config.get("fields", {}))
    solver, amplitude, mode = (fields.pop(key, None) for key in ("solver", "magnetic_amplitude", "mode"))
    if amplitude is None and mode is not None:
        raise ValueError("'mode' in [fields] would have no effect without magnetic_amplitude")
    mode = 1 if mode is None else mode
    check_count("'mode' in [fields]", mode, 1)
    magnetic = None if amplitude is None else _wave(grid, amplitude, mode, species[0].v)
    worth = config.get("collisions", {}).get("worth", 1.0)
    drawn = [s.name for s, entry in zip(species, config["species"], strict=True) if entry.get("start") == "random"]
    if worth > 1 and drawn:
        raise ValueError(f"[collisions]: worth = {worth:g} is of quiet starts; of {', '.join(drawn)}, drawn at random, it is 1")
    collisions, options = _collisions(config.get("collisions", {}), [s.name for s in species])
    options |= {"fields": solver or "electrostatic", "magnetic": magnetic, "seed": seed, "distributed": distributed}
    if "walls" in config:
        options["walls"] = Walls(**config["walls"])
    simulation = Simulation(grid, species, dt, collisions=collisions, **fields, **options)
    simulation.origin = _flat({key: config[key] for key in config if key not in ("title", "output")} | {"time": {"dt": dt}})
    seeded = [entry.get("mode", 1) for entry in config["species"] if entry.get("amplitude")] if magnetic is None else [mode]
    rate = _rate(simulation, populations, seeded[0]) if seeded and not simulation.fields.walls else None
    return RunFile(config.get("title", "plasma"), round(end / dt), Output(**config.get("output", {})), rate, simulation)


def _species(entry: Any, grid: Grid, seed: int, dtype: torch.dtype, device: torch.device | str) -> tuple[Species, list[Beam]]:
    check_section(entry, "species", "[[species]]")
    options = {key: value for key, value in entry.items() if key not in ("beams", "particles", "velocities")}
    check_count("'particles' in [[species]]", entry["particles"], 1)
    beams = []
    for beam in entry.get("beams", [{}]):
        check_section(beam, "beams", "[[species.beams]]")
        beams.append(Beam(**{key: _numbers(key, value) for key, value in beam.items()}))
    species = load(grid, beams, entry["particles"], seed=seed, dtype=dtype, device=device, **options)
    return _with_velocities(species, entry.get("velocities", "maxwellian"), seed), beams


def _rate(simulation: Simulation, populations: list[Population], mode: int) -> float | None:
    """The rate of a wave in linear theory, if there is one."""
    fields, k = simulation.fields, 2 * torch.pi * mode / simulation.grid.length
    try:
        if simulation.state.magnetic is not None:
            return transverse_mode(k, populations, fields.light_speed).imag
        return None if fields.solver == "none" else electrostatic_mode(k, populations).imag
    except RuntimeError:
        return None


def _collisions(config: Mapping[str, Any], names: list[str]) -> tuple[Collisions | None, dict[str, Any]]:
    """Operators, and the simulation's options."""
    kind, score = config.get("operator", "none"), config.get("score", "discoformer")
    of_pairs = ("strength", "exponent", "method", "batch_size")
    of_operator = {"none": (), "landau": (*of_pairs, "species"), "multispecies": (*of_pairs, "matrix", "subcycle")}
    of_operator["dougherty"] = ("frequency", "species")
    of_score = {"discoformer": ("keys", "worth"), "blob": ("bandwidth",), "maxwellian": ()}
    for key, value, known in (("operator", kind, list(of_operator)), ("score", score, list(of_score))):
        if value not in known:
            raise ValueError(f"{key} must be one of {', '.join(known)}, got {value!r}{nearest(value, known)}")
    names_of = {"cells": "collision_cells", "every": "collide_every"}
    meant = {"operator", *(("score", *names_of, *of_operator[kind], *of_score[score]) if kind != "none" else ())}
    if idle := sorted(set(config) - meant):
        what = f"operator {kind!r}" + (f" and score {score!r}" if kind != "none" else "")
        raise ValueError(f"[collisions]: {', '.join(idle)} would have no effect with {what}")
    if kind == "none":
        return None, {}
    given = {key: config[key] for key in of_operator[kind] if key in config}
    if (needed := of_operator[kind][0]) not in given and "matrix" not in given:
        raise ValueError(f"[collisions] with operator {kind!r} needs the key {needed!r}")
    read = _score(score, config)
    options = {name: config[key] for key, name in names_of.items() if key in config}
    if kind == "multispecies":
        if "matrix" in given:
            if "strength" in given:
                raise ValueError("[collisions]: give strength, for all pairs, or matrix, not both")
            given["strength"] = _matrix(given.pop("matrix"), names)
        return MultispeciesLandau(read, **given), options
    of = given.pop("species", names)
    operator: CollisionOperator = Landau(read, **given) if kind == "landau" else Dougherty(read, **given)
    return dict.fromkeys(of, operator), options


def _matrix(table: Mapping[str, Any], names: list[str]) -> dict[tuple[str, str], float]:
    """The strengths in [collisions.matrix] by pair of species."""
    strength = {}
    for a, row in table.items():
        if not isinstance(row, Mapping):
            raise TypeError(f"{a!r} in [collisions.matrix] must be a table of species and strengths, got {row!r}")
        for name in (a, *row):
            if name not in names:
                raise ValueError(f"[collisions.matrix] names no species: {name!r}{nearest(name, names)}")
        for b, value in row.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"strength of {a} and {b} in [collisions.matrix] must be a number, got {value!r}")
            strength[a, b] = float(value)
    return strength


def _flat(values: Any, path: str = "") -> dict[str, Any]:
    """Nested tables and lists of tables as one dictionary, with keys such as "species[0].beams[1].drift"."""
    if isinstance(values, Mapping):
        return {k: v for key, value in values.items() for k, v in _flat(value, f"{path}.{key}" if path else key).items()}
    if isinstance(values, list) and values and isinstance(values[0], Mapping):
        return {k: v for i, value in enumerate(values) for k, v in _flat(value, f"{path}[{i}]").items()}
    return {path: values}


def _score(name: str, config: Mapping[str, Any]) -> VelocityScore:
    if name == "discoformer":
        return DiscoScore(keys=config.get("keys"), worth=config.get("worth", 1.0))
    return Blob(config.get("bandwidth")) if name == "blob" else Maxwellian()


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


def _numbers(key: str, value: Any) -> Any:
    """A list of numbers as a tuple, a number as it is."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value):
        raise TypeError(f"{key!r} in [[species.beams]] must be a list of numbers, got {value!r}")
    return tuple(map(float, value))
