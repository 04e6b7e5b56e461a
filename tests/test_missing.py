"""Rows that lack cells: marginals of known laws, what is filled in, and the scikit-learn estimators on such tables."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from disco_samplers.integrations.sklearn import DiscoDensity, DiscoOutlierDetector, DiscoRegressor, ManyMissingWarning, missing
from disco_samplers.integrations.sklearn.missing import MissingCells
from sklearn.metrics import roc_auc_score

from disco_samplers.reference import Gaussian, GaussianMixture

COVARIANCE = torch.tensor([[2.0, 1.2, 0.3], [1.2, 1.0, 0.0], [0.3, 0.0, 1.0]], dtype=torch.float64)
LAW = Gaussian(torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64), COVARIANCE)
NAN = float("nan")


def of(mask):
    """The law of some columns alone."""
    return Gaussian(LAW.means[0][mask], COVARIANCE[mask][:, mask])


def holed(rows, share, seed):
    """Rows with a share of their cells missing."""
    lost = np.random.default_rng(seed).uniform(size=rows.shape) < share
    return torch.where(torch.from_numpy(lost), NAN, rows) if isinstance(rows, torch.Tensor) else np.where(lost, NAN, rows)


@pytest.fixture(scope="module")
def cells():
    rows = LAW.sample(2000, seed=0)
    return MissingCells(holed(rows, 0.3, 0), None, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("lost", [[0], [1], [2], [0, 1], [0, 2], [1, 2]])
def test_marginals_of_a_normal_law(cells, lost):
    """Log-density, gradient, and the scale of whole rows, against their closed forms."""
    rows = LAW.sample(50, seed=1)
    rows[:, lost] = NAN
    kept = [k for k in range(3) if k not in lost]
    exact, score = of(kept).log_prob_and_score(rows[:, kept])
    log_prob, gradient = cells.log_prob_and_score(LAW, rows)
    torch.testing.assert_close(log_prob, exact, atol=0.05, rtol=0)
    torch.testing.assert_close(cells.log_prob(LAW, rows), log_prob)
    torch.testing.assert_close(gradient[:, kept], score, atol=0.15, rtol=0.05)
    assert gradient[:, lost].isnan().all()
    # Less the entropy of the missing cells given the others, which for a normal law does not depend on these.
    entropy = 0.5 * (torch.logdet(COVARIANCE) - torch.logdet(COVARIANCE[kept][:, kept]) + len(lost) * (1 + np.log(2 * np.pi)))
    torch.testing.assert_close(cells.log_prob(LAW, rows, whole=True), exact - entropy, atol=0.2, rtol=0)


def test_the_scale_of_whole_rows_in_clusters():
    """The entropy of the missing cells is that of the density, not of the normal law that fills them in."""
    equal, means = torch.ones(2).double(), torch.tensor([[-3.0, 0.0], [3.0, 0.0]]).double()
    law = GaussianMixture(equal / 2, means, torch.tensor([[0.25, 1.0], [0.25, 1.0]]).double())
    cells = MissingCells(law.sample(1000, seed=0), None, torch.Generator().manual_seed(0))
    found = cells.log_prob(law, torch.tensor([[NAN, 0.0]]).double(), whole=True)
    # A standard normal's log-density at 0, less the entropy of two clusters apart.
    exact = -0.5 * np.log(2 * np.pi) - np.log(2) - 0.5 * (1 + np.log(2 * np.pi * 0.25))
    assert float(found) == pytest.approx(exact, abs=0.2)


def test_marginals_of_two_clusters():
    """Which q, normal, does not know of: where the other column says little, and where it says which cluster it is."""
    equal, means = torch.ones(2).double(), torch.tensor([[-2.0, -2.0], [2.0, 2.0]]).double()
    law, alone = (GaussianMixture(equal, means[:, :d], torch.full((2, d), 0.5).double()) for d in (2, 1))
    cells = MissingCells(holed(law.sample(1000, seed=0), 0.2, 0), None, torch.Generator().manual_seed(0))
    x = torch.linspace(-4, 4, 33).double()
    error = cells.log_prob(law, torch.stack([x, torch.full_like(x, NAN)], 1)) - alone.log_prob(x[:, None])
    assert error.square().mean().sqrt() < 0.1
    assert error.abs().max() < 0.4


def test_what_is_filled_in_has_the_laws_covariance():
    """Of rows of which some columns are never seen together with others; cells that are there stay."""
    rows = LAW.sample(2000, seed=2)
    lost = holed(rows, 0.3, 1)
    cells = MissingCells(lost, None, torch.Generator().manual_seed(0))
    filled = cells.filled(lambda _: LAW, torch.Generator().manual_seed(1))
    torch.testing.assert_close(torch.where(lost.isnan(), NAN, filled), lost, equal_nan=True)
    # Standard errors of a covariance are .06 at most of 2000 rows, .09 of the half that has both cells: four of them.
    torch.testing.assert_close(filled.T.cov(), COVARIANCE, atol=0.36, rtol=0)
    apart = rows.clone()
    apart[:1000, 0] = apart[1000:, 1] = NAN
    filled = MissingCells(apart, None, torch.Generator()).filled(lambda _: LAW, torch.Generator().manual_seed(1))
    assert filled.isfinite().all()


def test_weights_are_heeded():
    """A weight is that many rows: the law that cells are drawn from follows them."""
    rows = LAW.sample(200, seed=3)
    rows[::4, 1] = NAN
    counts = torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(0)).double()
    weighted = MissingCells(rows, counts, torch.Generator().manual_seed(0))
    repeated = MissingCells(rows.repeat_interleave(counts.long(), 0), None, torch.Generator().manual_seed(0))
    asked = torch.tensor([[1.0, NAN, 0.0], [NAN, NAN, 1.0]], dtype=torch.float64)
    # Johnson's coordinates come from 256 quantiles of weighted columns.
    found = [one.log_prob(LAW, asked, whole=True) for one in (weighted, repeated)]
    torch.testing.assert_close(*found, atol=0.05, rtol=0)


@pytest.fixture(scope="module")
def table():
    """Rows of a known law of four columns, one rounded, with a fifth of the cells missing, the last row with none."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    x = rng.normal(size=(120, 4)) @ root
    x[:, 3] = x[:, 3].round()
    lost = holed(x, 0.2, 1)
    lost[-1] = NAN
    return x, lost


@pytest.fixture(scope="module")
def density(table):
    return DiscoDensity(normalize=False).fit(table[1])


def test_normalised():
    """Marginals of a density that was brought to integrate to one integrate to one, too."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 2)) ** 3
    density = DiscoDensity().fit(holed(x, 0.2, 0))
    assert density.log_normalizer_ != 0
    grid = np.sinh(np.linspace(-8, 8, 401))
    values = np.exp(density.score_samples(np.stack([grid, np.full(401, NAN)], 1)))
    mass = (np.diff(grid) * (values[1:] + values[:-1]) / 2).sum()
    assert mass == pytest.approx(1, abs=0.08)


def test_density_of_the_cells_that_there_are(table, density):
    """As near to the whole table's as two estimates of as many rows are; of a row without cells it is log 1."""
    x, lost = table
    rest = lost.copy()
    rest[:, 2:] = NAN
    pair = DiscoDensity(normalize=False).fit(x[:, :2])
    there = ~np.isnan(rest).all(1) & ~np.isnan(rest[:, :2]).any(1)
    found = density.score_samples(rest)
    difference = (found - pair.score_samples(x[:, :2]))[there]
    assert np.sqrt(np.mean(difference**2)) < 0.5
    assert found[-1] == 0
    assert np.isfinite(density.score_samples(lost)).all()
    whole = density.score_samples(x, whole=True)
    np.testing.assert_array_equal(whole, density.score_samples(x))
    # On the scale of whole rows a lack is neither usual nor unusual: means within three standard errors of one another.
    told = density.score_samples(lost[:-1], whole=True)
    assert abs(told.mean() - whole.mean()) < 3 * whole.std() / np.sqrt(120) + 0.3
    assert density.score_samples(lost[:-1]).mean() > told.mean() + 1


def test_gradient_of_the_cells_that_there_are(table, density):
    lost = table[1][:20]
    gradient = density.score_gradient(lost)
    np.testing.assert_array_equal(np.isnan(gradient), np.isnan(lost))
    features = density.transform(lost)
    np.testing.assert_allclose(features[:, 0], density.score_samples(lost))
    np.testing.assert_array_equal(features[:, 1:], gradient)


def test_rows_are_answered_one_by_one_as_together(table, density):
    lost = table[1]
    np.testing.assert_allclose(density.score_samples(lost[[7, 3]]), density.score_samples(lost)[[7, 3]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(density)).score_samples(lost), density.score_samples(lost))
    again = DiscoDensity(normalize=False).fit(lost)
    np.testing.assert_array_equal(again.score_samples(lost), density.score_samples(lost))


def test_rows_without_a_cell_tell_nothing(table, density):
    lost = table[1]
    without = DiscoDensity(normalize=False).fit(lost[:-1])
    np.testing.assert_array_equal(without.score_samples(lost), density.score_samples(lost))
    assert density.support_.tolist() == [True] * 119 + [False]
    assert density.score_training_samples(2).shape == (120,)
    detector = DiscoOutlierDetector(folds=2).fit(lost)
    assert detector.predict(lost[-1:]) == [1]
    with pytest.raises(ValueError, match="at least 2 rows with values, got 1"):
        DiscoDensity().fit([[1.0, 2.0], [NAN, NAN], [NAN, NAN]])


def test_patterns_that_training_does_not_know(table, density):
    whole = DiscoDensity(normalize=False).fit(table[0])
    asked = np.where(np.eye(4) > 0, table[0][:4], NAN)
    assert np.abs(whole.score_samples(asked) - density.score_samples(asked)).max() < 0.5


def test_weighted_rows_and_copies(table):
    lost = table[1][:60]
    weight = np.r_[np.zeros(10), np.full(20, 2.0), np.ones(30)]
    weighted = DiscoDensity(normalize=False).fit(lost, sample_weight=weight)
    assert not weighted.support_[:10].any()
    assert weighted.effective_size_ == pytest.approx(70**2 / (20 * 4 + 30))
    twice = DiscoDensity(normalize=False).fit(np.repeat(lost, 2, 0))
    assert len(twice.estimate_.samples) <= 120
    assert np.isfinite(twice.score_training_samples(2)).all()


def test_outliers_are_told_by_what_is_there():
    """Rows far from a line, half of whose third column is missing: AUROC as with all cells."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 1)) + 0.2 * rng.normal(size=(200, 3))
    odd = np.arange(200) < 20
    x[odd, 0] += 2 * rng.choice([-1, 1], 20)
    lost = x.copy()
    lost[::2, 2] = NAN
    full, less = (DiscoOutlierDetector(folds=3).fit(rows) for rows in (x, lost))
    aurocs = [roc_auc_score(odd, -one.training_scores_) for one in (full, less)]
    assert aurocs[1] > aurocs[0] - 0.02 > 0.85
    np.testing.assert_array_equal(less.score_samples(lost), less.training_scores_)
    # Of what lacks cells as much is flagged as of what does not: 20 of 200, with three standard errors of a binomial.
    flagged = less.predict(lost) == -1
    assert abs(flagged[::2].sum() - flagged[1::2].sum()) < 3 * np.sqrt(20)


def test_frames_with_missing_values(table):
    pandas = pytest.importorskip("pandas")
    lost = table[1][:50]
    frame = pandas.DataFrame(lost, columns=list("abcd")).convert_dtypes()
    assert frame.isna().any(axis=None)
    found = DiscoDensity(normalize=False).fit(frame).score_samples(frame)
    np.testing.assert_array_equal(found, DiscoDensity(normalize=False).fit(lost).score_samples(lost))


def test_other_estimators_refuse_them(table):
    with pytest.raises(ValueError, match=r"(?s)NaN.*Columns with such values: 0, 1, 2, 3"):
        DiscoRegressor().fit(table[1][:-1], np.zeros(119))


def test_much_to_be_filled_in_is_told_and_shown(table, monkeypatch, capsys):
    """A warning with counts where it takes long, a bar where it takes a while."""
    rows = table[1][:-1]
    DiscoDensity(verbose=True, normalize=False).fit(rows)
    assert "missing cells" not in capsys.readouterr().err
    monkeypatch.setattr(missing, "_PAIRS", 1e4)
    monkeypatch.setattr(missing, "_LONG", 1000)
    lacking = np.isnan(rows)
    patterns = len(np.unique(lacking, axis=0))
    told = (
        f"{lacking.any(1).sum()} of {len(rows)} rows lack cells, in {patterns} patterns: .* whole rows by 50; .* context_size"
    )
    with pytest.warns(ManyMissingWarning, match=told) as found:
        DiscoDensity(verbose=True, normalize=False, context_size=50).fit(rows)
    assert found[0].filename == __file__
    assert "missing cells" in capsys.readouterr().err


def test_pyod_takes_them(table):
    pytest.importorskip("pyod.models.base")
    from disco_samplers.integrations.sklearn import DiscoOD

    lost = table[1][:40]
    model = DiscoOD(folds=2, robust=False).fit(lost)
    np.testing.assert_array_equal(model.decision_function(lost), model.decision_scores_)


def test_rows_that_have_few_cells_of_a_law_of_two_modes():
    """Two of eight cells: off by half a nat at most, where a row in twenty was by more with the draws of other rows."""
    means = torch.stack([torch.full((8,), -1.2), torch.full((8,), 1.2)]).double()
    law = GaussianMixture(torch.tensor([0.6, 0.4]).double(), means, 0.5 * torch.eye(8).double().expand(2, 8, 8))
    part = GaussianMixture(law.weights, means[:, :2], 0.5 * torch.eye(2).double().expand(2, 2, 2))
    cells = MissingCells(law.sample(400, seed=0), None, torch.Generator().manual_seed(0))
    rows = law.sample(100, seed=1)
    known = part.log_prob(rows[:, :2])
    rows[:, 2:] = torch.nan
    assert (cells.log_prob(law, rows) - known).abs().max() < 0.5
