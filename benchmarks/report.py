"""Writes benchmark tables with the machine, versions, command and time they were measured with."""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import disco_samplers

RESULTS = Path(__file__).parent / "results"


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment(started: float) -> dict[str, str]:
    """What was measured where."""
    return {
        "command": "python " + " ".join(["benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": f"{cpu()}, {torch.get_num_threads()} threads",
        "versions": f"disco-samplers {disco_samplers.__version__}, torch {torch.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}",
        "minutes": f"{(time.time() - started) / 60:.1f}",
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


Curve = tuple[list[float], list[float], list[float]]
"""Abscissae, means and standard errors."""


def curves(name: str, panels: dict[str, dict[str, Curve]], x_label: str, y_label: str) -> None:
    """Draws results/NAME.png: one panel a title, one line a method, logarithmic axes, bars of one standard error."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax, (title, lines) in zip(axes, panels.items(), strict=False):
        for i, (method, (x, mean, error)) in enumerate(lines.items()):
            first = method.startswith("DiScoFormer")
            ax.errorbar(
                x, mean, error, marker="o", ms=4, lw=2.5 if first else 1.2, color="black" if first else f"C{i}", label=method
            )
        ax.set(xscale="log", yscale="log", title=title, xlabel=x_label, ylabel=y_label)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    axes[0].legend(fontsize=7)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / f"{name}.png", dpi=110)
