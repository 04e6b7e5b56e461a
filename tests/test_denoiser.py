"""The network that is told the noise: its special cases, symmetries, what training brought, and its front."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from disco_samplers import DiscoDenoiser, Draws
from disco_samplers.estimators import DenoisingEstimator
from disco_samplers.model import DenoiserConfig, DenoiserNetwork, NoiseUnits
from disco_samplers.reference import GaussianMixture, OptimalDenoiser

SIZES = DenoiserConfig(layers=2, width=16, vector_channels=4, heads=3, head_width=4, hidden=16)


def made(seed: int = 0) -> DenoiserNetwork:
    """An untrained network whose heads' corrections are no longer zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DenoiserNetwork(SIZES).requires_grad_(False)
        network.heads.output.weight.normal_(std=0.3)
    return network


def plain(head: int, log_kappa: float | None = None) -> DenoiserNetwork:
    """The network of stated parameters that is one head's kernel estimate: its shares all that head's, no corrections."""
    network = made()
    for attention in network.attention:
        for name in ("query", "query_vector", "bandwidth"):
            getattr(attention, name).weight.zero_()
        attention.query.bias.zero_()
        attention.tilt_gain.zero_()
        if log_kappa is not None:
            attention.ladder.zero_()
            attention.ladder[:, 0] = log_kappa
    network.heads.output.weight.zero_()
    network.heads.output.bias.zero_()
    network.heads.output.bias[head] = 60.0
    return network


@pytest.fixture(scope="module")
def samples():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(200, 4, generator=generator) @ torch.randn(4, 4, generator=generator) + 3.0


def noised(samples: torch.Tensor, sigma: float, count: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return samples[:count] + sigma * torch.randn(count, samples.shape[1], generator=generator)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_with_the_first_head_alone_it_is_the_exact_answer_for_the_samples(sigma, samples):
    y = noised(samples, sigma)
    exact = OptimalDenoiser(samples.double())
    log_prob, score = DenoisingEstimator(plain(0), samples, sigma).log_prob_and_score(y)
    # Directions of less than a fiftieth of the noise's variance are taken for normal.
    tolerance = 2e-3 if sigma < 5 else 0.05
    torch.testing.assert_close(sigma * score, sigma * exact.score(y.double(), sigma), atol=tolerance, rtol=0)
    torch.testing.assert_close(log_prob, exact.log_prob(y.double(), sigma), atol=tolerance, rtol=0)


def test_with_another_head_alone_it_is_a_kernel_estimate_blurred(samples):
    sigma, kappa = 0.5, 0.3
    y = noised(samples, sigma)
    units = NoiseUnits.of(samples[None], torch.tensor([sigma]))
    principal = units.directions[0]
    own = principal * (units.variances[0] * sigma**2) @ principal.mT
    covariances = (kappa * own + sigma**2 * torch.eye(4).double()).expand(200, 4, 4)
    kde = GaussianMixture(torch.ones(200).double(), samples.double(), covariances)
    log_prob, score = DenoisingEstimator(plain(1, math.log(kappa)), samples, sigma).log_prob_and_score(y)
    torch.testing.assert_close(score, kde.score(y.double()), atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(log_prob, kde.log_prob(y.double()), atol=2e-3, rtol=1e-3)


def test_it_turns_shifts_and_scales_with_the_data(samples):
    sigma, factor = 0.7, 3.0
    y = noised(samples, sigma)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(2)))[0]
    moved = [factor * points @ turn + 5.0 for points in (samples, y)]
    log_prob, score = DenoisingEstimator(made(), samples, sigma).log_prob_and_score(y)
    other, turned = DenoisingEstimator(made(), moved[0], factor * sigma).log_prob_and_score(moved[1])
    torch.testing.assert_close(turned, score @ turn.double() / factor, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(other, log_prob - 4 * math.log(factor), atol=2e-3, rtol=1e-3)


def test_a_row_of_double_weight_is_one_given_twice(samples):
    counts = torch.ones(200).double()
    counts[7] = 2.0
    y = noised(samples, 0.5)
    one = DenoisingEstimator(made(), samples, 0.5, counts).log_prob_and_score(y)
    two = DenoisingEstimator(made(), torch.cat([samples, samples[7:8]]), 0.5).log_prob_and_score(y)
    for ours, theirs in zip(one, two, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_far_more_noise_than_data_leaves_the_normal_law(samples):
    sigma = 300.0
    y = noised(samples, sigma)
    log_prob, score = DenoisingEstimator(made(), samples, sigma).log_prob_and_score(y)
    expected = -(y - samples.mean(0)).double() / sigma**2
    torch.testing.assert_close(sigma * score, sigma * expected, atol=1e-3, rtol=0)
    assert log_prob.isfinite().all()


@pytest.mark.parametrize(
    ("d", "sigma", "most"), [(2, 0.3, 0.7), (5, 0.3, 0.7), (20, 1.0, 0.8), (5, 1.0, 1.3), (2, 1.0, 1.3), (20, 2.0, 1.3)]
)
def test_trained_it_is_ahead_of_the_exact_answer_for_the_samples_or_near_it_and_ahead_of_a_normal_law(d, sigma, most):
    """Eight mixtures of four clusters, 500 rows, of seeds that no training used: mean squared error of the clean point.

    Where the noise is large, and samples many, the exact answer for the samples is as good as the best.
    """
    denoiser, errors = DiscoDenoiser.from_pretrained(), np.zeros(3)
    for seed in range(8):
        generator = torch.Generator().manual_seed(10**6 + seed)
        means = 2 * torch.randn(4, d, generator=generator)
        covariances = torch.full((4, d), 0.3)
        f = GaussianMixture(torch.ones(4), means, covariances)
        x, clean = f.sample(500, generator=generator), f.sample(300, generator=generator)
        y = clean + sigma * torch.randn(clean.shape, generator=generator)
        best = y + sigma**2 * GaussianMixture(torch.ones(4), means, covariances + sigma**2).score(y)
        normal = torch.cov(x.T)
        linear = x.mean(0) + (y - x.mean(0)) @ torch.linalg.solve(normal + sigma**2 * torch.eye(d), normal)
        answers = denoiser.condition(x, sigma).denoise(y), OptimalDenoiser(x)(y, sigma), linear
        errors += [float((answer - best).square().mean()) for answer in answers]
    assert errors[0] < most * errors[1:].min(), errors


def test_the_density_is_that_of_the_blurred_law():
    """A normal law in three columns: mean log-density and its mean square error, in nats."""
    generator = torch.Generator().manual_seed(10**6)
    x, y = torch.randn(800, 3, generator=generator), 1.25**0.5 * torch.randn(400, 3, generator=generator)
    exact = torch.distributions.Normal(0.0, 1.25**0.5).log_prob(y).sum(1)
    gap = DiscoDenoiser.from_pretrained().condition(x, 0.5).log_prob(y) - exact
    assert abs(float(gap.mean())) < 0.1
    assert float(gap.square().mean()) < 0.08


def test_arrays_come_back_as_they_came(samples):
    estimate = DiscoDenoiser(SIZES).condition(samples.numpy(), 0.5)
    assert isinstance(estimate.denoise(samples.numpy()[:3]), np.ndarray)
    assert estimate.score(samples[:3].double()).dtype == torch.float64
    assert estimate.log_prob(samples[:3]).dtype == torch.float32
    weights = torch.rand(200, generator=torch.Generator().manual_seed(0))
    drawn = DiscoDenoiser(SIZES).condition(Draws(samples, weights=weights), 0.5)
    assert drawn.log_prob(samples[:3]).isfinite().all()
    frame = pd.DataFrame(samples.numpy()[:3])
    for answer, whole in ((estimate.denoise(frame), (3, 4)), (estimate.score(frame), (3, 4)), (estimate.log_prob(frame), (3,))):
        assert isinstance(answer, np.ndarray)
        assert answer.shape == whole


def test_no_points_have_no_answers(samples):
    log_prob, score = DiscoDenoiser(SIZES).condition(samples, 0.5).log_prob_and_score(samples[:0])
    assert log_prob.shape == (0,)
    assert score.shape == (0, 4)


@pytest.mark.parametrize("noise", [1e-10, 1e30])
def test_extreme_noise_leaves_finite_answers(noise, samples):
    estimate = DiscoDenoiser(SIZES).condition(samples, noise)
    assert estimate.log_prob(samples[:3] + 1).isfinite().all()
    denoised = estimate.denoise(samples[:3])
    assert denoised.isfinite().all()
    if noise > 1:  # nothing is left but the mean
        torch.testing.assert_close(denoised, samples.mean(0).expand(3, 4), atol=1e-4, rtol=1e-4)


def test_it_is_saved_and_loaded(tmp_path, samples):
    denoiser = DiscoDenoiser.from_pretrained()
    denoiser.save_pretrained(tmp_path)
    again = DiscoDenoiser.from_pretrained(tmp_path)
    ours, theirs = (model.condition(samples, 0.5).score(samples) for model in (denoiser, again))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_what_becomes_of_the_model_changes_no_estimate(samples):
    denoiser = DiscoDenoiser.from_pretrained()
    estimate = denoiser.condition(samples, 0.5)
    before = estimate.log_prob(samples[:3])
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.zero_()
    torch.testing.assert_close(estimate.log_prob(samples[:3]), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("noise", "points", "message"),
    [
        (0.0, (3, 4), "noise must be positive"),
        (float("nan"), (3, 4), "noise"),
        (1e-30, (3, 4), "of the samples' spread"),
        (1.0, (3, 5), "points"),
        (1.0, (3, 4, 4), "points must have shape"),
    ],
)
def test_what_does_not_fit_is_named(noise, points, message, samples):
    with pytest.raises(ValueError, match=message):
        DiscoDenoiser(SIZES).condition(samples, noise).score(torch.zeros(points))


def test_weights_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="unknown config key"):
        DiscoDenoiser.from_pretrained("disco_samplers/weights/axes")
    with pytest.raises(ValueError, match="2 rows"):
        DiscoDenoiser(SIZES).condition(torch.zeros(1, 3), 1.0)
    with pytest.raises(ValueError, match="from 2 on"):
        DenoiserConfig(heads=1)
