"""The loss and the trainer: it learns, continues, survives, and runs in several processes."""

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
from importlib.resources import files

import pytest
import torch

from disco_samplers import DiScoFormer, DiScoFormerConfig
from disco_samplers.estimators import SHIPPED
from disco_samplers.training.config import TrainingConfig, load_config
from disco_samplers.training.loss import consistency_loss, training_loss
from disco_samplers.training.muon import Muon
from disco_samplers.training.passes import Passes
from disco_samplers.training.stream import StreamConfig
from disco_samplers.training.trainer import CHECKPOINT, LOSSES, VALIDATION, WEIGHTS, Trainer

MODEL = DiScoFormerConfig(layers=1, width=16, vector_channels=4, heads=2, head_width=4, hidden=16)
STREAM = StreamConfig(max_dim=2, common_dim=2, min_samples=32, max_samples=64, queries=32, budget=20.0, max_batch=4)
CONFIG = TrainingConfig(stream=STREAM, warmup_steps=5)


pytestmark = pytest.mark.usefixtures("quick_validation")


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_loss_is_zero_at_the_truth_and_invariant_to_the_scores_scale():
    generator = torch.Generator().manual_seed(0)
    log_prob, score = torch.randn(2, 30, generator=generator), torch.randn(2, 30, 3, generator=generator)
    exact = training_loss(log_prob, score, log_prob, score, context=10)
    assert exact.score == 0
    assert exact.density == 0
    off = training_loss(log_prob, 1.1 * score, log_prob, score, context=10)
    torch.testing.assert_close(off.score, torch.tensor(0.01))
    scaled = training_loss(log_prob, 11 * score, log_prob, 10 * score, context=10)
    torch.testing.assert_close(scaled.score, off.score)


def test_predicting_nothing_costs_all_of_the_score():
    score = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0))
    log_prob = torch.zeros(2, 30)
    torch.testing.assert_close(training_loss(log_prob, 0 * score, log_prob, score, context=10).score, torch.tensor(1.0))


def test_the_consistency_loss_brings_the_heads_together(small):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 60, 1, generator=generator), torch.randn(2, 20, 1, generator=generator)
    network = small.network.requires_grad_()
    first = consistency_loss(network, x, y)
    points = y.clone().requires_grad_()
    log_prob, score = network.decode(network.encode(x), points)
    (gradient,) = torch.autograd.grad(log_prob.sum(), points)
    gap = (score - gradient).square().sum((1, 2)) / score.square().sum((1, 2))
    torch.testing.assert_close(first, (gap + 1e-4).sqrt().mean())
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        consistency_loss(network, x, y).backward()
        optimizer.step()
    assert consistency_loss(network, x, y) < 0.5 * first


def test_a_long_context_is_trained_on_in_groups(tmp_path):
    stream = StreamConfig(families={"paper": 1.0}, max_dim=1, common_dim=1, min_samples=40, max_samples=40, keys=20)
    trainer = Trainer(MODEL, TrainingConfig(stream=stream, consistency=0.1), tmp_path)
    trainer.run(10, progress=False, max_steps=2)
    assert all(float(row["total"]) < 100 for row in _rows(tmp_path / LOSSES))


def test_training_learns(tmp_path):
    trainer = Trainer(MODEL, TrainingConfig(stream=STREAM, warmup_steps=5, average=0.9), tmp_path)
    before = trainer.validate()
    trainer.run(5, progress=False, max_steps=60)
    after = trainer.validate()
    assert after["d2_n256"] < 0.8 * before["d2_n256"]


def test_a_slice_leaves_what_the_next_continues_from(tmp_path):
    once = Trainer(MODEL, CONFIG, tmp_path / "once")
    once.run(5, progress=False, max_steps=6)
    first = Trainer(MODEL, CONFIG, tmp_path / "twice")
    first.run(5, progress=False, max_steps=3)
    second = Trainer(MODEL, CONFIG, tmp_path / "twice")
    second.resume(tmp_path / "twice")
    assert second.step == 3
    second.run(5, progress=False, max_steps=3)
    for a, b in zip(once.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [int(row["step"]) for row in _rows(tmp_path / "twice" / LOSSES)] == [1, 2, 3, 4, 5, 6]
    assert len(_rows(tmp_path / "twice" / VALIDATION)) == 2
    model = DiScoFormer.from_pretrained(tmp_path / "twice")
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, second.averaged.module.state_dict()[name])


def test_the_decay_is_not_continued_from(tmp_path):
    trainer = Trainer(MODEL, TrainingConfig(stream=STREAM, decay_minutes=1e9), tmp_path)
    trainer.run(0.5, progress=False, max_steps=4)
    # The whole slice was decay, so the checkpoint is the one from before its first step.
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 0
    assert (tmp_path / WEIGHTS).exists()


def test_an_interrupt_saves(tmp_path, monkeypatch):
    trainer = Trainer(MODEL, CONFIG, tmp_path)
    step = trainer._step

    def interrupted(*arguments):
        if trainer.step == 3:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(trainer, "_step", interrupted)
    trainer.run(5, progress=False)
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 3


def test_an_interrupt_before_the_first_step_is_passed_on_and_saves_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    trainer = Trainer(MODEL, CONFIG, tmp_path)
    monkeypatch.setattr(trainer, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(5, progress=False)
    assert not list(tmp_path.iterdir())


def test_making_a_trainer_takes_none_of_the_callers_random_numbers(tmp_path):
    before = torch.get_rng_state()
    Trainer(MODEL, TrainingConfig(seed=3), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_that_is_not_finite_changes_nothing(tmp_path, monkeypatch):
    trainer = Trainer(MODEL, CONFIG, tmp_path)
    before = [p.clone() for p in trainer.network.parameters()]
    losses = Passes.losses

    def broken(*arguments):
        found = losses(*arguments)
        return found._replace(total=found.total * torch.nan)

    monkeypatch.setattr(Passes, "losses", broken)
    trainer.run(5, progress=False, max_steps=2)
    assert trainer.skipped == 2
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))


def test_resuming_another_network_is_refused(tmp_path):
    Trainer(MODEL, CONFIG, tmp_path).run(5, progress=False, max_steps=1)
    other = Trainer(DiScoFormerConfig(layers=2, width=16, hidden=16), CONFIG, tmp_path)
    with pytest.raises(ValueError, match="another network"):
        other.resume(tmp_path)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"nosuch": {}}, "nosuch"),
        ({"training": {"nosuch": 1}}, "nosuch"),
        ({"training": {"stream": {"nosuch": 1}}}, "nosuch"),
        ({"model": {"nosuch": 1}}, "nosuch"),
        ({"training": {"learning_rate": -1}}, "learning_rate"),
        ({"model": {"layers": 0}}, "layers"),
        ({"model": {"symmetry": "none"}}, "symmetry"),
    ],
)
def test_configuration_errors(values, match):
    with pytest.raises(ValueError, match=match):
        load_config(values)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_recipe_is_that_of_the_shipped_weights(name):
    recipe = [json.loads(path.read_text()) for path in (files("disco_samplers.training") / "recipe" / name).iterdir()]
    assert recipe
    for values in recipe:
        assert load_config(values)[0] == DiScoFormer.from_pretrained(name).config


@pytest.mark.slow
def test_two_processes_agree(tmp_path):
    config = {
        "model": MODEL.to_dict(),
        "training": {
            "warmup_steps": 5,
            "stream": {"max_dim": 2, "common_dim": 2, "max_samples": 64, "budget": 20, "max_batch": 4},
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "disco_samplers.cli",
    ]
    command += ["train", "--minutes", "0.03", "--quiet", "--out", str(tmp_path), "--config", str(tmp_path / "config.json")]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("wrote") == 1
    steps = int(re.search(r"(\d+) steps in", done.stdout)[1])  # some versions of torch print there too
    assert steps >= 1
    assert len(_rows(tmp_path / LOSSES)) == steps


def test_muon_steps_as_torchs_own():
    shapes = [(8, 20), (20, 8), (8, 8), (20, 8), (5, 1)]
    first = [
        torch.nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(i))) for i, shape in enumerate(shapes)
    ]
    second = [torch.nn.Parameter(p.detach().clone()) for p in first]
    ours, theirs = Muon(first, lr=0.02, weight_decay=0.1), torch.optim.Muon(second, lr=0.02, weight_decay=0.1)
    for step in range(3):
        for i, (p, q) in enumerate(zip(first, second, strict=True)):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * step + i))
            q.grad = p.grad.clone()
        ours.step()
        theirs.step()
    for p, q in zip(first, second, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=2e-3)  # bf16 products, of another order


def test_a_deepened_network_starts_with_the_same_answers(tmp_path):
    shipped = files("disco_samplers") / "weights" / "rotations" / "model.safetensors"
    deeper = dataclasses.replace(DiScoFormer.from_pretrained("rotations").config, layers=5)
    trainer = Trainer(deeper, TrainingConfig(), tmp_path)
    trainer.start_from(str(shipped))
    x, y = torch.randn(1, 50, 3), torch.randn(1, 20, 3)
    want = DiScoFormer.from_pretrained("rotations").network(x, y)
    for got, right in zip(trainer.network(x, y), want, strict=True):
        torch.testing.assert_close(got, right)
    with pytest.raises(ValueError, match="another network"):
        Trainer(MODEL, TrainingConfig(), tmp_path).start_from(str(shipped))
