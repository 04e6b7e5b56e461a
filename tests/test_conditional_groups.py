"""Conditionals of columns on a simplex and in a rising order: against Dirichlet laws and order statistics."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Dirichlet

from disco_samplers import cli, files
from disco_samplers.draws import outside, supports_of
from disco_samplers.estimate.conditional import condition_on

ALPHA = torch.tensor([0.5, 1.5, 3.0, 2.0]).double()
NAMES = ["a", "b", "c", "d"]
LEVELS = [0.01, 0.2, 0.5, 0.99]


class Shares:
    """A Dirichlet law of some columns, with the score along the simplex; a normal column besides, if there is one more."""

    def __init__(self, alpha):
        self.alpha = alpha

    def log_prob(self, x):
        return self.log_prob_and_score(x)[0]

    def log_prob_and_score(self, x):
        k = len(self.alpha)
        own = x[:, :k].clamp_min(1e-13)  # an estimate is finite at the edges, too
        slope = (self.alpha - 1) / own
        log_prob = Dirichlet(self.alpha, validate_args=False).log_prob(own)
        rest = x[:, k:]
        log_prob = log_prob - 0.5 * (rest.square() + math.log(2 * math.pi)).sum(1)
        return log_prob, torch.cat([slope - slope.mean(1, keepdim=True), -rest], 1)

    def score(self, x):
        return self.log_prob_and_score(x)[1]


class Rising:
    """Four normal numbers in order."""

    def log_prob(self, x):
        log_prob = math.log(24.0) - 0.5 * (x.square() + math.log(2 * math.pi)).sum(1)
        return torch.where((x.diff(dim=1) >= 0).all(1), log_prob, -math.inf)

    def log_prob_and_score(self, x):
        return self.log_prob(x), -x

    def score(self, x):
        return -x


def known(law, samples, support, names):
    """What a conditional wants of an estimate, of a law that is known exactly."""
    return SimpleNamespace(
        estimator=law,
        samples=samples,
        counts=None,
        dim=samples.shape[1],
        names=names,
        support=supports_of(support, names, samples),
        transform=None,
        device=samples.device,
    )


@pytest.fixture(scope="module")
def shares():
    rows = torch.from_numpy(np.random.default_rng(0).dirichlet(ALPHA, 600))
    return known(Shares(ALPHA), rows, {("a", "b", "c", "d"): "simplex"}, NAMES)


@pytest.fixture(scope="module")
def rising():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(600, 4))).sort(1).values
    return known(Rising(), rows, {("a", "b", "c", "d"): "ordered"}, NAMES)


def test_two_shares_that_are_left(shares):
    """What is left is shared as by Beta(3/2, 2); the marginal of what is given is a Dirichlet law's."""
    law = condition_on(shares, {"c": 0.3, "a": 0.1})
    assert law.names == ["b", "d"]
    v = torch.tensor([0.1, 0.4, 0.9]).double()
    y = 0.6 * torch.stack([v, 1 - v], 1)
    exact = torch.from_numpy(stats.beta(1.5, 2).logpdf(v.numpy())) - math.log(0.6)
    torch.testing.assert_close(law.log_prob(y), exact, atol=2e-4, rtol=0)
    given = Dirichlet(torch.tensor([3.0, 0.5, 3.5]).double()).log_prob(torch.tensor([0.3, 0.1, 0.6]).double())
    torch.testing.assert_close(law.log_z, given, atol=2e-4, rtol=0)
    slope = (torch.tensor([0.5, 1.0]).double() / y).diff(dim=1)[:, 0]
    torch.testing.assert_close(law.score(y), 0.5 * torch.stack([-slope, slope], 1))
    torch.testing.assert_close(law.log_prob_and_score(y)[1], law.score(y))
    torch.testing.assert_close(law.mean(), 0.6 * torch.tensor([1.5, 2.0]).double() / 3.5, atol=1e-3, rtol=0)


def test_draws_of_shares_that_are_left(shares):
    """On the scaled simplex; a test of Kolmogorov and Smirnov's with a false alarm in ten thousand."""
    law = condition_on(shares, {"c": 0.3, "a": 0.1})
    draws = law.sample(2000, seed=1)
    torch.testing.assert_close(draws.sum(1), torch.full((2000,), 0.6).double())
    assert stats.kstest(draws[:, 0].numpy() / 0.6, stats.beta(1.5, 2).cdf).pvalue > 1e-4


def test_three_shares_that_are_left_of_many_values(shares):
    """By two free coordinates, for two given values at once."""
    laws = condition_on(shares, {"c": [0.2, 0.5]})
    draws = laws.sample(1500, seed=1)
    rest = Dirichlet(torch.tensor([0.5, 1.5, 2.0]).double())
    for i, left in enumerate((0.8, 0.5)):
        share = torch.from_numpy(np.random.default_rng(1).dirichlet([2.0, 2.0, 2.0], 20))
        exact = rest.log_prob(share) - 2 * math.log(left)
        y = torch.stack([left * share] * 2)
        torch.testing.assert_close(laws.log_prob(y)[i], exact, atol=0.02, rtol=0)
        torch.testing.assert_close(draws[i].sum(1), torch.full((1500,), left).double())
        assert stats.kstest(draws[i, :, 0].numpy() / left, stats.beta(0.5, 3.5).cdf).pvalue > 1e-4


def test_four_shares_and_a_line_that_are_left(rng):
    """By importance sampling, in four free coordinates."""
    alpha = torch.tensor([1.0, 2.0, 2.0, 3.0, 2.0]).double()
    rows = torch.from_numpy(np.c_[np.random.default_rng(0).dirichlet(alpha, 600), np.random.default_rng(1).normal(size=600)])
    names = ["a", "b", "c", "d", "e", "x"]
    law = condition_on(known(Shares(alpha), rows, {tuple(names[:5]): "simplex"}, names), {"b": 0.25})
    given = torch.distributions.Beta(torch.tensor(2.0).double(), 8.0).log_prob(torch.tensor(0.25).double())
    assert law.standard_error < 0.05
    assert abs(law.log_z - given) < 5 * law.standard_error
    draws = law.sample(500, seed=1)
    torch.testing.assert_close(draws[:, :4].sum(1), torch.full((500,), 0.75).double())
    assert stats.kstest(draws[:, 2].numpy() / 0.75, stats.beta(3, 5).cdf).pvalue > 1e-4


def test_what_some_columns_of_a_simplex_leave(shares):
    """Of a subsimplex the free columns may sum to less: given b, a is a share of a Beta law's."""
    rows = shares.samples[:, :2]

    class Part(Shares):
        def log_prob(self, x):
            whole = torch.cat([x, (1 - x.sum(1, keepdim=True)).clamp_min(1e-300)], 1)
            return super().log_prob_and_score(whole)[0]

    law = condition_on(
        known(Part(torch.tensor([0.5, 1.5, 5.0]).double()), rows, {("a", "b"): "subsimplex"}, ["a", "b"]), {"b": 0.4}
    )
    exact = torch.from_numpy(0.6 * stats.beta(0.5, 5).ppf(LEVELS))
    torch.testing.assert_close(law.quantile(LEVELS), exact, atol=2e-3, rtol=0.02)


@pytest.mark.parametrize(("given", "low", "high"), [
    ({"a": -0.8, "c": 0.6, "d": 0.9}, -0.8, 0.6),
    ({"b": 0.3, "c": 0.6, "d": 0.9}, -np.inf, 0.3),
    ({"a": -0.2, "b": 0.3, "c": 0.6}, 0.6, np.inf),
])  # fmt: skip
def test_an_ordered_column_lies_between_its_neighbours(rising, given, low, high):
    """A normal law truncated there."""
    found, law = condition_on(rising, given), stats.truncnorm(low, high)
    torch.testing.assert_close(found.quantile(LEVELS), torch.from_numpy(law.ppf(LEVELS)), atol=5e-3, rtol=0)
    y = torch.from_numpy(law.ppf([0.1, 0.6]))[:, None]
    torch.testing.assert_close(found.log_prob(y), torch.from_numpy(law.logpdf(y[:, 0].numpy())), atol=2e-3, rtol=0)
    torch.testing.assert_close(found.score(y), -y)
    draws = found.sample(1000, seed=1)
    assert ((draws >= low) & (draws <= high)).all()


def test_two_ordered_columns_below_a_given_one(rising):
    """The lesser and the greater of two normal numbers that are truncated there."""
    found, one = condition_on(rising, {"c": 0.6, "d": 0.9}), stats.truncnorm(-np.inf, 0.6)
    y = torch.tensor([[-1.0, 0.2], [0.05, 0.59], [0.3, 0.2], [0.3, 0.7]]).double()
    expected = torch.from_numpy(math.log(2) + one.logpdf(y.numpy()).sum(1))
    expected[2:] = -math.inf
    torch.testing.assert_close(found.log_prob(y), expected, atol=0.01, rtol=0)
    draws = found.sample(1500, seed=1)
    assert not outside(torch.cat([draws, torch.tensor([[0.6, 0.9]]).double().expand(1500, -1)], 1), rising.support).any()
    assert stats.kstest(draws[:, 0].numpy(), lambda x: 1 - (1 - one.cdf(x)) ** 2).pvalue > 1e-4


@pytest.mark.parametrize(("given", "told"), [
    ({"a": 0.7, "b": 0.6}, r"given a = 0.7, b = 0.6: outside the simplex of a, b, c, d, for they must .* sum to one at most"),
    ({"a": -0.1}, r"given a = -0.1: outside the simplex"),
    ({"a": 0.1, "b": 0.2, "c": 0.3}, "given leaves nothing free: d is what the others leave of one"),
])  # fmt: skip
def test_what_is_refused_on_a_simplex(shares, given, told):
    with pytest.raises(ValueError, match=told):
        condition_on(shares, given)


def test_what_is_refused_of_ordered_columns(rising):
    with pytest.raises(ValueError, match=r"given a = 0.5, c = 0.4: outside the order of a, b, c, d, for they must rise"):
        condition_on(rising, {"a": 0.5, "c": 0.4})


def test_an_estimate_and_its_pictures(disco, tmp_path):
    """A network's own estimate, of a simplex and a line: normalised, and drawn where one column is left free."""
    rng = np.random.default_rng(0)
    x = np.c_[rng.dirichlet([2.0, 2.0, 3.0], 200), rng.normal(size=200)]
    estimate = disco.condition(x, support={(0, 1, 2): "simplex"})
    law = estimate.conditional({0: 0.2, 3: 0.1})
    v = np.linspace(1e-6, 1 - 1e-6, 801)
    density = np.exp(law.log_prob(0.8 * np.c_[v, 1 - v]))
    assert float(((density[1:] + density[:-1]) / 2).mean() * 0.8) == pytest.approx(1, abs=2e-3)
    assert law.plot(str(tmp_path / "b.png")).axes[0].get_xlabel() == "x1"
    assert law.log_prob(law.sample(20, seed=0)).min() > -10
    score = estimate.score(np.array([[0.2, 0.3, 0.5, 0.1]]))[0, 1:3]
    np.testing.assert_allclose(law.score(np.array([[0.3, 0.5]]))[0], score - score.mean(), rtol=1e-6)


def test_the_command(tmp_path, monkeypatch, small, capsys):
    monkeypatch.chdir(tmp_path)
    small.save_pretrained("small")
    x = np.random.default_rng(0).dirichlet([2.0, 2.0, 3.0], 100)
    files.write_table("draws.csv", dict(zip("abc", x.T, strict=True)))
    shared = ["sample", "draws.csv", "--support", "a,b,c=simplex", "--model", "small", "--quiet", "--num-samples", "50"]
    assert cli.main([*shared, "--given", "b=0.25", "--out", "new.csv", "--plot", "new.png"]) == 0
    table = files.read_table("new.csv")
    assert table.names == ["a", "c"]
    np.testing.assert_allclose(table.values.sum(1), 0.75)
    assert cli.main([*shared, "--given", "b=0.25", "c=0.9"]) != 0
    assert "given b = 0.25, c = 0.9: outside the simplex of a, b, c" in capsys.readouterr().err
