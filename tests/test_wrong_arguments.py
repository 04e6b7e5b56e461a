"""What is given for an argument that is of another kind: an error that names it, wherever it is one of these kinds."""

from __future__ import annotations

import math

import pytest
import torch
from disco_samplers.integrations import plasma
from disco_samplers.integrations.plasma.runfile import make_run
from torch.distributions.transforms import ExpTransform

from disco_samplers import Draws, LangevinSampler, measures, posteriors, reference, samplers, scores, testing

X = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ZERO, EYE, GRID = torch.zeros(2), torch.eye(2), plasma.Grid(6.0, 8)
RUN = {"initial": X[:3], "num_warmup": 3, "progress": False}


def minus(x):
    return -x


def normal(x):
    return -0.5 * x.square().sum(-1)


def particles():
    return plasma.load(GRID, [plasma.Beam()], 20)


LANDAU = plasma.Landau(plasma.Blob(), strength=1.0, exponent=0)

NUMBERS = {
    "learning_rate": lambda model, it: model.condition(X).adapt(num_steps=1, learning_rate=it),
    "budget": lambda model, it: model.condition(X).adapt(budget=it),
    "effective_size": lambda model, it: model.condition(X, effective_size=it),
    "step_size": lambda model, it: LangevinSampler(score=minus).run(2, step_size=it, **RUN),
    "levels": lambda model, it: LangevinSampler(score=model, method="annealed", levels=[it]),
    "tolerance": lambda model, it: samplers.relax(X, minus, condition=lambda x: minus, tolerance=it),
    "step_size of the flow": lambda model, it: samplers.relax(X, minus, condition=lambda x: minus, step_size=it),
    "temperature": lambda model, it: scores.Score(minus) / it,
    "bandwidth": lambda model, it: reference.KDE(X, it),
    "bandwidth of SDKDE": lambda model, it: reference.SDKDE(X, minus, it),
    "bandwidth of the discrepancy": lambda model, it: measures.maximum_mean_discrepancy(X, X, bandwidth=it),
    "bandwidth of Stein": lambda model, it: measures.kernel_stein_discrepancy(X, minus, bandwidth=it),
    "df": lambda model, it: reference.StudentT(ZERO, EYE, it),
    "false_alarm": lambda model, it: testing.assert_same_distribution(X, X, false_alarm=it),
    "length": lambda model, it: plasma.Grid(it, 8),
    "beam": lambda model, it: plasma.Beam(density=it),
    "mass": lambda model, it: plasma.load(GRID, [plasma.Beam()], 20, mass=it),
    "charge": lambda model, it: plasma.load(GRID, [plasma.Beam()], 20, charge=it),
    "amplitude": lambda model, it: plasma.load(GRID, [plasma.Beam()], 20, amplitude=it),
    "density": lambda model, it: plasma.load_draws(GRID, X, density=it),
    "strength": lambda model, it: plasma.Landau(plasma.Blob(), strength=it),
    "strength of all pairs": lambda model, it: plasma.MultispeciesLandau(plasma.Blob(), strength=it),
    "subcycle": lambda model, it: plasma.MultispeciesLandau(plasma.Blob(), strength=1.0, subcycle=it),
    "applied": lambda model, it: plasma.Simulation(GRID, [particles()], 0.1, applied=it),
    "exponent": lambda model, it: plasma.Landau(plasma.Blob(), strength=1.0, exponent=it),
    "frequency": lambda model, it: plasma.Dougherty(plasma.Blob(), frequency=it),
    "bandwidth of Blob": lambda model, it: plasma.Blob(it),
    "dt": lambda model, it: plasma.Homogeneous(X, LANDAU, dt=it),
    "dt of a simulation": lambda model, it: plasma.Simulation(GRID, [particles()], it),
    "light_speed": lambda model, it: plasma.Simulation(GRID, [particles()], 0.1, light_speed=it),
}

FUNCTIONS = {
    "log_posterior": lambda model, it: posteriors.log_evidence(X, it),
    "score": lambda model, it: LangevinSampler(score=it),
    "log_prob": lambda model, it: LangevinSampler(score=minus, log_prob=it),
    "condition": lambda model, it: LangevinSampler(score=minus, method="flow", condition=it),
    "callback": lambda model, it: LangevinSampler(score=minus).run(2, callback=it, **RUN),
    "log_prob of Score": lambda model, it: scores.Score(minus, it),
    "score of SDKDE": lambda model, it: reference.SDKDE(X, it),
    "q_score": lambda model, it: measures.relative_fisher_information(X, q_score=it, model=model),
    "score of the discrepancy": lambda model, it: measures.kernel_stein_discrepancy(X, it),
    "score of the flow": lambda model, it: samplers.relax(X, it, condition=lambda x: minus),
    "condition of the flow": lambda model, it: samplers.relax(X, minus, condition=it),
    "operator": lambda model, it: plasma.Homogeneous(X, it, dt=0.1),
    "score of Landau": lambda model, it: plasma.Landau(it, strength=1.0),
    "score of MultispeciesLandau": lambda model, it: plasma.MultispeciesLandau(it, strength=1.0),
    "score of Dougherty": lambda model, it: plasma.Dougherty(it, frequency=1.0),
}

OTHERS = {
    "transform": lambda model, it: model.condition(X, transform=it),
    "model": lambda model, it: model.condition(X).with_model(it),
    "model of entropy": lambda model, it: measures.entropy(X, model=it),
    "model of a shard": lambda model, it: posteriors.subposterior(X, it),
    "model of shards": lambda model, it: posteriors.merged_posterior([X, X], model=it),
    "model of the evidence": lambda model, it: posteriors.log_evidence(X, normal, proposal="estimate", model=it),
    "model of DiscoScore": lambda model, it: plasma.DiscoScore(it),
    "resume": lambda model, it: LangevinSampler(score=minus).run(2, resume=it, progress=False),
    "levels": lambda model, it: LangevinSampler(score=minus, method="annealed", levels=it),
    "levels of a ladder": lambda model, it: scores.ladder(model.condition(X), it),
    "mean": lambda model, it: reference.Gaussian(it, EYE),
    "covariance": lambda model, it: reference.Gaussian(ZERO, it),
    "weights": lambda model, it: reference.GaussianMixture(it, EYE, EYE),
    "scale": lambda model, it: reference.Laplace(ZERO, it),
    "samples": lambda model, it: reference.KDE(it),
    "dims": lambda model, it: model.condition(X).plot(dims=it),
    "times": lambda model, it: samplers.integrate(X, minus, it, condition=lambda x: minus),
    "sigma": lambda model, it: scores.smooth(model.condition(X), it),
}


def argument(name):
    return name.partition(" of ")[0]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("wrong", ["a", object(), math.nan, True, -1j])
def test_what_is_no_number(small, name, wrong):
    with pytest.raises((TypeError, ValueError), match=argument(name)):
        NUMBERS[name](small, wrong)


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_infinite(small, name):
    with pytest.raises(ValueError, match=argument(name)):
        NUMBERS[name](small, math.inf)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("wrong", ["a", 3.0, ExpTransform], ids=["string", "number", "class"])
def test_what_is_no_function(small, name, wrong):
    with pytest.raises(TypeError, match=f"^{argument(name)} must be callable, "):
        FUNCTIONS[name](small, wrong)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("wrong", ["a", object(), 3.0, ExpTransform], ids=["string", "object", "number", "class"])
def test_what_is_of_another_kind(small, name, wrong):
    if name == "sigma" and wrong == 3.0:
        return
    with pytest.raises((TypeError, ValueError), match=argument(name)):
        OTHERS[name](small, wrong)


@pytest.mark.parametrize("wrong", ["nonsense", "cuda:99", "xpu", 3.0, None])
def test_what_is_no_device(small, wrong):
    takers = [lambda it: plasma.load(GRID, [plasma.Beam()], 20, device=it), lambda it: plasma.load_draws(GRID, X, device=it)]
    takers.append(lambda it: type(small).from_pretrained(map_location=it))
    if wrong is not None:
        takers.append(lambda it: small.condition(X).to(device=it))
    for take in takers:
        with pytest.raises((TypeError, ValueError), match=r"device|map_location"):
            take(wrong)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(("section", "key"), [("time", "end"), ("time", "dt"), ("grid", "length")])
def test_a_run_file_with_what_is_not_finite(section, key, value):
    run = {"grid": {"length": 6.0, "cells": 8}, "time": {"dt": 0.1, "end": 5.0}, "species": [{"particles": 100}]}
    run[section][key] = value
    with pytest.raises(ValueError, match=rf"'{key}' in \[{section}\] must be finite"):
        make_run(run)


def test_scores_as_levels_end_with_the_target(small):
    estimate = small.condition(X)
    levels = scores.ladder(estimate, [1.0], seed=0)
    run = {**RUN, "seed": 0}
    assert LangevinSampler(score=estimate, method="annealed", levels=levels).run(2, **run).draws.shape == (3, 2, 2)
    with pytest.raises(ValueError, match="levels must end with score=, the target itself"):
        LangevinSampler(score=minus, method="annealed", levels=levels).run(2, **run)
    with pytest.raises(TypeError, match="levels must be noise levels, or scores, not some of each"):
        LangevinSampler(score=minus, method="annealed", levels=[1.0, minus])


def test_an_effective_size_of_true():
    with pytest.raises(ValueError, match="effective_size must be a number"):
        Draws(X).counts(True)
