"""Columns taken as independent: what the estimate is, and which samples may be read so."""

import math

import pytest
import torch

from disco_samplers.estimate import DensityEstimate
from disco_samplers.estimators import IndependentEstimator, heavy_tails, may_be_independent


def read(disco, samples):
    return DensityEstimate(disco, samples, IndependentEstimator(disco.network, samples))


@pytest.fixture
def columns(rng):
    """A uniform column, far from the origin, and an exponential one."""
    u = torch.rand(400, 2, generator=rng, dtype=torch.float64)
    return torch.stack([7 + 3 * u[:, 0], -(1 - u[:, 1]).log()], 1)


def test_log_density_is_the_sum_over_columns_and_the_score_each_ones_own(disco, columns, rng):
    joint = read(disco, columns)
    y = columns[:50] + 0.1 * torch.randn(50, 2, generator=rng, dtype=torch.float64)
    each = [disco.condition(columns[:, k : k + 1]) for k in range(2)]
    torch.testing.assert_close(
        joint.log_prob(y), sum(e.log_prob(y[:, k : k + 1]) for k, e in enumerate(each)), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        joint.score(y), torch.cat([e.score(y[:, k : k + 1]) for k, e in enumerate(each)], 1), rtol=1e-4, atol=1e-4
    )


def test_log_density_of_a_column_and_its_gradient_do_not_depend_on_the_other(disco, columns):
    joint = read(disco, columns)
    y = columns[:5].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(joint.log_prob(y).sum(), y)
    moved = y.detach() + torch.tensor([0.0, 0.3], dtype=torch.float64)
    again = moved.clone().requires_grad_()
    (other,) = torch.autograd.grad(joint.log_prob(again).sum(), again)
    torch.testing.assert_close(other[:, 0], gradient[:, 0], rtol=1e-5, atol=1e-5)
    gap = joint.log_prob(moved) - joint.log_prob(y.detach())
    torch.testing.assert_close(gap, joint.log_prob(moved.flip(0)).flip(0) - joint.log_prob(y.detach().flip(0)).flip(0))


def test_it_is_normalised_sampled_moved_and_adapted_as_any_estimate(disco, columns, rng):
    joint = read(disco, columns)
    normalized = joint.normalized(generator=torch.Generator().manual_seed(1))
    assert abs(normalized.log_normalizer(generator=torch.Generator().manual_seed(2)).value) < 0.05
    draws = joint.sample(300, generator=rng)
    # Six standard errors of each mean.
    assert ((draws.mean(0) - columns.mean(0)).abs() < 6 * columns.std(0) / math.sqrt(300)).all()
    double = joint.to(dtype=torch.float64)
    assert isinstance(double.estimator, IndependentEstimator)
    torch.testing.assert_close(double.score(columns[:9]), joint.score(columns[:9]), rtol=1e-3, atol=1e-3)
    adapted = disco.condition(columns).adapt()
    assert isinstance(adapted.estimator.core, IndependentEstimator)
    assert repr(adapted).startswith("DensityEstimate(n=400, d=2, read=IndependentEstimator")
    assert adapted.report.tried["independent", 0.0] < adapted.report.tried["plain", 0.0]


@pytest.mark.slow
def test_dependent_columns_are_not_even_tried(disco, rng):
    x = torch.randn(300, 2, generator=rng)
    x[:, 1] = x[:, 0].square() + 0.3 * x[:, 1]  # not correlated
    adapted = disco.condition(x).adapt()
    assert not isinstance(adapted.estimator.core, IndependentEstimator)
    assert ("independent", 0.0) not in adapted.report.tried


@pytest.mark.parametrize("d", [2, 10])
def test_independence_is_rejected_as_seldom_as_said(d, rng):
    # 400 sets at level .05: more than 33 rejections, where 20 are the bound, have probability below 0.002.
    rejected = sum(not may_be_independent(torch.rand(200, d, generator=rng), level=0.05) for _ in range(400))
    assert rejected <= 33


def test_heavy_tails_are_told_in_standard_errors(rng):
    # Mean and deviation of 300 z-values of normal samples: 4 standard errors are .23 and, kurtosis of z included, about .25.
    for radial in (True, False):
        z = torch.tensor([heavy_tails(torch.randn(2000, 3, generator=rng), radial=radial) for _ in range(300)])
        assert abs(float(z.mean())) < 0.25
        assert abs(float(z.std()) - 1) < 0.25
    laplace = torch.distributions.Laplace(0.0, 1.0).icdf(torch.rand(500, 2, generator=rng))
    # Excess 3 in each column: 3 * 2 / sqrt(48 / 500) = 19 on the mean.
    assert heavy_tails(laplace, radial=False) > 8
    assert heavy_tails(torch.rand(500, 2, generator=rng), radial=True) < -4
