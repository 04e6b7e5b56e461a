"""Mutual information of Student-t laws in closed form, of columns among others, given others, and of series."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from disco_samplers import Draws
from disco_samplers.measures import (
    InfiniteInformationWarning,
    conditional_mutual_information,
    mutual_information,
    transfer_entropy,
)
from disco_samplers.measures.copulas import Copula, freedom_of, normal_scores_of, student_scores
from disco_samplers.measures.screening import nested_columns
from disco_samplers.measures.ties import normal_scores

SCALE = torch.tensor([[1.0, 0.3, 0.6], [0.3, 1.0, 0.2], [0.6, 0.2, 1.0]], dtype=torch.float64)


def student(n, freedom, seed):
    return torch.from_numpy(stats.multivariate_t(shape=SCALE.numpy(), df=freedom, seed=seed).rvs(n))


def even(n):
    return torch.full((n,), 1 / n, dtype=torch.float64)


@pytest.mark.parametrize("freedom", [0.7, 3.0, 40.0])
def test_student_scores(freedom):
    z = torch.linspace(-4.5, 4.5, 31, dtype=torch.float64)
    exact = torch.from_numpy(stats.t.ppf(stats.norm.cdf(z.numpy()), freedom))
    torch.testing.assert_close(student_scores(z, freedom), exact, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(normal_scores_of(exact, freedom), z, rtol=0, atol=3e-4)


def test_law_of_rows():
    """In canonical coordinates the rows' logarithms are those of the densities; their mean over many rows is the value."""
    rows = student(100_000, 3.0, 0)
    law = Copula.of(normal_scores(rows[:, :2], 0), normal_scores(rows[:, 2:], 0), even(100_000), 3.0)
    densities = (stats.multivariate_t(shape=SCALE[part][:, part].numpy(), df=3.0) for part in (slice(3), slice(2), slice(2, 3)))
    joint, *alone = (
        f.logpdf(rows[:, part].numpy()) for f, part in zip(densities, (slice(3), slice(2), slice(2, 3)), strict=True)
    )
    exact = torch.from_numpy(joint - sum(alone))
    assert float((law.pointwise() - exact).abs().mean()) < 0.02
    assert law.plug_in == pytest.approx(float(exact.mean()), abs=4 * float(exact.std()) / math.sqrt(100_000))


@pytest.mark.parametrize("freedom", [2.0, 6.0])
def test_degrees_of_freedom(freedom):
    """Where the common scale tells of the other side; not of a normal law, nor of sides with scales of their own."""
    generator, n = torch.Generator().manual_seed(1), 1500
    z = normal_scores(student(n, freedom, 2), 0)
    assert freedom_of(z[:, :2], z[:, 2:], even(n), generator) == pytest.approx(freedom, rel=0.25)
    normal = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    assert freedom_of(normal[:, :2], normal[:, 2:], even(n), generator) > 50
    apart = torch.cat([student(n, freedom, 3)[:, :2], student(n, freedom, 4)[:, :2]], 1)
    z = normal_scores(apart, 0)
    law = Copula.of(z[:, :2], z[:, 2:], even(n), freedom_of(z[:, :2], z[:, 2:], even(n), generator))
    assert law.plug_in - law.bias(n) < 0.03


def test_draws_of_a_law():
    """They have its mutual information, or what it is shrunk to."""
    z = normal_scores(student(2000, 3.0, 5), 0)
    law = Copula.of(z[:, :2], z[:, 2:], even(2000), 3.0)
    for least in (law.plug_in, law.plug_in - 0.1):
        x, y = law.draw(least, 20_000, torch.Generator().manual_seed(2))
        assert Copula.of(x, y, even(20_000), 3.0).plug_in == pytest.approx(least, abs=0.02)


def test_columns_that_depend_most():
    x, y = torch.randn(2, 500, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y[:, 2] *= (0.3 + x[:, 1].square()).sqrt()
    nested = nested_columns(normal_scores(x, 0), normal_scores(y, 0))
    assert nested[0] == ([1], [2])
    assert [len(left) + len(right) for left, right in nested] == [2, 4, 8]


@pytest.mark.slow
def test_dependence_of_two_columns_of_eight(disco):
    """A spread that depends on the other side: .33 nats, of which all columns together show a half."""
    x, y = torch.randn(2, 500, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    y[:, 2] *= (0.8 * x[:, 1]).exp()
    found = mutual_information(x, y, model=disco, seed=1)
    assert 0.2 < found.value < 0.45


@pytest.mark.slow
def test_given_others(disco):
    """Of a normal law, where y tells of x beside z and where it does not. Four standard errors: by chance once in 16,000."""
    z, a, b = torch.randn(3, 700, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    found = conditional_mutual_information(z + a, a + 0.5 * b, z, model=disco, seed=1)
    assert abs(found.value - 0.5 * math.log(5)) < 4 * found.standard_error < 0.3
    nothing = conditional_mutual_information(z + a, z + b, z, model=disco, seed=1)
    assert abs(nothing.value) < 4 * nothing.standard_error < 0.2
    assert mutual_information(z + a, z + b, model=disco, seed=1).value > 0.08


def test_codes_given_codes():
    """Of x, y and their exclusive or, y tells nothing of x alone, and all of it with the third; draws count by weight."""
    x, y = torch.randint(0, 2, (2, 400), generator=torch.Generator().manual_seed(6))
    found = conditional_mutual_information(x, y, x ^ y)
    assert found.value == pytest.approx(math.log(2), abs=0.02)
    weights = torch.rand(400, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    draws = Draws(torch.stack([x, y, x ^ y], 1).double(), weights=weights)
    weighted = conditional_mutual_information(*(draws.columns([k]) for k in range(3)))
    assert weighted.value == pytest.approx(math.log(2), abs=0.03)
    assert weighted.effective_size < 400


@pytest.mark.slow
def test_series(disco):
    """Y follows x by one step: log(1 + a^2 / s^2) / 2 nats one way, nothing the other."""
    x, noise = torch.randn(2, 800, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    y = x.roll(1) + 0.5 * noise
    there, back = (transfer_entropy(*pair, model=disco, seed=1) for pair in ((x, y), (y, x)))
    assert abs(there.value - 0.5 * math.log(5)) < 4 * there.standard_error < 0.3
    assert abs(back.value) < 4 * back.standard_error < 0.15
    slow = transfer_entropy(x, x.roll(2) + 0.5 * noise, lags=2, model=disco, seed=1)
    assert slow.name == "transfer entropy"
    assert abs(slow.value - 0.5 * math.log(5)) < 4 * slow.standard_error


X = np.random.default_rng(0).normal(size=(20, 2))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: conditional_mutual_information(X, X, X[:5]), "x and z must have the same rows"),
        (lambda: conditional_mutual_information(X, X, X, marginals="linear"), "marginals= is ignored here"),
        (lambda: conditional_mutual_information(X[:, 0], X[:, 1], np.ones(20)), "z does not vary"),
        (lambda: conditional_mutual_information(X, X, X * np.nan), "z holds NaN"),
        (lambda: transfer_entropy(np.ones(20), X), "source does not vary"),
        (lambda: transfer_entropy(X, X, lags=0), "lags must be at least 1"),
        (lambda: transfer_entropy(X, X[:-1]), "source and target must be of the same times, got 20 and 19"),
        (lambda: transfer_entropy(X, X, lags=18), "must have more than 93 times for lags=18, got 20"),
        (lambda: transfer_entropy(X * np.nan, X), "source holds NaN"),
    ],
)
def test_bad_input(call, error):
    with pytest.raises(ValueError, match=error):
        call()


def test_draws_are_no_series():
    with pytest.raises(TypeError, match="target must be an array of rows in the order of time, got Draws"):
        transfer_entropy(X, Draws(X))


def test_labels_and_atoms_among_other_columns(disco):
    """A label, and which rows are zero, tell log 2 of a column that shows it: within 0.1 nats."""
    generator, n = torch.Generator().manual_seed(5), 400
    u, v, w = torch.randn(3, n, generator=generator, dtype=torch.float64)
    label, rain, other = (u > 0).double(), torch.where(u > 0, v.exp(), 0.0), torch.where(u > 0, w.exp(), 0.0)
    assert abs(mutual_information(label, v + 10 * label, model=disco).value - math.log(2)) < 0.1
    assert abs(mutual_information(rain, other, model=disco).value - math.log(2)) < 0.1


def test_labels_beside_rows_with_weights(disco):
    """Three classes that columns tell, drawn in other shares than their weights have: log 3 within 0.1 nats."""
    generator = torch.Generator().manual_seed(6)
    label = torch.multinomial(torch.tensor([0.6, 0.25, 0.15]), 400, replacement=True, generator=generator)
    x = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    x += torch.tensor([[0.0, 0.0], [5.0, 5.0], [10.0, 0.0]], dtype=torch.float64)[label]
    weights = 1 / torch.tensor([0.6, 0.25, 0.15])[label]
    found = mutual_information(Draws(x, weights=weights), label.double(), model=disco)
    assert abs(found.value - math.log(3)) < 0.1


def test_scores_of_rows_of_next_to_no_weight_are_finite():
    x = torch.arange(50.0, dtype=torch.float64)[:, None]
    weights = torch.ones(50, dtype=torch.float64)
    weights[[0, -1]] = 1e-30
    scores = normal_scores(x, 0, weights / weights.sum())
    assert torch.isfinite(scores).all()
    assert (scores.diff(dim=0) > 0).all()


def test_copies_of_a_chain_stay_copies():
    rows = torch.randn(100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.cat([rows, rows[:1].expand(40, 2)])  # stood still at the first one
    assert len(normal_scores(rows, 0, copies=True).unique(dim=0)) == 100
    assert len(normal_scores(rows, 0).unique(dim=0)) == 140


def test_what_determines_is_told_of(disco):
    x = torch.randn(60, generator=torch.Generator().manual_seed(0))
    with pytest.warns(InfiniteInformationWarning, match="infinite"):
        mutual_information(x, x.exp(), model=disco)
