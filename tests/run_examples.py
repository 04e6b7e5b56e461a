"""Runs the examples of README.md and of the pages in docs/, each page in a temporary folder of its own.

Blocks marked ``python`` share one namespace a page and run with warnings as errors; blocks marked ``bash`` must exit with zero;
a block marked ``toml`` becomes example.toml. What is not to be run (installing, long runs) is marked ``console``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "notebooks" / "data" / "eight_schools.csv"
BLOCK = re.compile(r"^```(python|bash|toml)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def pages(chosen: list[str]) -> list[Path]:
    """The pages named, or README.md and all written pages."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "docs/*.md"]
    written = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in chosen or ["README.md", *sorted(written)]]


def run_page(page: Path) -> int:
    """Runs a page's examples in the folder it is in; how many there were."""
    name, namespace = page.relative_to(ROOT), {"__name__": "example"}
    blocks = BLOCK.findall(page.read_text())
    for i, (language, text) in enumerate(blocks, 1):
        if language == "python":
            exec(compile(text, f"{name}, example {i}", "exec"), namespace)
        elif language == "toml":
            Path("example.toml").write_text(text)
        elif subprocess.run(["bash", "-euc", text], check=False, stdout=subprocess.DEVNULL).returncode:
            raise RuntimeError(f"{name}, example {i} failed:\n{text}")
    return len(blocks)


def main() -> int:
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*ArviZ is undergoing a major refactor.*")
    total, failed = 0, []
    for page in pages(sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            shutil.copy(DATA, folder)
            started = time.time()
            try:
                count = run_page(page)
            except Exception:  # the other pages are run all the same
                traceback.print_exc()
                failed.append(str(page.relative_to(ROOT)))
                continue
            finally:
                os.chdir("/")
        total += count
        if count:
            print(f"{page.relative_to(ROOT)}: {count} examples ran, {time.time() - started:.1f} s", flush=True)
    print(f"{total} examples ran" + f"; failed: {', '.join(failed)}" * bool(failed))
    return int(bool(failed) or not total)


if __name__ == "__main__":
    sys.exit(main())
