"""Fixtures: a small untrained model whose heads do something, and the shipped one."""

import errno
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from disco_samplers import DiScoFormer, DiScoFormerConfig

# The tensors of most tests are so small that threads only wait for one another.
torch.set_num_threads(1)


def perturbed(symmetry="rotations", seed=0, layers=2):
    """An untrained model with its zero-initialised weights set to small random values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = {"layers": layers, "width": 16, "vector_channels": 8, "heads": 4, "head_width": 4, "hidden": 32}
        model = DiScoFormer(DiScoFormerConfig(**sizes, symmetry=symmetry))
        network = model.network
        for linear in [network.heads.output, *(block.attention.bandwidth for block in network.blocks)]:
            torch.nn.init.normal_(linear.weight, std=0.05)
            torch.nn.init.normal_(linear.bias, std=0.05)
        if symmetry == "axes":
            for block in network.blocks:
                torch.nn.init.normal_(block.axes.merge.weight, std=0.02)
                torch.nn.init.normal_(block.axes.to_scalars.weight, std=0.02)
    return model.eval().requires_grad_(False)


def points(rng, n=60, d=3):
    """Two clusters."""
    x = torch.randn(n, d, generator=rng)
    return x + torch.sign(x[:, :1])


@pytest.fixture(autouse=True)
def _same_draws_in_any_order():
    """Global generators start every test alike: which tests a worker ran before must not matter."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


@pytest.fixture(params=["rotations", "axes"])
def symmetry(request):
    return request.param


@pytest.fixture
def model(symmetry):
    """A small perturbed model of either symmetry, in float32."""
    return perturbed(symmetry)


@pytest.fixture
def small():
    """A small perturbed model, in float32."""
    return perturbed()


@pytest.fixture(scope="session")
def disco():
    """The shipped model."""
    return DiScoFormer.from_pretrained()


@pytest.fixture(scope="session")
def rotations():
    """The shipped model for vectors in space."""
    return DiScoFormer.from_pretrained("rotations")


@pytest.fixture(scope="session")
def velocities():
    """The shipped model for particle codes."""
    return DiScoFormer.from_pretrained("velocities")


@pytest.fixture
def quick_validation(monkeypatch):
    """Training is validated on small sets only, which is most of its time where the network is small."""
    monkeypatch.setattr("disco_samplers.training.trainer._VALIDATION_CELLS", ((1, 256), (2, 256)))


@pytest.fixture
def full_disk(monkeypatch):
    """Makes files of some names impossible to finish, but for the first ``after`` of each."""

    def fill(*names, after=0):
        replace, seen = os.replace, dict.fromkeys(names, 0)

        def put(source, target, **others):
            name = Path(target).name
            if name in seen:
                seen[name] += 1
                if seen[name] > after:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
            return replace(source, target, **others)

        monkeypatch.setattr(os, "replace", put)

    return fill


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


LONG = frozenset((Path(__file__).parent / "slow.txt").read_text().splitlines())
"""Tests that were measured to take two seconds or more."""


def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid in LONG:
            item.add_marker(pytest.mark.slow)
