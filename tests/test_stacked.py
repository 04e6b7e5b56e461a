"""A density that several share: its integral, its score, and what share each has."""

import math

import pytest
import torch

from disco_samplers import DiScoFormer
from disco_samplers.estimators import (
    MIXTURE,
    PLAIN,
    SHARING,
    NormalizedEstimator,
    StackedEstimator,
    Trial,
    fit_mixture,
    log_normalizer,
    read,
    shipped_network,
)
from disco_samplers.estimators.stacked import gain, likeliest, stack
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
    stacked = StackedEstimator([read(network, x, PLAIN, keys=None), fit_mixture(x)], [0.0, scale], x)
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
    log_prob, score = StackedEstimator([read(network, x, PLAIN, keys=None), g], [0.0, scale], x).log_prob_and_score(y)
    torch.testing.assert_close(log_prob, torch.logaddexp(own, other))
    r = torch.sigmoid(other - own)[:, None]
    torch.testing.assert_close(score, (1 - r) * own_score + r * g.evaluate_score(y), rtol=1e-6, atol=1e-6)


def test_the_likeliest_shares_are_found():
    """By rows of which 30 % are of the second law; the other way round with counts. A third law explains none of them."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(4000, 1, dtype=torch.float64, generator=generator)
    x[:1200] += 3
    laws = [Gaussian(torch.full((1,), m, dtype=torch.float64), torch.eye(1, dtype=torch.float64)) for m in (0.0, 3.0, 40.0)]
    log_prob = torch.stack([law.evaluate(x) for law in laws], 1)
    found = likeliest(log_prob, None)
    assert found.tolist() == pytest.approx([0.7, 0.3, 0.0], abs=0.03)  # four standard errors
    counts = torch.ones(4000, dtype=torch.float64)
    counts[1200:] = 1200 * 0.3 / 0.7 / 2800
    assert likeliest(log_prob, counts).tolist() == pytest.approx([0.3, 0.7, 0.0], abs=0.04)
    shares = found.requires_grad_()
    (slope,) = torch.autograd.grad((log_prob + shares.log()).logsumexp(1).mean(), shares)
    assert slope.tolist()[:2] == pytest.approx([1.0, 1.0], abs=1e-3)  # the condition of a maximum on the simplex


class Told:
    """A trial of which only the losses are known."""

    def __init__(self, **losses):
        self.losses = {(name, 0.0): torch.tensor(values, dtype=torch.float64) for name, values in losses.items()}
        self.worth = None


def test_few_share_and_a_mixture_never_alone():
    some = [1.0, 2.0, 3.0, 2.0]
    told = Told(plain=some, parts=some[::-1], radius=[2.0] * 4, columns=some, mixture=[0.0] * 4)
    shares = stack(told, list(told.losses))
    assert len(shares) == 2
    assert next(iter(shares)) == MIXTURE
    told = Told(**{name: [0.0 if i == j else 3.0 for j in range(5)] for i, name in enumerate("abcde")})
    shares = stack(told, list(told.losses))
    assert len(shares) == SHARING
    assert sum(shares.values()) == pytest.approx(1.0)


def test_a_share_of_next_to_nothing_has_a_logarithm():
    """Rounds of expectation maximisation would bring it to zero: a mixture that is right, beside a reading that is far off."""
    told = Told(plain=[900.0] * 4, mixture=[0.0] * 4)
    shares = stack(told, list(told.losses))
    assert list(shares) == [MIXTURE, PLAIN]
    assert 0 < shares[PLAIN] < 1e-6
    assert torch.isfinite(gain(told, shares, PLAIN)).all()


def test_a_row_that_one_way_cannot_explain_is_explained_by_another():
    inf = math.inf
    told = Told(plain=[inf, 1.0, 1.0, math.nan], parts=[1.0, inf, 1.0, 1.0])
    shares = stack(told, list(told.losses))
    assert sorted(shares) == [("parts", 0.0), PLAIN]
    assert torch.isfinite(gain(told, shares, ("parts", 0.0))).all()


def share_of(network, x):
    trial = Trial(network, x, counts=None, blocks=None, keys=2048, seed=0)
    trial.judge(PLAIN)
    trial.judge_mixture()
    return stack(trial, [PLAIN, MIXTURE]).get(MIXTURE, 0.0)


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
