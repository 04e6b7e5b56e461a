"""Runs the README's Python examples in one namespace, in a temporary folder, with warnings as errors."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from pathlib import Path


def main() -> int:
    readme = Path(__file__).parent.parent / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), flags=re.DOTALL)
    if not blocks:
        print("README.md has no Python example", file=sys.stderr)
        return 1
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*ArviZ is undergoing a major refactor.*")
    namespace: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for i, block in enumerate(blocks, 1):
            exec(compile(block, f"README.md, example {i}", "exec"), namespace)
        os.chdir("/")
    print(f"README.md: {len(blocks)} examples ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
