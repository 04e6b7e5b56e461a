"""The benchmark's targets integrate to one, and their draws have the score that their density gives."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from targets import OUT_OF_FAMILY

NAMES = sorted(OUT_OF_FAMILY)


def target(name):
    return OUT_OF_FAMILY[name](torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("d=2")])
def test_integrates_to_one(name):
    half, points = (60.0, 3001) if "Student" in name or "funnel" in name or "banana" in name else (20.0, 1501)
    axis = torch.linspace(-half, half, points, dtype=torch.float64)
    total = sum(float(target(name).evaluate(torch.cartesian_prod(part, axis)).exp().sum()) for part in axis.split(50))
    assert total * (2 * half / (points - 1)) ** 2 == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_draws_fit_the_density(name):
    # Stein's identity, E[s(x) . g(x) + div g(x)] = 0 for g(x) = x / (1 + |x|^2 / d): 4.5 standard errors, so a false alarm
    # in 17 targets has a probability of about 1e-4.
    f = target(name)
    x = f.draw(20_000, torch.Generator().manual_seed(2))
    score, r2, d = f.evaluate_score(x), x.square().sum(-1), f.dim
    scale = 1 + r2 / d
    values = (score * x).sum(-1) / scale + d / scale - 2 * r2 / (d * scale.square())
    assert abs(values.mean()) < 4.5 * values.std() / len(x) ** 0.5
