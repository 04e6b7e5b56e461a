"""What importing the library costs others: no optional package, no change of global state."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys

import pytest

import disco_samplers

MODULES = ["disco_samplers", *(info.name for info in pkgutil.walk_packages(disco_samplers.__path__, "disco_samplers."))]
CORE = [name for name in MODULES if not name.startswith(("disco_samplers.integrations", "disco_samplers.testing"))]
OPTIONAL = ["pyro", "diffusers", "sklearn", "torchdiffeq", "matplotlib", "arviz", "arviz_stats", "xarray", "h5netcdf"]
OPTIONAL += ["pandas", "pyarrow", "ray", "pyspark"]


def python(code):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONWARNINGS": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_list_of_modules_is_whole():
    assert {
        f"disco_samplers.{name}" for name in ("cli", "files.formats", "pictures.draws", "estimate.density", "training.trainer")
    } <= set(CORE)


def test_no_optional_package():
    """Importing every core module, and looking up every public name, imports none of the extras."""
    code = f"""
import importlib, sys
for name in {CORE}:
    importlib.import_module(name)
import disco_samplers
for name in disco_samplers.__all__:
    getattr(disco_samplers, name)
print(*sorted({{name.partition(".")[0] for name in sys.modules}} & set({OPTIONAL})))
"""
    assert python(code) == []


OTHER_NAMES = {"chains", "steps", "warmup", "thin", "n_samples", "num_draws", "disco", "rng"}
"""What is called num_chains, num_steps, num_warmup, thinning, num_samples, model and generator."""


def test_arguments_have_one_name_each():
    for name in CORE:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            methods = [m for n, m in vars(value).items() if not n.startswith("_")] if isinstance(value, type) else []
            for called in filter(callable, (value, *methods)):
                with contextlib.suppress(ValueError, TypeError):  # what tells nothing of its arguments
                    assert not OTHER_NAMES & set(inspect.signature(called).parameters), f"{public}: {called}"


def test_import_alone_is_light():
    assert python("import sys, disco_samplers; print(*({'huggingface_hub', 'tqdm', 'safetensors'} & set(sys.modules)))") == []


def test_no_global_state_changes():
    """Threads, precision, randomness, warnings, logging, signals, environment and working directory stay as they were."""
    code = f"""
import importlib, logging, os, random, signal, sys, warnings
import huggingface_hub.hub_mixin, numpy, safetensors.torch, torch, torch.distributed, torch.optim.swa_utils, tqdm.auto

def state():
    return {{
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "precision": (torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.get_default_device()),
        "torch": (torch.initial_seed(), torch.random.get_rng_state().tolist(), torch.are_deterministic_algorithms_enabled()),
        "grad": (torch.is_grad_enabled(), torch.is_anomaly_enabled()),
        "random": (random.getstate(), str(numpy.random.get_state())),
        "numpy": (numpy.geterr(), numpy.get_printoptions()),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "process": (dict(os.environ), os.getcwd(), sys.path[:], sys.excepthook, sys.getrecursionlimit()),
    }}

before = state()
for name in {CORE}:
    importlib.import_module(name)
after = state()
print(*(key for key in before if before[key] != after[key]))
"""
    assert python(code) == []


def test_public_names():
    assert set(dir(disco_samplers)) == set(disco_samplers.__all__)
    for name in disco_samplers.__all__:
        assert getattr(disco_samplers, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = disco_samplers.Nothing
