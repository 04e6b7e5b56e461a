"""Docstrings are written to be read as they are: shapes like (*batch, n), norms like |x| and names_ are not markup."""

from __future__ import annotations

import re
from typing import Any

_CODE = re.compile(r"(``.+?``|:[\w:]+:`.+?`|`.+?`)")
_STARS = re.compile(r"(?<=[( ])\*(?=\w+[,)])|(?<![\w*])\*\*(?=\w+(?!\w*\*))")
_UNDERSCORE = re.compile(r"(?<=[a-z])_(?![\w\\])")


def plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escapes stars of shapes, bars of norms and last underscores outside code and formulas."""
    formula = False
    for i, line in enumerate(lines):
        if line.lstrip().startswith(".. math::"):
            formula = True
        elif formula and line and not line[0].isspace():
            formula = False
        if not formula and not line.lstrip().startswith(">>>"):
            lines[i] = "".join(part if j % 2 else _escaped(part) for j, part in enumerate(_CODE.split(line)))


def _escaped(text: str) -> str:
    text = _STARS.sub(lambda found: found[0].replace("*", r"\*"), text)
    return _UNDERSCORE.sub(r"\_", text).replace("|", r"\|")


def setup(app: Any) -> None:
    """Adds the step to Sphinx, after napoleon's."""
    app.connect("autodoc-process-docstring", plain, priority=900)
