"""Training of the network that is told the noise: exact answers in the batches, the loss, and that it learns."""

from __future__ import annotations

import csv
import dataclasses

import pytest
import torch

from disco_samplers import DiscoDenoiser
from disco_samplers.model import DenoiserConfig
from disco_samplers.training import NoisedConfig, denoising_loss, noised_batch, train_denoiser
from disco_samplers.training.noised import NOISED_FAMILIES

MODEL = DenoiserConfig(layers=1, width=16, vector_channels=4, heads=2, head_width=4, hidden=16)
DATA = NoisedConfig(max_dim=3, min_samples=32, max_samples=64, queries=32, budget=20.0, max_batch=4)


def batches(count: int, config: NoisedConfig = DATA):
    generator = torch.Generator().manual_seed(3)
    return [noised_batch(config, generator) for _ in range(count)]


def test_scores_are_the_mean_of_the_noise_taken_off():
    """Over a batch's queries that are no broadened draws, E[s . y] = -d for any law: y . s has that mean by parts.

    With 400 queries a set the mean of y . s + d over sets has a standard error that the bound is five times of: a false alarm
    in a million.
    """
    for batch in batches(12, dataclasses.replace(DATA, queries=400, max_samples=400, max_dim=2)):
        if batch.log_prob is None:
            continue
        d = batch.query.shape[-1]
        product = (batch.query[:, 8:] * batch.score[:, 8:]).sum(-1) + d
        assert abs(float(product.mean())) < 5 * float(product.std()) / product.numel() ** 0.5, batch.family


def test_every_family_is_drawn_and_finite():
    seen = set()
    for batch in batches(300):
        seen.add(batch.family)
        assert batch.context.isfinite().all()
        assert batch.score.isfinite().all()
        assert batch.context.shape[-1] == batch.query.shape[-1] == batch.spread.variances.shape[-1]
    assert seen == set(NOISED_FAMILIES)


def test_the_loss_is_least_at_the_truth():
    for batch in batches(12):
        log_prob = torch.zeros(batch.query.shape[:2]) if batch.log_prob is None else batch.log_prob
        exact, off = denoising_loss(log_prob, batch.score, batch), denoising_loss(log_prob, 1.2 * batch.score, batch)
        assert exact < off
        if batch.log_prob is not None:
            assert exact == pytest.approx(0.013, abs=1e-3)  # the floor's root, once and .3 times


def test_it_learns_and_leaves_weights_that_are_read(tmp_path):
    steps = train_denoiser(MODEL, DATA, tmp_path, minutes=0.05, seed=0, progress=False)
    with open(tmp_path / "losses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == steps > 5
    samples = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    assert DiscoDenoiser.from_pretrained(tmp_path).condition(samples, 0.5).denoise(samples).isfinite().all()
    start = tmp_path / "model.safetensors"
    again = train_denoiser(MODEL, DATA, tmp_path / "on", minutes=0.02, seed=1, start=start, progress=False)
    assert again > 0
