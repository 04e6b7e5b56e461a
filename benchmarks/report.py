"""Writes benchmark tables with the machine, versions, command and time they were measured with."""

from __future__ import annotations

import json
import math
import platform
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from matplotlib.figure import Figure

import disco_samplers

RESULTS = Path(__file__).parent / "results"
WEIGHTS = ("axes", "rotations")
"""The shipped weights that the general benchmarks show."""

T = TypeVar("T")


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment(started: float) -> dict[str, str]:
    """What was measured where; the folder of a cache is left out."""
    words = list(sys.argv[1:])
    if "--cache" in words:
        at = words.index("--cache")
        del words[at : at + 2]
    return {
        "command": "python " + shlex.join(["benchmarks/" + Path(sys.argv[0]).name, *words]),
        "machine": f"{cpu()}, {torch.get_num_threads()} threads",
        "versions": f"disco-samplers {disco_samplers.__version__}, torch {torch.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}",
        "minutes": f"{(time.time() - started) / 60:.1f}"
        + (", what was kept before not counted" if "--cache" in sys.argv else ""),
    }


def write(name: str, title: str, about: str, header: list[str], rows: list[list[str]], raw: object, started: float) -> None:
    """Writes results/NAME.md and results/NAME.json and prints the table."""
    RESULTS.mkdir(exist_ok=True)
    where = environment(started)
    table = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    text = "\n".join([f"# {title}", "", about, "", *table, "", *(f"- {key}: {value}" for key, value in where.items()), ""])
    (RESULTS / f"{name}.md").write_text(text)
    (RESULTS / f"{name}.json").write_text(json.dumps({"environment": where, "results": raw}, indent=1) + "\n")
    print(text)


def cached(folder: Path | None, name: str, make: Callable[[], T]) -> T:
    """What ``make`` returns, kept as FOLDER/NAME.json, so that a run that was stopped goes on where it was."""
    if folder is None:
        return make()
    path = folder / f"{name}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(make()))
        part.replace(path)
    return json.loads(path.read_text())


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error (0 for a single value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def summary(errors: Sequence[Sequence[float]]) -> tuple[str, dict[str, float]]:
    """Relative score errors and log-density MSEs (NaN for none) of data sets: as a cell, the first in %, and as raw numbers."""
    (score, score_se), (density, density_se) = (spread(column) for column in zip(*errors, strict=True))
    text = f"{100 * score:.1f} ± {100 * score_se:.1f}"
    raw = {"sets": len(errors), "relative_score_error": score, "score_se": score_se}
    if math.isnan(density):
        return text, raw
    return f"{text} / {density:.3g} ± {density_se:.1g}", raw | {"log_density_mse": density, "density_se": density_se}


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The a of values ~ sizes^a, by least squares between logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


Curve = tuple[list[float], list[float], list[float]]
"""Abscissae, means and standard errors."""


def curves(
    name: str, panels: dict[str, dict[str, Curve]], x_label: str, y_label: str, top: float | None = None, base: int = 10
) -> None:
    """Draws results/NAME.png: one panel a title, one line a method, logarithmic axes, bars of one standard error.

    What rises above ``top`` is cut off; ``base`` is that of the abscissa's ticks.
    """
    columns = min(4 if len(panels) > 6 else 3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    methods = list(dict.fromkeys(method for lines in panels.values() for method in lines))
    ours = [method for method in methods if method.startswith("DiScoFormer")]
    drawn = {}
    for ax, (title, lines) in zip(axes, panels.items(), strict=False):
        for method, (x, mean, error) in lines.items():
            look = {"lw": 1.2, "color": f"C{methods.index(method)}"}
            if method in ours:
                look = {"lw": 2.5, "color": "black", "ls": ("-", "--", ":", "-.")[ours.index(method) % 4]}
            drawn[method] = ax.errorbar(x, mean, error, marker="o", ms=4, **look)
        ax.set(yscale="log", title=title, xlabel=x_label, ylabel=y_label)
        ax.set_xscale("log", base=base)
        if top is not None:
            ax.set_ylim(top=min(top, ax.get_ylim()[1]))
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    figure.legend([drawn[m] for m in methods], methods, loc="outside lower center", ncols=min(4, 2 * columns), fontsize=8)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / f"{name}.png", dpi=110)
