"""What is prepared for a quarter of an hour on a GPU, rehearsed on the CPU with sizes of seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from disco_samplers import DiScoFormer

ROOT = Path(__file__).parents[1]
TINY = {
    "model": {"layers": 1, "width": 8, "vector_channels": 4, "heads": 2, "head_width": 4, "hidden": 8, "symmetry": "axes"},
    "training": {
        "warmup_steps": 2,
        "consistency": 0.1,
        "stream": {
            "families": {"paper": 1, "edged": 1},
            "min_samples": 32,
            "max_samples": 64,
            "max_dim": 3,
            "common_dim": 3,
            "queries": 16,
            "max_batch": 4,
            "weighted": 0.5,
            "far": 0.1,
            "grid": True,
        },
    },
}


def _run(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments, "--device", "cpu"]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY))
    return str(path)


@pytest.mark.slow
def test_training_brings_back_weights_and_curves(config, tmp_path):
    out, keep = tmp_path / "out", tmp_path / "keep"
    _run("train", "--config", config, "--seconds", "8", "--workers", "1", "--out", str(out), "--keep", str(keep))
    assert {file.name for file in out.iterdir()} == {"model.safetensors", "losses.csv", "validation.csv"}
    assert DiScoFormer.from_pretrained(out).config.layers == 1
    assert len((out / "losses.csv").read_text().splitlines()) > 2


@pytest.mark.slow
def test_timings_are_written(tmp_path):
    _run("time", "--out", str(tmp_path))
    row, plasma = json.loads((tmp_path / "gpu_times.json").read_text())
    assert row["axes: density and score"] > 0
    assert plasma["DiScoFormer: score"] > 0
