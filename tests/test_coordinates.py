"""Coordinates for heavy tails: exact Jacobians, what they do to a power tail, and what an adaptation makes of them."""

import math

import pytest
import torch

from disco_samplers.estimators import TailTransform, pull_back
from disco_samplers.reference import GaussianMixture, StudentT


def heavy(n, d, rng):
    mix = torch.randn(d, d, generator=rng, dtype=torch.float64)
    x = torch.randn(n, d, generator=rng, dtype=torch.float64) @ mix
    return x / torch.rand(n, 1, generator=rng, dtype=torch.float64).sqrt() + 5


@pytest.mark.parametrize("radial", [True, False])
@pytest.mark.parametrize("d", [1, 3])
def test_jacobian_and_inverse(rng, d, radial):
    x = heavy(200, d, rng)
    c = TailTransform.fit(x, 0.7, radial=radial)
    torch.testing.assert_close(c.inv(c(x)), x, rtol=1e-10, atol=1e-10)
    near = c.center + 1e-7 * torch.randn(3, d, generator=rng, dtype=torch.float64)
    y = torch.cat([x[:5], near, 1e8 * x[:2]]).requires_grad_()
    z = c(y)
    volume, score = pull_back(c, y, -z)
    log_prob = volume - 0.5 * z.square().sum(-1)
    (gradient,) = torch.autograd.grad(log_prob.sum(), y)
    torch.testing.assert_close(score, gradient, rtol=1e-8, atol=1e-6)
    for i in range(8):
        jacobian = torch.autograd.functional.jacobian(lambda v: c(v[None])[0], y[i].detach())
        exact = torch.linalg.slogdet(jacobian).logabsdet - 0.5 * z[i].square().sum()
        torch.testing.assert_close(log_prob[i], exact, rtol=1e-9, atol=1e-9)


def test_radius_finds_the_scatter_of_a_student_law(rng):
    """With three degrees of freedom the covariance is no guide; of 20,000 draws the scatter's standard errors are 0.01."""
    mix = torch.tensor([[2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    law = StudentT(torch.tensor([1.0, -2.0], dtype=torch.float64), mix @ mix.T, 3.0)
    c = TailTransform.fit(law.sample(20_000, generator=rng), 1 / 3, radial=True)
    unit = c.matrix.T @ mix  # a rotation, if the scatter is right
    torch.testing.assert_close(unit @ unit.T, torch.eye(2, dtype=torch.float64), rtol=0, atol=0.06)
    z = c(law.sample(20_000, generator=rng))
    assert z.norm(dim=-1).max() < 6  # the farthest of the draws themselves is beyond 50


def test_an_affine_map_of_the_samples_leaves_the_radial_image(rng):
    x = heavy(400, 2, rng)
    a = torch.tensor([[3.0, 1.0], [-1.0, 0.2]], dtype=torch.float64)
    one, two = TailTransform.fit(x, 0.5, radial=True)(x), TailTransform.fit(x @ a + 7, 0.5, radial=True)(x @ a + 7)
    torch.testing.assert_close(one @ one.T, two @ two.T, rtol=1e-6, atol=1e-6)


def test_estimate_in_coordinates_is_a_density_with_its_gradient(rotations, rng):
    x = heavy(300, 2, rng)
    estimate = rotations.condition(x, transform=TailTransform.fit(x, 0.3, radial=False))
    normalized = estimate.normalized(generator=torch.Generator().manual_seed(1))
    grid = torch.linspace(-1, 1, 151, dtype=torch.float64)
    grid = 30 * torch.sinh(3 * grid) / math.sinh(3)
    cells = torch.cartesian_prod(grid, grid) + 5
    weight = torch.outer(*2 * [torch.gradient(grid)[0]]).reshape(-1)
    assert float((normalized.log_prob(cells).exp() * weight).sum()) == pytest.approx(1, abs=0.05)
    moved = estimate.to(dtype=torch.float64)
    torch.testing.assert_close(moved.score(x), estimate.score(x), rtol=1e-3, atol=1e-3)
    draws = estimate.sample(600, generator=torch.Generator().manual_seed(2))
    # Medians of 300 rows and of the estimate made from them: five standard errors.
    assert ((draws.median(0).values - x.median(0).values).abs() < 5 * 1.3 * x.quantile(0.75, 0) / 300**0.5).all()


def error(estimate, y, exact):
    return float((estimate.score(y) - exact).square().sum() / exact.square().sum())


@pytest.mark.slow
def test_adapting_halves_the_error_on_laplace_laws(disco, rng):
    x, y = (torch.distributions.Laplace(0.0, 1.0).icdf(torch.rand(n, 10, generator=rng)) for n in (400, 200))
    estimate = disco.condition(x)
    adapted = estimate.adapt()
    assert adapted.report.coordinates == ("independent", 0.0)
    assert error(adapted, y, -y.sign()) < 0.5 * error(estimate, y, -y.sign())
    exact = -y.abs().sum(-1) - 10 * math.log(2)
    mse = [float((e.log_prob(y) - exact).square().mean()) for e in (estimate, adapted)]
    assert mse[1] < mse[0]


@pytest.mark.slow
def test_adapting_hardly_touches_light_tails(rotations, rng):
    mixture = GaussianMixture(torch.full((3,), 1 / 3), torch.tensor([[2.0, 0], [-2, 0], [0, 3]]), torch.eye(2).expand(3, 2, 2))
    x, y = mixture.sample(250, generator=rng), mixture.sample(300, generator=rng)
    estimate = rotations.condition(x)
    adapted = estimate.adapt()
    assert {kind for kind, _ in adapted.report.tried} == {"plain", "parts", "whitened parts", "radius", "columns"}
    assert adapted.report.coordinates[1] < 0.3
    assert error(adapted, y, mixture.score(y)) < 1.2 * error(estimate, y, mixture.score(y))


def test_tables_that_cannot_tell_are_read_as_they_are(small, rng):
    constant = torch.cat([torch.randn(60, 2, generator=rng), torch.ones(60, 1)], 1)
    nearly = torch.cat([torch.randn(60, 2, generator=rng), torch.zeros(60, 1)], 1)
    nearly[7, 2] = 1  # constant in every fold that leaves this row out
    for x in (torch.randn(49, 2, generator=rng), torch.randn(60, 21, generator=rng), constant, nearly):
        report = small.condition(x).adapt().report
        assert (report.tried, report.coordinates) == ({}, ("plain", 0.0))
