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
reference testing pictures summaries
training estimators
scores
samplers
estimate
measures posteriors
front
integrations integrations.diffusers integrations.plasma integrations.pyro integrations.ray integrations.sklearn \
integrations.spark
app
commands
cli"""
LAZY, COMPUTED = ("import_module", "__import__", "optional"), "a computed name"
BY_NAME = ("disco_samplers.__init__", "disco_samplers.cli", "disco_samplers.extras")
"""What imports lazily, by a name that can be read but in these three: the front, the command's subcommands, and packages."""
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
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in LAZY:
            asked = [*node.args, *(k.value for k in node.keywords if k.arg == "name")][0]
            if not isinstance(asked, ast.Constant) and ast.unparse(node.func) == "optional":
                continue  # of another package, whose name stands in a table
            name = asked.value if isinstance(asked, ast.Constant) else COMPUTED
            level = len(name) - len(name.lstrip("."))
            base = [*module.split(".")[:-level], name.lstrip(".")] if level else [name]
            found.append((".".join(base), ""))
        if isinstance(node, ast.alias) and node.name in LAZY and node.asname:
            found.append((COMPUTED, ""))
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
    own |= {
        target.id for node in tree[0].body if isinstance(node, ast.Assign) for target in node.targets if hasattr(target, "id")
    }
    asked = {node.attr for node in attributes if ast.unparse(node.value) not in ("self", "cls", "super()")}
    return [{name for name in names if name.startswith("_") and not name.startswith("__")} for names in (own, asked)]


def of_the_package(module, base):
    """What is against the rules in where something is imported from."""
    top = base.partition(".")[0]
    if base == COMPUTED and module not in BY_NAME:
        yield f"{module}: imports by a computed name"
    if top == "integrations":
        yield f"{module}: integrations are imported as disco_samplers.integrations"
    if top in ("benchmarks", "docs", "notebooks", "tests"):
        yield f"{module}: the package must not import {base}"


def of_rooms(module, base, name, target, names):
    """What is against the rules in an import of a name from a module of the package."""
    here, there = room(module), room(target)
    if here not in HEIGHT:
        yield f"{module}: name the room {here} in FLOORS"
        return
    if here == there and name.startswith("_"):
        yield f"{module}: {name} is private to {base}"
    if here != there and HEIGHT[here] <= HEIGHT[there]:
        yield f"{module}: {here} must not import {there}"
    seen = not name or (not name.startswith("_") if names is None else name in names)
    if here != there and base != "disco_samplers" and not (seen and base == f"disco_samplers.{there}"):
        yield f"{module}: {name} is no public name of {base}"


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
            yield from of_the_package(module, base)
            if base.partition(".")[0] != "disco_samplers":
                continue
            target = next(m for m in (f"{base}.{name}", f"{base}.{name}.__init__", f"{base}.__init__", base) if m in modules)
            # What imports a module of another folder runs that folder's own first.
            folders = [".".join(target.split(".")[:k]) for k in range(2, target.count(".") + 1)]
            runs = {f"{folder}.__init__" for folder in folders if not module.startswith(f"{folder}.")}
            graph[module] |= {target} | runs & modules.keys()
            yield from of_rooms(module, base, name, target, public.get(f"{base}.__init__"))
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
        ("disco_samplers.model.config", "import_module('..estimate', __package__)", "model must not import estimate"),
        ("disco_samplers.model.config", "import_module(name='disco_samplers.estimate')", "model must not import estimate"),
        ("disco_samplers.model.config", "from importlib import import_module as load", "by a computed name"),
        ("disco_samplers.model.config", "import_module(f'{__package__}.network')", "by a computed name"),
        ("disco_samplers.model.config", "optional('disco_samplers.estimate', 'x')", "model must not import estimate"),
        (
            "disco_samplers.model.config",
            "from disco_samplers.model import attention\nattention._KERNELS",
            "_KERNELS is private",
        ),
        ("disco_samplers.model.config", "from tests import conftest", "must not import tests"),
        ("disco_samplers.integrations.plasma.grid", "from .simulation import Simulation", "circle"),
    ],
)
def test_a_planted_fault_is_found(module, line, fault):
    modules = sources()
    modules[module] += "\n" + line
    assert any(fault in found for found in faults(modules))


def test_a_circle_through_a_folder_is_found():
    """Importing a module of a folder runs the folder's __init__."""
    modules = sources()
    modules["disco_samplers.estimators.transforms.__init__"] += "\nfrom disco_samplers.estimators import network"
    modules["disco_samplers.estimators.network"] += "\nfrom disco_samplers.estimators.transforms.base import ClosedForm"
    assert any("circle" in found for found in faults(modules))
