"""Executes the notebooks: in place with their pictures, or with --check in short mode without saving anything.

Notebooks read the environment variable DISCO_SHORT to do less in short mode.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="files (default: all of this folder)")
    parser.add_argument("--check", action="store_true", help="short mode, nothing is saved")
    options = parser.parse_args()
    if options.check:
        os.environ["DISCO_SHORT"] = "1"
    # A progress bar as a widget is not needed; the warning that it is missing would be saved in the notebook.
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    notebooks = options.notebooks or sorted(HERE.glob("*.ipynb"))
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}})
        try:
            client.execute()
        except CellExecutionError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 1
        if not options.check:
            for cell in notebook.cells:
                tidy(cell)
            nbformat.write(notebook, path)
        print(f"{path.name}: executed")
    return 0 if notebooks else 1


def tidy(cell: nbformat.NotebookNode) -> None:
    """Drops what would change with every run: times of execution, and where a stream of text was cut into parts."""
    cell.metadata.pop("execution", None)
    outputs: list[nbformat.NotebookNode] = []
    for output in cell.get("outputs", []):
        if outputs and output.output_type == outputs[-1].output_type == "stream" and output.name == outputs[-1].name:
            outputs[-1].text += output.text
        else:
            outputs.append(output)
    if cell.cell_type == "code":
        cell.outputs = outputs


if __name__ == "__main__":
    sys.exit(main())
