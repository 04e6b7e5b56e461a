"""Information of codes, counts and rounded numbers."""

import math

import pytest
import torch

from disco_samplers import Draws
from disco_samplers.measures import entropy, fisher_information, kl_divergence, mutual_information, relative_fisher_information
from disco_samplers.measures.ties import normal_scores, spread, steps_of

N = 600


def codes(k, rng, n=N):
    return torch.randint(0, k, (n, 1), generator=rng).double()


@pytest.mark.parametrize("k", [2, 3, 5])
def test_independent_codes(rng, k):
    """2 N I is chi-square with (k - 1)^2 degrees of freedom: three errors are exceeded in less than 1 % of sets."""
    for _ in range(20):
        x, y = codes(k, rng), codes(k, rng)
        found = mutual_information(x, y)
        assert abs(found.value) < 3 * found.standard_error < 0.1
        assert found.value > -found.standard_error


@pytest.mark.parametrize("k", [2, 3, 5])
def test_codes_tell_of_themselves(rng, k):
    x = codes(k, rng)
    found = mutual_information(x, x)
    shares = x.unique(return_counts=True)[1] / N
    assert found.value == pytest.approx(-float((shares * shares.log()).sum()), abs=1e-6)
    assert found.value <= math.log(k)
    assert mutual_information(x, -7 * x).value == pytest.approx(found.value)


def test_dependent_codes(rng):
    k = 3
    x = codes(k, rng)
    y = torch.where(torch.rand(N, 1, generator=rng) < 0.6, x, codes(k, rng))
    p = torch.full((k, k), 0.4 / k**2) + 0.6 / k * torch.eye(k)
    found = mutual_information(x, y)
    assert abs(found.value - float((p * (p * k * k).log()).sum())) < 4 * found.standard_error < 0.2


def test_weighted_codes(rng):
    """Rows weighed such that two codes become independent."""
    x = codes(2, rng, 4000)
    y = torch.where(torch.rand(4000, 1, generator=rng) < 0.5, x, codes(2, rng, 4000))
    pair = (2 * x + y).long().flatten()
    weights = (1 / pair.bincount().double())[pair]
    found = mutual_information(Draws(x, weights=weights), Draws(y, weights=weights))
    assert found.effective_size < 3999
    assert abs(found.value) <= found.standard_error < 0.01
    assert mutual_information(x, y).value > 0.05


def test_many_codes_are_not_counted(rng):
    """Of too few rows for each pair normal scores are read: those of independent columns have the law of a standard normal."""
    x, y = codes(40, rng, 300), codes(40, rng, 300)
    assert mutual_information(x, y).value < 0.1


def test_normal_scores(rng):
    x = torch.cat([codes(3, rng), torch.randn(N, 1, dtype=torch.float64, generator=rng)], 1)
    scores = normal_scores(x, 0)
    assert torch.equal(scores[:, 1].argsort(), x[:, 1].argsort())
    assert abs(float(scores[:, 0].std()) - 1) < 0.01
    # A larger code has larger scores, so that nothing is lost.
    assert float(scores[x[:, 0] == 0, 0].max()) < float(scores[x[:, 0] == 1, 0].min())


def test_steps(rng):
    x = torch.rand(400, 6, dtype=torch.float64, generator=rng)
    x[:, 1] = (10 * x[:, 1]).round() / 10
    x[:, 2] = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)[(3 * x[:, 2]).long()]
    x[:, 3] = x[:, 3].repeat_interleave(4)[:400]  # a chain that stood still
    x[:, 4] = (100 * x[:, 4]).float().round().double() / 100
    x[:, 5] = 1.0
    torch.testing.assert_close(steps_of(x), torch.tensor([0, 0.1, 1, 0, 0.01, 0], dtype=torch.float64), rtol=1e-6, atol=1e-12)


def test_copies_of_a_row_stay_copies(rng):
    x = torch.cat([codes(3, rng), torch.randn(N, 1, dtype=torch.float64, generator=rng)], 1)
    twice = x.repeat_interleave(2, 0)
    made = spread(twice, steps_of(twice), 0)
    assert torch.equal(made[::2], made[1::2])
    assert len(made.unique(dim=0)) == N


def test_entropy_of_rounded_numbers(rng):
    """A standard normal rounded to tenths: the cells' law is the normal's within 1e-3 nats; the error is that of 1000 rows."""
    x = (10 * torch.randn(1000, 1, dtype=torch.float64, generator=rng)).round() / 10
    found = entropy(x)
    assert abs(found.value - 0.5 * math.log(2 * math.pi * math.e)) < 4 * found.standard_error


def test_entropy_of_codes(rng):
    """The discrete entropy, as a uniform density's on cells of width one."""
    found = entropy(codes(4, rng, 2000))
    assert abs(found.value - math.log(4)) < 0.1


def test_divergence_of_rounded_numbers(rng):
    """Steps are the smaller one of both sets, not what happens to occur in each."""
    p, q = codes(6, rng), 2 * codes(3, rng)
    assert kl_divergence(p, p.flip(0)).value < 0.1
    assert kl_divergence(q, p).value > 0.3  # log 2


@pytest.mark.parametrize("measure", [fisher_information, lambda x: relative_fisher_information(x, q_score=lambda y: -y)])
def test_codes_have_no_fisher_information(rng, measure):
    x = torch.cat([torch.randn(N, 1, dtype=torch.float64, generator=rng), codes(3, rng)], 1)
    with pytest.raises(ValueError, match="samples: column 1 holds codes, 3 values in 600 rows"):
        measure(x)
