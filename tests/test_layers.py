"""The house: which room may import which, lazy imports and those for types included, and that nothing runs in a circle."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = """types modes frames
arithmetic arrays extras randomness preconditioners
convergence solvers
draws
model files samplers.steps
reference testing pictures
training estimators
scores
samplers
estimate
measures posteriors
front
integrations integrations.diffusers integrations.plasma integrations.pyro integrations.sklearn
app
commands
cli"""
HEIGHT = {room: height for height, rooms in enumerate(FLOORS.splitlines()) for room in rooms.split()}
"""A room sees the public names of those on lower floors. The front is what ``import disco_samplers`` gives."""


def sources():
    folders = {"disco_samplers": ROOT / "disco_samplers", "disco_samplers.integrations": ROOT / "integrations"}
    paths = [(package, folder, path) for package, folder in folders.items() for path in folder.rglob("*.py")]
    return {".".join((p, *f.relative_to(d).with_suffix("").parts)): f.read_text() for p, d, f in paths}


def room(module):
    parts = module.removesuffix(".__init__").split(".")[1:]
    two = ".".join(parts[:2])
    return two if two in HEIGHT else parts[0] if parts else "front"


@cache
def imports(module, text):
    """Where from and what a module imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            found += [(".".join(filter(None, [*base, node.module])), alias.name) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")) and node.args:
            found += [(node.args[0].value, "")] if isinstance(node.args[0], ast.Constant) else []
    return found


@cache
def exported(text):
    """What a module's ``__all__`` names, None where there is none."""
    lists = [n.value for n in ast.parse(text).body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
    return ast.literal_eval(lists[0]) if lists else None


@cache
def private(text):
    """The private names that a module defines, and those that it asks other objects than ``self`` for."""
    tree = list(ast.walk(ast.parse(text)))
    attributes = [node for node in tree if isinstance(node, ast.Attribute)]
    own = {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
    asked = {node.attr for node in attributes if ast.unparse(node.value) not in ("self", "cls", "super()")}
    return [{name for name in names if name.startswith("_") and not name.startswith("__")} for names in (own, asked)]


def faults(modules):
    """What is against the rules."""
    graph, public = {}, {}
    defined = set().union(*(private(text)[0] for text in modules.values()))
    for module, text in modules.items():
        public[module] = exported(text) if module != "disco_samplers.__init__" else None
    for module, text in modules.items():
        graph[module] = set()
        own, asked = private(text)
        for name in sorted((asked & defined) - own):
            yield f"{module}: {name} is private to another file"
        for base, name in imports(module, text):
            if base.partition(".")[0] == "integrations":
                yield f"{module}: integrations are imported as disco_samplers.integrations"
            if base.partition(".")[0] != "disco_samplers":
                continue
            target = next(m for m in (f"{base}.{name}", f"{base}.{name}.__init__", f"{base}.__init__", base) if m in modules)
            graph[module].add(target)
            here, there = room(module), room(target)
            if here == there and name.startswith("_"):
                yield f"{module}: {name} is private to {base}"
            if here != there and HEIGHT[here] <= HEIGHT[there]:
                yield f"{module}: {here} must not import {there}"
            names = public.get(f"{base}.__init__")
            seen = not name.startswith("_") if names is None else name in names
            if here != there and base != "disco_samplers" and not (seen and base == f"disco_samplers.{there}"):
                yield f"{module}: {name} is no public name of {base}"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"circle: {' -> '.join(error.args[1])}"


def test_nothing_imports_what_stands_above_it():
    assert list(faults(sources())) == []


@pytest.mark.parametrize(
    ("module", "line", "fault"),
    [
        (
            "disco_samplers.samplers.driver",
            "from disco_samplers.estimate import DiScoFormer",
            "must not import estimate",
        ),
        (
            "disco_samplers.pictures.draws",
            "def f():\n    from disco_samplers import samplers",
            "must not import samplers",
        ),
        ("disco_samplers.model.config", "import_module('disco_samplers.estimate')", "model must not import estimate"),
        ("disco_samplers.integrations.pyro.cloud", "from integrations.sklearn import DiscoDensity", "disco_samplers.integ"),
        ("disco_samplers.samplers.steps.mala", "from disco_samplers.model import Network", "steps must not import model"),
        (
            "disco_samplers.integrations.pyro.cloud",
            "from ..sklearn import DiscoDensity",
            "must not import integrations.sk",
        ),
        ("disco_samplers.integrations.pyro.cloud", "from disco_samplers.files.formats import _READERS", "no public name"),
        ("disco_samplers.model.config", "if TYPE_CHECKING:\n    from disco_samplers.model.network import Network", "circle"),
        ("disco_samplers.files.text", "from disco_samplers.files.formats import _SHEETS", "_SHEETS is private to"),
        ("disco_samplers.files.text", "def f(table):\n    return table._model", "_model is private to another file"),
        ("disco_samplers.integrations.plasma.grid", "from .simulation import Simulation", "circle"),
    ],
)
def test_a_planted_fault_is_found(module, line, fault):
    modules = sources()
    modules[module] += "\n" + line
    assert any(fault in found for found in faults(modules))
