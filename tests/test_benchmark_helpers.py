"""What the benchmarks count and fit with."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from ablations import WithoutKernels
from equivariance import matrices
from gmm import below
from methods import best_kde, errors, loo_kde
from normalizers import integral
from plain_transformer import PlainTransformer
from published import SETUPS, mean_squares
from report import cached, exponent, spread, summary
from trained import SlicedScoreMatching, SplineFlow

from disco_samplers.model import DiScoFormerConfig, Network
from disco_samplers.model.block import KernelEstimates
from disco_samplers.reference import KDE, Gaussian


def test_exponent_of_a_power_law():
    sizes = [2**k for k in range(8, 14)]
    assert exponent(sizes, [3e-6 * n**1.3 for n in sizes]) == pytest.approx(1.3)


def test_spread_is_mean_and_standard_error():
    values = np.random.default_rng(0).normal(size=50)
    assert spread(values) == pytest.approx((values.mean(), values.std(ddof=1) / 50**0.5))
    assert spread([2.0]) == (2.0, 0.0)


def test_summary_leaves_out_a_density_that_does_not_exist():
    assert summary([(0.1, 2.0), (0.1, 2.0)])[0] == "10.0 ± 0.0 / 2 ± 0"
    text, raw = summary([(0.1, float("nan")), (0.3, float("nan"))])
    assert text == "20.0 ± 10.0"
    assert raw == pytest.approx({"sets": 2, "relative_score_error": 0.2, "score_se": 0.1})


def test_cached_makes_once_and_leaves_no_half_file(tmp_path):
    calls = []

    def make():
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return {"a": [[1.0, 2.0]]}

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "cell", make)
    assert not (tmp_path / "cell.json").exists()
    assert cached(tmp_path, "cell", make) == cached(tmp_path, "cell", make) == {"a": [[1.0, 2.0]]}
    assert len(calls) == 2
    assert json.loads((tmp_path / "cell.json").read_text()) == {"a": [[1.0, 2.0]]}


def test_cells_are_compared_on_the_sets_both_have():
    cells = [
        {"ours": [(0.1, 1.0), (9.0, 9.0)], "other": [(0.2, 0.5)]},
        {"ours": [(0.3, 1.0)], "other": [(0.2, 2.0)]},
        {"ours": [(0.0, 0.0)]},
    ]
    assert below(cells, "ours", "other") == (1, 1, 2)
    assert below(cells, "ours", "other", 3.0) == (0, 0, 2)


@pytest.mark.parametrize("d", [1, 3])
def test_no_bandwidth_beats_the_best_one(d):
    generator = torch.Generator().manual_seed(0)
    target = Gaussian(torch.zeros(d).double(), torch.eye(d).double() + 0.5)
    x, y = target.draw(200, generator), target.draw(100, generator)
    truth = target.evaluate(y), target.evaluate_score(y)
    best = best_kde(x, y, truth)
    for whiten in (False, True):
        for h in torch.logspace(-1.5, 0.5, 40).tolist():
            score, density = errors(KDE(x, h, whiten=whiten).log_prob_and_score(y), truth)
            assert best[0] < 1.03 * score  # the grid's own resolution
            assert best[1] < 1.03 * density


def test_leave_one_out_bandwidth_of_many_samples_follows_its_rate():
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    assert loo_kde(x, 400).bandwidth == KDE(x, "loo").bandwidth
    assert loo_kde(x, 100).bandwidth == pytest.approx(KDE(x[:100], "loo").bandwidth * 4 ** (-1 / 6))


@pytest.mark.parametrize("setup", SETUPS[:2] + SETUPS[-2:], ids=lambda setup: setup.name)
def test_published_targets_are_what_they_are_called(setup):
    target = setup.target(torch.Generator().manual_seed(3))
    y = target.draw(20, torch.Generator().manual_seed(4))
    if "Laplace" in setup.name:
        expected = stats.laplace.logpdf(y).sum(1)
    elif "Student" in setup.name:
        expected = stats.multivariate_t(np.zeros(2), np.eye(2), df=3).logpdf(y)
    elif "Gaussian" in setup.name:
        expected = stats.norm.logpdf(y).sum(1)
    else:
        assert target.means.shape == (2, 100)
        parts = [stats.norm.logpdf(y, m, v.sqrt()).sum(1) for m, v in zip(target.means, target.covariances, strict=True)]
        expected = np.logaddexp(*(np.log(w) + part for w, part in zip(target.weights.numpy(), parts, strict=True)))
    np.testing.assert_allclose(target.evaluate(y), expected, rtol=1e-10)


def test_published_errors_are_means_over_queries_and_coordinates():
    target = Gaussian(torch.zeros(3).double(), torch.ones(3).double())
    wide = Gaussian(torch.zeros(3).double(), 4 * torch.ones(3).double())
    score, density = mean_squares(wide, target, torch.ones(5, 3).double())
    assert score == pytest.approx(0.75**2)
    assert density == pytest.approx((1.5 * 0.75 - 3 * np.log(2)) ** 2)


def test_linear_maps_of_the_columns_are_what_they_are_called():
    x = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    maps = matrices(x, torch.Generator().manual_seed(1))
    for name, sign in (("rotation", 1), ("reflection in a random plane", -1)):
        torch.testing.assert_close(maps[name] @ maps[name].T, torch.eye(4, dtype=torch.float64))
        assert torch.linalg.det(maps[name]) == pytest.approx(sign)
    assert sorted((x @ maps["order of columns"])[0].tolist()) == sorted(x[0].tolist())
    assert (maps["reflection of columns"].diag() < 0).any()


def test_integrals_of_a_normalised_density(disco):
    for d in (1, 2):
        x = torch.randn(200, d, generator=torch.Generator().manual_seed(d), dtype=torch.float64)
        estimate = disco.condition(x)
        value, error = integral(estimate, points=150)
        log_z, standard_error = estimate.log_normalizer(num_samples=10_000, generator=torch.Generator().manual_seed(5))
        # 4.5 standard errors: false alarms below 1e-4.
        assert abs(np.log(value) - log_z) < 4.5 * np.hypot(error, standard_error) + 1e-3


@pytest.mark.parametrize("options", [{}, {"sine": True}, {"rotary": True}])
def test_plain_transformer_answers_each_query_alone_and_any_order_of_samples(options):
    torch.manual_seed(0)
    network = PlainTransformer(3, width=16, layers=2, heads=2, **options)
    x, y = torch.randn(2, 20, 3), torch.randn(2, 5, 3)
    log_prob, score = network(x, y)
    torch.testing.assert_close(score, -torch.cat([x, y], 1))  # a standard normal before training
    torch.nn.init.normal_(network.head.weight)
    log_prob, score = network(x, y)
    alone = network(x[:, torch.randperm(20)], y[:, :1])
    torch.testing.assert_close(alone[0][:, 20:], log_prob[:, 20:21])
    torch.testing.assert_close(alone[1][:, 20:], score[:, 20:21])


def test_rotary_attention_knows_differences_of_coordinates_only():
    torch.manual_seed(0)
    block = PlainTransformer(2, width=8, layers=1, heads=2, rotary=True).blocks[0]
    tokens, context, y, x = torch.randn(1, 4, 8), torch.randn(1, 6, 8), torch.randn(1, 4, 2), torch.randn(1, 6, 2)
    shift = torch.tensor([3.0, -1.0])
    torch.testing.assert_close(block(tokens, y, context, x), block(tokens, y + shift, context, x + shift))
    assert (block(tokens, y, context, x) - block(tokens, y + shift, context, x)).abs().max() > 1e-3


def test_heads_without_kernels_do_not_see_them():
    torch.manual_seed(0)
    network = Network(DiScoFormerConfig(layers=1))
    network.heads = WithoutKernels(DiScoFormerConfig(layers=1))
    torch.nn.init.normal_(network.heads.output.weight, std=0.1)
    tokens = network.embed(torch.randn(1, 5, 2), torch.ones(1, 1, 2), None)
    first, second = (
        network.heads(tokens, KernelEstimates(*(torch.randn(1, 5, *s) for s in ((6,), (2, 6), (6,))))) for _ in "ab"
    )
    torch.testing.assert_close(first, second)


@pytest.mark.slow
def test_trained_estimators_learn_a_normal():
    x = torch.tensor([3.0, -1.0]) + 2 * torch.randn(1000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    axis = torch.linspace(-12, 12, 121, dtype=torch.float64)
    y = torch.tensor([3.0, -1.0]) + torch.cartesian_prod(axis, axis)
    log_prob, gradient = SplineFlow(x, steps=200).log_prob_and_score(y)
    assert float(log_prob.exp().sum()) * 0.2**2 == pytest.approx(1, abs=0.02)
    near = y.sub(torch.tensor([3.0, -1.0])).norm(dim=1) < 2
    true = -(y - torch.tensor([3.0, -1.0]))[near] / 4
    for score, most in ((gradient[near], 0.3), (SlicedScoreMatching(x, steps=300).score(y[near]), 0.1)):
        assert (score - true).square().sum() < most * true.square().sum()
