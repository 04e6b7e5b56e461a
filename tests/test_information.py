"""Entropy, divergences, Fisher information and Stein discrepancy against closed forms and quadrature.

Every tolerance is five standard errors of the mean over rows plus a stated allowance for the estimate's own bias; by the
normal tail a right mean fails with probability below 1e-6 each, and the seeds are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from disco_samplers import Draws
from disco_samplers.draws import RepeatedRowsWarning
from disco_samplers.measures import (
    Information,
    dependence,
    entropy,
    fisher_information,
    kernel_stein_discrepancy,
    kl_divergence,
    maximum_mean_discrepancy,
    mutual,
    mutual_information,
    nearest_distances,
    neighbours,
    precision_recall,
    relative_fisher_information,
    sliced_wasserstein,
    stein,
)
from disco_samplers.measures.copulas import Copula
from disco_samplers.measures.dependence import Dependence
from disco_samplers.measures.neighbours import neighbour_information
from disco_samplers.measures.quantity import Rows
from disco_samplers.measures.ties import normal_scores
from disco_samplers.reference import Gaussian, GaussianMixture


def gaussian(d, seed=0):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(d, d, generator=g, dtype=torch.float64)
    return Gaussian(torch.randn(d, generator=g, dtype=torch.float64), a @ a.T / d + 0.5 * torch.eye(d, dtype=torch.float64))


def draw(f, n=700, seed=1):
    return f.draw(n, torch.Generator().manual_seed(seed))


def check(result, exact, bias):
    assert result.standard_error > 0
    assert np.isfinite(result.contributions).all()
    assert abs(result.value - exact) < 5 * result.standard_error + bias, (result, exact)


MIXTURE = GaussianMixture(
    torch.tensor([0.7, 0.3], dtype=torch.float64),
    torch.tensor([[-1.5], [2.0]], dtype=torch.float64),
    torch.tensor([[0.5], [1.0]], dtype=torch.float64),
)
GRID = torch.linspace(-12, 14, 20001, dtype=torch.float64)[:, None]


def integral(values):
    return float((MIXTURE.evaluate(GRID).exp() * values).sum() * (GRID[1, 0] - GRID[0, 0]))


@pytest.mark.parametrize("d", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(10, marks=pytest.mark.slow)])
def test_gaussian_closed_forms(d, disco):
    p, q = gaussian(d), gaussian(d, 5)
    x, y = draw(p), draw(q, seed=2)
    c, e = p.covariances[0], q.covariances[0]
    gap = q.means[0] - p.means[0]
    exact = 0.5 * (d * math.log(2 * math.pi * math.e) + float(torch.logdet(c)))
    check(entropy(x, model=disco), exact, 0.02 * d)
    divergence = 0.5 * float(
        torch.trace(torch.linalg.solve(e, c)) + gap @ torch.linalg.solve(e, gap) - d + torch.logdet(e) - torch.logdet(c)
    )
    check(kl_divergence(x, y, model=disco), divergence, 0.05 * d + 0.15 * divergence)
    information = float(torch.linalg.inv(c).trace())
    check(fisher_information(x, model=disco), information, 0.15 * information)
    relative = torch.linalg.inv(e) - torch.linalg.inv(c)
    exact = float(torch.trace(relative @ c @ relative) + (torch.linalg.inv(e) @ gap).square().sum())
    check(relative_fisher_information(x, q_score=q.score, model=disco), exact, 0.15 * information)


@pytest.mark.slow
def test_mixture_by_quadrature(disco):
    x = draw(MIXTURE, 1000)
    check(entropy(x, model=disco), -integral(MIXTURE.evaluate(GRID)), 0.02)
    check(fisher_information(x, model=disco), integral(MIXTURE.evaluate_score(GRID)[:, 0].square()), 0.1)
    q = Gaussian(torch.zeros(1, dtype=torch.float64), torch.full((1, 1), 4.0, dtype=torch.float64))
    divergence = integral(MIXTURE.evaluate(GRID) - q.evaluate(GRID))
    check(kl_divergence(x, draw(q, 1000, 3), model=disco), divergence, 0.03)
    relative = integral((MIXTURE.evaluate_score(GRID) - q.evaluate_score(GRID))[:, 0].square())
    check(relative_fisher_information(x, draw(q, 1000, 3), model=disco), relative, 0.15)


@pytest.mark.parametrize("rho", [pytest.param(0.0, marks=pytest.mark.slow), 0.8])
def test_mutual_information_of_gaussians(rho, disco):
    z = torch.randn(800, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = z[:, :2], rho * z[:, :2] + math.sqrt(1 - rho**2) * z[:, 2:]
    check(mutual_information(x, y, model=disco), -math.log(1 - rho**2), 0.05)


@pytest.mark.slow
def test_mutual_information_does_not_see_monotone_marginals(disco):
    z = torch.randn(600, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = z[:, 0], 0.7 * z[:, 0] + 0.7 * z[:, 1]
    plain, bent = mutual_information(x, y, model=disco), mutual_information(x.exp(), torch.sinh(2 * y), model=disco)
    assert abs(plain.value - bent.value) < 0.06


def _correlated(covariance: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    noise = torch.randn(n, len(covariance), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise @ torch.linalg.cholesky(covariance).T


@pytest.mark.parametrize("kind", [pytest.param("one factor", marks=pytest.mark.slow), "two pairs"])
def test_mutual_information_in_many_columns(kind, disco):
    """25 + 25 columns of a normal law. Four standard errors: by chance once in 16,000."""
    covariance = torch.eye(50, dtype=torch.float64)
    if kind == "one factor":
        covariance = 0.6 * covariance + 0.4
    if kind == "two pairs":
        covariance[[0, 1, 25, 26], [25, 26, 0, 1]] = 0.6
    exact = 0.5 * float(2 * torch.logdet(covariance[:25, :25]) - torch.logdet(covariance))
    x = _correlated(covariance, 1000, 40)
    found = mutual_information(x[:, :25], x[:, 25:].exp(), model=disco, seed=1)
    assert abs(found.value - exact) < max(0.15, 4 * found.standard_error)
    assert found.standard_error < 0.2  # three estimates, one from the other, are off by five nats


def test_mutual_information_of_uniforms(disco):
    """The normal copula of 5 + 5 columns, two pairs of which depend, has the information of the normal law."""
    covariance = torch.eye(10, dtype=torch.float64)
    covariance[[0, 1, 5, 6], [5, 6, 0, 1]] = 0.8
    x = torch.special.ndtr(_correlated(covariance, 1000, 41))
    found = mutual_information(x[:, :5], x[:, 5:], model=disco, seed=1)
    assert abs(found.value + math.log(1 - 0.8**2)) < 4 * found.standard_error < 0.25


def test_mutual_information_of_thin_sheets(disco):
    """Y = 3 X plus noise, on a circle: log(10 / 3) nats in three thin sheets, a third of which estimates alone do not see."""
    x, noise = torch.rand(2, 500, generator=torch.Generator().manual_seed(50), dtype=torch.float64)
    found = mutual_information(x, (3 * x + 0.3 * noise) % 1, model=disco, seed=1)
    assert found.value > 0.95
    assert abs(found.value - math.log(10 / 3)) < 3 * found.standard_error < 0.6


class _NormalRead:
    """A normal law of the rows' moments, in place of an estimate."""

    variance = 0.0

    def __init__(self, rows):
        self.law = torch.distributions.MultivariateNormal(
            rows.values.mean(0), torch.atleast_2d(rows.values.T.cov(correction=0))
        )

    def log_prob(self, rows):
        return self.law.log_prob(rows)


def test_what_is_left_beside_a_normal_law():
    """Nothing of a normal law: 95 % of sets or so leave nothing that is larger than its error. Of a thin sheet, most of it."""
    covariance = 0.7 * torch.eye(6, dtype=torch.float64) + 0.3
    alike = 0
    for seed in range(20):
        x, y = (Rows(part) for part in normal_scores(_correlated(covariance, 150, seed), 0).split(3, 1))
        found = dependence.dependence(x, y, _NormalRead, torch.Generator().manual_seed(seed))
        law = Copula.of(x.values, y.values, torch.full((150,), 1 / 150, dtype=torch.float64))
        alike += abs(float(found.rows.mean()) - law.plug_in + law.bias(150)) < 0.02
    assert alike >= 14
    angle, noise = torch.rand(2, 400, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x, y = (Rows(normal_scores(part, 0)) for part in (angle, (3 * angle + 0.3 * noise) % 1))
    found = dependence.dependence(x, y, _NormalRead, torch.Generator().manual_seed(1))
    assert 0.9 < float(found.rows.mean()) < math.log(10 / 3) + 0.1
    assert found.variance > 0.3  # the law that was read sees nothing of it


def test_neighbour_information(monkeypatch):
    """As scikit-learn's, which draws tiny noise, and the same in tiles."""
    x, y = torch.randn(2, 300, 1, generator=torch.Generator().manual_seed(51), dtype=torch.float64)
    y = x.square() + 0.3 * y
    whole = neighbour_information(x / x.std(0, correction=0), y / y.std(0, correction=0))
    feature_selection = pytest.importorskip("sklearn.feature_selection")
    peer = feature_selection.mutual_info_regression(x.numpy(), y[:, 0].numpy(), n_neighbors=3, random_state=0)[0]
    assert float(whole.mean()) == pytest.approx(peer, abs=1e-3)
    alike = neighbour_information(x, y, share=torch.full((300,), 1 / 300))
    torch.testing.assert_close(alike, neighbour_information(x, y), rtol=0, atol=1e-6)
    monkeypatch.setattr(neighbours, "_TILE", 1000)
    tiled = neighbour_information(x / x.std(0, correction=0), y / y.std(0, correction=0))
    torch.testing.assert_close(tiled, whole)


def test_copies_of_rows_are_no_neighbours(disco, monkeypatch):
    monkeypatch.setattr(dependence, "neighbour_information", lambda *_: pytest.fail("asked of rows that are the same"))
    x, y = torch.randn(2, 60, 1, generator=torch.Generator().manual_seed(52), dtype=torch.float64).repeat(1, 2, 1)
    with pytest.warns(RepeatedRowsWarning):
        found = mutual_information(x, y, model=disco, seed=1)
    assert abs(found.value) < 0.3


def test_mutual_information_of_independent_heavy_tails_is_nothing(disco):
    """Shuffled rows take off what estimates of heavy tails get wrong. Four standard errors: by chance once in 16,000."""
    generator = torch.Generator().manual_seed(42)
    x, y = (torch.randn(600, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    x, y = (part / torch.rand(600, 1, generator=generator, dtype=torch.float64).sqrt() for part in (x, y))
    found = mutual_information(x, y, model=disco, seed=1)
    assert abs(found.value) < 4 * found.standard_error < 0.25


def test_mutual_information_is_at_most_what_a_code_can_tell(disco, monkeypatch):
    x = torch.randn(600, 1, generator=torch.Generator().manual_seed(43), dtype=torch.float64)
    read = mutual_information(x, x > 0, model=disco, seed=1)
    assert math.log(2) - 0.2 < read.value <= math.log(2)
    monkeypatch.setattr(mutual, "dependence", lambda x, *_: Dependence(5 + 0 * x.values[:, 0], 0.01))
    assert mutual_information(x, x > 0, model=disco).value == pytest.approx(math.log(2), abs=0.01)
    assert mutual_information(x, x, model=disco).value == pytest.approx(5)


def test_more_columns_than_draws(disco):
    x = _correlated(torch.eye(40, dtype=torch.float64), 35, 44)
    with pytest.raises(ValueError, match="x and y have 20 and 20 columns that vary, the rows are worth 35"):
        mutual_information(x[:, :20], x[:, 20:], model=disco)
    with pytest.raises(ValueError, match="y does not vary"):
        mutual_information(x[:, :3], torch.ones(35), model=disco)
    with pytest.raises(ValueError, match="marginals= is ignored here"):
        mutual_information(x[:, 0], x[:, 1], model=disco, marginals="linear")


@pytest.mark.slow
def test_same_distribution_has_no_divergence(disco):
    f = gaussian(2)
    x, y = draw(f), draw(f, seed=3)
    check(kl_divergence(x, y, model=disco), 0.0, 0.05)
    check(relative_fisher_information(x, y, model=disco), 0.0, 0.3)


@pytest.mark.parametrize(("d", "h"), [(1, 1.0), (4, 2.0)])
def test_stein_discrepancy_of_shifted_gaussians(d, h):
    """For N(0, I) against the score of N(m, I), s - s_p = m and S = |m|^2 E k; E k over |x - y|^2 = 2 chi^2_d by quadrature."""
    shift = torch.full((d,), 0.4, dtype=torch.float64)
    r = torch.linspace(1e-6, 12, 20001, dtype=torch.float64)
    weight = r ** (d - 1) * (-(r**2) / 2).exp()
    kernel = float((weight / (1 + 2 * r**2 / h**2).sqrt()).sum() / weight.sum())
    x = torch.randn(2500, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = kernel_stein_discrepancy(x, lambda y: shift - y, bandwidth=h)
    # Five jackknife errors: false-alarm probability 6e-7 in the normal limit.
    assert abs(result.value - float(shift.square().sum()) * kernel) < 5 * result.standard_error
    assert result.standard_error < 0.2 * result.value
    null = kernel_stein_discrepancy(x, lambda y: -y, bandwidth=h)
    assert abs(null.value) < 0.1 * result.value


def test_stein_discrepancy_tiles_agree_with_the_whole(monkeypatch):
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = kernel_stein_discrepancy(x, torch.sin)
    monkeypatch.setattr(stein, "_TILE", 60 * 7)
    np.testing.assert_allclose(kernel_stein_discrepancy(x, torch.sin).contributions, whole.contributions, rtol=1e-12)


def test_standard_error_covers(disco):
    """Over 12 sets of 200 the errors, in standard errors, have root mean square near 1: within [0.4, 2], chance below 1e-3."""
    exact = 0.5 * math.log(2 * math.pi * math.e)
    z = []
    for seed in range(12):
        result = entropy(torch.randn(200, generator=torch.Generator().manual_seed(seed)), model=disco)
        z.append((result.value - exact) / result.standard_error)
    assert 0.4 < math.sqrt(np.mean(np.square(z))) < 2


def test_calibration_takes_the_log_integral_off(disco):
    x = draw(gaussian(2), 200)
    plain, calibrated = (entropy(x, model=disco, marginals="linear", calibrate=c) for c in (False, True))
    offset = calibrated.contributions - plain.contributions
    exact = disco.condition(x).log_normalizer(generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(offset, exact.value, atol=1e-4)
    off = math.hypot(plain.standard_error, exact.standard_error, exact.value)
    assert calibrated.standard_error == pytest.approx(off)


@pytest.mark.parametrize(("d", "n"), [(2, 50), (3, 10), (10, 6)])
def test_standard_error_has_what_a_normal_fit_is_off_by(small, d, n):
    """Akaike's p / 2n, with as many parameters as mean and sample covariance have: the vectors u of a covariance u'u of rank r
    are d r numbers, less the r (r - 1) / 2 of their rotations."""
    x = draw(gaussian(d), n)
    found = entropy(x, model=small, marginals="linear", calibrate=False)
    parameters = d + min(n, d) * d - math.comb(min(n, d), 2)
    mean = found.contributions.std(ddof=1) / math.sqrt(n)
    assert found.standard_error == pytest.approx(math.hypot(mean, parameters / 2 / n))


def test_result(tmp_path):
    pytest.importorskip("matplotlib")
    result = Information("entropy", 1.0, 0.1, np.random.default_rng(0).normal(1, 1, 100))
    assert float(result) == 1.0
    assert str(result) == "entropy = 1.000 ± 0.100 nats"
    result.plot(path=str(tmp_path / "entropy.png"))
    assert (tmp_path / "entropy.png").stat().st_size > 5000


X = np.random.default_rng(0).normal(size=(20, 2))
CODES = np.arange(40).reshape(20, 2) % 3


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: maximum_mean_discrepancy(X * np.nan, X), "x holds NaN"),
        (lambda: maximum_mean_discrepancy(X[:1], X), "x must have at least 2 rows"),
        (lambda: maximum_mean_discrepancy(X, X, bandwidth=0.0), "bandwidth must be positive"),
        (lambda: sliced_wasserstein(X, X[:, :1]), "x and y must have the same columns, got 2 and 1"),
        (lambda: sliced_wasserstein(X, X, seed=-1), "seed must lie in"),
        (lambda: precision_recall(X, X * np.nan), "real holds NaN"),
        (lambda: nearest_distances(X[0], X), "points must have shape"),
    ],
)
def test_bad_input_of_distances(call, error):
    with pytest.raises(ValueError, match=error):
        call()


def test_distances_take_arrays_and_lists():
    assert sliced_wasserstein(X, X.tolist()) == sliced_wasserstein(torch.from_numpy(X), X) == 0.0
    assert isinstance(nearest_distances(X, X + 1), np.ndarray)
    with pytest.raises(TypeError, match="seed must be an integer"):
        sliced_wasserstein(X, X, seed=1.5)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: entropy(np.full((20, 1), np.nan)), "samples holds NaN"),
        (lambda: entropy(X[:2]), "samples must have shape"),
        (lambda: entropy(X, marginals="rank"), "marginals must be"),
        (lambda: fisher_information(X, folds=1), "folds must be at least 2"),
        (lambda: entropy(X, folds=4), "folds= is ignored here"),
        (lambda: mutual_information(CODES, CODES, folds=4), "folds= is ignored here"),
        (lambda: mutual_information(X, X[:5]), "same rows"),
        (lambda: entropy(X[:, :0]), "samples is empty"),
        (lambda: mutual_information(X, X[:, :0]), "y is empty"),
        (lambda: sliced_wasserstein(X[:, :0], X[:, :0]), "x is empty"),
        (lambda: kl_divergence(X, X[:, :1]), "q_samples must have 2 columns"),
        (lambda: relative_fisher_information(X), "either q_samples or q_score"),
        (lambda: relative_fisher_information(X, X, q_score=lambda x: x), "either q_samples or q_score"),
        (lambda: kernel_stein_discrepancy(X, lambda x: x[:, 0]), "score must give"),
        (lambda: kernel_stein_discrepancy(X, lambda x: x, bandwidth=0.0), "bandwidth must be positive"),
        (lambda: kernel_stein_discrepancy(np.zeros((9, 1)), lambda x: x), "same row"),
    ],
)
def test_bad_input(call, error):
    with pytest.raises(ValueError, match=error):
        call()


def test_wrong_types():
    with pytest.raises(TypeError, match="real numbers"):
        entropy(np.array([["a"], ["b"], ["c"]]))
    with pytest.raises(TypeError, match="unexpected keyword"):
        entropy(X, fold=3)
    with pytest.raises(TypeError, match="'adapt': the options are model, marginals, folds, calibrate"):
        entropy(X, adapt=1)
    with pytest.raises(TypeError, match="unexpected keyword"):
        mutual_information(CODES, CODES, fold=3)


@pytest.mark.parametrize(("law", "support"), [
    (stats.uniform(1, 2), (1, 3)),
    (stats.expon(), "positive"),
    (stats.beta(0.5, 1), "unit"),
    (stats.vonmises(2), "circular"),
])  # fmt: skip
def test_entropy_of_columns_that_end(law, support):
    """Against closed forms; what is read as if it went on beyond the edges is off by more than the allowance."""
    x = law.rvs((700, 1), random_state=0)
    found = entropy(x, support=[support])
    check(found, float(law.entropy()), 0.03)
    assert float(entropy(Draws(x, support=[support]))) == found.value
    if support != "circular":
        assert abs(float(entropy(x)) - float(law.entropy())) > abs(found.value - float(law.entropy()))


def test_entropy_on_a_simplex():
    """Of a Dirichlet law, as a density of two of the three columns; and of whole numbers, whose cells end at zero."""
    law = stats.dirichlet([1.0, 2.0, 3.0])
    check(entropy(law.rvs(700, random_state=0), support={(0, 1, 2): "simplex"}), float(law.entropy()), 0.06)
    counts = stats.geom(0.3, loc=-1).rvs((700, 1), random_state=0).astype(float)
    check(entropy(counts, support={0: (-0.5, None)}), float(stats.geom(0.3).entropy()), 0.05)


def test_divergence_of_columns_that_end():
    """Of exponential laws, log a - 1 + 1 / a; rows that lie where the other law cannot be are told."""
    p, q = (stats.expon(scale=scale).rvs((700, 1), random_state=k) for k, scale in enumerate((1.0, 2.0)))
    check(kl_divergence(p, q, support=["positive"]), math.log(2) - 0.5, 0.04)
    with pytest.raises(ValueError, match=r"rows of p_samples lie outside the support of q_samples: the divergence .* infinite"):
        kl_divergence(p - 0.1, Draws(q, support=["positive"]))
    with pytest.raises(ValueError, match=r"rows lie outside the support \(0.0, None\) of column x0"):
        entropy(p - 0.1, support=["positive"])
