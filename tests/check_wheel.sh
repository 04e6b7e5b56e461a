#!/bin/sh
# A wheel, built from the sources and installed into an empty environment without extras, imports and conditions on samples.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/.venv/bin/python" -m build --wheel --outdir "$work" "$root" > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
python=$("$root/.venv/bin/python" -c 'import sys; print(sys._base_executable)')
"$python" -m venv "$work/env"
pip="$work/env/bin/python -m pip install --quiet --disable-pip-version-check -c $root/constraints.txt"
$pip torch
$pip "$work"/*.whl
cd "$work"
"$work/env/bin/python" - <<'PY'
import importlib.util
import pathlib

import numpy as np

import disco_samplers
import disco_samplers.integrations

assert "site-packages" in disco_samplers.__file__, disco_samplers.__file__
for extra in ("matplotlib", "sklearn", "pyro", "diffusers", "arviz", "pyarrow"):
    assert importlib.util.find_spec(extra) is None, f"{extra} came along"
site = pathlib.Path(disco_samplers.__file__).parents[1]
assert not (site / "integrations").exists(), "a top-level package called integrations was installed"

x = np.random.default_rng(0).normal(size=(300, 2))
estimate = disco_samplers.DiScoFormer.from_pretrained().condition(x)
log_prob, score = estimate.log_prob_and_score(x[:5])
assert np.isfinite(log_prob).all() and np.isfinite(score).all()
try:
    estimate.plot()
except ImportError as error:
    assert "pip install 'disco-samplers[plot]'" in str(error), error
else:
    raise AssertionError("plotted without matplotlib")
result = disco_samplers.LangevinSampler(score=estimate).run(20, num_warmup=20, seed=0, progress=False)
print("core-only wheel:", estimate, result)
print(result.summary())
PY
"$work/env/bin/disco" info
