"""``disco bench``: reruns the benchmarks of a source checkout."""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
from pathlib import Path
from typing import Any

import disco_samplers
from disco_samplers.commands.shared.options import ending

FOLDER = Path(disco_samplers.__file__).resolve().parent.parent / "benchmarks"


def add(commands: Any) -> None:
    """Declares the subcommand."""
    printed = {"benchmarks/results": "where each benchmark writes its tables; --list says what it measures"}
    command = commands.add_parser(
        "bench",
        help="rerun the benchmarks of a source checkout, all or some by name",
        **ending("disco bench --list\ndisco bench information --quick", printed),
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (default: all)")
    command.add_argument("--quick", action="store_true", help="small sizes, minutes; only of those marked so in --list")
    command.add_argument("--list", action="store_true", help="name the benchmarks and what they measure")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Does what the subcommand says."""
    known = benchmarks()
    if options.list:
        for name, about in known.items():
            print(f"{name:24} {about}{' [--quick]' if has_quick(name) else ''}")
        return
    for name in options.names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise ValueError(
                f"no benchmark {name}" + (f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}")
            )
    for name in options.names if options.quick else []:
        if not has_quick(name):
            raise ValueError(
                f"{name} has no quick form: leave out --quick, or take one of {', '.join(filter(has_quick, known))}"
            )
    chosen = options.names or [name for name in known if has_quick(name) or not options.quick]
    failed = []
    for name in chosen:
        print(f"{name}: {known[name]}", flush=True)
        command = [sys.executable, str(FOLDER / f"{name}.py"), *(["--quick"] if options.quick else [])]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        raise RuntimeError(f"failed: {', '.join(failed)}; the others' results are in {FOLDER / 'results'}")


def has_quick(name: str) -> bool:
    """Whether a benchmark can be run in small sizes."""
    return '"--quick"' in (FOLDER / f"{name}.py").read_text()


def benchmarks() -> dict[str, str]:
    """The benchmarks that can be run by themselves, each with the first line of its description.

    Raises:
        FileNotFoundError: if this is no source checkout.
    """
    if not FOLDER.is_dir():
        raise FileNotFoundError("the benchmarks are part of the source checkout, not of the installed package: clone it")
    texts = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.py"))}
    return {name: text.split('"""')[1].split("\n")[0] for name, text in texts.items() if "def main()" in text}
