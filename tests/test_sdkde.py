"""SD-KDE: bias of order four in h, and its bandwidth rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from disco_samplers.reference import KDE, SDKDE, Gaussian, GaussianMixture

MIXTURE = GaussianMixture(
    torch.tensor([0.6, 0.4], dtype=torch.float64),
    torch.tensor([[-1.0], [1.5]], dtype=torch.float64),
    torch.tensor([[0.6], [0.9]], dtype=torch.float64),
)


def bias(kind, h):
    """sup |E f_h - f| for the mixture: the expectation over samples is a sum over a fine grid of equal masses."""
    levels = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    grid = torch.linspace(-8, 8, 40001, dtype=torch.float64)[:, None]
    density = MIXTURE.evaluate(grid).exp()
    mass = torch.cat([torch.zeros(1), ((density[1:] + density[:-1]) / 2).cumsum(0)])
    x = torch.from_numpy(np.interp(levels, mass / mass[-1], grid[:, 0]))[:, None]
    y = torch.linspace(-4, 4, 41, dtype=torch.float64)[:, None]
    estimate = SDKDE(x, MIXTURE.score, h) if kind is SDKDE else KDE(x, h)
    return float((estimate.log_prob(y).exp() - MIXTURE.log_prob(y).exp()).abs().max())


@pytest.mark.parametrize(("kind", "order"), [(KDE, 2), (SDKDE, 4)])
def test_order_of_the_bias(kind, order):
    measured = math.log2(bias(kind, 0.2) / bias(kind, 0.1))
    assert abs(measured - order) < 0.25


def test_gaussian_variance_in_closed_form():
    """With the exact score the samples' variance shrinks by (1 - h^2 / 2)^2, whatever the samples are."""
    x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f = Gaussian(torch.zeros(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    debiased = SDKDE(x, f.score, 0.5)
    torch.testing.assert_close(debiased.samples, x * (1 - 0.125))
    y = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    p = debiased.log_prob(y[:, None]).exp()
    variance = float((p * y.square()).sum() / p.sum() - ((p * y).sum() / p.sum()) ** 2)
    assert variance == pytest.approx(float(x.var(correction=0)) * 0.875**2 + 0.25, rel=1e-6)


def test_reference_rule():
    """The stated bandwidth minimises the stated asymptotic error."""
    n, d = 500, 3
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h = SDKDE(x, bandwidth="reference").bandwidth / float(x.std(0).mean())
    error = lambda h: h**8 / 64 * d * (d + 2) / 4 + 1 / (n * h**d)  # noqa: E731
    assert error(h) < min(error(0.98 * h), error(1.02 * h))


def test_leave_one_out_rule_by_brute_force():
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    debiased = SDKDE(x, lambda y: -y, "loo")

    def likelihood(h):
        total = 0.0
        for i in range(30):
            others = torch.cat([x[:i], x[i + 1 :]])
            total += float(SDKDE(others, lambda y: -y, h).log_prob(x[i : i + 1]))
        return total

    best = likelihood(debiased.bandwidth)
    assert best > max(likelihood(0.9 * debiased.bandwidth), likelihood(1.1 * debiased.bandwidth))


@pytest.mark.slow
def test_a_better_score_gives_a_smaller_error(disco):
    """Integrated squared error at n = 1000 for the mixture, mean of four sets, every bandwidth by leave-one-out."""
    y = torch.linspace(-5, 5, 500, dtype=torch.float64)[:, None]
    truth = MIXTURE.log_prob(y).exp()
    errors = {"exact": 0.0, "disco": 0.0, "kde": 0.0}
    for seed in range(4):
        x = MIXTURE.sample(1000, generator=torch.Generator().manual_seed(seed))
        estimates = {"exact": SDKDE(x, MIXTURE.score), "disco": SDKDE(x, disco.condition(x)), "kde": KDE(x)}
        for name, f in estimates.items():
            errors[name] += float((f.log_prob(y).exp() - truth).square().mean())
    assert errors["exact"] < errors["kde"]
    assert errors["disco"] < errors["kde"]


def test_bad_input():
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="score must give finite values of shape"):
        SDKDE(x, lambda y: y[:, :1])
    with pytest.raises(ValueError, match="score must give finite"):
        SDKDE(x, lambda y: y * float("nan"))
    with pytest.raises(ValueError, match='"reference"'):
        SDKDE(x, bandwidth="scott")
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        SDKDE(x, bandwidth=-1.0)
    with pytest.raises(ValueError, match="n >= 2"):
        SDKDE(x[:1])
