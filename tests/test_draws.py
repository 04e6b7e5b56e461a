"""Draws as people have them: weighted, repeated, correlated; read as independent draws of the same effective size are."""

import math
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from disco_samplers import DiScoFormer, Draws, LangevinSampler
from disco_samplers.convergence import design_effect
from disco_samplers.draws import (
    HeavyWeightWarning,
    LowEffectiveSizeWarning,
    RepeatedRowsWarning,
    TransposedWarning,
    UnmixedWarning,
    chains_effective_size,
    distinct_rows,
    suggest_after,
    suggest_supports,
)
from disco_samplers.estimators import crossfit, mean
from disco_samplers.measures import entropy
from disco_samplers.posteriors import merged_posterior
from disco_samplers.reference import KDE


def normal(n, d, rng):
    return torch.randn(n, d, generator=rng)


def error(disco, draws, rng, **options):
    """Relative score error of an estimate of a standard normal law, at fresh draws of it."""
    d = draws.dim if isinstance(draws, Draws) else draws.shape[1]
    y = normal(2000, d, rng)
    return float((disco.condition(draws, **options).score(y) + y).square().sum() / y.square().sum())


def metropolis(n, d, step, rng):
    """A random-walk Metropolis chain of a standard normal law, started in it."""
    x = normal(1, d, rng)[0]
    proposals, levels = step * normal(n, d, rng), torch.rand(n, generator=rng).log()
    rows = []
    for proposal, level in zip(proposals, levels, strict=True):
        new = x + proposal
        if level < 0.5 * (x.square().sum() - new.square().sum()):
            x = new
        rows.append(x)
    return torch.stack(rows)


@pytest.mark.parametrize("d", [2, 5, pytest.param(10, marks=pytest.mark.slow)])
def test_importance_weights_are_worth_their_effective_size(disco, rng, d):
    """Means of six sets; over other seeds the ratio is .5 to .8, and single sets scatter by a factor of two."""
    weighted, alone = [], []
    for _ in range(6):
        x = 1.5 * normal(1000, d, rng)
        log_weights = -0.5 * x.square().sum(1) * (1 - 1 / 1.5**2)
        draws = Draws(x, weights=(log_weights - log_weights.max()).exp())
        weighted.append(error(disco, draws, rng))
        alone.append(error(disco, normal(round(draws.effective_size), d, rng), rng))
    assert sum(weighted) < 1.5 * sum(alone)


@pytest.mark.parametrize(("d", "step"), [(2, 2.2), (5, 1.1)])
def test_a_metropolis_chain_is_worth_its_effective_size(disco, rng, d, step):
    """Means of four chains; read as independent rows the error is 10 to 100 times as large in five dimensions."""
    correlated, alone = [], []
    for _ in range(4):
        draws = Draws(metropolis(2000, d, step, rng)[None])
        assert draws.effective_size < draws.num_distinct < 1000
        correlated.append(error(disco, draws, rng))
        alone.append(error(disco, normal(round(draws.effective_size), d, rng), rng))
    assert sum(correlated) < 1.5 * sum(alone)


def test_a_chain_passed_as_an_array_is_read_by_its_distinct_rows_and_says_so(disco, rng):
    chain = metropolis(500, 2, 2.2, rng)
    with pytest.warns(RepeatedRowsWarning, match="distinct"):
        estimate = disco.condition(chain)
    assert estimate.num_samples == len(torch.unique(chain, dim=0))
    assert estimate.effective_size == pytest.approx(estimate.num_samples)


def test_copies_in_any_order_are_seen(small, rng):
    """As emcee's flat chain has them, walkers side by side; ties of whole numbers are none."""
    x = normal(200, 2, rng)[torch.randint(200, (400,), generator=rng)]
    with pytest.warns(RepeatedRowsWarning, match="are distinct"):
        assert small.condition(x).effective_size == pytest.approx(len(x.unique(dim=0)))
    small.condition((4 * normal(400, 2, rng)).round())


def test_repeated_rows_in_a_batch_are_worth_the_distinct_ones(small, rng):
    x = normal(60, 2, rng)
    sets = torch.stack([x.repeat_interleave(4, 0), normal(240, 2, rng)])
    mask = torch.ones(2, 240, dtype=torch.bool)
    mask[1, 100:] = False
    sets[1, 100:] = torch.nan  # what is masked is never looked at
    y = normal(50, 2, rng)
    found = small.condition(sets, mask=mask).log_prob(y.expand(2, -1, -1))
    for i, one in enumerate((Draws(x), sets[1, :100])):
        assert torch.allclose(found[i], small.condition(one).log_prob(y), atol=1e-5)


def test_equal_weights_and_single_rows_change_nothing(small, rng):
    x, y = normal(100, 3, rng), normal(20, 3, rng)
    plain = small.condition(x).log_prob(y)
    assert torch.equal(small.condition(Draws(x)).log_prob(y), plain)
    torch.testing.assert_close(small.condition(x, weights=torch.ones(100)).log_prob(y), plain, rtol=1e-4, atol=1e-4)


def test_counts_are_copies(small, rng):
    """A weight of two is a row given twice, both worth what the distinct rows are."""
    x, y = normal(60, 3, rng), normal(20, 3, rng)
    twice = torch.cat([x, x[:30]])
    weights = torch.ones(60)
    weights[:30] = 2
    size = Draws(x, weights=weights).effective_size
    as_weights = small.condition(x, weights=weights, effective_size=size).score(y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepeatedRowsWarning)
        as_copies = small.condition(twice, effective_size=size).score(y)
    torch.testing.assert_close(as_copies, as_weights, rtol=1e-4, atol=1e-4)


def test_rows_of_weight_zero_are_left_out(small, rng):
    x, y = normal(60, 3, rng), normal(20, 3, rng)
    weights = torch.rand(60, generator=rng) + 0.1
    wild = torch.cat([x, 1e6 * normal(5, 3, rng)])
    score = small.condition(wild, weights=torch.cat([weights, torch.zeros(5)])).score(y)
    torch.testing.assert_close(score, small.condition(x, weights=weights).score(y))


def test_a_batch_of_weighted_sets_is_each_set_by_itself(small, rng):
    x, y = torch.randn(3, 60, 2, generator=rng), torch.randn(3, 10, 2, generator=rng)
    weights = torch.rand(3, 60, generator=rng)
    together = small.condition(x, weights=weights).score(y)
    for k in range(3):
        alone = small.condition(x[k], weights=weights[k]).score(y[k])
        torch.testing.assert_close(together[k], alone, rtol=1e-4, atol=1e-4)


def test_new_draws_follow_the_weights(disco, rng):
    x = torch.cat([normal(300, 1, rng) - 6, normal(300, 1, rng) + 6])
    weights = torch.where(x[:, 0] > 0, 9.0, 1.0)
    draws = disco.condition(x, weights=weights).sample(2000, generator=rng)
    # A share of .9: six standard errors of a binomial with 2000 draws, false-alarm probability 2e-9.
    assert abs(float((draws > 0).float().mean()) - 0.9) < 6 * math.sqrt(0.09 / 2000)


@pytest.mark.slow
def test_weighted_estimates_are_normalised_and_adapted(disco, rng):
    x = 1.5 * normal(600, 2, rng)
    estimate = disco.condition(x, weights=(-0.5 * x.square().sum(1) * (1 - 1 / 1.5**2)).exp())
    assert abs(estimate.log_normalizer(generator=rng).value) < 0.1
    adapted = estimate.adapt()
    assert adapted.effective_size == estimate.effective_size
    assert ("plain", 0.0) in adapted.report.tried


@pytest.mark.parametrize("kind", ["weights", "chain"])
def test_entropy_of_draws(rng, kind):
    """Within four of its standard errors of the exact one: a false alarm of 6e-5 each if they were normal."""
    d = 5
    if kind == "weights":
        x = 1.5 * normal(2000, d, rng)
        draws = Draws(x, weights=(-0.5 * x.square().sum(1) * (1 - 1 / 1.5**2)).exp())
    else:
        draws = Draws(metropolis(2000, d, 1.1, rng)[None])
    found = entropy(draws)
    exact = 0.5 * d * math.log(2 * math.pi * math.e)
    assert abs(found.value - exact) < 4 * found.standard_error
    assert found.standard_error > 1.2 * math.sqrt(d / 2 / len(draws))  # fewer than they look


def test_what_draws_are_worth(rng):
    x = normal(400, 2, rng)
    assert Draws(x).effective_size == 400
    assert Draws(x.repeat(3, 1)).effective_size == 400
    assert Draws(x, weights=np.r_[np.ones(100), np.zeros(300)]).effective_size == pytest.approx(100)
    # An AR(1) chain of coefficient .9: n (1 - .9) / (1 + .9) draws, and the estimate of it is good to some 20 %.
    chains, noise = [torch.zeros(4, 1)], torch.randn(5000, 4, 1, generator=rng)
    for row in noise:
        chains.append(0.9 * chains[-1] + math.sqrt(1 - 0.81) * row)
    worth = Draws(torch.stack(chains[1:], 1)).effective_size
    assert worth == pytest.approx(20_000 / 19, rel=0.25)


def stretch_moves(steps, walkers, d, rng):
    """Goodman and Weare's affine-invariant walkers in a standard normal law, started in it: (walker, step, d)."""
    x, half, rows = normal(walkers, d, rng), walkers // 2, []
    for _ in range(steps):
        for here, there in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
            partner = x[there][torch.randint(half, (half,), generator=rng)]
            z = (1 + torch.rand(half, generator=rng)).square() / 2
            new = partner + z[:, None] * (x[here] - partner)
            gain = (d - 1) * z.log() + 0.5 * (x[here].square() - new.square()).sum(1)
            moved = torch.rand(half, generator=rng).log() < gain
            x[here] = torch.where(moved[:, None], new, x[here])
        rows.append(x.clone())
    return torch.stack(rows, 1)


def test_short_chains_are_told_with_caution(rng):
    for chains in (stretch_moves(50, 40, 3, rng), torch.randn(4, 500, 3, generator=rng).cumsum(1)):
        bulk = chains_effective_size(chains)
        assert Draws(chains).effective_size == pytest.approx(bulk / (1 + (len(chains) / bulk) ** 2))
    draws = Draws(stretch_moves(50, 40, 20, rng))
    with pytest.warns(LowEffectiveSizeWarning, match="fewer than two a chain: chains have hardly moved"):
        draws.warn()
    assert len(draws.thin()) == 40  # one of each


@pytest.mark.parametrize(("chains", "length", "d"), [(100, 8, 5), (64, 9, 5), (200, 4, 2), (300, 2, 1), (100, 16, 10)])
def test_many_short_chains_are_worth_no_more_than_chains(rng, chains, length, d):
    """Bulk ESS alone takes chains of a few draws that stand nearly still for independent rows."""
    e = normal(chains * length, d, rng).view(chains, length, d)
    x = e.clone()
    for t in range(1, length):
        x[:, t] = 0.99 * x[:, t - 1] + math.sqrt(1 - 0.99**2) * e[:, t]
    draws = Draws(x)
    assert 0.4 * chains < draws.effective_size < 1.1 * chains
    with pytest.warns(LowEffectiveSizeWarning, match="hardly moved"):
        draws.warn()
    # Of independent draws hardly anything is lost; one in 1e4 of such sets loses more by chance.
    assert Draws(e).effective_size > 0.75 * chains * length


def test_the_design_effect_is_that_of_clusters(rng):
    """Of many chains whose draws have a common part of half the variance, less what F is taken down by."""
    x = normal(4000, 1, rng)[:, None] + normal(4000 * 5, 1, rng).view(4000, 5, 1)
    assert design_effect(x.numpy())[0] == pytest.approx(3, rel=0.08)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::disco_samplers.draws.LowEffectiveSizeWarning")
def test_the_score_of_walkers_that_have_hardly_moved(disco, rng):
    """Means of four sets in twenty columns: .12, as of forty independent rows, and by their bulk effective size 1.4."""
    errors = [error(disco, Draws(stretch_moves(50, 40, 20, rng)), rng) for _ in range(4)]
    alone = [error(disco, normal(40, 20, rng), rng) for _ in range(4)]
    assert sum(errors) < 2 * sum(alone)


def test_repr_says_what_they_are_worth(rng):
    x = normal(40, 2, rng)
    assert repr(Draws(x)) == "Draws: 40 draws of 2 columns, worth 40"
    assert repr(Draws(x.repeat(2, 1))) == "Draws: 80 draws of 2 columns, 40 distinct, worth 40"
    assert "4 chains" in repr(Draws(x.view(4, 10, 2)))


def test_distinct_rows_keep_their_order():
    rows = torch.tensor([[2.0, 1.0], [0.0, 5.0], [2.0, 1.0], [1.0, 1.0], [0.0, 5.0]])
    found, own = distinct_rows(rows)
    assert found.tolist() == [[2.0, 1.0], [0.0, 5.0], [1.0, 1.0]]
    assert own.tolist() == [0, 1, 0, 2, 1]


def test_thinning_resampling_and_columns(rng):
    x = normal(400, 3, rng)
    draws = Draws(x.view(4, 100, 3), names=["a", "b", "c"], support=[(None, None)] * 3)
    assert len(draws.thin()) <= 400
    assert draws.columns(["c", "a"]).names == ["c", "a"]
    assert torch.equal(draws.columns([2]).values, x[:, 2:])
    heavy = Draws(x, weights=torch.where(x[:, 0] > 0, 3.0, 1.0))
    share = float((heavy.resample(10_000, generator=rng).values[:, 0] > 0).float().mean())
    positive = float((x[:, 0] > 0).float().mean())
    # Systematic resampling keeps the share to one draw in so many.
    assert share == pytest.approx(3 * positive / (1 + 2 * positive), abs=1e-3)
    with pytest.raises(ValueError, match="resample"):
        heavy.thin()


@pytest.mark.parametrize("kind", ["pandas", "nullable", "arrow", "polars"])
def test_frames_are_asked_by_name(small, rng, kind):
    values = np.asarray(normal(50, 2, rng), dtype=np.float64)
    if kind == "polars":
        frame, turned = (
            pl.DataFrame({"a": values[:, 0], "b": values[:, 1]}),
            pl.DataFrame({"b": values[:, 1], "a": values[:, 0]}),
        )
    else:
        frame = pd.DataFrame(values, columns=["a", "b"])
        frame = {"pandas": frame, "nullable": frame.astype("Float64"), "arrow": frame.astype("double[pyarrow]")}[kind]
        turned = frame[["b", "a"]]
    estimate = small.condition(frame)
    assert estimate.names == ["a", "b"]
    np.testing.assert_allclose(estimate.log_prob(turned), estimate.log_prob(frame))
    np.testing.assert_allclose(estimate.log_prob(values), estimate.log_prob(frame))
    with pytest.raises(ValueError, match="points has the columns a, c"):
        estimate.log_prob(pd.DataFrame(values, columns=["a", "c"]))


def test_a_column_without_numbers_is_named(small):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "word": ["x", "y", "z"]})
    with pytest.raises(TypeError, match="column word must hold real numbers"):
        small.condition(frame)
    missing = pd.DataFrame({"a": pd.array([1.0, None, 3.0], dtype="Float64"), "b": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="NaN"):
        small.condition(missing)


X = torch.arange(12.0).view(6, 2)


@pytest.mark.parametrize(
    ("values", "options", "match"),
    [
        (X, {"weights": torch.ones(5)}, "weights must have one value for each of the 6 rows, got 5"),
        (X, {"weights": torch.zeros(6)}, "weights are all zero"),
        (X, {"weights": [1, 1, 1, 1, 1, math.nan]}, "weights holds NaN"),
        (X, {"weights": [-1000.0, -2, -3, -4, -5, -6]}, "exponentiate log-weights"),
        (X, {"weights": [1.0, 2, 3, 4, 5, -1]}, "row 5"),
        (X, {"weights": torch.full((6,), 800.0).exp()}, "infinite values: exponentiate log-weights as"),
        (X, {"weights": [1.0, 0, 0, 0, 0, 0]}, "fewer than two distinct rows"),
        (X, {"names": ["a", "a"]}, "a occur more than once"),
        (X, {"names": ["a"]}, "names must have 2 entries, one a column, got 1"),
        (X, {"support": [(0, None), (None, 5.0)]}, r"3 rows lie outside the support \(None, 5.0\) of column x1: rows 3, 4, 5,"),
        (X, {"log_prob": torch.ones(3)}, "log_prob must have one value"),
        (X, {"weights": torch.ones(3, 2)}, r"weights must have one value for each of the 6 rows, got shape \(3, 2\)"),
        (X.view(2, 3, 2), {"weights": torch.ones(3, 2)}, r"of shape \(2, 3\) or \(6,\), got shape \(3, 2\): transpose it"),
        (torch.ones(4, 2), {}, "no variance"),
        (X[:, 0], {}, "x\\[:, None\\]"),
        (X[:1], {}, "at least 2 rows"),
    ],
)
def test_bad_draws(values, options, match):
    with pytest.raises(ValueError, match=match):
        Draws(values, **options)


@pytest.mark.parametrize(
    ("samples", "options", "match"),
    [
        (X, {"effective_size": 7}, "must not exceed the number of distinct rows, 6"),
        (X, {"effective_size": 0}, "at least 1"),
        (Draws(X, weights=torch.ones(6)), {"weights": torch.ones(6)}, "given twice"),
        (X[None], {"effective_size": 0.5}, "of a batch must be one number from 1 on"),
        (X[None], {"effective_size": [3.0, 4.0]}, "or one for each of the 1 data sets"),
        (X.double() * 1e300, {}, "bring them to another unit"),
        (X[None], {"weights": torch.ones(1, 5)}, "must have shape \\(batch, n\\)"),
        (X[None], {"weights": -torch.ones(1, 6)}, "must not be negative"),
        (X, {"mask": torch.ones(6)}, "of a batch of data sets; of one, leave rows out"),
    ],
)
def test_bad_conditions(small, samples, options, match):
    with pytest.raises(ValueError, match=match):
        small.condition(samples, **options)


def test_draws_of_draws(small):
    with pytest.raises(TypeError, match="Draws already"):
        Draws(Draws(X), weights=torch.ones(6))
    with pytest.warns(LowEffectiveSizeWarning):
        small.condition(Draws(X), effective_size=5)


def test_names_that_are_one_string():
    with pytest.raises(TypeError, match="sequence of 2 strings"):
        Draws(X, names="ab")


def test_rows_without_weight_may_lie_outside_the_support(small, rng):
    x = normal(300, 1, rng)
    draws = Draws(x, weights=(x[:, 0] > 0).double(), support=["positive"])
    assert small.condition(draws).log_prob(-torch.ones(1, 1)) == -math.inf
    with pytest.raises(ValueError, match=r"1 rows lie outside the support .* of column x0: row 2,"):
        Draws([[1.0], [-2.0], [-3.0], [4.0]], weights=[1, 0, 1, 1], support=["positive"])


def test_what_can_be_read_but_is_risky(small, rng):
    x = normal(100, 2, rng)
    with pytest.warns(HeavyWeightWarning, match="row 3 carries"):
        small.condition(x, weights=torch.where(torch.arange(100) == 3, 500.0, 1.0))
    with pytest.warns(LowEffectiveSizeWarning, match="worth 4.0") as told:
        small.condition(x, effective_size=4)
    assert told[0].filename == __file__  # the line of who conditions
    with pytest.warns(LowEffectiveSizeWarning, match="worth 15.0 independent ones, of 10 columns"):
        small.condition(normal(100, 10, rng), effective_size=15)
    with pytest.warns(TransposedWarning, match="2 rows of 40 columns"):
        small.condition(normal(2, 40, rng))
    steps = torch.randn(10, 8, 2, generator=rng).repeat_interleave(3, 0)  # (draw, chain, d), three draws each
    with pytest.warns(TransposedWarning, match=r"read as 30 chains of 8 draws.*swapaxes\(0, 1\)"):
        small.condition(Draws(steps))
    small.condition(Draws(steps.swapaxes(0, 1)), effective_size=80)


@pytest.mark.parametrize("use", ["sampler", "merging", "entropy"])
def test_a_low_effective_size_is_told_wherever_draws_are_conditioned_on(small, rng, use):
    draws = Draws(normal(60, 2, rng), weights=torch.where(torch.arange(60) < 5, 1.0, 1e-3))
    calls = {
        "sampler": lambda: LangevinSampler(score=small).run(1, context=draws, num_warmup=1, num_chains=2, progress=False),
        "merging": lambda: merged_posterior([draws, normal(60, 2, rng)], model=small, generator=rng),
        "entropy": lambda: entropy(draws, model=small, calibrate=False),
    }
    with pytest.warns(LowEffectiveSizeWarning, match="worth") as told:
        calls[use]()
    assert "worth 5.1 independent" in str(told[0].message)


def test_results_say_what_their_draws_are_worth(small, rng):
    x = normal(60, 2, rng)
    found = entropy(Draws(x, weights=torch.rand(60, generator=rng)), model=small, calibrate=False)
    assert 30 < found.effective_size < 59
    assert entropy(x, model=small, calibrate=False).effective_size == 60


def test_masked_cells_are_refused_and_named(small, rng):
    x = np.asarray(normal(50, 2, rng), dtype=np.float64)
    x[[3, 20], [0, 1]] = -9
    masked = np.ma.masked_equal(x, -9.0)
    with pytest.raises(ValueError, match="samples holds masked values: 2 of 50 rows, rows 3, 20; drop or impute them"):
        small.condition(masked)
    with pytest.raises(ValueError, match="values holds masked values"):
        Draws(masked)
    with pytest.raises(ValueError, match="points holds masked values: 1 of 3 rows, row 0"):
        small.condition(x).score(masked[3:6])
    clean = np.ma.masked_less(x, -1e9)
    np.testing.assert_array_equal(small.condition(clean).score(clean), small.condition(x).score(x))


def test_draws_of_xarray(rng):
    xarray = pytest.importorskip("xarray")
    theta, mu = np.asarray(normal(80, 2, rng)).reshape(4, 20, 2), np.asarray(normal(80, 1, rng)).reshape(4, 20)
    where = {"school": ["Choate", "Deerfield"]}
    data = xarray.Dataset({"mu": (("chain", "draw"), mu), "theta": (("chain", "draw", "school"), theta)}, coords=where)
    for given in (data, data.transpose("school", "draw", "chain")):
        draws = Draws(given)
        assert draws.names == ["mu", "theta[Choate]", "theta[Deerfield]"]
        assert draws.num_chains == 4
        np.testing.assert_array_equal(draws.values.numpy().reshape(4, 20, 3)[..., 1:], theta)
    alone = Draws(data["theta"])
    assert alone.names == ["theta[Choate]", "theta[Deerfield]"]
    assert Draws(data.isel(chain=0, drop=True)).num_chains is None
    with pytest.raises(ValueError, match='no "draw" among them'):
        Draws(data.rename(draw="step"))


def test_draws_as_arviz_and_back(rng):
    pytest.importorskip("arviz")
    draws = Draws(normal(80, 3, rng).view(4, 20, 3), names=["mu", "theta[0]", "theta[1]"], log_prob=torch.arange(80.0))
    data = draws.to_arviz()
    assert data.posterior["theta"].shape == (4, 20, 2)
    assert float(data.sample_stats["lp"][1, 0]) == 20
    back = Draws(data)
    assert back.names == draws.names
    np.testing.assert_array_equal(back.values, draws.values)
    assert Draws(normal(30, 1, rng)).to_arviz().posterior.sizes["chain"] == 1
    with pytest.raises(ValueError, match="ArviZ knows no weights"):
        Draws(normal(30, 1, rng), weights=torch.ones(30)).to_arviz()


def test_what_is_known_of_draws_goes_along(rng):
    x = normal(400, 2, rng).abs()
    draws = Draws(x.view(4, 100, 2), names=["a", "b"], support=[(0.0, None), (0.0, 9.0)], log_prob=-x.sum(1))
    for made in (draws.thin(), draws.resample(50, seed=0), Draws(x.repeat(2, 1), log_prob=-x.sum(1).repeat(2)).thin()):
        torch.testing.assert_close(made.log_prob.float(), -made.values.sum(1))
    assert draws.thin().support == draws.resample(50, seed=0).support == draws.support
    assert draws.thin().num_chains == 4
    one = draws.columns(["b"])
    assert (one.support, one.names, one.num_chains, one.log_prob) == ([(0.0, 9.0)], ["b"], 4, None)
    assert torch.equal(draws.columns(["b", "a"]).log_prob, draws.log_prob)
    assert torch.equal(draws.resample(50, seed=3).values, draws.resample(50, seed=3).values)


def test_a_list_of_chains(rng):
    chains = [normal(30, 2, rng) for _ in range(3)]
    for given in (chains, [np.asarray(chain) for chain in chains]):
        draws = Draws(given)
        assert draws.num_chains == 3
        np.testing.assert_array_equal(draws.values, torch.cat(chains))
    with pytest.raises(ValueError, match=r"chains differ in shape: \(30, 2\), \(29, 2\); cut them.*chain\[:29\]"):
        Draws([chains[0], chains[1][:29]])


def test_runs_of_a_chain_are_held_out_together(rng):
    draws = Draws(metropolis(3000, 2, 2.2, rng)[None])
    rows, counts = draws.counts()
    blocks = draws.blocks()
    assert len(blocks) == len(rows)
    assert (blocks.diff() >= 0).all()
    assert 10 <= len(blocks.unique()) <= max(10, draws.effective_size / 10 + 1)

    def neighbours_seen(seen, own):
        """For each row of a fold whether a row next to it in the chain was seen."""
        known = torch.isin(numbers[:, 0], seen[:, 0])
        return lambda part: (known.roll(1) | known.roll(-1))[part[:, 0].long()].float()

    numbers = torch.arange(len(rows), dtype=torch.float64)[:, None]

    def share(**how):
        return float(
            crossfit(
                numbers,
                neighbours_seen,
                lambda f, part: f(part),
                counts=counts,
                generator=torch.Generator().manual_seed(0),
                **how,
            ).mean()
        )

    assert share() > 0.9
    assert share(blocks=blocks) < 2.5 * len(blocks.unique()) / len(rows)  # the two ends of each run


def test_held_out_rows_of_a_chain_are_not_fooled_by_neighbours(rng):
    """The bandwidth of highest held-out likelihood: of a slow chain as of independent draws of its effective size.

    With neighbours on both sides of the split a bandwidth as narrow as a step of the chain wins.
    """
    bandwidths = (0.05, 0.1, 0.2, 0.4, 0.8)

    def best(x, **how):
        means = []
        for h in bandwidths:
            held = crossfit(
                x,
                lambda rows, own=None, h=h: KDE(rows, h),
                lambda kde, rows: kde.evaluate(rows),
                generator=torch.Generator().manual_seed(0),
                **how,
            )
            means.append(float(mean(held, how.get("counts"))))
        return bandwidths[means.index(max(means))]

    chain = [normal(1, 2, rng)[0].double()]
    for step in normal(4000, 2, rng).double():
        chain.append(0.998 * chain[-1] + math.sqrt(1 - 0.998**2) * step)
    draws = Draws(torch.stack(chain)[None])
    rows, counts = draws.counts()
    independent = best(normal(round(draws.effective_size) + 20, 2, rng).double())
    assert best(rows, counts=counts) < 0.5 * independent
    assert best(rows, counts=counts, blocks=draws.blocks()) >= 0.5 * independent


def test_adaptation_of_a_chain_does_no_harm(disco, rng):
    """Judged on neighbours of its context, an estimate that follows every row would win."""
    shape = torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    draws = Draws((metropolis(400, 2, 2.2, rng) @ shape)[None])
    plain, y = disco.condition(draws), normal(500, 2, rng) @ shape
    adapted = plain.adapt(seed=1)
    true = -y @ torch.linalg.inv(shape.T @ shape)
    before, after = (float((estimate.score(y) - true).square().sum()) for estimate in (plain, adapted))
    assert len(adapted.report.tried) > 1
    assert after < 1.25 * before


def test_order_means_nothing_in_a_table(rng):
    x = normal(200, 2, rng)
    assert Draws(x).blocks() is None
    assert Draws(x, weights=torch.rand(200, generator=rng)).blocks() is None
    assert Draws(x).blocks(effective_size=50) is not None
    assert len(Draws(x.view(2, 100, 2)).blocks().unique()) >= 10


def test_draws_on_the_shipped_default(rng):
    """What the documentation shows first."""
    chain = metropolis(400, 2, 2.2, rng).view(1, 400, 2)
    estimate = DiScoFormer.from_pretrained().condition(Draws(chain, names=["mu", "tau"]))
    assert f"worth={estimate.effective_size:.0f}" in repr(estimate)


def test_chains_that_do_not_agree_are_told(rng):
    """R-hat by its definition, of ranks within split chains; the limits are those of the samplers' own chains."""
    x = torch.randn(4, 500, 3, generator=rng)
    x[0, :, 1] += 1.0
    draws = Draws(x, names=["a", "b", "c"])
    ranks = x.flatten(0, 1).argsort(0).argsort(0).double() + 1
    halves = torch.special.ndtri((ranks - 3 / 8) / (2000 + 1 / 4)).view(8, 250, 3)
    within = halves.var(1).mean(0)
    bulk = ((249 / 250 * within + halves.mean(1).var(0)) / within).sqrt()
    assert torch.allclose(torch.from_numpy(draws.rhat)[1], bulk[1])
    assert draws.unmixed == ["b"]
    with pytest.warns(UnmixedWarning, match=r"R-hat 1\.\d\d \(b\), good is 1.01 or less"):
        draws.warn()
    for some in (Draws(x[..., [0, 2]]), Draws(x.flatten(0, 1)), Draws(x[:, :50])):
        some.warn()
        assert some.unmixed == []
    assert Draws(x.flatten(0, 1)).rhat is None


def test_new_draws_beyond_zero_suggest_a_support():
    old = Draws(torch.tensor([[0.1, -2.0, 0.5, 3.0], [2.0, -0.1, -0.5, 4.0]]), names=["tau", "debt", "mu", "far"])
    new = torch.tensor([[-0.1, 0.3, 1.0, 3.0], [1.0, -1.0, -1.0, 4.0]])
    assert suggest_after(old, new) == {"tau": (1, "positive"), "debt": (1, "negative")}
    assert suggest_after(old, new.repeat(200, 1).abs() * new.new_tensor([1.0, -1.0, 1.0, 1.0])) == {}
    bounded = Draws(old.values, names=old.names, support={"tau": "positive", "debt": (None, 0)})
    assert suggest_after(bounded, new) == {}


def test_which_end_new_draws_cross(rng):
    """A share that comes close to one, a share whose new draws cross one, an angle, and a column that ends elsewhere."""
    u = torch.rand(400, 4, dtype=torch.float64, generator=rng)
    own = torch.stack([u[:, 0], 0.9 * u[:, 1], 360 * u[:, 2] - 180, 2 * u[:, 3]], 1)
    new = own + torch.tensor([-0.02, 0.0, 0.0, -0.02], dtype=torch.float64)
    new[:8, 1], new[:4, 2], new[4:8, 2] = 1.1, -190.0, 190.0
    found = suggest_after(Draws(own, names=["p", "q", "angle", "tau"]), new)
    assert {name: look for name, (_, look) in found.items()} == {
        "p": "unit",
        "q": "unit",
        "angle": "circular:360",
        "tau": "positive",
    }
    assert found["q"][0] == 8
    assert found["angle"][0] == 8


def test_shares_by_any_name_are_a_simplex(rng):
    u = torch.rand(60, 3, dtype=torch.float64, generator=rng)
    rows = torch.cat([u / u.sum(1, keepdim=True), 3 * u[:, :1]], 1)
    draws = Draws(rows, names=["clay", "silt", "sand", "depth"])
    assert suggest_supports(draws)["clay", "silt", "sand"] == "simplex"
    assert set(suggest_after(draws, rows - 0.1)) <= {"depth"}


def test_the_effective_size_of_a_batch_is_that_of_each_set(small, rng):
    x, y = torch.randn(2, 40, 2, generator=rng), torch.randn(2, 5, 2, generator=rng)
    together = small.condition(x, effective_size=[10.0, 80.0]).score(y)  # more than rows, where these lie evenly
    alone = small.condition(x[0], effective_size=10.0).score(y[0])
    torch.testing.assert_close(together[0], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[1], small.condition(x[1]).score(y[1]), rtol=1e-3)
