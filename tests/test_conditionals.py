"""Marginals and conditionals of estimates: against laws whose conditionals are known, and what is refused."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import perturbed
from scipy import stats
from scipy.optimize import brentq

from disco_samplers import Draws
from disco_samplers.draws import Support
from disco_samplers.estimate.conditional import condition_on
from disco_samplers.estimators import JohnsonTransform, straight
from disco_samplers.reference import Gaussian, GaussianMixture

MEAN = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
ROOT = torch.tensor(np.random.default_rng(0).normal(size=(5, 5))) + torch.eye(5, dtype=torch.float64)
COVARIANCE = ROOT @ ROOT.T
LEVELS = [0.01, 0.05, 0.5, 0.9, 0.999]


class Product:
    """Independent columns of scipy's laws, as an estimator."""

    def __init__(self, *laws):
        self.laws = laws

    def log_prob(self, points):
        columns = [torch.from_numpy(law.logpdf(c.numpy())) for law, c in zip(self.laws, points.unbind(-1), strict=True)]
        return torch.stack(columns).sum(0)


def known(law, samples, support=None):
    """What a conditional wants of an estimate, of a law that is known exactly."""
    supports = None if support is None else [Support.of(one) for one in support]
    return SimpleNamespace(
        estimator=law,
        samples=samples,
        counts=None,
        dim=samples.shape[1],
        names=None,
        support=supports,
        transform=None if supports is None else straight(samples, supports),
        device=samples.device,
    )


def normal(d):
    return Gaussian(MEAN[:d], COVARIANCE[:d, :d])


def conditional_moments(d, given, values):
    """Mean and covariance of the others, by the textbook."""
    free = [i for i in range(d) if i not in given]
    cross, inner = COVARIANCE[free][:, given], COVARIANCE[given][:, given]
    slope = cross @ torch.linalg.inv(inner)
    return MEAN[free] + slope @ (values - MEAN[given]), COVARIANCE[free][:, free] - slope @ cross.T


@pytest.mark.parametrize(("d", "given"), [(2, [0]), (3, [2, 0]), (5, [1, 2, 3, 4]), (3, [1]), (4, [0, 3])])
def test_normal_laws_by_quadrature(d, given, rng):
    law = normal(d)
    values = MEAN[given] + torch.linspace(-1, 2, len(given), dtype=torch.float64)
    found = condition_on(known(law, law.sample(500, generator=rng)), dict(zip(given, values.tolist(), strict=True)))
    mean, covariance = conditional_moments(d, given, values)
    torch.testing.assert_close(found.mean(), mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std(), covariance.diagonal().sqrt(), atol=1e-4, rtol=1e-4)
    marginal = Gaussian(MEAN[given], COVARIANCE[given][:, given])
    torch.testing.assert_close(found.log_z, marginal.log_prob(values[None])[0], atol=1e-5, rtol=0)
    y = mean + torch.randn(7, len(mean), dtype=torch.float64, generator=rng)
    exact = Gaussian(mean, covariance)
    torch.testing.assert_close(found.log_prob(y), exact.log_prob(y), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.score(y), exact.score(y))
    if found.dim == 1:
        quantiles = torch.from_numpy(stats.norm.ppf(LEVELS, float(mean), float(covariance.sqrt())))
        torch.testing.assert_close(found.quantile(LEVELS), quantiles, atol=2e-3 * float(covariance.sqrt()), rtol=0)


def test_normal_law_of_three_free_columns(rng):
    """By importance sampling: within five standard errors, and draws within five of a mean of 2000."""
    law = normal(5)
    found = condition_on(known(law, law.sample(500, generator=rng)), {1: -2.5, 4: 1.0})
    mean, covariance = conditional_moments(5, [1, 4], torch.tensor([-2.5, 1.0], dtype=torch.float64))
    marginal = Gaussian(MEAN[[1, 4]], COVARIANCE[[1, 4]][:, [1, 4]])
    right = marginal.log_prob(torch.tensor([[-2.5, 1.0]], dtype=torch.float64))[0]
    assert 0 < found.standard_error < 0.03
    assert abs(found.log_z - right) < 5 * found.standard_error
    sd = covariance.diagonal().sqrt()
    assert ((found.mean() - mean).abs() < 0.1 * sd).all()
    assert ((found.std() / sd - 1).abs() < 0.1).all()
    draws = found.sample(2000, seed=1)
    assert ((draws.mean(0) - mean).abs() < 5 * sd / math.sqrt(2000)).all()
    torch.testing.assert_close(draws.T.cov(), covariance, atol=0.15 * float(covariance.max()), rtol=0)
    torch.testing.assert_close(draws, found.sample(2000, seed=1))


def test_draws_of_two_modes_in_three_free_columns(rng):
    """By their weights, which local steps do not have to mix; four standard errors of a share of 2000 draws."""
    means = torch.tensor([[0.0, -4.0, -4.0, -4.0], [0.0, 4.0, 4.0, 4.0]], dtype=torch.float64)
    law = GaussianMixture(torch.tensor([0.3, 0.7], dtype=torch.float64), means, torch.ones(2, 4, dtype=torch.float64))
    draws = condition_on(known(law, law.sample(600, generator=rng)), {0: 0.0}).sample(2000, seed=1)
    assert abs(float((draws[:, 0] < 0).double().mean()) - 0.3) < 4 * math.sqrt(0.21 / 2000) + 0.02


def test_modes_that_are_narrow_and_far_apart(rng):
    """Two modes of a hundredth of their distance, given a value that leaves 30 % to the left one."""
    law = GaussianMixture(
        torch.tensor([0.3, 0.7], dtype=torch.float64),
        torch.tensor([[0.0, -1.0], [0.0, 1.0]], dtype=torch.float64),
        torch.tensor([[1.0, 0.02], [1.0, 0.01]], dtype=torch.float64).square(),
    )
    found = condition_on(known(law, law.sample(500, generator=rng)), {0: 0.5})
    parts = [stats.norm(-1, 0.02), stats.norm(1, 0.01)]
    for level in (0.1, 0.25, 0.5, 0.95):
        exact = brentq(lambda y, p=level: 0.3 * parts[0].cdf(y) + 0.7 * parts[1].cdf(y) - p, -2, 2)
        assert float(found.quantile(level)) == pytest.approx(exact, abs=5e-4)
    torch.testing.assert_close(found.mean(), torch.tensor([0.4], dtype=torch.float64), atol=1e-3, rtol=0)
    assert float(found.log_z) == pytest.approx(stats.norm.logpdf(0.5), abs=1e-3)
    draws = found.sample(4000, seed=0)[:, 0]
    # Five standard errors of a share.
    assert abs(float((draws < 0).double().mean()) - 0.3) < 5 * math.sqrt(0.21 / 4000)
    assert (torch.minimum((draws + 1).abs() / 0.02, (draws - 1).abs() / 0.01) < 5).all()


@pytest.mark.parametrize(
    ("law", "support", "tolerance"),
    [
        (stats.gamma(2.5), "positive", 2e-3),
        (stats.expon(), "positive", 5e-3),
        (stats.beta(2, 3), "unit", 2e-3),
        (stats.uniform(-1, 3), (-1, 2), 5e-3),
        (stats.t(2.5), "real", 5e-3),
    ],
)
def test_laws_with_edges_and_tails(law, support, tolerance):
    """Independent of the given column, so that the conditional is the column's own law."""
    rng = np.random.default_rng(0)
    samples = torch.from_numpy(np.stack([rng.normal(size=400), law.rvs(400, random_state=rng)], 1))
    found = condition_on(known(Product(stats.norm(), law), samples, ["real", support]), {0: 0.3})
    assert float(found.log_z) == pytest.approx(stats.norm.logpdf(0.3), abs=tolerance)
    inner = [0.05, 0.3, 0.5, 0.9, 0.99]
    np.testing.assert_allclose(law.cdf(found.quantile(inner)), inner, atol=tolerance)
    assert float(found.mean()) == pytest.approx(law.mean(), abs=0.01 * law.std())
    draws = found.sample(500, seed=0)[:, 0].numpy()
    low, high = law.support()
    assert ((draws >= low) & (draws <= high)).all()
    # By chance it fails once in a thousand seeds.
    assert stats.kstest(draws, law.cdf).pvalue > 1e-3


def test_two_free_columns_within_a_support():
    laws = stats.norm(), stats.gamma(3.0), stats.beta(2, 2)
    rng = np.random.default_rng(0)
    samples = torch.from_numpy(np.stack([law.rvs(400, random_state=rng) for law in laws], 1))
    found = condition_on(known(Product(*laws), samples, ["real", "positive", "unit"]), {0: -0.5})
    assert float(found.log_z) == pytest.approx(stats.norm.logpdf(-0.5), abs=2e-3)
    np.testing.assert_allclose(found.mean(), [3.0, 0.5], atol=0.01)
    np.testing.assert_allclose(found.std(), [law.std() for law in laws[1:]], rtol=0.01)
    draws = found.sample(1000, seed=2).numpy()
    # By chance each fails once in a thousand seeds.
    assert all(stats.kstest(column, law.cdf).pvalue > 1e-3 for column, law in zip(draws.T, laws[1:], strict=True))


@pytest.mark.parametrize("place", [0.1, 2.0, 6.2])
def test_an_angle_has_a_direction(place, rng, tmp_path):
    """Mean, standard deviation and quantiles of a von Mises law, wherever it lies on the turn; near its seam, too."""
    angle = stats.vonmises(4, loc=place)
    rows = torch.stack([torch.randn(300, generator=rng).double(), torch.rand(300, generator=rng).double() * 2 * math.pi], 1)
    law = condition_on(known(Product(stats.norm(), angle), rows, ["real", "circular"]), {0: [0.0, 1.0]})
    centred = stats.vonmises(4)
    assert law.mean().flatten().tolist() == pytest.approx([place] * 2, abs=1e-3)
    assert law.std().flatten().tolist() == pytest.approx([centred.std()] * 2, rel=1e-3)
    wanted = torch.from_numpy(place + centred.ppf(LEVELS))
    torch.testing.assert_close(law.quantile(LEVELS), wanted.expand(2, -1), atol=0.01, rtol=0)
    axis = law.plot(str(tmp_path / "angle.png")).axes[0]
    seen = axis.lines[0].get_xdata()
    assert seen[0] < place - 1.5 < place + 1.5 < seen[-1] <= seen[0] + 2 * math.pi + 1e-6


def test_directions_among_three_free_columns(rng):
    """The same by importance sampling."""
    rows = torch.randn(300, 4, generator=rng).double()
    rows[:, 1] = rows[:, 1].mul(0.5).remainder(2 * math.pi)
    law = condition_on(
        known(Product(stats.norm(), stats.vonmises(4), stats.norm(), stats.norm()), rows, ["real", "circular", "real", "real"]),
        {0: 0.0},
    )
    off = float(law.mean()[0] + math.pi) % (2 * math.pi) - math.pi
    assert abs(off) < 0.05
    assert float(law.std()[0]) == pytest.approx(stats.vonmises(4).std(), abs=0.05)


@pytest.mark.parametrize("free", [1, 2])
def test_a_batch_is_its_laws(free, small, rng):
    x = torch.randn(80, 1 + free, dtype=torch.float64, generator=rng)
    x[:, 1:] += x[:, :1].square()
    estimate = small.to(torch.float64).condition(x)
    values = torch.tensor([-1.0, 0.3, 2.5], dtype=torch.float64)
    batch, ones = estimate.conditional({0: values}), [estimate.conditional({0: float(v)}) for v in values]
    y = torch.randn(3, 5, free, dtype=torch.float64, generator=rng)

    def check(ask, tolerance=1e-10):
        together, apart = ask(batch, y), torch.stack([ask(one, part) for one, part in zip(ones, y, strict=True)])
        torch.testing.assert_close(together, apart, atol=tolerance, rtol=tolerance)

    check(lambda law, y: law.log_prob(y))
    check(lambda law, y: law.score(y))
    check(lambda law, _: law.log_z)
    check(lambda law, _: law.mean(), 5e-3)
    if free == 1:
        check(lambda law, _: law.quantile([0.1, 0.5]), 5e-3)
    assert batch.sample(4, seed=0).shape == (3, 4, free)
    for one in ones:
        assert one.sample(4, seed=0).shape == (4, free)


def test_of_an_estimate(small, rng):
    """Normalised, its score the slice of the estimate's to the last digit, and log_z what the columns' names say."""
    x = torch.randn(80, 3, dtype=torch.float64, generator=rng)
    estimate = small.condition(Draws(x, names=["a", "b", "c"]))
    law = estimate.conditional({"c": 0.3, "a": -0.2})
    y = torch.linspace(-10, 10, 20_001, dtype=torch.float64)[:, None].sinh()
    joint = torch.cat([torch.full_like(y, -0.2), y, torch.full_like(y, 0.3)], 1)
    integral = torch.trapezoid(law.log_prob(y).exp(), y[:, 0])
    assert integral.log().abs() < law.standard_error < 6e-3
    assert torch.equal(law.score(y), estimate.score(joint)[:, 1:2])
    assert torch.equal(law(y), law.log_prob_and_score(y)[1])
    torch.testing.assert_close(law.log_prob(y), estimate.log_prob(joint) - law.log_z)
    assert list(law.given) == ["c", "a"]
    assert law.names == ["b"]
    assert repr(law) == "ConditionalEstimate(b | c=0.3, a=-0.2)"
    assert repr(estimate.conditional({0: [1.0, 2.0]})) == "ConditionalEstimate(b, c | a, batch=2)"
    assert law.quantile(0.5).shape == ()
    # Its log-density is differentiated as the estimate's is.
    point = y[10_000:10_001].clone().requires_grad_()
    (slope,) = torch.autograd.grad(law.log_prob(point).sum(), point)
    (whole,) = torch.autograd.grad(estimate.log_prob(at := joint[10_000:10_001].clone().requires_grad_()).sum(), at)
    torch.testing.assert_close(slope, whole[:, 1:2])


def test_numpy_frames_and_normalisers(small):
    pandas = pytest.importorskip("pandas")
    x = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    frame = pandas.DataFrame(x, columns=["a", "b", "c"])
    estimate = small.condition(frame)
    law = estimate.conditional({"a": np.float32(0.5)})
    points = pandas.DataFrame({"c": [0.0, 1.0], "b": [0.5, -0.5]})
    assert isinstance(law.log_prob(points), np.ndarray)
    np.testing.assert_allclose(law.log_prob(points), law.log_prob(points[["b", "c"]].to_numpy()), rtol=1e-6)
    plain = small.condition(x).conditional({0: 0.5})
    assert plain.mean().dtype == plain.sample(3, seed=0).dtype == np.float32
    # What an estimate is normalised to is taken off again.
    again = estimate.normalized(seed=0).conditional({"a": 0.5})
    np.testing.assert_allclose(again.log_prob(points), law.log_prob(points), atol=1e-4)


@pytest.mark.slow  # the shipped weights
def test_the_shipped_weights_know_a_normal_law(disco, rng):
    x = normal(3).sample(2000, generator=rng)
    values = torch.tensor([2.0, -1.0], dtype=torch.float64)
    mean, covariance = conditional_moments(3, [0, 1], values)
    law = disco.condition(x).conditional({0: 2.0, 1: -1.0})
    sd = float(covariance.sqrt())
    assert float(law.mean()) == pytest.approx(float(mean), abs=0.1 * sd)
    assert float(law.std()) == pytest.approx(sd, rel=0.1)


@pytest.mark.parametrize("support", [None, ["real", "positive", "unit"]])
def test_a_marginal_is_the_estimate_of_its_columns(support, small):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(np.stack([rng.normal(size=80), rng.exponential(size=80), rng.random(80)], 1))
    weights, names = torch.from_numpy(rng.uniform(0.5, 1.5, 80)), ["a", "b", "c"]
    estimate = small.condition(Draws(x, weights=weights, names=names, support=support))
    marginal = estimate.marginal(["c", 0])
    y, bounds = x[:9, [2, 0]], None if support is None else ["unit", "real"]
    right = small.condition(Draws(x[:, [2, 0]], weights=weights, names=["c", "a"], support=bounds))
    torch.testing.assert_close(marginal.log_prob(y), right.log_prob(y))
    torch.testing.assert_close(marginal.score(y), right.score(y))
    assert marginal.names == ["c", "a"]
    assert marginal.effective_size == pytest.approx(estimate.effective_size)
    assert marginal.support == right.support
    assert marginal.sample(3, seed=0).shape == (3, 2)
    assert not marginal.is_normalized
    assert estimate.normalized(seed=0).marginal([1]).is_normalized
    assert estimate.calibrated(seed=0).marginal([1]).is_calibrated


def test_given_values_outside_are_told(small, disco):
    rng = np.random.default_rng(0)
    x = np.stack([rng.exponential(size=300), rng.normal(size=300)], 1)
    names = ["tau", "x"]
    estimate = disco.condition(Draws(x, names=names, support={"tau": "positive"}))
    with pytest.raises(ValueError, match=r"given tau = -1 lies outside its support \(0.0, None\)"):
        estimate.conditional({"tau": -1.0})
    told = (
        r"where x = 50 is numerically zero, e\^-\d+ of that at the rows: x lies [45]\d\.\d standard deviations from its mean "
    )
    with pytest.raises(ValueError, match=told + r"-?0\.\d+; the nearest row has x = [23]\.\d+"):
        estimate.conditional({"x": [0.0, 50.0]})
    assert np.isfinite(estimate.conditional({"x": 5.0}).mean()).all()


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ([0.0], TypeError, 'given must be a mapping of columns to values, as {"x0": 1.0}, got list'),
        ({}, ValueError, "given must name at least one column"),
        ({"y": 0.0}, ValueError, "there is no column 'y': there are x0, x1, x2"),
        ({3: 0.0}, ValueError, "there is no column 3: there are 3, numbered from 0"),
        ({0.5: 0.0}, TypeError, "a column must be given by its name or number, got 0.5"),
        ({"x0": 0.0, 0: 1.0}, ValueError, "given names a column twice, by name and by number: x0, 0"),
        ({0: 0.0, 1: 0.0, 2: 0.0}, ValueError, "given names all columns: at least one must be free"),
        ({0: math.nan}, ValueError, "given x0 holds NaN or infinite values"),
        ({0: "a"}, TypeError, "given x0 must hold real numbers"),
        ({0: [[0.0]]}, ValueError, r"given x0 must be a number or an array \(b,\), got shape \(1, 1\)"),
        ({0: [0.0, 1.0], 1: [0.0, 1.0, 2.0]}, ValueError, "given arrays must have one length, got 2, 3"),
    ],
)
def test_what_may_not_be_given(given, error, told, small, rng):
    with pytest.raises(error, match=told):
        small.condition(torch.randn(40, 3, generator=rng)).conditional(given)


def test_what_a_conditional_refuses(small, rng):
    estimate = small.condition(torch.randn(40, 3, generator=rng))
    law, batch = estimate.conditional({0: 0.0}), estimate.conditional({0: [0.0, 1.0], 1: 0.0})
    with pytest.raises(ValueError, match="quantile is of one free column, and x1, x2 are free"):
        law.quantile(0.5)
    for level in (0.0, 1.0, math.nan, [[0.5]]):
        with pytest.raises(ValueError, match=r"levels must be numbers in \(0, 1\)"):
            batch.quantile(level)
    with pytest.raises(ValueError, match=r"points must have shape \(m, 2\), got \(1, 1, 2\)"):
        law.score(torch.zeros(1, 1, 2))
    with pytest.raises(ValueError, match=r"points must have shape \(2, m, 1\), for 2 given values, got \(3, 1\)"):
        batch.log_prob(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        law.sample(0)
    with pytest.raises(ValueError, match="works on one data set"):
        small.condition(torch.randn(2, 40, 3, generator=rng)).conditional({0: 0.0})
    with pytest.raises(ValueError, match="at most 20 free columns, and 24 are free"):
        small.condition(torch.randn(40, 25, generator=rng)).conditional({0: 0.0})


@pytest.mark.parametrize(
    ("columns", "error", "told"),
    [
        ("x0", TypeError, r"columns must be a list of names or numbers of columns, as \['x0'\]"),
        (0, TypeError, r"columns must be a list of names or numbers of columns, as \[0\]"),
        ([], ValueError, "columns must name at least one column"),
        ([0, "x0"], ValueError, "columns name x0 more than once"),
        (["y"], ValueError, "there is no column 'y'"),
        ([-1], ValueError, "there is no column -1"),
        ([2], ValueError, "the marginal has no variance"),
    ],
)
def test_what_marginal_refuses(columns, error, told, small, rng):
    x = torch.randn(40, 3, generator=rng)
    x[:, 2] = 1.0
    with pytest.raises(error, match=told):
        small.condition(x).marginal(columns)


def test_estimates_with_a_transform(small, rng):
    from torch.distributions import ExpTransform

    x = torch.rand(40, 2, generator=rng) + 0.1
    estimate = small.condition(x, transform=ExpTransform().inv)
    with pytest.raises(ValueError, match="condition on these alone, with a transform of theirs"):
        estimate.marginal([0])
    with pytest.raises(ValueError, match="is not defined on all real numbers: condition the model with support="):
        estimate.conditional({0: 0.5})
    law = small.condition(x, transform=JohnsonTransform.fit(x)).conditional({0: 0.5})
    assert torch.isfinite(law.log_prob(torch.full((1, 1), 0.5))).all()


def test_pictures(small, rng, tmp_path):
    pytest.importorskip("matplotlib")
    estimate = small.condition(torch.rand(60, 3, generator=rng), support=["real", "real", "unit"])
    for given in ({0: 0.5, 1: 0.5}, {0: [0.2, 0.5], 1: 0.5}, {1: 0.5}):
        estimate.conditional(given).plot(path=str(tmp_path / "law.png"))
        assert (tmp_path / "law.png").stat().st_size > 1000
        (tmp_path / "law.png").unlink()
    with pytest.raises(ValueError, match="plot shows one free column, or two of a single law, and x1, x2 are free"):
        estimate.conditional({0: [0.5, 0.6]}).plot()


def test_either_symmetry(symmetry, rng):
    x = torch.randn(60, 2, generator=rng)
    assert torch.isfinite(perturbed(symmetry).condition(x).conditional({1: 0.1}).log_prob(x[:3, :1])).all()


def test_quantiles_of_a_column_that_ends_above_only(rng):
    """Whose coordinate falls where it rises: the distance from 5 is exponential."""
    columns = stats.norm(), stats.expon(-5)
    samples = torch.from_numpy(np.stack([law.rvs(500, random_state=0) for law in columns], 1)) * torch.tensor([1.0, -1.0])

    class Law:
        def log_prob(self, x):
            return Product(*columns).log_prob(x * torch.tensor([1.0, -1.0]).double())

    found = condition_on(known(Law(), samples, ["real", (None, 5)]), {0: 0.3})
    exact = torch.from_numpy(-columns[1].ppf(1 - np.array(LEVELS)))
    torch.testing.assert_close(found.quantile(LEVELS), exact, atol=2e-3, rtol=2e-3)
