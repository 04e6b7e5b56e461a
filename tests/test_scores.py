"""Score algebra against exact densities."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import biject_to, constraints
from torch.distributions.transforms import ExpTransform

from disco_samplers import DiScoFormer, LangevinSampler
from disco_samplers.reference import KDE, Gaussian, GaussianMixture
from disco_samplers.scores import Score, combine, from_log_prob, ladder, smooth, transform

X = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
ONE = Gaussian(torch.zeros(2).double(), torch.eye(2).double())
OTHER = Gaussian(torch.ones(2).double(), torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double())


def gradient(log_prob, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(log_prob(x).sum(), x)[0]


def test_sums_powers_and_quotients():
    result = 2 * Score(ONE) + Score(OTHER) * 0.5 - Score(ONE) / 4
    expected = 1.75 * ONE.score(X) + 0.5 * OTHER.score(X)
    torch.testing.assert_close(result(X), expected)
    torch.testing.assert_close(result.score(X), expected)
    torch.testing.assert_close(result.log_prob(X), 1.75 * ONE.log_prob(X) + 0.5 * OTHER.log_prob(X))
    for a, b in zip(result.log_prob_and_score(X), (result.log_prob(X), expected), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close((-result)(X), -expected)


def test_product_of_gaussians_is_gaussian():
    precision = torch.eye(2).double() + torch.linalg.inv(OTHER.covariances[0])
    covariance = torch.linalg.inv(precision)
    product = Gaussian(covariance @ torch.linalg.inv(OTHER.covariances[0]) @ OTHER.means[0], covariance)
    torch.testing.assert_close((Score(ONE) + OTHER)(X), product.score(X))


def test_log_prob_is_there_exactly_where_all_parts_have_one():
    plain = lambda x: -x  # noqa: E731
    assert hasattr(Score(ONE) + OTHER, "log_prob")
    assert not hasattr(Score(ONE) + plain, "log_prob")
    assert not hasattr(Score(plain) * 2, "log_prob")
    assert hasattr(Score(plain, ONE.log_prob), "log_prob")
    assert LangevinSampler(score=Score(ONE) + plain).method == "ula"
    assert LangevinSampler(score=Score(ONE) + OTHER).method == "mala"


def test_a_density_need_not_be_callable():
    class Plain:
        score, log_prob = ONE.score, ONE.log_prob

    torch.testing.assert_close(Score(Plain())(X), ONE.score(X))
    torch.testing.assert_close(Score(Plain()).log_prob(X), ONE.log_prob(X))


@pytest.mark.slow
def test_posterior_from_prior_draws_and_likelihood(disco):
    """A prior known by draws, times a likelihood: the posterior's mean and variance are those of conjugate Gaussians.

    The estimate's own error is below a tenth here; false alarm of the sampling below 1e-6.
    """
    prior = torch.randn(800, 1, generator=torch.Generator().manual_seed(1))
    posterior = Score(disco.condition(prior)) + from_log_prob(lambda x: -0.5 * (x[:, 0] - 2).square())
    result = LangevinSampler(score=posterior).run(
        20, initial=torch.zeros(100, 1), num_warmup=100, thinning=5, seed=0, progress=False
    )
    assert abs(float(result.flat.mean()) - 1) < 0.25
    assert abs(float(result.flat.var()) - 0.5) < 0.2


def test_smoothing():
    mixture = GaussianMixture(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0], [2.0]]), torch.tensor([[0.5], [0.1]]))
    torch.testing.assert_close(smooth(mixture, 2.0).covariances, torch.tensor([[4.5], [4.1]]))
    assert smooth(ONE, torch.tensor([1.0, 3.0])).covariances[0].diagonal().tolist() == [2.0, 10.0]
    assert smooth(ONE, 0.0) is ONE
    model = DiScoFormer.from_pretrained()
    estimate = model.condition(torch.randn(400, 1, generator=torch.Generator().manual_seed(2)))
    wide = smooth(estimate, 2.0, copies=2, generator=torch.Generator().manual_seed(3))
    assert wide.num_samples == 800
    assert abs(float(wide.samples.var()) - 5) < 1.3  # five standard errors
    again = smooth(estimate, 2.0, copies=2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(wide.samples, again.samples)
    assert len(ladder(ONE, [2.0, 1.0])) == 3
    with pytest.raises(TypeError, match="smooth takes an estimate"):
        smooth(KDE(X, 1.0), 1.0)
    with pytest.raises(ValueError, match="sigma must be finite"):
        smooth(ONE, -1.0)
    for copies, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="copies must be"):
            smooth(estimate, 1.0, copies=copies)
    with pytest.raises(ValueError, match="levels must fall"):
        ladder(ONE, [1.0, 2.0])


def test_smoothing_keeps_the_weights():
    """exp(x) makes of a standard normal one at 1, and the noise adds its variance. Unweighted it would lie at 0."""
    x = torch.randn(3000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    estimate = DiScoFormer.from_pretrained().condition(x, weights=x[:, 0].exp())
    smoothed = smooth(estimate, 0.5, seed=0)
    exact = torch.distributions.Normal(1.0, math.sqrt(1.25))
    points = torch.linspace(-0.5, 2.5, 7, dtype=torch.float64)
    assert (smoothed.log_prob(points[:, None]) - exact.log_prob(points)).abs().max() < 0.25
    assert smoothed.effective_size == pytest.approx(estimate.effective_size)


@pytest.mark.parametrize("kind", ["elementwise", "simplex"])
def test_change_of_variables(kind):
    """Density and score of y = T^-1(x) against torch's own distributions."""
    if kind == "elementwise":
        bijection, y = biject_to(constraints.positive), X
        gamma = torch.distributions.Gamma(torch.tensor(3.0).double(), torch.tensor(2.0).double())
        of_x = from_log_prob(lambda x: gamma.log_prob(x).sum(-1))
        exact = lambda v: (gamma.log_prob(v.exp()) + v).sum(-1)  # noqa: E731
    else:
        bijection, y = biject_to(constraints.simplex), X
        law = torch.distributions.Dirichlet(torch.tensor([2.0, 3.0, 4.0]).double())
        of_x = from_log_prob(law.log_prob)
        exact = torch.distributions.TransformedDistribution(law, bijection.inv).log_prob
    result = transform(of_x, bijection)
    torch.testing.assert_close(result.log_prob(y), exact(y))
    torch.testing.assert_close(result(y), gradient(exact, y))
    assert not hasattr(transform(lambda x: -x, ExpTransform()), "log_prob")


def test_there_and_back():
    back = transform(transform(OTHER, biject_to(constraints.positive).inv), biject_to(constraints.positive))
    torch.testing.assert_close(back(X), OTHER.score(X))
    torch.testing.assert_close(back.log_prob(X), OTHER.log_prob(X))


def test_wrong_parts(disco):
    with pytest.raises(TypeError, match="score must be callable"):
        Score(3)
    with pytest.raises(TypeError, match="unconditioned model"):
        Score(disco)
    with pytest.raises(ValueError, match="at least one term"):
        combine([(0.0, ONE)])
    with pytest.raises(ValueError, match="weights must be finite"):
        Score(ONE) * float("nan")
    with pytest.raises(TypeError, match="bijection must be"):
        transform(ONE, torch.exp)
    with pytest.raises(ValueError, match="outside"):
        transform(ONE, biject_to(constraints.positive).inv)(-X.abs())


def test_a_log_density_is_differentiated_in_inference_mode():
    score = from_log_prob(lambda x: -0.5 * x.square().sum(-1))
    with torch.inference_mode():
        y = torch.ones(2, 3)
        assert torch.equal(score(y), -y)
        assert torch.equal((score + score).log_prob_and_score(y)[1], -2 * y)
    with pytest.raises(TypeError, match="log_prob must be callable"):
        from_log_prob(3)
