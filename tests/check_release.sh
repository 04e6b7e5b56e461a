#!/bin/sh
# sdist and wheel into dist/; their metadata and contents; the wheel in an empty environment of each Python that is there.
# Uploads nothing. Without a wheel of torch for the CPU, pip takes some gigabytes for each Python: PYTHONS="3.11" chooses.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$(.venv/bin/python -c 'import disco_samplers; print(disco_samplers.__version__)')
pip="-m pip install --quiet --disable-pip-version-check"

rm -rf dist
.venv/bin/python -m build > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
.venv/bin/python -m venv "$work/twine"
"$work/twine/bin/python" $pip 'twine==7.*'
"$work/twine/bin/twine" check --strict dist/*
.venv/bin/python tests/check_dist.py "$version"

tried=
for minor in ${PYTHONS:-3.10 3.11 3.12 3.13}; do
	python=$(sh tests/python_of.sh "$minor") || { echo "Python $minor: not here, not tried"; continue; }
	constraints=$root/constraints.txt
	[ "$minor" != 3.10 ] || constraints=$root/constraints-lowest.txt
	"$python" -m venv "$work/env"
	"$work/env/bin/python" $pip -c "$constraints" torch
	"$work/env/bin/python" $pip -c "$constraints" dist/*.whl
	# Away from the sources, which would be imported instead.
	(cd "$work" && env/bin/disco --version | grep -qxF "$version" && env/bin/python -W error - "$version") <<'PY'
import importlib.metadata
import sys

import numpy as np

import disco_samplers
import disco_samplers.integrations

assert "site-packages" in disco_samplers.__file__, disco_samplers.__file__
assert disco_samplers.__version__ == importlib.metadata.version("disco-samplers") == sys.argv[1]
x = np.random.default_rng(0).normal(size=(100, 2))
log_prob, score = disco_samplers.DiScoFormer.from_pretrained().condition(x).log_prob_and_score(x[:3])
assert np.isfinite(log_prob).all() and score.shape == (3, 2)
print(f"Python {sys.version.split()[0]}: imports, and estimates log-densities {log_prob.round(2)}")
PY
	rm -rf "$work/env"
	tried="$tried $minor"
done
[ -n "$tried" ] || { echo "no Python to try the wheel with" >&2; exit 1; }
head -n 40 CHANGELOG.md | grep -F "## [$version]"
echo "dist/ is ready: $version, tried with Python$tried"
