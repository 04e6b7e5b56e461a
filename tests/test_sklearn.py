"""The scikit-learn estimators: their conformance checks, frames, pipelines, mixed tables, PyOD's contract and bad input."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sklearn = pytest.importorskip("sklearn")

from disco_samplers.integrations import sklearn as ours  # noqa: E402
from disco_samplers.integrations.sklearn import DiscoDensity, DiscoOutlierDetector, DiscoRegressor, FarFeaturesWarning  # noqa: E402
from disco_samplers.integrations.sklearn.reading import calibrated  # noqa: E402
from disco_samplers.integrations.sklearn.standing import completed, standing_out  # noqa: E402
from disco_samplers.integrations.sklearn.table import dequantized, resolutions  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_breast_cancer, load_wine  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from disco_samplers import DiScoFormer, DiScoFormerConfig  # noqa: E402
from disco_samplers.draws import SuggestedSupportWarning  # noqa: E402
from disco_samplers.estimators import Places, Quadrature, Slices, SupportTransform  # noqa: E402
from disco_samplers.estimators.transforms.supports import HalfLine  # noqa: E402

X = np.random.default_rng(0).normal(size=(80, 3)) * [1.0, 10.0, 0.1]
NAMES = ["a", "b", "c"]
PLAIN = {"reading": "johnson", "calibrate": False}


def small():
    """Folder with an untrained model of few parameters: a kernel mixture with the same interface, for the checks' many fits."""
    folder = Path(FOLDER.name)
    sizes = {"layers": 1, "width": 8, "vector_channels": 2, "heads": 2, "head_width": 4, "hidden": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        DiScoFormer(DiScoFormerConfig(**sizes)).save_pretrained(folder)
    return str(folder)


class Folder(str):
    """A path with a fixed name in the tests' ids, which must be the same in every worker."""

    def __repr__(self):
        return "small"


FOLDER = tempfile.TemporaryDirectory()
SMALL = Folder(small())


# No failure is expected of any check.
# One of the checks gives a row a weight of ten among fifteen of one.
@pytest.mark.filterwarnings("ignore::disco_samplers.draws.LowEffectiveSizeWarning")
@parametrize_with_checks([DiscoDensity(model=SMALL), DiscoOutlierDetector(model=SMALL), DiscoRegressor(model=SMALL, **PLAIN)])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow  # fits by folds
@pytest.mark.filterwarnings("ignore::disco_samplers.draws.LowEffectiveSizeWarning")
@parametrize_with_checks([DiscoRegressor(model=SMALL)])
def test_scikit_learn_of_a_chosen_reading(estimator, check):
    check(estimator)


def test_sklearn_is_still_scikit_learn():
    assert sklearn.__version__
    assert sklearn.neighbors.KernelDensity
    assert not hasattr(ours, "__version__")


@pytest.fixture(scope="module")
def density():
    return DiscoDensity().fit(X)


@pytest.fixture(scope="module")
def detector():
    return DiscoOutlierDetector().fit(X)


def test_density_and_gradient(density):
    """Against the model itself, conditioned on the same rows; the gradient against differences of the log-density."""
    estimate = density.estimate_
    np.testing.assert_allclose(density.score_samples(X), estimate.log_prob(X) - density.log_normalizer_)
    assert density.score(X) == pytest.approx(density.score_samples(X).sum())
    step = np.diag(1e-4 * X.std(0))
    slope = [(density.score_samples(X + e) - density.score_samples(X - e)) / (2 * e.sum()) for e in step]
    error = (density.score_gradient(X) - np.stack(slope, 1)) * X.std(0)
    # Two heads of the network: they agree as well as it was trained.
    assert np.square(error).sum() < 0.3 * np.square(density.score_gradient(X) * X.std(0)).sum()


def test_normalised():
    x = np.random.default_rng(1).normal(size=(200, 1)) ** 3
    grid = np.sinh(np.linspace(-8, 8, 4001))[:, None]
    density = DiscoDensity().fit(x)
    values = np.exp(density.score_samples(grid))
    mass = (np.diff(grid[:, 0]) * (values[1:] + values[:-1]) / 2).sum()  # trapezoids; numpy names them since 2.0
    assert mass == pytest.approx(1, abs=0.05)
    assert DiscoDensity(normalize=False).fit(x).log_normalizer_ == 0


def test_training_rows_are_judged_by_others(density):
    own, fair = density.score_samples(X), density.score_training_samples()
    assert fair.mean() + density.log_normalizer_ < own.mean() + 0.5
    far = X.copy()
    far[0] = [30.0, 300.0, 3.0]
    lonely = DiscoDensity().fit(far)
    assert lonely.score_training_samples()[0] < lonely.score_samples(far)[0] - 2


def test_sample():
    rng = np.random.default_rng(2)
    x = np.stack([rng.poisson(3, 200), rng.normal(size=200)], 1)
    density = DiscoDensity().fit(x)
    draws = density.sample(150, random_state=0)
    assert draws.shape == (150, 2)
    np.testing.assert_array_equal(draws[:, 0], np.round(draws[:, 0]))
    # Five standard errors of a difference of means, and a standard deviation's fifth for the estimate.
    assert (np.abs(draws.mean(0) - x.mean(0)) < (5 * np.sqrt(1 / 150 + 1 / 200) + 0.2) * x.std(0)).all()
    np.testing.assert_array_equal(draws, density.sample(150, random_state=0))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame(dict(zip(NAMES, X.T, strict=True)))
    density = DiscoDensity(normalize=False).fit(frame)
    assert density.feature_names_in_.tolist() == NAMES
    np.testing.assert_allclose(density.score_samples(frame), density.score_samples(frame[NAMES]))
    with pytest.raises(ValueError, match=r"(?s)feature names should match.*same order"):
        density.score_samples(frame[NAMES[::-1]])
    renamed = frames.DataFrame(dict(zip(["a", "b", "z"], X.T, strict=True)))
    with pytest.raises(ValueError, match=r"(?s)feature names should match.*unseen.*z"):
        density.score_samples(renamed)
    out = density.set_output(transform=library).transform(frame)
    assert list(out.columns) == ["log_density", "score_a", "score_b", "score_c"]
    np.testing.assert_allclose(np.asarray(out)[:, 1:], density.score_gradient(frame))


def test_pipelines_cloning_pickling_and_search():
    y = (X[:, 0] > 0).astype(int)
    pipeline = make_pipeline(StandardScaler(), DiscoDensity(normalize=False), StandardScaler(), LogisticRegression())
    assert pipeline.fit(X, y).score(X, y) > 0.9
    fitted = DiscoDensity(normalize=False).fit(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).score_samples(X), fitted.score_samples(X))
    assert clone(fitted).get_params() == fitted.get_params()
    search = GridSearchCV(DiscoDensity(), {"marginals": ["linear", "johnson"]}, cv=2)
    assert search.fit(np.sinh(3 * X[:, :1])).best_params_ == {"marginals": "johnson"}


def test_same_seed_same_result(detector):
    np.testing.assert_array_equal(DiscoOutlierDetector().fit(X).training_scores_, detector.training_scores_)


def test_detector_contract(detector):
    scores = detector.score_samples(X)
    np.testing.assert_array_equal(scores, detector.training_scores_)
    np.testing.assert_allclose(detector.decision_function(X), scores - detector.offset_)
    assert (detector.predict(X) == -1).sum() == 8
    np.testing.assert_array_equal(detector.predict(X), detector.fit_predict(X))
    assert detector.predict([[20.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).tolist() == [-1, 1]


def test_detector_tells_kinds_of_wine_apart():
    """Fitted to one kind, it ranks fresh rows of that kind before those of another: AUROC 0.5 by chance, with sd 0.08."""
    wine, label = load_wine(return_X_y=True)
    detector = DiscoOutlierDetector().fit(wine[label == 0][:45])
    usual, other = detector.score_samples(wine[label == 0][45:]), detector.score_samples(wine[label == 2])
    assert (usual[:, None] > other).mean() > 0.95


def test_a_value_that_many_rows_share_is_no_spike():
    """Five columns that are zero four times in five: rows three times as large are told from the others.

    Scores by a collapsed marginal's slope tell them with an AUROC of 0.70, by an exact likelihood ratio with 0.98. Its standard
    error is 0.02.
    """
    rng = np.random.default_rng(3)
    table = rng.exponential(size=(500, 10))
    table[350:] *= 3
    table[:, :5] *= rng.uniform(size=(500, 5)) > 0.8
    detector = DiscoOutlierDetector().fit(table[:300])
    assert roc_auc_score(np.arange(300, 500) >= 350, -detector.score_samples(table[300:])) > 0.84
    assert len(detector.density_.estimate_.transform.parts[0].places) == 1


def test_scaled_log_densities_do_not_depend_on_units():
    """Up to one constant; the logarithm of a column's unit is no part of a comparison."""
    x = np.exp(np.random.default_rng(4).normal(size=(120, 2)))
    x[:30, 0] = 0
    units = np.array([1e3, 1e-2])
    one, other = (DiscoDensity(normalize=False).fit(u * x).score_samples(u * x, scaled=True) for u in (np.ones(2), units))
    np.testing.assert_allclose(one - one[0], other - other[0], atol=1e-4)


def test_a_cluster_of_anomalies_does_not_vouch_for_itself():
    """Thirty rows close together, a twentieth of the table: denser than the bulk, but far from it. None of a clean table."""
    rng = np.random.default_rng(5)
    table = rng.normal(size=(600, 6)) @ rng.normal(size=(6, 6))
    clean = DiscoDensity(trim="auto", normalize=False).fit(table)
    assert clean.support_.all()
    table[:30] = 5 * table.std(0) + 0.2 * table[:30]
    detector = DiscoOutlierDetector().fit(table)
    assert not detector.density_.support_[:30].any()
    assert roc_auc_score(np.arange(600) < 30, -detector.training_scores_) > 0.99
    plain = DiscoOutlierDetector(robust=False).fit(table)
    assert roc_auc_score(np.arange(600) < 30, -plain.training_scores_) < 0.5


def test_nobody_changes_the_default_weights():
    """They are loaded once for all estimators; what an estimate gives of its model is a copy."""
    x = np.random.default_rng(6).normal(size=(30, 2))
    density = DiscoDensity(normalize=False).fit(x)
    before = density.score_samples(x)
    with torch.no_grad():
        for part in density.estimate_.model.parameters():
            part.zero_()
    np.testing.assert_array_equal(DiscoDensity(normalize=False).fit(x).score_samples(x), before)


def test_what_stands_out_of_few_rows():
    """Twelve rows of sixty in thirteen columns that lie together do; of normal rows alone next to none."""
    found, clean = [], []
    for seed in range(15):
        z = torch.randn(60, 13, generator=torch.Generator().manual_seed(seed)).double()
        clean.append(float(standing_out(z, torch.zeros(60).double()).double().mean()))
        z[48:] = 0.7 * z[48:] + 3.0
        found.append(float(standing_out(z, torch.zeros(60).double())[48:].double().mean()))
    assert np.mean(clean) < 0.02
    assert np.mean(found) > 0.8


@pytest.mark.parametrize("robust", [True, False])
def test_false_alarms_are_as_promised(robust):
    """Of tables of 99 rows of skewed columns, and 100 new rows for each of 40.

    Of the new rows of one table a share is flagged that has mean 0.1 and standard deviation 0.03, and 0.03 more by chance: the
    mean of 40 is above 0.1 + 4 * 0.0067 by chance once in 30,000 times.
    """
    rng = np.random.default_rng(6)
    shares = []
    for _ in range(40):
        x = np.exp(rng.normal(size=(199, 2)))
        detector = DiscoOutlierDetector(model=SMALL, threshold="auto", false_alarms=0.1, robust=robust).fit(x[:99])
        shares.append((detector.predict(x[99:]) == -1).mean())
        np.testing.assert_array_equal(detector.predict(x) == -1, detector.p_values(x) <= 0.1)
    assert 0.03 < np.mean(shares) < 0.1 + 4 * 0.0067


def test_p_values_are_ranks():
    detector = DiscoOutlierDetector(model=SMALL, threshold="auto", false_alarms=0.2).fit(X[:39])
    order = detector.training_scores_.argsort()
    np.testing.assert_allclose(detector.p_values(X[:39][order]), (2 + np.arange(39)) / 40)
    assert detector.p_values([[1e3, 1e4, 1e2]])[0] == 1 / 40
    weighted = DiscoOutlierDetector(model=SMALL).fit(X[:39], sample_weight=np.r_[np.full(38, 2.0), 0.0])
    assert weighted.p_values([[1e3, 1e4, 1e2]])[0] == pytest.approx(1 / 40)
    with pytest.raises(ValueError, match=r"false_alarms must be at least 0.025 with 39 training rows, got 0.01"):
        DiscoOutlierDetector(model=SMALL, threshold="auto").fit(X[:39])


def test_explanations_of_a_normal_law():
    """Against the closed form of log-densities given the other cells, in a law without dependence but of two columns."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(1500, 3)) * [1, 10, 0.1]
    x[:, 2] = 0.1 * (0.9 * x[:, 0] + np.sqrt(0.19) * x[:, 2] * 10)
    detector = DiscoOutlierDetector(marginals="linear").fit(x)
    asked = np.array([[0.0, 35.0, 0.0], [1.5, 0.0, -0.1], [0.0, 0.0, 0.0], [1.0, np.nan, 0.09]])
    found = detector.explain(asked)
    white = asked / [1, 10, 0.1]
    given = 0.9 * white[:, [2, 1, 0]]
    given[:, 1] = 0
    exact = 0.5 * ((white - given) ** 2 / [0.19, 1, 0.19] - 1)
    # The missing cell's column is independent of the others.
    np.testing.assert_allclose(found, exact, rtol=0.25, atol=0.4)
    assert np.isnan(found[3, 1])
    frames = pytest.importorskip("pandas")
    frame = frames.DataFrame(x[:200], columns=NAMES, index=[f"row {i}" for i in range(200)])
    named = DiscoOutlierDetector(model=SMALL).fit(frame)
    rows = frame.iloc[[3, 150]]
    surprises = named.explain(rows)
    assert (list(surprises.columns), list(surprises.index)) == (NAMES, ["row 3", "row 150"])
    # A training row is explained by an estimate that did not see it.
    own = named.density_.surprise_samples(rows.to_numpy())
    assert (np.abs(surprises.to_numpy() - own) > 1e-6).any()


def test_robust_keeps_outliers_out_of_the_context():
    # Ten outliers on a circle forty standard deviations away: a row of the bulk is nowhere near as lonely.
    angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    far = 40 * np.stack([np.cos(angle), np.sin(angle)], 1)
    table = np.concatenate([np.random.default_rng(6).normal(size=(90, 2)), far])
    robust = DiscoOutlierDetector(marginals="linear").fit(table)
    assert not robust.density_.support_[90:].any()
    assert DiscoOutlierDetector(robust=False).fit(table).density_.support_.all()


@pytest.mark.parametrize(
    ("column", "step"),
    [
        ([1, 2, 5, 5], 1.0),
        ([10, 20, 20, 70], 10.0),
        ([0.1, 0.2, 0.2, 0.1 + 0.2], 0.1),
        ([3, 3, 3, 3], 1.0),
        ([1, 2, 5, 9], 1.0),
        ([0.5, 0.7, 0.3, 0.11], 0.0),
        ([0.5, 0.5, 0.5, 0.5], 0.0),
    ],
)
def test_resolution(column, step):
    x = np.array(column, dtype=float)[:, None]
    assert resolutions(x)[0] == pytest.approx(step)
    noisy = dequantized(x, resolutions(x), np.random.RandomState(0))
    assert (np.abs(noisy - x) <= step / 2 + 1e-12).all()


def test_dequantised_density_gives_the_cells_probabilities():
    """A fair die thrown 600 times: the density at each face, over cells of width one, is its probability."""
    die = np.random.default_rng(1).integers(1, 7, 600)[:, None]
    p = np.exp(DiscoDensity().fit(die).score_samples(np.arange(1, 7)[:, None]))
    assert np.abs(p - 1 / 6).max() < 0.08


@pytest.mark.parametrize(
    "table",
    [
        np.column_stack([X, np.full(80, 7.3)]),
        np.column_stack([X, 5 + 1e-9 * np.random.default_rng(3).normal(size=80)]),
        np.column_stack([X, X[:, 0] + X[:, 1]]),
        np.column_stack([np.random.default_rng(4).standard_cauchy(80), np.arange(80) % 2, np.zeros(80)]),
        np.random.default_rng(5).normal(size=(12, 30)),
        np.repeat(X[:20], 4, 0),
        1e150 * X,
        X[:, :1],
    ],
    ids=["constant", "near-constant", "dependent", "cauchy-binary-zero", "n<d", "repeated rows", "huge", "one column"],
)
def test_mixed_tables(table):
    detector = DiscoOutlierDetector(folds=3).fit(table)
    assert np.isfinite(detector.training_scores_).all()
    assert np.isfinite(detector.score_gradient(table)).all()
    new = table[:3] + table.std(0)
    assert np.isfinite(detector.score_samples(new)).all()
    density = DiscoDensity(normalize=False).fit(table)
    assert np.isfinite(density.score_samples(table)).all()


def test_long_table_goes_through_groups_of_keys():
    x = np.random.default_rng(7).normal(size=(400, 2))
    short, whole = DiscoDensity(keys=128, normalize=False).fit(x), DiscoDensity(normalize=False).fit(x)
    assert short.estimate_.estimator.core.keys == 128
    assert whole.estimate_.estimator.core.keys is None
    assert np.abs(short.score_samples(x) - whole.score_samples(x)).mean() < 0.2


def test_long_table_is_represented_by_a_subset(monkeypatch):
    """No estimate is made of more rows than the context holds, and outliers are told as well as by all rows."""
    rng = np.random.default_rng(8)
    table = rng.normal(size=(600, 2))
    table[:, 1] += table[:, 0] ** 2
    table[:30] = rng.uniform(-4, 8, (30, 2))
    odd = np.arange(600) < 30
    sizes, condition = [], DiScoFormer.condition

    def watched(model, samples, **options):
        sizes.append(len(samples))
        return condition(model, samples, **options)

    monkeypatch.setattr(DiScoFormer, "condition", watched)
    short, whole = (DiscoOutlierDetector(contamination=0.05, context_size=size).fit(table) for size in (200, 600))
    assert sizes[:10] == [200] * 10  # five folds to see what stands out, five to score
    assert min(sizes[10:]) > 400
    assert short.density_.support_[odd].mean() < 0.5
    assert short.density_.support_[~odd].mean() > 0.97
    np.testing.assert_array_equal(
        short.training_scores_, DiscoOutlierDetector(contamination=0.05, context_size=200).fit(table).training_scores_
    )
    auroc = [roc_auc_score(odd, -detector.training_scores_) for detector in (short, whole)]
    assert auroc[0] > auroc[1] - 0.03


@pytest.mark.parametrize("estimator", [DiscoDensity, DiscoOutlierDetector, DiscoRegressor])
def test_a_device_without_float64(estimator):
    for model in (None, DiScoFormer.from_pretrained()):
        with pytest.raises(ValueError, match="device mps does not work: whitening needs float64"):
            estimator(model=model, device="mps").fit(X, X[:, 0])


@pytest.mark.parametrize("name", ["DiscoDensity", "DiscoOutlierDetector", "DiscoOD"])
def test_every_method_before_fit(name):
    pytest.importorskip("pyod.models.base")
    estimator = getattr(ours, name)()
    asked = ["decision_function", "predict", "score", "score_gradient", "score_samples", "score_training_samples", "transform"]
    methods = [method for method in asked if hasattr(estimator, method)]
    assert len(methods) >= 2
    for method in methods:
        with pytest.raises(NotFittedError):
            getattr(estimator, method)(*([] if method == "score_training_samples" else [X]))


@pytest.fixture(scope="module")
def skewed():
    """Two features, and a target whose width grows with the first: rows, and the exact law's mean and deviation."""
    rng = np.random.default_rng(11)
    x = rng.uniform(-1, 1, size=(600, 2))
    mean, std = x[:, 0] - x[:, 1], 0.2 + 0.3 * (x[:, 0] + 1)
    return x, mean + std * rng.normal(size=600), mean, std


@pytest.fixture(scope="module", params=[PLAIN, pytest.param({}, marks=pytest.mark.slow)], ids=["plain", "chosen"])
def regressor(skewed, request):
    x, y, _, _ = skewed
    return DiscoRegressor(**request.param).fit(x[:400], y[:400])


def test_regression_of_a_normal_law(regressor, skewed):
    """Means within a third of a deviation, deviations within a quarter, on the mean over rows; intervals of 90 % hold 90 %."""
    x, y, mean, std = (values[400:] for values in skewed)
    found, width = regressor.predict(x, return_std=True)
    assert np.abs((found - mean) / std).mean() < 0.33
    assert np.abs(width / std - 1).mean() < 0.25
    quantiles = regressor.predict_quantiles(x)
    inside = (y > quantiles[:, 0]) & (y < quantiles[:, 2])
    # Five standard errors of a share of 200.
    assert abs(inside.mean() - 0.9) < 5 * np.sqrt(0.09 / 200)
    exact = (-0.5 * ((y - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)).mean()
    assert exact - 0.15 < regressor.log_prob(x, y).mean() < exact + 0.05
    draws = regressor.sample(x[:5], 500, random_state=0)
    assert draws.shape == (5, 500)
    # Five standard errors of the mean of independent draws.
    assert (np.abs(draws.mean(1) - found[:5]) < 5 * width[:5] / np.sqrt(500)).all()
    np.testing.assert_array_equal(draws, regressor.sample(x[:5], 500, random_state=0))


@pytest.mark.slow  # fits by folds
def test_the_reading_of_a_regression_is_chosen(regressor):
    """By held-out rows: two parallel ridges are read in parts."""
    rng = np.random.default_rng(13)
    x = rng.uniform(-2, 2, (300, 1))
    y = rng.choice([-4, 4], 300) + x[:, 0] + 0.05 * rng.normal(size=300)
    chosen = DiscoRegressor().fit(x, y)
    assert chosen.reading_ == "parts"
    assert DiscoRegressor(calibrate=False).fit(x, y).power_ == 1.0
    assert 0.7 <= regressor.power_ <= 1.4


def test_powers_of_a_law_integrate_to_what_they_must():
    rows = torch.randn(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def half(points):
        return -0.25 * (points[:, 1] - points[:, 0]).square()

    law = SimpleNamespace(log_prob=half)
    slices = Slices(law, [0], rows[:, :1], 2)
    found = Quadrature(slices, Places.of(slices, rows, None, SupportTransform([None] * 2)))
    exact = 0.5 * np.log(2 * np.pi / (0.5 * np.array([0.5, 2.0])))
    np.testing.assert_allclose(found.tempered(torch.tensor([0.5, 2.0])), np.tile(exact, (300, 1)), atol=1e-4)
    below = found.below(rows[:, 1], torch.tensor([0.5, 2.0]))
    normal = torch.distributions.Normal(rows[:, :1], torch.tensor([2.0, 1.0]).double())
    torch.testing.assert_close(below, normal.cdf(rows[:, 1:]), atol=1e-3, rtol=0)


def test_the_mass_below_points_of_a_column_that_ends_above():
    """Minus a lognormal number: the column falls with its coordinate."""
    law = torch.distributions.LogNormal(torch.zeros(()).double(), 1.0)
    rows = torch.randn(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rows[:, 1] = -rows[:, 1].exp()
    slices = Slices(SimpleNamespace(log_prob=lambda x: law.log_prob(-x[:, 1])), [0], rows[:, :1], 2)
    change = SupportTransform([None, HalfLine(0.0, -1.0, 1.0, True)])
    found = Quadrature(slices, Places.of(slices, rows, None, change)).below(rows[:, 1], torch.tensor([1.0]))
    torch.testing.assert_close(found[:, 0], 1 - law.cdf(-rows[:, 1]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("spread", [0.8, 1.0, 1.25])
def test_laws_that_are_too_narrow_or_too_wide_are_calibrated(spread):
    """Normal targets, laws that are normal but for their deviation: the right power is its square, known to a step or so.

    Intervals then hold 90 % within three standard errors of 1000 rows and half a step, which is a per cent.
    """
    powers = torch.tensor([0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6]).double()
    law = torch.distributions.Normal(torch.zeros(9).double(), spread * powers**-0.5)
    y = torch.randn(1000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    chosen = calibrated(law.log_prob(y), law.cdf(y), None)
    assert float(powers[chosen]) == pytest.approx(spread**2, rel=0.16)
    inside = (
        ((law.cdf(torch.randn(4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(4))) - 0.5).abs() < 0.45)
        .double()
        .mean(0)[chosen]
    )
    assert float(inside) == pytest.approx(0.9, abs=0.04)


def test_laws_of_a_wrong_form_hold_what_they_say_and_stay_likely():
    """Student's t with 3 degrees, told as normal: the likeliest power makes intervals of 90 % hold 93 %.

    Where all other powers are much less likely, the likeliest stays.
    """
    powers = torch.tensor([0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6, 2.0]).double()
    law = torch.distributions.Normal(torch.zeros(8).double(), 3**0.5 * powers**-0.5)
    y = torch.from_numpy(np.random.default_rng(5).standard_t(3, (2000, 1)))
    log_prob, below = law.log_prob(y), law.cdf(y)
    chosen, likeliest = calibrated(log_prob, below, None), int(log_prob.mean(0).argmax())
    off = (((below - 0.5).abs() < 0.45).double().mean(0) - 0.9).abs()
    assert off[chosen] < off[likeliest]
    assert calibrated(log_prob - 9 * (torch.arange(8) != likeliest), below, None) == likeliest


def test_features_far_from_what_was_fitted_are_warned_of():
    """Far in one column, or where two columns that go together part; close by nothing is said."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 2))
    x[:, 1] = x[:, 0] + 0.1 * rng.normal(size=100)
    fitted = DiscoRegressor(model=SMALL, **PLAIN).fit(x, x[:, 0])
    fitted.predict(x[:20])
    with pytest.warns(FarFeaturesWarning, match="1 of 2 rows lie far .* row 1, the first with feature 1 = 9, .* standard dev"):
        fitted.predict([[0.0, 0.0], [9.0, 9.0]])
    with pytest.warns(FarFeaturesWarning, match="1 of 1 rows"):
        fitted.predict_quantiles([[2.0, -2.0]])


def test_regression_of_several_targets(skewed):
    """Each as if it were alone, and all together by the chain of their own laws where they are independent."""
    x, y, _, _ = skewed
    other = np.random.default_rng(12).normal(size=600)
    both = np.stack([y, other], 1)
    two, one = DiscoRegressor(**PLAIN).fit(x[:100], both[:100]), DiscoRegressor(**PLAIN).fit(x[:100], y[:100])
    mean, std = two.predict(x[400:410], return_std=True)
    assert mean.shape == std.shape == (10, 2)
    np.testing.assert_allclose(mean[:, 0], one.predict(x[400:410]), rtol=1e-6)
    assert two.predict_quantiles(x[:7], [0.1, 0.9]).shape == (7, 2, 2)
    assert two.sample(x[:3], 4, random_state=0).shape == (3, 4, 2)
    log_prob = two.log_prob(x[400:404], both[400:404])
    apart = one.log_prob(x[400:404], y[400:404]) - 0.5 * other[400:404] ** 2 - 0.5 * np.log(2 * np.pi)
    assert abs((log_prob - apart).mean()) < 0.3


def test_regression_of_weighted_rows(skewed):
    """A weight of zero leaves a row out, of two is two rows."""
    x, y, _, _ = skewed
    weight = np.r_[np.zeros(20), np.full(30, 2.0), np.ones(50)]
    weighted = DiscoRegressor(**PLAIN).fit(x[:100], y[:100], sample_weight=weight)
    rows = np.repeat(np.arange(100), weight.astype(int))
    np.testing.assert_allclose(weighted.predict(x[:9]), DiscoRegressor(**PLAIN).fit(x[rows], y[rows]).predict(x[:9]), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::disco_samplers.integrations.sklearn.FarFeaturesWarning")  # it is expected once
def test_regression_far_out_and_in_frames(skewed):
    pandas = pytest.importorskip("pandas")
    x, y, _, _ = skewed
    fitted = DiscoRegressor(**PLAIN).fit(pandas.DataFrame(x[:100], columns=["a", "b"]), y[:100])
    assert fitted.feature_names_in_.tolist() == ["a", "b"]
    far = pandas.DataFrame({"a": [1e3, 0.0], "b": [0.0, -1e6]})
    with pytest.warns(FarFeaturesWarning, match="2 of 2 rows lie far .* feature a = 1000"):
        assert np.isfinite(fitted.predict(far)).all()
    with pytest.raises(ValueError, match=r"(?s)feature names should match"):
        fitted.predict(far[["b", "a"]])
    with pytest.raises(ValueError, match="y must have 1 value for each of the 2 rows of X, as in fit, got shape"):
        fitted.log_prob(far, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"quantiles must be numbers in \(0, 1\)"):
        fitted.predict_quantiles(far, [0.0])
    assert pickle.loads(pickle.dumps(fitted)).predict(far).tolist() == fitted.predict(far).tolist()


def test_pyod():
    base = pytest.importorskip("pyod.models.base")
    from disco_samplers.integrations.sklearn import DiscoOD

    model = DiscoOD(contamination=0.1).fit(X)
    assert isinstance(model, base.BaseDetector)
    np.testing.assert_array_equal(model.decision_scores_, -model.detector_.training_scores_)
    np.testing.assert_array_equal(model.labels_, (model.decision_scores_ > model.threshold_).astype(int))
    np.testing.assert_allclose(model.decision_function(X), model.decision_scores_)
    assert model.labels_.sum() == 8
    probability = model.predict_proba(X)
    assert probability.shape == (80, 2)
    np.testing.assert_allclose(probability.sum(1), 1)
    assert model.predict([[30.0, 0, 0]]).tolist() == [1]
    assert model.get_params()["contamination"] == 0.1


def test_errors_name_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(load_breast_cancer().data[:30, :4], columns=["radius", "texture", "perimeter", "area"])
    broken = frame.copy()
    broken.loc[3, "texture"] = np.nan
    broken.loc[4, "area"] = np.inf
    for estimator in (DiscoDensity(), DiscoOutlierDetector()):
        with pytest.raises(ValueError, match=r"(?s)infinity.*Columns with such values: area; encode, drop or impute"):
            estimator.fit(broken)
        with pytest.raises(ValueError, match=r"X has no value in column\(s\) texture: drop them"):
            estimator.fit(frame.assign(texture=np.nan))
    with pytest.raises(ValueError, match=r"(?s)NaN|infinity.*texture, area"):
        DiscoRegressor().fit(broken, frame["radius"])
    with pytest.raises(ValueError, match=r"(?s)could not convert.*Columns with such values: texture;"):
        DiscoDensity().fit(frame.astype({"texture": object}).assign(texture="high"))
    with pytest.raises(ValueError, match="Columns with such values: 1;"):
        DiscoDensity().fit([[1.0, "x"], [2.0, "y"], [3.0, "z"]])


@pytest.mark.parametrize(
    ("call", "kind", "error"),
    [
        (lambda: DiscoDensity().fit(X[:1]), ValueError, "1 sample"),
        (lambda: DiscoOutlierDetector().fit(X[:2]), ValueError, "minimum of 3"),
        (lambda: DiscoDensity().fit(X[:, 0]), ValueError, "Expected 2D array"),
        (lambda: DiscoDensity().fit(np.full((9, 2), 0.5)), ValueError, "no variance"),
        (lambda: DiscoDensity().fit(X, sample_weight=np.ones(79)), ValueError, r"sample_weight.shape == \(79,\)"),
        (
            lambda: DiscoDensity().fit(X, sample_weight=-np.ones(80)),
            ValueError,
            "Negative values in data passed to `sample_weight`",
        ),
        (lambda: DiscoDensity().fit(X, sample_weight=np.eye(80)[0]), ValueError, "fewer than two distinct rows"),
        (lambda: DiscoOutlierDetector().fit(X, sample_weight=np.zeros(80)), ValueError, "weight.*zero"),
        (lambda: DiscoDensity().fit(np.ma.masked_less(X, -2.0)), ValueError, "X holds masked values"),
        (lambda: DiscoDensity().fit(X, weights=1), TypeError, "unexpected keyword argument 'weights'"),
        (lambda: DiscoDensity(marginals="rank").fit(X), ValueError, "marginals"),
        (lambda: DiscoDensity(trim=0.5).fit(X), ValueError, "trim"),
        (lambda: DiscoOutlierDetector(contamination=0.0).fit(X), ValueError, "contamination"),
        (lambda: DiscoOutlierDetector(contamination=0.6).fit(X), ValueError, "contamination"),
        (lambda: DiscoDensity(model="no/such/folder").fit(X), FileNotFoundError, "no"),
        (lambda: DiscoRegressor().fit(X, X[:79, 0]), ValueError, "inconsistent numbers of samples"),
        (lambda: DiscoRegressor().fit(X, None), ValueError, "requires y to be passed"),
        (lambda: DiscoRegressor().fit(X, np.full(80, np.nan)), ValueError, "y contains NaN"),
        (lambda: DiscoRegressor(reading="rank").fit(X, X[:, 0]), ValueError, "reading"),
    ],
)
def test_bad_input(call, kind, error):
    with pytest.raises(kind, match=error):
        call()


def test_one_row_and_other_columns(density):
    assert density.score_samples(X[:1]).shape == (1,)
    with pytest.raises(ValueError, match="3 features"):
        density.score_samples(X[:, :2])


def test_supports_of_a_table():
    """Counts and shares end where they end: nothing below, the full density there; heavy columns are still tamed."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"count": rng.poisson(1.0, 300), "share": rng.random(300), "heavy": rng.standard_t(2, 300)})
    given = {"count": "positive", "share": "unit"}
    density, plain = DiscoDensity(support=given).fit(X), DiscoDensity().fit(X)
    at = pd.DataFrame({"count": [-1.0, 1.0, 1.0], "share": [0.5, 1.001, 0.5], "heavy": [0.0, 0.0, 0.0]})
    found = density.score_samples(at)
    assert (found[:2] == -np.inf).all()
    assert np.isfinite(found[2])
    assert density.score_training_samples().mean() > plain.score_training_samples().mean()
    drawn = density.sample(100, random_state=0)
    assert drawn[:, 0].min() >= 0
    assert set(np.unique(drawn[:, 0])) <= set(range(20))
    assert 0 <= drawn[:, 1].min() <= drawn[:, 1].max() <= 1
    with pytest.warns(SuggestedSupportWarning, match="'share': 'unit'"):
        DiscoDensity(support="auto").fit(X)
    with pytest.raises(ValueError, match=r"support \(0.5, 1.0\) of column share"):
        DiscoDensity(support={"share": (0.5, 1)}).fit(X)


def test_a_tight_cluster_stands_out_of_rows_that_lack_cells():
    """Forty rows close together among 400, a fifth of all cells missing; of clean tables hardly a row stands out."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(400, 10, generator=generator).double()
    z[:40] = z[:40] / 20 + 4
    lacks = torch.rand(z.shape, generator=generator) < 0.2
    found = standing_out(torch.where(lacks, torch.nan, z), torch.zeros(400).double())
    assert found[:40].all()
    assert found[40:].sum() < 4
    clean = torch.where(lacks, torch.nan, torch.randn(400, 10, generator=generator).double())
    clean[0] = torch.nan
    assert standing_out(clean, torch.zeros(400).double()).sum() < 4


def test_distances_in_the_cells_that_are_there_are_those_of_their_covariance():
    generator = torch.Generator().manual_seed(0)
    z, root = torch.randn(6, 4, generator=generator).double(), torch.randn(4, 4, generator=generator).double()
    covariance = root @ root.T + torch.eye(4)
    lacks = torch.rand(6, 4, generator=generator) < 0.4
    lacks[0], lacks[1] = False, True
    whole, squared, lost = completed(torch.where(lacks, torch.nan, z), covariance, torch.ones(6).double())
    total = torch.zeros(4, 4).double()
    for row, none, filled, distance in zip(z, lacks, whole, squared, strict=True):
        inner = torch.linalg.inv(covariance[~none][:, ~none])
        between = covariance[none][:, ~none] @ inner
        assert float(distance) == pytest.approx(float(row[~none] @ inner @ row[~none]))
        torch.testing.assert_close(filled[none], between @ row[~none])
        index = none.nonzero()[:, 0]
        total[index[:, None], index] += covariance[none][:, none] - between @ covariance[~none][:, none]
    torch.testing.assert_close(lost, total)


def test_a_column_that_hardly_any_row_has_says_nothing_of_what_stands_out():
    """Three cells of a column are there, none of them among the half of the rows that is nearest to the middle."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(200, 4, generator=generator).double()
    z[:10] = z[:10] / 20 + 6
    z[:, 3] = torch.nan
    z[:3, 3] = 6.0
    found = standing_out(z, torch.zeros(200).double())
    assert found[:10].all()
    assert found[10:].sum() < 4
