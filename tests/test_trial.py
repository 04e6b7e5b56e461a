"""Ways to read samples, judged at rows that they did not see."""

import math

import pytest
import torch
from conftest import points

from disco_samplers.estimators import FEW, PLAIN, Trial, fit_mixture
from disco_samplers.estimators.trial import Fold, _log_integral
from disco_samplers.reference import Gaussian, GaussianMixture


def trial(network, x, **options):
    return Trial(network, x, **{"counts": None, "blocks": None, "keys": None, "seed": 0} | options)


def shifted(mixture, by):
    return GaussianMixture(mixture.weights, mixture.means + by, mixture.covariances)


def test_an_integral_is_exact_of_the_mixture_and_close_of_others(rng):
    """Of others by 4000 draws of standard error 0.015 and less, within four of them: a false alarm in 8,000 runs for each."""
    x = torch.cat([torch.randn(100, 3, generator=rng), 2 + 0.5 * torch.randn(100, 3, generator=rng)]).double()
    fold = Fold(x, None, x)
    y, log_q, log_g = fold.cover(200, 0)
    assert float(_log_integral(log_g - 7.0, log_q, log_g)) == pytest.approx(-7.0, abs=1e-9)
    y, log_q, log_g = fold.cover(4000, 0)
    for other in (shifted(fold.mixture, 0.3), Gaussian(x.mean(0), 1.5 * x.T.cov())):
        assert float(_log_integral(other.evaluate(y), log_q, log_g)) == pytest.approx(0.0, abs=0.06)


def test_what_integrals_are_drawn_from_covers_the_mixture(rng):
    """By 20,000 ratios of standard deviation 0.6 at most: the mean strays by 0.02 in one of 400,000 runs."""
    x = torch.randn(150, 2, generator=rng).double()
    fold = Fold(x, None, x)
    _, log_q, log_g = fold.cover(20_000, 1)
    assert float((log_g - log_q).exp().mean()) == pytest.approx(1.0, abs=0.02)
    assert float((log_g - log_q).max()) <= math.log(1 / 0.75) + 1e-9


def test_every_row_is_judged_once_by_what_did_not_see_it(small, rng):
    x = points(rng, 90)
    judging = trial(small.network, x)
    judging.judge(PLAIN)
    held = torch.cat([fold.held for fold in judging._folds])
    assert torch.equal(held.sort(0).values, x.sort(0).values)
    assert judging.losses[PLAIN].shape == (90,)
    for fold in judging._folds:
        assert not torch.isin(fold.held, fold.seen).any()
        assert len(fold.held) + len(fold.seen) == 90


def test_of_many_rows_some_are_judged_by_nearly_the_whole(small, rng):
    (fold,) = trial(small.network, points(rng, FEW + 100))._folds
    assert (len(fold.held), len(fold.seen)) == (FEW, 100)


def test_rows_of_a_block_are_held_out_together(small, rng):
    x = points(rng, 90)
    blocks = torch.arange(90) // 9
    judging = trial(small.network, x, blocks=blocks)
    for fold in judging._folds:
        own = torch.isin(x[:, 0], fold.held[:, 0])
        assert not torch.isin(blocks[own], blocks[~own]).any()


def test_a_mixture_is_fitted_once(small, rng, monkeypatch):
    calls = []
    monkeypatch.setattr("disco_samplers.estimators.trial.fit_mixture", lambda *a, **o: calls.append(1) or fit_mixture(*a, **o))
    judging = trial(small.network, points(rng, 90))
    for kind in (PLAIN, ("parts", 0.0), ("whitened parts", 0.0)):
        judging.judge(kind)
    judging.judge_mixture()
    assert len(calls) == 5
