"""What dist/ must hold: an sdist and a wheel of this version, each with all that is tracked of the library and no more."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "pyproject.toml"}


def difference(there: set[str], wanted: set[str], what: str) -> list[str]:
    return [f"{what} lacks {name}" for name in sorted(wanted - there)] + [
        f"{what} has {name}, which is not of the library" for name in sorted(there - wanted)
    ]


def main(version: str) -> int:
    source = f"disco_samplers-{version}"
    wheel, sdist = f"{source}-py3-none-any.whl", f"{source}.tar.gz"
    built = sorted(path.name for path in (ROOT / "dist").iterdir())
    if built != [wheel, sdist]:
        print(f"dist/ must hold {wheel} and {sdist} alone, and holds {', '.join(built) or 'nothing'}", file=sys.stderr)
        return 1
    listed = subprocess.run(
        ["git", "ls-files", "disco_samplers", "integrations"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    sources = set(listed.stdout.split())
    installed = {f"disco_samplers/{name}" if name.startswith("integrations/") else name for name in sources}

    with zipfile.ZipFile(ROOT / "dist" / wheel) as opened:
        names = {name for name in opened.namelist() if not name.endswith("/")}
    about = {name for name in names if name.startswith(f"{source}.dist-info/")}
    wrong = difference(names - about, installed, "the wheel")
    if f"{source}.dist-info/licenses/LICENSE" not in about:
        wrong.append("the wheel lacks the licence")

    with tarfile.open(ROOT / "dist" / sdist) as opened:
        packed = {name.removeprefix(f"{source}/") for name in opened.getnames() if not opened.getmember(name).isdir()}
    there = {name for name in packed if name.startswith(("disco_samplers/", "integrations/"))}
    wrong += difference(there, sources, "the sdist")
    wrong += [f"the sdist lacks {name}" for name in sorted(DOCUMENTS - packed)]

    print("\n".join(wrong) or f"{wheel} and {sdist}: {len(installed)} files of the library each", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
