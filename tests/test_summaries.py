"""Summaries of tables: the same however rows are dealt to processes, and good for the table that they stand for."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch

from disco_samplers import DiScoFormer
from disco_samplers.summaries import QuantileSketch, Reservoir, TableSummary


def table(n=5000, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    x[:, 1] = np.exp(2 * x[:, 1]) + 100.0
    x[:, 2] = np.round(3 * x[:, 2])
    return x


def dealt(x, weights, cuts, order, **options):
    """The summary of parts of a table that were read apart and merged in some order, two and two."""
    parts = []
    for number, (start, stop) in enumerate(pairwise(cuts)):
        summary = TableSummary(**options)
        middle = start + (stop - start) // 3
        for low, high in ((start, middle), (middle, stop)):
            summary.partial_fit(x[low:high], None if weights is None else weights[low:high], first=low)
        parts.append((number, summary))
    parts = [parts[i][1] for i in order]
    while len(parts) > 1:
        parts = [a.merge(*b) if b else a for a, *b in (parts[i : i + 2] for i in range(0, len(parts), 2))]
    return parts[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_parts_and_turns_do_not_matter(weighted):
    x = table()
    x[::7, 0] = np.nan
    weights = np.random.default_rng(1).gamma(0.5, size=len(x)) if weighted else None
    whole = TableSummary(size=300).partial_fit(x, weights)
    for cuts, order in ([0, 10, 2000, 5000], [2, 0, 1]), ([0, 1, 400, 3000, 4999, 5000], [4, 2, 3, 0, 1]):
        other = dealt(x, weights, cuts, order, size=300)
        np.testing.assert_array_equal(other.rows, whole.rows)
        np.testing.assert_array_equal(other.quantile([0.0, 0.01, 0.5, 0.99, 1.0]).shape, (5, 3))
        np.testing.assert_allclose(other.quantile([0.0, 0.01, 0.5, 0.99, 1.0]), whole.quantile([0.0, 0.01, 0.5, 0.99, 1.0]))
        for name in ("mean", "variance", "low", "high", "missing", "num_rows", "weight", "effective_size"):
            np.testing.assert_allclose(getattr(other, name), getattr(whole, name), rtol=1e-12, err_msg=name)
        if weighted:
            np.testing.assert_array_equal(other.weights, whole.weights)
        else:
            assert other.weights is whole.weights is None


def test_moments_are_numpys():
    x, w = table(), np.random.default_rng(1).gamma(1.0, size=5000)
    x[:, 0] += 1e8
    summary = TableSummary(size=10).partial_fit(x[:100], w[:100]).partial_fit(x[100:], w[100:])
    mean = np.average(x, axis=0, weights=w)
    np.testing.assert_allclose(summary.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(summary.variance, np.average((x - mean) ** 2, axis=0, weights=w), rtol=1e-6)
    assert summary.effective_size == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_a_reservoir_is_unbiased():
    """Sums over the rows kept, by their weights, have the mean of sums over all: |z| < 5 in 400 reservoirs, false alarm 6e-7.

    Rows of weight zero are never kept; those that outweigh all others always are.
    """
    rng = np.random.default_rng(0)
    x, w = rng.normal(2.0, size=(500, 1)), rng.gamma(0.3, size=500)
    w[:5], w[5:8] = 0.0, 1e6
    sums = []
    for seed in range(400):
        kept = Reservoir(size=40, seed=seed).add(x, w, part=3, first=0)
        assert len(kept.rows) == 40
        assert not np.isin(kept.places[:, 1], np.arange(5)).any()
        assert np.isin(np.arange(5, 8), kept.places[:, 1]).all()
        light = kept.places[:, 1] >= 8
        sums.append((kept.weights[light] * kept.rows[light, 0]).sum())
    error = np.mean(sums) - (w[8:] * x[8:, 0]).sum()
    assert abs(error) < 5 * np.std(sums) / np.sqrt(400)
    assert np.std(sums) < 0.5 * abs(np.mean(sums))


def test_equal_rows_are_kept_alike():
    """Each of 1000 rows is kept with probability 0.1 (chi-square over tenths, false alarm below 1e-6), parts independently."""
    x = np.arange(1000.0)[:, None]
    tenths = sum(
        np.histogram(Reservoir(size=100, seed=seed).add(x, part=seed % 3, first=7).rows, np.arange(0, 1001, 100))[0]
        for seed in range(50)
    )
    assert ((tenths - 500) ** 2 / 500).sum() < 45
    one, two = (Reservoir(size=100).add(x, part=part, first=0).rows for part in (0, 1))
    assert len(np.intersect1d(one, two)) < 40


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(size=40_000),
        1e9 + np.random.default_rng(0).normal(size=40_000),
        np.exp(4 * np.random.default_rng(0).normal(size=40_000)),
        -np.exp(np.random.default_rng(0).normal(size=40_000)),
    ],
    ids=["normal", "far from zero", "heavy", "negative"],
)
def test_quantiles(x):
    """Ranks are right to a thousandth in bulk and tails, extremes exact."""
    sketch = QuantileSketch().add(x[:100]).add(x[100:])
    levels = np.array([1e-3, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999])
    ranks = np.searchsorted(np.sort(x), sketch.quantile(levels)) / len(x)
    assert len(sketch.cells) <= 4096
    np.testing.assert_allclose(ranks, levels, atol=1e-3, rtol=0.05)
    np.testing.assert_array_equal(sketch.quantile([0.0, 1.0]), [x.min(), x.max()])


def test_few_values_are_exact():
    sketch = QuantileSketch().add(np.array([3.0, -1.0, 0.0, -0.0, 3.0]), np.array([1.0, 2.0, 1.0, 1.0, 5.0]))
    np.testing.assert_array_equal(sketch.quantile([0.1, 0.3, 0.6, 1.0]), [-1.0, 0.0, 3.0, 3.0])
    assert np.isnan(QuantileSketch().quantile(0.5))


def test_saved_and_read(tmp_path):
    whole = TableSummary(size=50, seed=3).partial_fit(table(), names=["a", "b", "c"])
    half = TableSummary(size=50, seed=3).partial_fit(table()[:2000], names=["a", "b", "c"])
    half.save(tmp_path / "half.npz")
    read = TableSummary.load(tmp_path / "half.npz").partial_fit(table()[2000:], names=["a", "b", "c"])
    np.testing.assert_array_equal(read.rows, whole.rows)
    np.testing.assert_array_equal(read.quantile(0.3), whole.quantile(0.3))
    assert (read.names, read.num_rows, read.effective_size) == (whole.names, 5000, 5000)
    (tmp_path / "half.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=r"half\.npz is not a whole summary"):
        TableSummary.load(tmp_path / "half.npz")
    with pytest.raises(FileNotFoundError, match="no summary at"):
        TableSummary.load(tmp_path / "none.npz")


def test_columns_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    x = table()
    frame = pandas.DataFrame(x, columns=["a", "b", "c"])
    summary = TableSummary(size=50).partial_fit(frame[:100]).partial_fit(frame[100:][["c", "a", "b"]])
    np.testing.assert_array_equal(summary.rows, TableSummary(size=50).partial_fit(x).rows)
    with pytest.raises(ValueError, match="rows have columns a, b, those before had columns a, b, c"):
        summary.partial_fit(frame[["a", "b"]])


def test_wrong_arguments():
    x = table()
    with pytest.raises(ValueError, match="taken in twice: give each share of a table a part= of its own"):
        TableSummary(size=50).partial_fit(x).merge(TableSummary(size=50).partial_fit(x))
    with pytest.raises(ValueError, match="size 50, seed 0 and size 60, seed 0 do not merge"):
        TableSummary(size=50).merge(TableSummary(size=60).partial_fit(x))
    with pytest.raises(ValueError, match="3 columns and 2 columns"):
        TableSummary(size=50).partial_fit(x).merge(TableSummary(size=50).partial_fit(x[:, :2]))
    with pytest.raises(TypeError, match="other must be a TableSummary, got int"):
        TableSummary().merge(3)
    with pytest.raises(ValueError, match=r"infinite values in column\(s\) 1: 1 of 1 rows"):
        TableSummary().partial_fit([[1.0, np.inf]])
    with pytest.raises(ValueError, match="weights must be 5000 numbers, one a row"):
        TableSummary().partial_fit(x, [1.0])
    with pytest.raises(ValueError, match=r"rows must have shape \(n, d\)"):
        TableSummary().partial_fit(x[:, 0])
    with pytest.raises(ValueError, match="levels must lie between 0 and 1"):
        TableSummary().partial_fit(x).quantile(2.0)
    with pytest.raises(TypeError, match="real numbers"):
        TableSummary().partial_fit(x.astype(str))


def test_condition_takes_a_summary():
    x = table(400)[:, :2]
    disco = DiScoFormer.from_pretrained()
    summary = TableSummary().partial_fit(x, names=["a", "b"])
    estimate = disco.condition(summary)
    assert estimate.names == ["a", "b"]
    np.testing.assert_array_equal(estimate.log_prob(x[:5]), disco.condition(x).log_prob(x[:5]))
    weighted = disco.condition(TableSummary(size=100).partial_fit(x, np.arange(1.0, 401.0)))
    assert weighted.num_samples == 100
    assert 80 < weighted.effective_size <= 100
    assert torch.isfinite(torch.from_numpy(weighted.log_prob(x))).all()


def test_tables_are_fitted_from_a_summary():
    """As from the table itself where all of it is kept; a pickle has the rows, not their keys, and answers the same."""
    pytest.importorskip("sklearn")
    from disco_samplers.integrations.sklearn import DiscoDensity, DiscoOutlierDetector

    x, w = table(40)[:, :2], np.linspace(1.0, 2.0, 40)
    for estimator in (DiscoDensity(), DiscoOutlierDetector()):
        known = estimator.fit(x, sample_weight=w).score_samples(x[:20] + 0.1)
        found = estimator.fit(TableSummary().partial_fit(x, w))
        np.testing.assert_allclose(found.score_samples(x[:20] + 0.1), known, atol=1e-10)
        sent = pickle.dumps(found)
        assert len(sent) < 30_000_000
        np.testing.assert_array_equal(pickle.loads(sent).score_samples(x[:20] + 0.1), found.score_samples(x[:20] + 0.1))
        with pytest.raises(ValueError, match="sample_weight is given twice"):
            estimator.fit(TableSummary().partial_fit(x), sample_weight=w)


def test_keys_are_not_sent():
    """An estimate's pickle holds weights and rows; with its keys and values it were several times as long."""
    x = table(3000)
    estimate = DiScoFormer.from_pretrained().condition(x)
    sent = pickle.dumps(estimate)
    assert len(sent) < 1_500_000
    np.testing.assert_array_equal(pickle.loads(sent).log_prob(x[:50]), estimate.log_prob(x[:50]))
