"""Data frames: what has names is matched by them everywhere, and one reader says what it cannot read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from disco_samplers.integrations.diffusers import DiscoScoreModel
from disco_samplers.integrations.pyro import SampleDistribution

from disco_samplers import Draws, LangevinSampler
from disco_samplers.measures import (
    entropy,
    fisher_information,
    kernel_stein_discrepancy,
    kl_divergence,
    maximum_mean_discrepancy,
    mutual_information,
    nearest_distances,
    precision_recall,
    relative_fisher_information,
    sliced_wasserstein,
)
from disco_samplers.posteriors import Edgeworth, merged_posterior, two_sample
from disco_samplers.reference import KDE, SDKDE, SSGE, NuMethod

SCALES = np.array([1.0, 30.0])


def values(seed, n=60):
    return np.random.default_rng(seed).normal(size=(n, 2)) * SCALES + SCALES


A, B = (pd.DataFrame(values(seed), columns=["a", "b"]) for seed in (0, 1))
TWO_SETS = {
    "kl": lambda x, y, model: float(kl_divergence(x, y, model=model, calibrate=False)),
    "relative fisher": lambda x, y, model: float(relative_fisher_information(x, y, model=model, folds=2)),
    "mmd": lambda x, y, model: maximum_mean_discrepancy(x, y),
    "wasserstein": lambda x, y, model: sliced_wasserstein(x, y),
    "nearest": lambda x, y, model: float(nearest_distances(as_frame(x), as_frame(y)).mean()),
    "precision": lambda x, y, model: sum(precision_recall(x, y)),
    "merged": lambda x, y, model: float(merged_posterior([x, y], model=model, seed=0).score(torch.ones(1, 2).double()).sum()),
}


def as_frame(x):
    return pd.DataFrame(x.values.numpy(), columns=x.names) if isinstance(x, Draws) and x.has_names else x


@pytest.mark.parametrize("kind", [pd.DataFrame, Draws], ids=["frame", "draws"])
@pytest.mark.parametrize("function", TWO_SETS.values(), ids=TWO_SETS)
def test_two_sets_are_matched_by_name(function, kind, small):
    alike = function(kind(A), kind(B), small)
    assert function(kind(A), kind(B[["b", "a"]]), small) == pytest.approx(alike, rel=1e-6)
    assert function(A.to_numpy(), B.to_numpy(), small) == pytest.approx(alike, rel=1e-6)
    assert function(kind(A), B.to_numpy(), small) == pytest.approx(alike, rel=1e-6)
    with pytest.raises(ValueError, match=r"has the columns a, c; .* a, b"):
        function(kind(A), kind(B.rename(columns={"b": "c"})), small)


@pytest.mark.parametrize("kind", [pd.DataFrame, Draws], ids=["frame", "draws"])
def test_samples_are_matched_to_a_score_by_name(kind, small):
    estimate = small.condition(A)
    turned = kind(B[["b", "a"]])
    for score in (estimate, estimate.score):
        alike = float(kernel_stein_discrepancy(B.to_numpy(), score))
        assert float(kernel_stein_discrepancy(turned, score)) == pytest.approx(alike)
        alike = float(relative_fisher_information(B.to_numpy(), q_score=score, model=small, folds=2))
        assert float(relative_fisher_information(turned, q_score=score, model=small, folds=2)) == pytest.approx(alike)
    with pytest.raises(ValueError, match="samples has the columns a, c; score has a, b"):
        kernel_stein_discrepancy(kind(B.rename(columns={"b": "c"})), estimate)


@pytest.mark.parametrize("kind", [pd.DataFrame, Draws], ids=["frame", "draws"])
@pytest.mark.parametrize("bound", [False, True], ids=["estimate", "its score"])
def test_a_sampler_is_started_by_name(kind, bound, small):
    estimate = small.condition(A)
    sampler = LangevinSampler(estimate.score if bound else estimate, method="ula")
    options = {"num_warmup": 2, "seed": 0, "progress": False, "step_size": 1e-3}
    straight = sampler.run(3, context=B.to_numpy(), initial=B.to_numpy()[:4], **options)
    turned = sampler.run(3, context=kind(B[["b", "a"]]), initial=kind(B[["b", "a"]][:4]), **options)
    torch.testing.assert_close(turned.draws, straight.draws)
    assert turned.names == ["a", "b"]
    other = kind(B.rename(columns={"b": "c"}))
    for name in ("context", "initial"):
        with pytest.raises(ValueError, match=f"{name} has the columns a, c; the target has a, b"):
            sampler.run(3, **{name: other}, **options)


def test_starting_points_follow_the_context(small):
    sampler = LangevinSampler(small, method="ula")
    options = {"num_warmup": 2, "seed": 0, "progress": False, "step_size": 1e-3}
    result = sampler.run(3, context=A, initial=A[["b", "a"]][:4], **options)
    torch.testing.assert_close(result.draws, sampler.run(3, context=A, initial=A[:4], **options).draws)


def start(model, name, frame):
    sampler = LangevinSampler(model.condition(values(0)), method="ula")
    return sampler.run(2, num_warmup=2, seed=0, progress=False, step_size=1e-3, **{name: frame}).draws


READERS = {
    "condition": lambda x, model: model.condition(x).log_prob(values(1)),
    "draws": lambda x, model: Draws(x).values,
    "log_prob": lambda x, model: model.condition(values(0)).log_prob(x),
    "entropy": lambda x, model: float(entropy(x, model=model, calibrate=False)),
    "fisher": lambda x, model: float(fisher_information(x, model=model, folds=2)),
    "kl": lambda x, model: float(kl_divergence(x, values(1), model=model, calibrate=False)),
    "mutual information": lambda x, model: float(mutual_information(x, values(1), model=model, calibrate=False)),
    "mmd": lambda x, model: maximum_mean_discrepancy(x, values(1)),
    "stein": lambda x, model: float(kernel_stein_discrepancy(x, torch.neg)),
    "kde": lambda x, model: KDE(x).log_prob(values(1)),
    "merged": lambda x, model: merged_posterior([x, values(1)], model=model, seed=0).score(torch.ones(1, 2).double()),
    "pyro": lambda x, model: SampleDistribution(x, model=model).log_prob(torch.ones(2).double()),
    "diffusers": lambda x, model: DiscoScoreModel.from_data(x, model=model, replicas=1, calibrate=False).data,
    "initial": lambda x, model: start(model, "initial", x),
    "context": lambda x, model: start(model, "context", x),
}
SCALED = A / A.std()


@pytest.mark.parametrize("function", READERS.values(), ids=READERS)
def test_one_reader_for_all(function, small):
    plain = np.asarray(function(SCALED.to_numpy(), small))
    for frame in (SCALED, SCALED.astype("Float64"), SCALED.astype("double[pyarrow]"), pl.from_pandas(SCALED)):
        np.testing.assert_allclose(np.asarray(function(frame, small)), plain, rtol=1e-6)
    with pytest.raises(TypeError, match="column t must hold real numbers, got dtype datetime64"):
        function(SCALED.assign(t=pd.date_range("2020-01-01", periods=len(A)))[["a", "t"]], small)
    with pytest.raises(ValueError, match="more than one column a"):
        function(SCALED.rename(columns={"b": "a"}), small)
    with pytest.raises(ValueError, match="NaN"):
        function(SCALED.astype("Float64").where(SCALED.min() < SCALED), small)


DAYS = pd.date_range("2020-01-01", periods=3)


@pytest.mark.parametrize(
    "column",
    [
        DAYS,
        DAYS.tz_localize("UTC"),
        DAYS - DAYS[0],
        DAYS.to_period("D"),
        DAYS.astype("timestamp[ns][pyarrow]"),
        DAYS.astype("object"),
        ["1", "2", "3"],
        pd.Categorical(["1", "2", "1"]),
        np.array([1j, 2, 3]),
    ],
)
def test_what_is_no_number_is_refused_with_its_column(column):
    with pytest.raises(TypeError, match="values: column t must hold real numbers, got dtype"):
        Draws(pd.DataFrame({"a": [1.0, 2.0, 4.0], "t": column}))
    with pytest.raises(TypeError, match="weights must hold real numbers, got dtype"):
        Draws(np.arange(6.0).reshape(3, 2), weights=pd.Series(column))


def test_columns_by_themselves_may_be_nullable():
    weights = pd.Series([1, 2, 3], dtype="Int64")
    assert Draws(np.arange(6.0).reshape(3, 2), weights=weights).weights.tolist() == pytest.approx([1 / 6, 1 / 3, 1 / 2])


@pytest.mark.parametrize("make", [KDE, SDKDE, SSGE, NuMethod, Edgeworth])
def test_points_are_matched_to_the_samples_by_name(make):
    density = make(A)
    np.testing.assert_allclose(density.score(B[["b", "a"]]), make(A.to_numpy()).score(B.to_numpy()))
    with pytest.raises(ValueError, match="points has the columns a, c; the samples have a, b"):
        density.score(B.rename(columns={"b": "c"}))


def test_samples_are_matched_to_the_score_that_moves_them():
    score, turned = KDE(A).score, SDKDE(B[["b", "a"]], KDE(A).score)
    np.testing.assert_allclose(turned.log_prob(A), SDKDE(B.to_numpy(), score).log_prob(A.to_numpy()))


def test_the_ratio_of_two_samples_is_asked_by_name():
    found = two_sample(A, B[["b", "a"]], num_permutations=19, seed=0)
    plain = two_sample(A.to_numpy(), B.to_numpy(), num_permutations=19, seed=0)
    np.testing.assert_allclose(found.log_ratio(A[["b", "a"]]), plain.log_ratio(A.to_numpy()))
    with pytest.raises(ValueError, match="points has the columns a, c; the samples have a, b"):
        found.log_ratio(A.rename(columns={"b": "c"}))
