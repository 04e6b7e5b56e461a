"""The saved notebooks: executed, and free of what belongs to the machine they were executed on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
OF_A_MACHINE = re.compile(r"ipykernel_\d|(?<![\w.:/~-])/(?:tmp|home|root|work|usr|opt|private|var|Users)/|[A-Z]:\\Users")


def texts(output):
    """All that an output holds but its pictures."""
    data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
    return json.dumps([output.get("text", ""), data, output.get("traceback", "")])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_saved_outputs_name_no_path_and_no_time_of_the_machine(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells)
    assert not any("execution" in cell["metadata"] for cell in cells)
    found = [match.group() for cell in cells for output in cell["outputs"] for match in OF_A_MACHINE.finditer(texts(output))]
    assert found == []


@pytest.mark.parametrize("text", ["/tmp/ipykernel_12/3.py:5: Warning", "in /home/me/x.py", "ipykernel_99", "('/root/a')"])
def test_such_a_path_would_be_found(text):
    assert OF_A_MACHINE.search(texts({"text": [text]}))


@pytest.mark.parametrize("text", ["https://a.org/tmp/x", "4 / tmp", "out/tmp/a.png"])
def test_what_is_no_path_of_a_machine_is_not(text):
    assert not OF_A_MACHINE.search(texts({"text": [text]}))
