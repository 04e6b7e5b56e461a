"""The normaliser against quadrature, and what normalising changes."""

import math

import numpy as np
import pytest
import torch
from conftest import perturbed

from disco_samplers import DiScoFormer
from disco_samplers.estimators import SHIPPED, log_normalizer
from disco_samplers.reference import GaussianMixture
from disco_samplers.scores import smooth


def mixture(d, n, seed=0):
    g = torch.Generator().manual_seed(seed)
    target = GaussianMixture(torch.ones(3), 4 * torch.rand(3, d, generator=g) - 2, 0.2 + torch.rand(3, d, generator=g))
    return target.draw(n, g)


def quadrature(estimate, half=12.0, points=801):
    """The integral of the density on a fine grid around the samples, in 1 or 2 dimensions."""
    axes = [torch.linspace(-half, half, points, dtype=torch.float64)] * estimate.dim
    grid = torch.cartesian_prod(*axes).reshape(-1, estimate.dim)
    return float(estimate.log_prob(grid).exp().sum() * (2 * half / (points - 1)) ** estimate.dim)


@pytest.mark.parametrize(("d", "points"), [(1, 4001), (2, 201)])
def test_agrees_with_quadrature(disco, d, points):
    estimate = disco.condition(mixture(d, 300))
    value, error = estimate.log_normalizer(num_samples=20_000, generator=torch.Generator().manual_seed(1))
    assert 0 < error < 0.01
    # 4.5 standard errors: false alarms below 1e-5; 1e-3 for the quadrature.
    assert abs(value - math.log(quadrature(estimate, points=points))) < 4.5 * error + 1e-3


@pytest.mark.parametrize(("d", "points"), [(1, 4001), (2, 201)])
def test_normalized_integrates_to_one_within_two_percent(disco, d, points):
    estimate = disco.condition(mixture(d, 300, seed=2))
    normalized = estimate.normalized(num_samples=20_000, generator=torch.Generator().manual_seed(1))
    assert quadrature(normalized, points=points) == pytest.approx(1, abs=0.02)


def test_normalizing_moves_the_log_density_by_a_constant_and_leaves_the_score(disco, rng):
    x = mixture(3, 200)
    estimate = disco.condition(x)
    before = estimate.log_prob(x)
    normalized = estimate.normalized(generator=rng)
    shift = normalized.log_prob(x) - before
    assert shift.std() < 1e-5
    assert torch.equal(estimate.log_prob(x), before)
    assert torch.equal(normalized.score(x), estimate.score(x))
    moved = normalized.to(dtype=torch.float64)
    torch.testing.assert_close(moved.log_prob(x), normalized.log_prob(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "derive",
    [
        lambda estimate, model: estimate.adapt(),
        lambda estimate, model: estimate.adapt(num_steps=1),
        lambda estimate, model: estimate.with_model(model),
        lambda estimate, model: estimate.to(dtype=torch.float64),
        lambda estimate, model: smooth(estimate, 0.5, generator=torch.Generator().manual_seed(2)),
    ],
    ids=["adapt", "adapt by steps", "with_model", "to", "smooth"],
)
def test_what_is_made_of_a_normalized_estimate_is_normalized(small, derive):
    """4096 draws leave a standard error of 0.011 of the integral."""
    plain = small.condition(mixture(1, 40))
    derived = derive(plain.normalized(generator=torch.Generator().manual_seed(1)), perturbed(seed=3))
    assert derived.is_normalized
    # Tails of so few rows fall off as a Cauchy law's may: a percent of the mass is beyond twenty standard deviations.
    assert quadrature(derived, half=1000, points=200_001) == pytest.approx(1, abs=0.03)
    raw = derive(plain, perturbed(seed=3))
    assert not raw.is_normalized
    assert abs(quadrature(raw, half=1000, points=200_001) - 1) > 0.03


def test_smoothing_keeps_to_the_groups_of_the_context(small):
    smoothed = smooth(small.condition(mixture(1, 40), keys=20), 0.5, generator=torch.Generator().manual_seed(2))
    assert smoothed.keys == 20


@pytest.mark.parametrize("weights", SHIPPED)
def test_directions_of_no_variance_do_not_change_the_integral(weights):
    model = DiScoFormer.from_pretrained(weights)
    x = mixture(2, 200)
    flat = [x, torch.full((200, 1), 7.0)]
    if weights == "rotations":  # to "axes" a dependent column is one more axis to see structure along
        flat.append(x[:, :1] + x[:, 1:])
    seeds = (torch.Generator().manual_seed(s) for s in (1, 1))
    a, b = (
        log_normalizer(model.condition(data).estimator, generator=g)
        for data, g in zip((x, torch.cat(flat, 1)), seeds, strict=True)
    )
    assert abs(a.value - b.value) < 4.5 * math.hypot(a.standard_error, b.standard_error)


def test_same_generator_same_answer_numpy_or_torch(disco):
    x = mixture(2, 100)
    a, b = (disco.condition(kind).log_normalizer(generator=torch.Generator().manual_seed(3)) for kind in (x, np.asarray(x)))
    assert a == b


def test_bad_input(disco):
    with pytest.raises(ValueError, match="at most 20 dimensions, this estimate has 21"):
        disco.condition(mixture(21, 50)).log_normalizer()
    with pytest.raises(ValueError, match="one data set"):
        disco.condition(mixture(2, 100).reshape(2, 50, 2)).normalized()
    with pytest.raises(ValueError, match="num_samples must be at least 100, got 10"):
        disco.condition(mixture(2, 100)).log_normalizer(num_samples=10)
