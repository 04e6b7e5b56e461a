"""Samples taken in parts: the mixture that deals them, and what the estimate of the parts is."""

import math

import pytest
import torch

from disco_samplers.estimate import DensityEstimate
from disco_samplers.estimators import PartsEstimator, WhitenedPartsEstimator, fit_mixture
from disco_samplers.reference import GaussianMixture

EM = pytest.importorskip("sklearn.mixture").GaussianMixture


def read(made, disco, samples):
    return DensityEstimate(disco, samples, made(disco.network, samples))


@pytest.fixture
def flat(rng):
    """Two crossed clusters, each a hundred times as long as wide, far from the origin, and their law."""
    angle = torch.tensor([0.5, 2.0], dtype=torch.float64)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    factor = turn * torch.tensor([3.0, 0.03], dtype=torch.float64)
    law = GaussianMixture(torch.ones(2), torch.tensor([[50.0, 0.0], [52.0, 4.0]], dtype=torch.float64), factor @ factor.mT)
    return law, law.draw(600, rng)


def test_fit_is_as_likely_as_scikit_learns(rng):
    means = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 5.0, 1.0]], dtype=torch.float64)
    law = GaussianMixture(torch.tensor([0.5, 0.3, 0.2]), means, torch.full((3, 3), 0.5, dtype=torch.float64))
    x = law.draw(1500, rng)
    mixture = fit_mixture(x)
    peer = EM(3, n_init=3, random_state=0).fit(x.numpy())
    assert len(mixture.weights) == 3
    assert float(mixture.evaluate(x).mean()) == pytest.approx(peer.score(x.numpy()), abs=1e-3)
    means = torch.from_numpy(peer.means_[peer.weights_.argsort()])
    torch.testing.assert_close(mixture.means[mixture.weights.argsort()], means, atol=0.02, rtol=0)


def test_number_of_components_is_that_of_the_lowest_criterion(rng):
    x = torch.randn(500, 2, generator=rng)
    assert len(fit_mixture(x).weights) == 1
    x[:250] += 8
    assert len(fit_mixture(x).weights) == 2
    assert len(fit_mixture(x, most=1).weights) == 1


def test_fit_follows_shift_and_scale_of_the_columns(rng):
    x = torch.randn(300, 2, generator=rng, dtype=torch.float64)
    x[:100] -= 5
    scale, shift = torch.tensor([1e6, 1e-6], dtype=torch.float64), torch.tensor([-1e8, 3.0], dtype=torch.float64)
    here, there = fit_mixture(x), fit_mixture(shift + x * scale)
    torch.testing.assert_close(there.means, shift + here.means * scale, rtol=1e-6, atol=0)
    torch.testing.assert_close(there.weights, here.weights, rtol=1e-6, atol=0)


@pytest.mark.parametrize("rows", [torch.zeros(50, 2), torch.arange(2.0).repeat(25)[:, None].expand(50, 2)])
def test_fit_takes_rows_that_all_lie_on_few_points(rows, rng):
    x = rows + 1e-9 * torch.randn(50, 2, generator=rng, dtype=torch.float64)
    assert torch.isfinite(fit_mixture(x).evaluate(x)).all()


@pytest.mark.parametrize("made", [PartsEstimator, WhitenedPartsEstimator])
def test_parts_mix_by_their_shares(disco, flat, made):
    _, x = flat
    estimate = read(made, disco, x)
    assert len(estimate.estimator.parts) == 2
    y = x[:40]
    parts = estimate.estimator.parts
    each = [(log_prob + p.log_share, score) for p in parts for log_prob, score in [p.estimator.log_prob_and_score(y)]]
    density = sum(log_prob.exp() for log_prob, _ in each)
    torch.testing.assert_close(estimate.log_prob(y).exp(), density)
    torch.testing.assert_close(estimate.score(y), sum(p.exp()[:, None] * s for p, s in each) / density[:, None])
    assert sum(math.exp(part.log_share) for part in parts) == pytest.approx(1)
    assert sum(len(part.estimator.core.samples) for part in parts) == len(x)


@pytest.mark.parametrize("made", [PartsEstimator, WhitenedPartsEstimator])
def test_crossed_flat_clusters_are_read_ten_times_better(disco, flat, made, rng):
    law, x = flat
    y = law.draw(500, rng)
    true = law.evaluate_score(y)

    def error(estimate):
        return float((estimate.score(y) - true).square().sum() / true.square().sum())

    assert error(read(made, disco, x)) < 0.1 * error(disco.condition(x))


@pytest.mark.parametrize("made", [PartsEstimator, WhitenedPartsEstimator])
def test_density_in_whitened_coordinates_and_its_gradient_agree_with_those_of_the_data(disco, flat, made):
    _, x = flat
    estimate = read(made, disco, x)
    whitening = estimate.estimator.whitening
    white = whitening(x[None, :30])
    torch.testing.assert_close(estimate.white_log_prob(white)[0] + whitening.log_det, estimate.log_prob(x[:30]))
    _, score = estimate.estimator.white(white)
    torch.testing.assert_close(score[0] @ whitening.matrix[0].mT, estimate.score(x[:30]))
    y = x[:5].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(estimate.log_prob(y).sum(), y)
    step = 1e-4 * torch.tensor([0.6, 0.8], dtype=torch.float64)
    rise = estimate.to(dtype=torch.float64)
    torch.testing.assert_close(
        (rise.log_prob(x[:5] + step) - rise.log_prob(x[:5] - step)) / 2, gradient @ step, rtol=0.02, atol=1e-3
    )


@pytest.mark.slow
def test_it_is_normalised_sampled_and_moved_as_any_estimate(disco, flat, rng):
    _, x = flat
    estimate = read(WhitenedPartsEstimator, disco, x)
    many = 65_536  # of density on two needles few draws tell
    normalized = estimate.normalized(num_samples=many, generator=torch.Generator().manual_seed(1))
    assert abs(normalized.log_normalizer(num_samples=many, generator=torch.Generator().manual_seed(2)).value) < 0.1
    draws = estimate.sample(300, generator=rng)
    # Six standard errors of each mean, of the draws and of the rows.
    assert ((draws.mean(0) - x.mean(0)).abs() < 6 * x.std(0) / math.sqrt(300)).all()
    double = estimate.to(dtype=torch.float64)
    assert type(double.estimator) is WhitenedPartsEstimator
    torch.testing.assert_close(double.log_prob(x[:9]), estimate.log_prob(x[:9]), rtol=1e-3, atol=1e-3)
    assert repr(estimate).startswith("DensityEstimate(n=600, d=2, read=WhitenedPartsEstimator")


def test_every_part_has_rows_enough_to_have_a_shape(disco, rng):
    x = torch.randn(200, 3, generator=rng)
    x[:5] += 1000  # five rows in three dimensions are no part of their own
    x[3:53] = x[53:103] + torch.tensor([9.0, 0.0, 0.0])
    estimate = read(PartsEstimator, disco, x)
    assert all(len(part.estimator.samples) >= 8 for part in estimate.estimator.parts)
    assert torch.isfinite(estimate.score(x)).all()


def test_same_samples_give_the_same_parts(disco, flat):
    _, x = flat
    one, two = (read(PartsEstimator, disco, x) for _ in range(2))
    assert torch.equal(one.score(x[:20]), two.score(x[:20]))


def test_adapting_takes_clusters_in_parts_and_a_bent_cloud_as_a_whole(disco, flat, rng):
    _, x = flat
    adapted = disco.condition(x[:300]).adapt()
    assert adapted.report.coordinates[0] in ("parts", "whitened parts")
    assert adapted.report.tried[adapted.report.coordinates] < adapted.report.tried["plain", 0.0] - 0.05
    one = torch.randn(300, 2, generator=rng)
    one[:, 1] += 0.5 * one[:, 0]
    assert ("parts", 0.0) not in disco.condition(one).adapt().report.tried
    assert type(adapted.with_model(disco).estimator.core) is type(adapted.estimator.core)
