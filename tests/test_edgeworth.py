"""The Gaussian with third cumulants: gradients, invariances, and products of skewed densities that are known."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from disco_samplers.posteriors import Edgeworth, subposterior
from disco_samplers.reference import Gaussian


def log_gamma(n, d, seed, shape=4.0):
    """Independent columns of log-gamma draws, skewed to the left: log f = a y - b e^y."""
    law = torch.distributions.Gamma(torch.full((d,), shape, dtype=torch.float64), torch.ones(d, dtype=torch.float64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return law.sample((n,)).log()


def rotation(d):
    return torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(5)))[0]


@pytest.mark.parametrize("d", [1, 2, 6])
def test_score_is_the_gradient_near_and_far(d):
    x = log_gamma(500, d, 0)
    f = Edgeworth(x)
    for spread in (1.0, 10.0):
        y = (
            f.mean + spread * torch.randn(30, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        ).requires_grad_()
        value, score = f.log_prob_and_score(y)
        torch.testing.assert_close(torch.autograd.grad(value.sum(), y)[0], score)
        torch.testing.assert_close(f.white_score(f.white(y)), score @ f.root)


def test_tails_are_gaussian():
    """Far along a ray a line and a quadratic term are added, and the density falls."""
    f = Edgeworth(log_gamma(500, 3, 0))
    ray = torch.tensor([[-1.0, 0.3, 0.2]], dtype=torch.float64)
    far = [f.mean + r * ray @ f.root.T for r in (50.0, 100.0, 150.0, 200.0)]
    added = torch.stack([f.log_prob(y) - f.gaussian.evaluate(y) for y in far])
    assert float(added.diff(n=3, dim=0).abs()) < 1e-9 * float(added.abs().max())
    assert all(f.log_prob(a) > f.log_prob(b) for a, b in itertools.pairwise(far))


def test_score_matches_the_draws_second_moment():
    """E[score z^T] = -1, the identity of any density that vanishes at infinity, up to what the shrinkage takes off."""
    x = log_gamma(50_000, 3, 0)
    f = Edgeworth(x)
    z = f.white(x)
    torch.testing.assert_close(f.white_score(z).T @ z / len(z), -torch.eye(3, dtype=torch.float64), rtol=0, atol=0.02)


def test_follows_affine_maps():
    x = log_gamma(4000, 3, 0)
    matrix, shift = rotation(3) @ torch.diag(torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)), torch.ones(3).double()
    one, other = Edgeworth(x), Edgeworth(x @ matrix.T + shift)
    difference = other.log_prob(x[:50] @ matrix.T + shift) - one.log_prob(x[:50])
    torch.testing.assert_close(difference, difference.mean().expand(50))


def test_little_is_left_of_a_gaussians_cumulants():
    """Their squared standard error is 6 d (d + 1) (d + 2) / (6 n) = 0.34, of which the shrinkage keeps a small part."""
    x = torch.randn(1000, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(Edgeworth(x).cumulants.square().sum()) < 0.1


def test_shrinkage_knows_of_correlated_draws():
    """A slow chain of Gaussian draws: each row ten times over, with noise ten times that of as many independent ones."""
    x = torch.randn(200, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).repeat_interleave(10, 0)
    assert float(Edgeworth(x).cumulants.square().sum()) < 0.6  # unshrunk 1.7


def test_product_of_skewed_densities():
    """Log-gamma densities, rotated, times four: their product is log-gamma again, with the sums of a and b."""
    d, turn = 3, rotation(3)
    scales = torch.tensor([1.0, 1.5, 2.0, 0.7], dtype=torch.float64)  # one shard's e^y is that much larger
    shards = [(log_gamma(16_000, d, k, shape=10.0) + scale.log()) @ turn.T for k, scale in enumerate(scales)]
    exact = log_gamma(200_000, d, 9, shape=40.0) - (1 / scales).sum().log()
    proposal = Gaussian(exact.mean(0), 1.5 * exact.T.cov())
    y = proposal.sample(40_000, generator=torch.Generator().manual_seed(0))
    errors = []
    for of in (lambda f: f.log_prob, lambda f: f.gaussian.evaluate):
        logs = sum(of(Edgeworth(x))(y @ turn.T) for x in shards)
        weight = (logs - proposal.evaluate(y)).softmax(0)
        errors.append(float(((weight @ y - exact.mean(0)) / exact.std(0)).norm()))
    assert errors[0] < 0.5 * errors[1]
    assert errors[0] < 0.25


def test_dependent_and_constant_columns():
    x = log_gamma(300, 2, 0)
    for columns in (torch.cat([x, x[:, :1]], 1), torch.cat([x, torch.ones(300, 1).double()], 1)):
        value, score = Edgeworth(columns).log_prob_and_score(columns)
        assert torch.isfinite(value).all()
        assert torch.isfinite(score).all()


MAKERS = {
    "Edgeworth": lambda x, model: Edgeworth(x),
    "subposterior": lambda x, model: subposterior(x, model, seed=0),
}
WRONG = {
    "one dimension": (np.ones(9), ValueError, r"draws must have shape \(m, d\), one row a point, got \(9,\)"),
    "three": (np.ones((2, 9, 2)), ValueError, r"draws must have shape \(n, d\), got \(2, 9, 2\)"),
    "few": (np.eye(3), ValueError, "draws has 3 draws of 3 parameters: more draws"),
    "same": (np.ones((9, 2)), ValueError, "draws has no variance"),
    "nan": (
        np.where(np.eye(9, 2) > 0, np.nan, 1.0),
        ValueError,
        "draws holds NaN or infinite values: 2 of 9 rows, first at row 0",
    ),
    "words": ([["a"], ["b"]], TypeError, "draws must hold real numbers"),
    "nothing": (None, TypeError, "draws must hold real numbers"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(("x", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_draws_are_named(make, x, error, message, small):
    with pytest.raises(error, match=message):
        make(x, small)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_draws_of_any_kind_and_precision(make, small):
    exact = torch.randint(-9, 9, (80, 2), generator=torch.Generator().manual_seed(0)) + torch.tensor([5, 0])
    y = torch.tensor([[4.0, 1.0], [0.0, 2.0]], dtype=torch.float64)

    def score(x):
        found = make(x, small)
        return getattr(found, "base", found).score(y)

    right = score(exact.double())
    for x in (exact, exact.half(), exact.float(), exact.numpy(), exact.tolist(), pd.DataFrame(exact.numpy())):
        torch.testing.assert_close(score(x), right)


def test_points_are_checked_and_answered_in_kind():
    f = Edgeworth(log_gamma(200, 2, 0))
    y = np.zeros((3, 2))
    assert isinstance(f.log_prob(y), np.ndarray)
    assert f.score(torch.zeros(3, 2)).dtype == torch.float32
    np.testing.assert_array_equal(f.score(y), f.score(torch.from_numpy(y)).numpy())
    for points, message in ((y[0], "points must have shape"), (y[:, :1], "points must have 2 columns"), (y + np.nan, "NaN")):
        with pytest.raises(ValueError, match=message):
            f.log_prob(points)


@pytest.mark.parametrize("counts", [np.ones(5), -np.ones(200), np.zeros(200), np.full(200, np.nan), np.ones((200, 1))])
def test_wrong_counts_are_named(counts):
    with pytest.raises(ValueError, match="counts must"):
        Edgeworth(log_gamma(200, 2, 0), counts)


def test_rows_that_are_worth_nothing_are_as_left_out():
    """A quarter of the rows, one after the other, as warm-up has them."""
    x, counts = log_gamma(1600, 3, 0), torch.ones(1600, dtype=torch.float64)
    counts[:400] = 0
    torch.testing.assert_close(Edgeworth(x, counts).score(x[:20]), Edgeworth(x[400:], counts[400:]).score(x[:20]))
