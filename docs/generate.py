"""Pages that are made of what stands elsewhere in the repository: notebooks, results, command, Python names.

They are written beside the written pages, where git ignores them, when the site is built.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import inspect
import io
import json
import os
import pkgutil
import shutil
from pathlib import Path
from typing import Any

import nbformat
from matplotlib.figure import Figure
from PIL import Image

from disco_samplers import commands
from disco_samplers.cli import main as disco

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
RESULTS = ROOT / "benchmarks" / "results"

GALLERY = {
    "first_steps": "Density, score, adaptation and new draws, in one, two and ten dimensions.",
    "chain_to_density": "A Metropolis chain, a nested-sampling run and importance weights: read as they are, and as draws.",
    "corners_and_conditionals": "A corner plot of a bounded posterior, its intervals, and what one parameter says of another.",
    "tables": "A table of wines: density, outliers and what explains them, mutual information.",
    "predicting": "The whole law of a target given features, beside a Gaussian process and boosted quantiles.",
    "posterior_as_prior": "Draws of yesterday's posterior are the prior of today's Pyro model.",
    "pyro_guide": "A Pyro guide made of particles, for posteriors of several modes.",
    "merging_posteriors": "Four machines sample a quarter of the data each; their draws become one posterior.",
    "evidence": "Two models of a famous data set: evidence and Bayes factor from chains, beside quadrature.",
    "two_experiments": "Michelson's series of the speed of light: tensions, posteriors of two modes, and a test of two runs.",
    "diffusers": "A data set as a diffusion model, and as a hook that steers a trained one.",
    "images": "Digits and a texture read patch by patch: new images without training.",
    "plasma_two_stream": "A two-stream instability, with and without collisions.",
    "plasma_collisions": "Relaxation without space, beside exact solutions.",
    "plasma_species": "Electrons and ions: equilibration, beams, resistivity and a sound wave, beside theory.",
}
"""Notebooks in the order in which they are shown, with one line each."""

MODULES = {
    "disco_samplers": "Main names",
    "disco_samplers.draws": "Draws",
    "disco_samplers.estimate": "Estimates",
    "disco_samplers.samplers": "Samplers",
    "disco_samplers.scores": "Score algebra",
    "disco_samplers.estimators": "Estimators and transforms",
    "disco_samplers.reference": "Exact and classical estimators",
    "disco_samplers.measures": "Measures",
    "disco_samplers.posteriors": "Posteriors: merging, evidence, tension",
    "disco_samplers.files": "Files",
    "disco_samplers.summaries": "Summaries of tables larger than memory",
    "disco_samplers.testing": "Testing your own estimator",
    "disco_samplers.training": "Training",
    "disco_samplers.solvers": "Solvers of differential equations",
    "disco_samplers.app": "The page in the browser",
    "disco_samplers.integrations.sklearn": "scikit-learn and PyOD",
    "disco_samplers.integrations.ray": "Ray",
    "disco_samplers.integrations.spark": "Spark",
    "disco_samplers.integrations.pyro": "Pyro",
    "disco_samplers.integrations.diffusers": "diffusers",
    "disco_samplers.integrations.plasma": "Plasma",
    "disco_samplers.integrations.plasma.exact": "Plasma: exact solutions",
}


def everything(docs: Path) -> None:
    """Writes all generated pages below the folder of the documentation."""
    notebooks(docs / "notebooks")
    results(docs / "benchmarks" / "results")
    cards(docs / "reference" / "weights")
    command(docs / "reference" / "command.md")
    python(docs / "reference" / "python")


def notebooks(folder: Path) -> None:
    """The notebooks with their saved outputs, a picture of each, and the page that shows them."""
    (folder / "thumbnails").mkdir(parents=True, exist_ok=True)
    found = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    if found != set(GALLERY):
        raise ValueError(f"GALLERY in docs/generate.py and the notebooks differ: {sorted(found ^ set(GALLERY))}")
    cards = []
    for name, line in GALLERY.items():
        source = NOTEBOOKS / f"{name}.ipynb"
        _copy(source, folder / source.name)
        notebook = nbformat.read(source, as_version=4)
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        pictures = [
            output.data["image/png"]
            for cell in notebook.cells
            if cell.cell_type == "code"
            for output in cell.outputs
            if "image/png" in output.get("data", {})
        ]
        if not pictures:
            raise ValueError(f"{source.name} has no pictures: execute it with notebooks/execute.py")
        _thumbnail(pictures[-1 if name == "diffusers" else len(pictures) // 2], folder / "thumbnails" / f"{name}.png")
        options = f":link: {name}\n:link-type: doc\n:img-top: thumbnails/{name}.png"
        cards.append(f":::{{grid-item-card}} {title}\n{options}\n\n{line}\n:::\n")
    toctree = "\n".join(GALLERY)
    _write(
        folder / "index.md",
        "# Notebooks\n\nExecuted, with their pictures. They run in minutes on two cores, from the folder `notebooks`.\n\n"
        f"::::{{grid}} 1 2 2 3\n:gutter: 3\n\n{chr(10).join(cards)}::::\n\n"
        f"```{{toctree}}\n:hidden:\n\n{toctree}\n```\n",
    )


def _thumbnail(png: str, path: Path) -> None:
    """A small picture, on white, of one in base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    white.convert("RGB").resize((480, round(480 * picture.height / picture.width))).save(path)


def results(folder: Path) -> None:
    """A page for each file of results, with the command that makes it, and the tables that other pages show."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in RESULTS.glob("*.png"):
        _copy(picture, folder / picture.name)
    entries = []
    for path in sorted(RESULTS.glob("*.json")):
        where = json.loads(path.read_text())["environment"]
        title, *lines = path.with_suffix(".md").read_text().rstrip().splitlines()
        while lines and lines[-1].startswith("- "):  # command, machine, versions and minutes, which stand at the top here
            lines.pop()
        text = "\n".join(lines)
        pictures = "".join(
            f"\n![{title[2:]}]({picture.name})\n"
            for picture in sorted(RESULTS.glob(f"{path.stem}*.png"))
            if picture.name not in text and _owner(picture.stem) == path.stem
        )
        about = f"```console\n$ {where['command']}\n```\n\n{where['machine']}; {where['versions']}.\n"
        _write(folder / f"{path.stem}.md", f"{title}\n\n{about}\n{text}\n{pictures}")
        entries.append(f"| [{title[2:]}](results/{path.stem}.md) | `{where['command']}` |")
    plot_draws(folder / "draws_methods.png")
    plot_mixing(folder / "mixing_methods.png")
    _write(folder / "all.txt", "| what | command |\n|---|---|\n" + "\n".join(entries) + "\n")
    _write(folder / "gmm.txt", _mixtures())


def _owner(picture: str) -> str:
    """The results that a picture belongs to: the longest name that it begins with."""
    return max((path.stem for path in RESULTS.glob("*.json") if picture.startswith(path.stem)), key=len)


def plot_draws(path: Path) -> None:
    """Score errors of draws that are not independent, read in three ways."""
    looks = {"as rows": ("as an array", "C1", "x"), "as Draws": ("Draws", "black", "o"), "independent": ("equal", "C0", "_")}
    found = json.loads((RESULTS / "draws.json").read_text())["results"]
    cells = {(row["kind"], row["target"], row["d"], row["method"]): row["errors"] for row in found if "errors" in row}
    cases = list(dict.fromkeys((kind, target, d) for kind, target, d, _ in cells))
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    for label, (method, colour, marker) in looks.items():
        means = [100 * sum(cells[(*case, method)]) / len(cells[(*case, method)]) for case in cases]
        axes.plot(range(len(cases)), means, marker, color=colour, ms=9, mew=2, ls="none", label=label)
    axes.set_xticks(range(len(cases)), [f"{kind}, {target}, d = {d}" for kind, target, d in cases], rotation=90, fontsize=7)
    axes.set(
        yscale="log", ylabel="relative score error (%)", title="What it costs not to tell an estimate what its draws are worth"
    )
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def plot_mixing(path: Path) -> None:
    """Effective draws a second of the default sampler and of a local one, target by target."""
    found = json.loads((RESULTS / "mixing.json").read_text())["results"]
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for method, colour, marker in (("jumps", "black", "o"), ("mala", "C1", "x")):
        means = [sum(run[method]["ess a second"] for run in runs) / len(runs) for runs in found.values()]
        axes.plot(means, range(len(found)), marker, color=colour, ms=9, mew=2, ls="none", label=f'"{method}"')
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="effective draws a second", title="Jumps between modes against local moves")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=110)


def _mixtures() -> str:
    """The table of the published mixtures: relative score error in % / log-density MSE."""
    columns = {"DiScoFormer": "axes", '"rotations"': "rotations", "KDE, best bandwidth": "KDE best"}
    columns |= {"KDE, leave-one-out": "KDE leave-one-out", "EM + BIC": "EM + BIC"}
    cells = {(row["d"], row["n"], row["method"]): row for row in json.loads((RESULTS / "gmm.json").read_text())["results"]}
    lines = [f"| d | n | {' | '.join(columns)} | best KDE / DiScoFormer, score |", "|---" * (len(columns) + 3) + "|"]
    for d, n in sorted({(d, n) for d, n, _ in cells}):
        row = [cells.get((d, n, method)) for method in columns.values()]
        shown = ["" if c is None else f"{100 * c['relative_score_error']:.1f} / {c['log_density_mse']:.3g}" for c in row]
        ratio = cells[d, n, "KDE best"]["relative_score_error"] / cells[d, n, "axes"]["relative_score_error"]
        lines.append(f"| {d} | {n} | {' | '.join(shown)} | {ratio:.1f} |")
    return "\n".join(lines) + "\n"


def cards(folder: Path) -> None:
    """The model cards of the shipped weights, without the header that the Hugging Face hub reads."""
    for path in (ROOT / "disco_samplers" / "weights").glob("*/README.md"):
        _write(folder / f"{path.parent.name}.md", path.read_text().split("---\n", 2)[2])


def command(page: Path) -> None:
    """The help of the command and of all its subcommands."""
    names = sorted(module.name for module in pkgutil.iter_modules(commands.__path__) if module.name != "shared")
    names = [name for name in names if name != "plasma"] + ["plasma list", "plasma run"]
    text = [
        "# The command",
        "",
        "`disco` does from the shell what the library does from Python. The input of a command is never changed.",
        "Every command takes `--help`, which is what stands here.",
        "Exit status, JSON, pictures and completion: [the command in scripts](scripts.md).",
        "",
    ]
    for name in ["", *names]:
        words = ["disco", *name.split()]
        text += [f"## {' '.join(words)}", "", "```text", _help(words[1:]), "```", ""]
    _write(page, "\n".join(text))


def _help(words: list[str]) -> str:
    printed, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "92"
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            disco([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return printed.getvalue().rstrip()


def python(folder: Path) -> None:
    """A page for each public module, with every public class and function of it that no page before has."""
    folder.mkdir(parents=True, exist_ok=True)
    shown: set[int] = set()
    for name, title in MODULES.items():
        module, found = importlib.import_module(name), import_public(name)
        new = [public_name for public_name, value in found.items() if id(value) not in shown]
        shown |= {id(value) for value in found.values()}
        listed = "\n".join(f"   {public_name}" for public_name in new)
        about = "\n".join(line.strip() for line in (module.__doc__ or "").splitlines())
        _write(
            folder / f"{name}.rst",
            f"{title}\n{'=' * len(title)}\n\n``{name}``\n\n{about}\n\n.. currentmodule:: {name}\n\n"
            f".. autosummary::\n   :toctree: api\n   :nosignatures:\n\n{listed}\n",
        )


def import_public(name: str) -> dict[str, Any]:
    """The public classes and functions of a module: those in ``__all__``; of a single file those that it defines."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or [name for name, value in vars(module).items() if _defined(value, module)]
    found = {name: getattr(module, name) for name in sorted(names, key=str.lower) if not name.startswith("_")}
    return {name: value for name, value in found.items() if inspect.isclass(value) or inspect.isroutine(value)}


def _defined(value: Any, module: Any) -> bool:
    return getattr(value, "__module__", "") == module.__name__


def _copy(source: Path, target: Path) -> None:
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        shutil.copyfile(source, target)


def _write(path: Path, text: str) -> None:
    """Writes only what changed, so that only that is built again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
