"""The density shared with a mixture of Gaussians: its integral, its score, and when it is shared."""

import copy
import math

import pytest
import torch

from disco_samplers import DiScoFormer
from disco_samplers.estimators import (
    PLAIN,
    NormalizedEstimator,
    StackedEstimator,
    Trial,
    deviation,
    fit_mixture,
    log_normalizer,
    mixture_share,
    read,
    shipped_network,
)
from disco_samplers.estimators.judge import criterion, probes_of, slopes
from disco_samplers.estimators.stacked import _likeliest, _shared
from disco_samplers.reference import Gaussian, GaussianMixture


@pytest.fixture(scope="module")
def network():
    return shipped_network("axes")


def clusters(n, seed, d=2):
    """Three long clusters in different directions, and their law."""
    generator = torch.Generator().manual_seed(seed)
    turned = torch.linalg.qr(torch.randn(3, d, d, dtype=torch.float64, generator=generator))[0]
    factor = turned * torch.logspace(-1, 0.3, d, dtype=torch.float64)
    means = 3 * torch.randn(3, d, dtype=torch.float64, generator=generator)
    law = GaussianMixture(torch.ones(3, dtype=torch.float64), means, factor @ factor.mT)
    return law, law.draw(n, generator), law.draw(500, generator)


def test_the_integral_is_that_of_both(network):
    _, x, _ = clusters(300, 1)
    scale = math.log(0.7)
    stacked = StackedEstimator(read(network, x, PLAIN, keys=None), x, fit_mixture(x), scale)
    side = torch.linspace(-15, 15, 241, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    cell = float(side[1] - side[0]) ** 2
    alone = read(network, x, PLAIN, keys=None).log_prob(grid).exp().sum() * cell
    assert float(stacked.log_prob(grid).exp().sum() * cell) == pytest.approx(float(alone) + 0.7, rel=2e-3)


def test_log_density_and_score_are_of_the_mixture_of_both(network):
    _, x, y = clusters(300, 2)
    g, scale = fit_mixture(x), -0.4
    own, own_score = read(network, x, PLAIN, keys=None).log_prob_and_score(y)
    other = g.evaluate(y) + scale
    log_prob, score = StackedEstimator(read(network, x, PLAIN, keys=None), x, g, scale).log_prob_and_score(y)
    torch.testing.assert_close(log_prob, torch.logaddexp(own, other))
    r = torch.sigmoid(other - own)[:, None]
    torch.testing.assert_close(score, (1 - r) * own_score + r * g.evaluate_score(y), rtol=1e-6, atol=1e-6)


def test_the_criterion_of_both_follows_from_that_of_each(network):
    """Exact in the plane, where the divergence is; in double precision, for its second derivatives."""
    network = copy.deepcopy(network).double()
    _, x, y = clusters(200, 3)
    g, share = fit_mixture(x), 0.3
    probes = probes_of(len(y), 2, torch.Generator().manual_seed(0)).to(y)
    scale = deviation(x, None)
    alone = read(network, x, PLAIN, keys=None)
    own, other = (slopes(one, y, probes, scale) for one in (alone, g))
    found = _shared(own, other, torch.stack([alone.log_prob(y), g.evaluate(y)], 1), share)
    stacked = StackedEstimator(alone, x, g, math.log(share / (1 - share)))
    torch.testing.assert_close(found[:, 0], criterion(stacked, y, probes, scale), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(-found[:, 1], stacked.log_prob(y) + math.log1p(-share), rtol=1e-5, atol=1e-5)


def test_the_likeliest_share_is_found():
    """By rows of which 30 % are of the second law; the other way round with counts."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(4000, 1, dtype=torch.float64, generator=generator)
    x[:1200] += 3
    one, two = (Gaussian(torch.full((1,), m, dtype=torch.float64), torch.eye(1, dtype=torch.float64)) for m in (0.0, 3.0))
    ratio = two.evaluate(x) - one.evaluate(x)
    assert _likeliest(ratio, None) == pytest.approx(0.3, abs=0.03)  # four standard errors
    counts = torch.ones(4000, dtype=torch.float64)
    counts[1200:] = 1200 * 0.3 / 0.7 / 2800
    assert _likeliest(ratio, counts) == pytest.approx(0.7, abs=0.04)
    assert _likeliest(torch.full((50,), -2.0, dtype=torch.float64), None) < 1e-9


def share_of(network, x):
    trial = Trial(network, x, counts=None, blocks=None, keys=2048, seed=0)
    trial.judge(PLAIN)
    return mixture_share(trial, PLAIN)[0]


def test_clusters_of_many_rows_are_shared_and_a_bent_law_is_not(network):
    _, x, _ = clusters(3000, 5, d=3)
    assert share_of(network, x) > 0.8
    z = torch.randn(600, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    bent = torch.stack([z[:, 0], z[:, 1] * torch.exp(1.2 * z[:, 0])], 1)
    assert share_of(network, bent) < 0.3


def test_adapting_shares_and_comes_closer(network):
    law, x, y = clusters(600, 9)
    estimate = DiScoFormer.from_pretrained().condition(x).adapt()
    assert estimate.report.mixture > 0
    assert isinstance(estimate.estimator, NormalizedEstimator)
    alone = read(network, x, estimate.report.coordinates, keys=estimate.keys)
    alone = NormalizedEstimator(alone, log_normalizer(alone, seed=0).value)
    truth = law.evaluate(y)
    ours, theirs = ((found.log_prob(y) - truth).square().mean() for found in (estimate, alone))
    assert ours < theirs
    single = estimate.to(dtype=torch.float32)
    torch.testing.assert_close(single.log_prob(y), estimate.log_prob(y), rtol=1e-3, atol=1e-2)
    assert single.score(y).shape == y.shape
