"""Strong correlation of columns: told from that of clusters' centres, whitened in full, and not shown to the network."""

import math

import pytest
import torch

from disco_samplers import DiScoFormer
from disco_samplers.model.ridges import ridged
from disco_samplers.model.whitening import whiten
from disco_samplers.reference import Gaussian, GaussianMixture


def autoregressive(d, rho):
    place = torch.arange(d, dtype=torch.float64)
    return rho ** (place[:, None] - place).abs()


def normal(n, covariance, rng):
    return Gaussian(torch.zeros(len(covariance), dtype=torch.float64), covariance).draw(n, rng)


def clusters(n, d, rng, components=3):
    means = 6 * torch.rand(components, d, dtype=torch.float64, generator=rng) - 3
    variances = 0.2 + 0.8 * torch.rand(components, d, dtype=torch.float64, generator=rng)
    return GaussianMixture(torch.ones(components, dtype=torch.float64) / components, means, variances).draw(n, rng)


def told(x, counts=None):
    counts = torch.ones(len(x), dtype=torch.float64) if counts is None else counts.double()
    weights = counts[:, None] / counts.sum()
    z = x - (weights * x).sum(0)
    z = z / (weights * z.square()).sum(0).sqrt() * (counts > 0)[:, None]
    return float(ridged(z[None], counts[None], (z.T @ (weights * z))[None]))


@pytest.mark.parametrize(("d", "n"), [(3, 60), (5, 100), (10, 40), (10, 500), (30, 300)])
@pytest.mark.parametrize("rho", [0.99, 0.999])
def test_a_ridge_is_the_laws_own(rng, d, n, rho):
    assert told(normal(n, autoregressive(d, rho), rng)) > 0.9


@pytest.mark.parametrize(("d", "n"), [(2, 200), (5, 100), (10, 100), (10, 500), (30, 300)])
def test_that_of_clusters_is_not(rng, d, n):
    assert told(clusters(n, d, rng)) < 0.05


@pytest.mark.parametrize(("d", "n"), [(1, 50), (5, 12), (5, 100), (30, 90)])
def test_independent_columns_and_few_rows_have_none(rng, d, n):
    assert told(normal(n, torch.eye(d, dtype=torch.float64), rng)) < 1e-3
    assert told(normal(2 * d - 1, autoregressive(d, 0.999), rng)) == 0 or d == 1


def test_rows_that_do_not_count_change_nothing(rng):
    x = normal(3000, autoregressive(4, 0.9), rng)
    expected = told(x)
    junk = torch.cat([1e6 * torch.randn(2500, 4, dtype=torch.float64, generator=rng), x])
    assert told(junk, torch.arange(5500) >= 2500) == pytest.approx(expected, rel=1e-9)


def test_sets_of_a_batch_are_told_apart(rng):
    ridge, apart = normal(100, autoregressive(5, 0.99), rng), clusters(100, 5, rng)
    both = whiten(torch.stack([ridge, apart]), clusters=True)
    for k, x in enumerate((ridge, apart)):
        alone = whiten(x[None], clusters=True)
        torch.testing.assert_close(both.matrix[k], alone.matrix[0])
        torch.testing.assert_close(both.frame[k], alone.frame[0])


def test_columns_of_a_ridge_are_not_shown(rng):
    shown = whiten(normal(2000, autoregressive(5, 0.99), rng)[None], clusters=True).frame[0]
    torch.testing.assert_close(shown.T @ shown, torch.eye(5).double(), rtol=0, atol=0.02)
    x = clusters(2000, 5, rng)
    shown = whiten(x[None], clusters=True).frame[0]
    torch.testing.assert_close(shown.T @ shown, torch.corrcoef(x.T), rtol=0, atol=0.02)


@pytest.mark.parametrize("weights", ["axes", "rotations"])
@pytest.mark.parametrize(("rho", "d", "rows"), [(0.9, 10, 20), (0.99, 5, 100), (0.999, 10, 20)])
def test_a_ridge_is_read_as_well_as_a_normal_fit_reads_it(rng, weights, rho, d, rows):
    """A density of integral one has a mean log below the true one's, which 500 rows tell to .03; one data set, fixed seeds."""
    law = Gaussian(torch.zeros(d, dtype=torch.float64), autoregressive(d, rho))
    x, y = law.draw(rows * d, rng), law.draw(500, rng)
    fit = Gaussian(x.mean(0), torch.cov(x.T))
    true, score = law.evaluate(y), law.evaluate_score(y)
    log_prob, ours = DiScoFormer.from_pretrained(weights).condition(x).log_prob_and_score(y)
    assert (ours - score).square().sum() < 2 * (fit.evaluate_score(y) - score).square().sum()
    gain, fitted = float((log_prob - true).mean()), float((fit.evaluate(y) - true).mean())
    assert fitted - 0.05 < gain < 0.15


@pytest.mark.parametrize("n", [20, 50, 200])
def test_a_ridge_of_a_millionth_is_never_worse_than_a_normal_fit(rng, n):
    d = 10
    own = torch.randn(n + 500, d, dtype=torch.float64, generator=rng)
    own[:, 0] = own[:, 1:].sum(1) / 3 + 1e-3 * own[:, 0]
    x, y = own[:n], own[n:]
    fit = Gaussian(x.mean(0), torch.cov(x.T)).evaluate(y)
    gain = DiScoFormer.from_pretrained().condition(x).log_prob(y) - fit
    assert gain.mean() > -gain.std() / math.sqrt(500)
