"""What is said of a release: one version, its changelog, its citation, and versions of others that belong together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import disco_samplers

ROOT = Path(__file__).parents[1]
VERSION = disco_samplers.__version__


def pyproject():
    toml = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    return toml.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_stands_in_one_place():
    read = pyproject()
    assert "version" not in read["project"]
    assert read["project"]["dynamic"] == ["version"]
    assert read["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "disco_samplers.__version__"}
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text())
    said = [path.name for path in (ROOT / "disco_samplers").rglob("*.py") if f'"{VERSION}"' in path.read_text()]
    assert said == ["__init__.py"]
    done = subprocess.run(
        [sys.executable, "-m", "disco_samplers.cli", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == VERSION


def test_the_changelog_has_this_version_first():
    entries = re.findall(r"^## \[(.+?)\] - (Unreleased|\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entries[0][0] == VERSION
    assert len(entries) == (ROOT / "CHANGELOG.md").read_text().count("\n## ")


def test_the_citation_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == pyproject()["project"]["name"]
    assert citation["license"] == pyproject()["project"]["license"]
    (paper,) = citation["references"]
    assert paper["url"] == pyproject()["project"]["urls"]["Paper"]
    assert paper["identifiers"][0]["value"] == "arXiv:2511.05924"


def test_the_lowest_versions_are_those_of_the_constraints():
    """Every lower bound of the core and of what ``make bounds`` installs is pinned there; only bug fixes may be above it."""
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    installed = [*re.search(r"\[(.+)\]", extras["all"][0])[1].split(","), "pyod"]
    lines = project["dependencies"] + [line for extra in installed for line in extras[extra]]
    bounds = dict(re.match(r"([\w.-]+)>=([\d.]+)", line).groups() for line in lines if "python_version >=" not in line)
    text = (ROOT / "constraints-lowest.txt").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==([\d.]+)$", text, re.MULTILINE))
    for name, bound in bounds.items():
        assert f"{pinned[name]}.".startswith(f"{bound}."), name
    lowest = project["requires-python"].removeprefix(">=")
    assert f"({lowest})" in text
    assert f"lowest={lowest}\n" in (ROOT / "tests" / "check_bounds.sh").read_text()
    assert f"Programming Language :: Python :: {lowest}" in project["classifiers"]
    tried = re.search(r"PYTHONS:-([\d. ]+)", (ROOT / "tests" / "check_release.sh").read_text())[1].split()
    assert [f"Programming Language :: Python :: {minor}" for minor in tried] == [
        line for line in project["classifiers"] if line.startswith("Programming Language :: Python :: 3.")
    ]


def test_the_hooks_are_the_checks():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    assert [hook["id"] for hook in hooks[0]["hooks"]] == ["ruff", "ruff-format", "mypy"]
