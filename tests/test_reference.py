import math

import numpy as np
import pytest
import torch
from torch import distributions

from disco_samplers.reference import KDE, Gaussian, GaussianMixture, Laplace, StudentT, StudentTMixture
from disco_samplers.reference import kde as kde_module
from disco_samplers.testing import assert_mean_close, assert_same_distribution


def normals(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def covariances(*shape, seed=1):
    root = normals(*shape, shape[-1], seed=seed)
    return root @ root.mT + 0.5 * torch.eye(shape[-1]).double()


WEIGHTS, MEANS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64), 2 * normals(3, 2)
FULL, DIAGONAL, DF = covariances(3, 2), covariances(3, 2).diagonal(dim1=-2, dim2=-1), torch.tensor([3.0, 8.0, 50.0]).double()


def student_t_log_prob(y, mean, scale, df):
    """Written from the scale-mixture: a product of one-dimensional laws does not give a multivariate Student-t."""
    d = len(mean)
    q = ((y - mean) @ torch.linalg.inv(scale) * (y - mean)).sum(-1)
    constant = math.lgamma((df + d) / 2) - math.lgamma(df / 2) - 0.5 * d * math.log(df * math.pi)
    return constant - 0.5 * torch.logdet(scale) - 0.5 * (df + d) * torch.log1p(q / df)


def oracles():
    normal = distributions.MultivariateNormal(MEANS[0], FULL[0])
    yield "gaussian", Gaussian(MEANS[0], FULL[0]), normal.log_prob
    normal1 = distributions.Independent(distributions.Normal(MEANS[0], DIAGONAL[0].sqrt()), 1)
    yield "diagonal gaussian", Gaussian(MEANS[0], DIAGONAL[0]), normal1.log_prob
    for name, components, covariance in (
        ("mixture", distributions.MultivariateNormal(MEANS, FULL), FULL),
        ("diagonal mixture", distributions.Independent(distributions.Normal(MEANS, DIAGONAL.sqrt()), 1), DIAGONAL),
    ):
        mixture = distributions.MixtureSameFamily(distributions.Categorical(WEIGHTS), components)
        yield name, GaussianMixture(7 * WEIGHTS, MEANS, covariance), mixture.log_prob
    laplace = distributions.Independent(distributions.Laplace(MEANS[0], DIAGONAL[0]), 1)
    yield "laplace", Laplace(MEANS[0], DIAGONAL[0]), laplace.log_prob
    one = distributions.Independent(distributions.StudentT(3.0, MEANS[0, :1], FULL[0, :1, 0].sqrt()), 1)
    yield "student-t, d = 1", StudentT(MEANS[0, :1], FULL[0, :1, :1], 3.0), one.log_prob
    yield "student-t", StudentT(MEANS[0], FULL[0], 3.0), lambda y: student_t_log_prob(y, MEANS[0], FULL[0], 3.0)

    def mixed(y):
        terms = [student_t_log_prob(y, MEANS[k], FULL[k], float(DF[k])) + WEIGHTS[k].log() for k in range(3)]
        return torch.stack(terms).logsumexp(0)

    yield "student-t mixture", StudentTMixture(2 * WEIGHTS, MEANS, FULL, DF), mixed
    diagonal = StudentTMixture(WEIGHTS, MEANS, DIAGONAL, DF)
    yield "diagonal student-t mixture", diagonal, StudentTMixture(WEIGHTS, MEANS, torch.diag_embed(DIAGONAL), DF).log_prob


@pytest.fixture(params=list(oracles()), ids=lambda param: param[0])
def oracle(request):
    return request.param[1:]


def test_log_prob_is_the_analytic_one(oracle):
    density, exact = oracle
    y = 5 * normals(50, density.dim, seed=3)
    torch.testing.assert_close(density.log_prob(y), exact(y), rtol=1e-10, atol=1e-10)


def test_score_is_the_gradient(oracle):
    density, exact = oracle
    y = (5 * normals(50, density.dim, seed=3)).requires_grad_()
    (gradient,) = torch.autograd.grad(exact(y).sum(), y)
    torch.testing.assert_close(density.score(y.detach()), gradient, rtol=1e-9, atol=1e-9)
    assert torch.equal(density(y.detach()), density.score(y.detach()))
    log_prob, score = density.log_prob_and_score(y.detach())
    assert torch.equal(log_prob, density.log_prob(y.detach()))
    assert torch.equal(score, density.score(y.detach()))


def test_golden_values():
    standard = Gaussian(torch.zeros(2, dtype=torch.float64), torch.eye(2).double())
    assert standard.log_prob(torch.zeros(1, 2).double()).item() == pytest.approx(-1.8378770664093453, abs=1e-14)
    cauchy = StudentT(torch.zeros(1, dtype=torch.float64), torch.eye(1).double(), 1.0)
    assert cauchy.log_prob(torch.ones(1, 1).double()).exp().item() == pytest.approx(1 / (2 * math.pi), abs=1e-14)
    laplace = Laplace(torch.zeros(1, dtype=torch.float64), torch.full((1,), 2.0).double())
    assert laplace.log_prob(torch.full((1, 1), 4.0).double()).exp().item() == pytest.approx(0.25 * math.exp(-2), abs=1e-14)


# Means and second moments of draws, each with a false-alarm probability of 1e-6.
def assert_moments(draws, mean, covariance):
    assert_mean_close(draws, mean)
    centred = draws - mean
    products = centred[:, :, None] * centred[:, None]
    assert_mean_close(products.flatten(1), covariance.flatten())


@pytest.mark.parametrize("covariance", [FULL, DIAGONAL], ids=["full", "diagonal"])
@pytest.mark.parametrize("df", [None, torch.tensor([9.0, 15.0, 30.0]).double()], ids=["gaussian", "student-t"])
def test_moments_of_mixtures(rng, covariance, df):
    density = GaussianMixture(WEIGHTS, MEANS, covariance) if df is None else StudentTMixture(WEIGHTS, MEANS, covariance, df)
    inflation = torch.ones(3).double() if df is None else df / (df - 2)
    within = torch.diag_embed(covariance) if covariance.ndim == 2 else covariance
    mean = WEIGHTS @ MEANS
    shift = MEANS - mean
    expected = (WEIGHTS[:, None, None] * (inflation[:, None, None] * within + shift[:, :, None] * shift[:, None])).sum(0)
    assert_moments(density.sample(20000, generator=rng), mean, expected)


def test_moments_of_laplace_and_kde(rng):
    laplace = Laplace(MEANS[0], DIAGONAL[0])
    assert_moments(laplace.sample(20000, generator=rng), MEANS[0], torch.diag(2 * DIAGONAL[0].square()))
    x = normals(50, 2) @ FULL[0]
    for whiten in (False, True):
        kde = KDE(x, 0.4, whiten=whiten)
        kernel = 0.16 * (torch.cov(x.T) if whiten else torch.eye(2).double())
        assert_moments(kde.sample(20000, generator=rng), x.mean(0), torch.cov(x.T, correction=0) + kernel)


def test_draws_follow_other_implementations(rng):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = distributions.StudentT(2.0, MEANS[0, :1], FULL[0, :1, 0].sqrt()).sample((5000,))
        laplace = distributions.Laplace(MEANS[0], DIAGONAL[0]).sample((5000,))
    assert_same_distribution(StudentT(MEANS[0, :1], FULL[0, :1, :1], 2.0).sample(5000, generator=rng), theirs)
    assert_same_distribution(Laplace(MEANS[0], DIAGONAL[0]).sample(5000, generator=rng), laplace)


@pytest.mark.parametrize("bandwidth", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("d", [1, 3])
def test_kde_equals_scikit_learn(bandwidth, d):
    neighbors = pytest.importorskip("sklearn.neighbors")
    x, y = normals(80, d), 2 * normals(30, d, seed=2)
    exact = neighbors.KernelDensity(bandwidth=bandwidth, rtol=0, atol=0).fit(x.numpy()).score_samples(y.numpy())
    np.testing.assert_allclose(KDE(x, bandwidth).log_prob(y.numpy()), exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("d", [1, 3])
def test_whitened_kde_equals_scipy(d):
    stats = pytest.importorskip("scipy.stats")
    x, y = normals(80, d) @ covariances(d), 2 * normals(30, d, seed=2)
    exact = stats.gaussian_kde(x.numpy().T)
    kde = KDE(x, "scott", whiten=True)
    assert kde.bandwidth == pytest.approx(exact.factor)
    np.testing.assert_allclose(kde.log_prob(y.numpy()), exact.logpdf(y.numpy().T), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("whiten", [False, True])
def test_kde_score_is_the_gradient(whiten):
    kde = KDE(normals(80, 3) @ covariances(3), 0.4, whiten=whiten)
    y = (2 * normals(30, 3, seed=2)).requires_grad_()
    (gradient,) = torch.autograd.grad(kde.evaluate(y).sum(), y)
    torch.testing.assert_close(kde.score(y.detach()), gradient, rtol=1e-9, atol=1e-9)


def test_scotts_rule():
    x = normals(100, 2) * torch.tensor([1.0, 3.0])
    assert KDE(x, "scott").bandwidth == pytest.approx(100 ** (-1 / 6) * float(x.std(0).mean()))


@pytest.mark.parametrize(("n", "d"), [(30, 1), (100, 2), (60, 5)])
def test_leave_one_out_bandwidth_is_the_best(n, d):
    x = normals(n, d) + 2 * torch.sign(normals(n, 1, seed=5))
    squared = torch.cdist(x, x).square().fill_diagonal_(torch.inf)
    grid = torch.logspace(-2, 1, 3000, dtype=torch.float64)
    values = torch.stack([((-squared / (2 * h * h)).logsumexp(-1) - d * h.log()).sum() for h in grid])
    assert KDE(x, "loo").bandwidth == pytest.approx(float(grid[values.argmax()]), rel=0.02)


def test_duplicates_do_not_collapse_the_bandwidth():
    x = normals(50, 1).repeat(3, 1)
    assert KDE(x, "loo").bandwidth > 0.05


def test_kde_tiles_do_not_matter(monkeypatch):
    x, y = normals(50, 2), normals(20, 2, seed=2)
    whole = KDE(x, "loo")
    monkeypatch.setattr(kde_module, "_TILE", 150)
    tiled = KDE(x, "loo")
    assert tiled.bandwidth == pytest.approx(whole.bandwidth)
    torch.testing.assert_close(tiled.log_prob(y), whole.log_prob(y))
    torch.testing.assert_close(tiled.score(y), whole.score(y))


def test_batches_of_mixtures():
    weights, means, full = torch.rand(4, 3).double(), normals(4, 3, 2), covariances(4, 3, 2)
    y = normals(4, 6, 2, seed=9)
    for make in (
        lambda i: GaussianMixture(weights[i], means[i], full[i]),
        lambda i: GaussianMixture(weights[i], means[i], full[i].diagonal(dim1=-2, dim2=-1)),
        lambda i: StudentTMixture(weights[i], means[i], full[i], 2 + weights[i]),
        lambda i: StudentT(means[i][..., 0, :], full[i][..., 0, :, :], weights[i][..., 0]),
        lambda i: Gaussian(means[i][..., 0, :], full[i][..., 0, :, :]),
        lambda i: Laplace(means[i][..., 0, :], weights[i][..., :2]),
    ):
        together = make(slice(None))
        assert together.sample(5, generator=torch.Generator()).shape == (4, 5, 2)
        for i in range(4):
            torch.testing.assert_close(together.log_prob(y)[i], make(i).log_prob(y[i]))
            torch.testing.assert_close(together.score(y)[i], make(i).score(y[i]))


def test_draws_of_a_batch_come_from_their_own_mixture(rng):
    means = torch.tensor([[[-100.0], [-90.0]], [[100.0], [90.0]]])
    for density in (
        GaussianMixture(torch.ones(2, 2), means, torch.ones(2, 2, 1)),
        StudentTMixture(torch.ones(2, 2), means, torch.ones(2, 2, 1, 1), torch.full((2, 2), 30.0)),
    ):
        draws = density.sample(500, generator=rng)
        assert (draws[0] < -70).all()
        assert (draws[1] > 70).all()
        # 500 draws at one half each: below 190 one time in 10^7.
        assert 190 < int((draws[0] < -95).sum()) < 310


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: GaussianMixture(torch.ones(2), torch.zeros(3, 1), torch.ones(3, 1)), "weights must have shape"),
        (lambda: GaussianMixture(torch.ones(1), torch.zeros(1), torch.ones(1)), "means"),
        (lambda: GaussianMixture(torch.tensor([1.0, -1.0]), torch.zeros(2, 1), torch.ones(2, 1)), "weights must not"),
        (lambda: GaussianMixture(torch.zeros(2), torch.zeros(2, 1), torch.ones(2, 1)), "weights must not"),
        (lambda: GaussianMixture(torch.ones(2), torch.zeros(2, 3), torch.ones(2, 4)), "covariances must have shape"),
        (lambda: Gaussian(torch.zeros(2), torch.tensor([1.0, 0.0])), "covariances must be positive"),
        (lambda: Gaussian(torch.zeros(2), torch.ones(2, 2) - 0.1 * torch.eye(2)), "positive definite"),
        (lambda: Laplace(torch.zeros(2), torch.zeros(2)), "scale must be positive"),
        (lambda: Laplace(torch.zeros(2), torch.ones(3)), "scale must be positive"),
        (lambda: StudentT(torch.zeros(2), torch.eye(2), 0.0), "df must be positive"),
        (lambda: StudentTMixture(torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1), torch.ones(2)), "df must be positive"),
        (lambda: KDE(torch.zeros(5)), "samples"),
        (lambda: KDE(torch.zeros(1, 2)), "n >= 2"),
        (lambda: KDE(normals(9, 2), -1.0), "bandwidth must be positive"),
        (lambda: KDE(normals(9, 2), math.nan), "bandwidth must be positive"),
        (lambda: KDE(normals(9, 2), "silverman"), "bandwidth must be positive"),
        (lambda: KDE(normals(9, 1).repeat(1, 2), whiten=True), "no variance"),
        (lambda: KDE(torch.ones(9, 2)), "no variance|same"),
        (lambda: KDE(torch.tensor([[0.0], [math.nan]])), "samples holds NaN"),
    ],
)
def test_wrong_parameters(make, match):
    with pytest.raises(ValueError, match=match):
        make()
