"""Johnson marginals and cross-fitting: Jacobian, inverse, equivariance, tails, and rows judged by others only."""

from __future__ import annotations

import math

import pytest
import torch

from disco_samplers.estimators import JohnsonTransform, crossfit


@pytest.fixture
def table(rng):
    """300 rows: a normal, a lognormal, a heavy-tailed, a constant and a mostly-one-value column."""
    x = torch.randn(300, 5, generator=rng, dtype=torch.float64)
    x[:, 1] = (1.2 * x[:, 1]).exp()
    x[:, 2] = torch.sinh(2 * x[:, 2])
    x[:, 3] = 7.0
    x[:, 4] = torch.where(x[:, 4] > 1, x[:, 4], 1.0)
    return x


def test_slope_and_inverse(table):
    marginals = JohnsonTransform.fit(table)
    x = table.clone().requires_grad_()
    (slope,) = torch.autograd.grad(marginals(x).sum(), x)
    torch.testing.assert_close(marginals.log_abs_det_jacobian(table, marginals(table)).exp(), slope)
    (bend,) = torch.autograd.grad(marginals.log_abs_det_jacobian(x, marginals(x)).sum(), x)
    torch.testing.assert_close(marginals.pull_back(table, torch.zeros_like(table))[1], bend)
    torch.testing.assert_close(marginals.inv(marginals(table)), table)


def test_the_fit_maximises_its_criterion(table):
    """No other location or width near by has a higher likelihood with its prior."""

    def criterion(marginals):
        z, x = marginals(table), table[:, :3]
        scale = (x.quantile(0.75, 0) - x.quantile(0.25, 0)) / 1.349
        prior = (marginals.width[:3] / scale).log().square() / len(x)
        return -z[:, :3].std(0, correction=0).log() + marginals.log_abs_det_jacobian(table, z)[:, :3].mean(0) - prior

    found = JohnsonTransform.fit(table[:256])  # as many as there are quantiles, so all of them count
    table = table[:256]
    best = criterion(found)
    for location, width in [(0.2, 1), (-0.2, 1), (0, 1.25), (0, 0.8)]:
        other = JohnsonTransform(found.location + location * found.width, found.width * width)
        assert (criterion(other)[1:3] < best[1:3] + 1e-4).all()


def test_tails_are_tamed_and_a_normal_column_is_left_nearly_alone(table):
    z = JohnsonTransform.fit(table)(table)[:, :3]
    kurtosis = ((z - z.mean(0)) / z.std(0)).pow(4).mean(0)
    assert (kurtosis < 4).all()
    assert (torch.corrcoef(torch.stack([z[:, 0], table[:, 0]]))[0, 1]) > 0.995


def test_constant_column_is_left_alone(table):
    marginals = JohnsonTransform.fit(table)
    assert marginals.width[3].isinf()
    slope = marginals.log_abs_det_jacobian(table, marginals(table)).exp()
    torch.testing.assert_close(slope[:, 3], torch.ones(300, dtype=torch.float64))


def test_units_do_not_matter(table, disco):
    """log f changes by the log of the columns' scales, the score by their inverse, up to the network's round-off."""
    scale = torch.tensor([1e-3, 1.0, 1e3, 1.0, 1.0], dtype=torch.float64)
    shift = torch.tensor([5.0, -2.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    keep = [0, 1, 2]
    x, y = table[:, keep], (table * scale + shift)[:, keep]
    one, other = (disco.condition(t, transform=JohnsonTransform.fit(t)).log_prob_and_score(t[:20]) for t in (x, y))
    torch.testing.assert_close(other[0] + scale.log().sum(), one[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(other[1] * scale[keep], one[1], atol=2e-3, rtol=2e-3)


def test_density_is_that_of_a_lognormal(rng, disco):
    """In one dimension, against the exact law; the median error of a good estimate at n = 1000 is about 0.05."""
    x = torch.randn(1000, 1, generator=rng, dtype=torch.float64).exp()
    estimate = disco.condition(x, transform=JohnsonTransform.fit(x))
    y = torch.tensor([[0.2], [0.5], [1.0], [3.0], [30.0]], dtype=torch.float64)
    exact = -y.log().square() / 2 - y.log() - 0.5 * math.log(2 * math.pi)
    error = (estimate.log_prob(y) - exact[:, 0]).abs()
    assert (error[:4] < 0.35).all()
    assert error[4] < 2  # 3.4 standard deviations out in the logarithm; a Gaussian tail would be hundreds off
    draws = estimate.sample(200, generator=rng)
    assert (draws > -0.5).all()
    assert 0.6 < float(draws.median()) < 1.6


def test_crossfit_never_shows_a_row_to_its_judge(rng):
    x = torch.arange(11.0)[:, None]
    seen = crossfit(x, lambda rows: rows, lambda rows, own: (own == rows.T).any(1), folds=4, generator=rng)
    assert not seen.any()
    kept = x[:, 0] < 5
    count = crossfit(x, len, lambda n, own: torch.full((len(own),), n), folds=11, generator=rng, keep=kept)
    assert count.tolist() == [4] * 5 + [5] * 6


@pytest.mark.parametrize(("rows", "folds", "error"), [(2, 2, "at least 3 rows"), (9, 1, "folds must be at least 2")])
def test_crossfit_refuses(rows, folds, error):
    with pytest.raises(ValueError, match=error):
        crossfit(torch.zeros(rows, 1), lambda x: x, lambda a, b: b, folds=folds)


def test_fitted_in_inference_mode_they_can_be_differentiated(table):
    with torch.inference_mode():
        marginals = JohnsonTransform.fit(table.clone())
    x = table.clone().requires_grad_()
    (slope,) = torch.autograd.grad(marginals(x).sum(), x)
    torch.testing.assert_close(marginals.log_abs_det_jacobian(table, marginals(table)).exp(), slope)
