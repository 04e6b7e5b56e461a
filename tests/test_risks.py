"""Rows and columns that an estimate would suffer from: told of, or read."""

import warnings

import numpy as np
import pytest
import torch

from disco_samplers import DiScoFormer
from disco_samplers.draws import FarRowsWarning, GranularColumnWarning, warn_of_risks
from disco_samplers.model import whiten


@pytest.fixture(scope="module")
def disco():
    return DiScoFormer.from_pretrained()


def test_a_wild_row_is_named(disco, rng):
    x = torch.cat([torch.randn(500, 2, generator=rng), torch.tensor([[0.0, 1e4]])])[torch.randperm(501, generator=rng)]
    row = int(x[:, 1].argmax())
    with pytest.warns(FarRowsWarning, match=f"row {row} is .* from column 1's median, and"):
        disco.condition(x)


def test_rows_are_counted_as_they_were_given(rng):
    x = torch.cat([torch.randn(300, 1, generator=rng), torch.tensor([[1e4], [1e5], [-1e4]])])
    counts = torch.ones(303)
    counts[:50], counts[301] = 0, 0
    with pytest.warns(FarRowsWarning, match=r"row 30[02] is .* 'mass''s median \(and 1 more"):
        warn_of_risks(x, counts, ["mass"])


@pytest.mark.parametrize("law", ["normal", "lognormal", "spiked", "heavy"])
def test_tails_are_no_wild_rows(law, rng):
    x = torch.randn(400, 3, dtype=torch.float64, generator=rng)
    if law == "lognormal":
        x = (1.5 * x).exp()
    elif law == "spiked":
        x = x.clamp_min(0.8)
    elif law == "heavy":
        x = x / torch.randn(400, 3, dtype=torch.float64, generator=rng).square().add(torch.rand(400, 3, generator=rng)).sqrt()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_risks(x, None, None)


def test_a_large_offset_changes_nothing(disco, rng):
    """Numbers of 1e13 have steps of .002, in which N(0, 1) is read."""
    x = (512 * torch.randn(200, 2, dtype=torch.float64, generator=rng)).round() / 512
    y = x[:5] + 0.25
    for offset in (1e13, 2.46e6):
        torch.testing.assert_close(
            disco.condition(x + offset).log_prob(y + offset), disco.condition(x).log_prob(y), rtol=0, atol=2e-3
        )


def test_a_column_of_a_few_steps_is_told_of(disco):
    x = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.warns(GranularColumnWarning, match=r"column 0 .* 1 steps of float64"):
        estimate = disco.condition(np.c_[1 + 2.2e-16 * np.random.default_rng(1).integers(1, 4, 100), x])
    assert np.isfinite(estimate.sample(3, generator=torch.Generator().manual_seed(0), num_steps=2)).all()
    with pytest.warns(GranularColumnWarning, match="steps of float32"):
        warn_of_risks(torch.from_numpy(1e8 + 10 * x).float(), None, None)


def test_columns_of_a_few_steps_alone_are_refused():
    r = np.random.default_rng(1)
    for x in (1 + 2.2e-16 * r.integers(1, 4, (100, 2)), 2.46e6 + r.normal(0, 1e-9, (100, 1))):
        with pytest.raises(ValueError, match="subtract an offset"):
            whiten(torch.from_numpy(x)[None])


@pytest.mark.parametrize("seed", range(3))
def test_draws_of_nearly_equal_columns(disco, seed):
    r = np.random.default_rng(seed)
    with pytest.warns(GranularColumnWarning):
        estimate = disco.condition(np.c_[1 + 2.2e-16 * r.integers(1, 4, (100, 2)), r.uniform(size=100)])
    draws = estimate.sample(4, generator=torch.Generator().manual_seed(0), num_steps=2)
    assert np.abs(draws[:, :2] - 1).max() < 0.01
