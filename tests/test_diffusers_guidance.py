"""The hook: what it does to samples of anybody's pipeline, and what it leaves alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import perturbed

from disco_samplers.reference import GaussianMixture

pytest.importorskip("diffusers")
import diffusers
from diffusers_zoo import SCHEDULERS, memoriser, rng, unet
from disco_samplers.integrations.diffusers import DiscoGuidance, DiscoPipeline, DiscoScoreModel
from disco_samplers.integrations.diffusers.guidance import _level

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

NAMES = [
    "DDPM",
    "DDIM",
    "PNDM",
    "EulerDiscrete",
    "HeunDiscrete",
    "KDPM2Discrete",
    "DPMSolverMultistep",
    "UniPCMultistep",
    "EDMEuler",
    "FlowMatchEulerDiscrete",
    "DiscoLangevin",
]
TWO = GaussianMixture(torch.ones(2), torch.tensor([[-1.5, 0.0], [1.5, 0.0]]), torch.full((2, 2), 0.05))
RIGHT = GaussianMixture(torch.ones(1), torch.tensor([[1.5, 0.0]]), torch.full((1, 2), 0.05))


@pytest.fixture(scope="module")
def both():
    """A model of two modes."""
    return memoriser(TWO.sample(300, generator=rng()))


@pytest.fixture(scope="module")
def right():
    """A reference that holds one of them only."""
    return memoriser(RIGHT.sample(300, generator=rng(1)))


def draw(model, scheduler, count=60, steps=15, **options):
    pipe = DiscoPipeline(model, scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe(num_samples=count, num_inference_steps=steps, generator=rng(), **options).samples


@pytest.mark.parametrize("name", NAMES)
def test_recording_changes_nothing(name, both, right):
    """Samples are those of the scheduler alone, and the record goes from noise to data."""
    guidance = DiscoGuidance(right)
    plain = draw(both, SCHEDULERS[name]())
    watched = draw(both, guidance.wrap(SCHEDULERS[name]()))
    torch.testing.assert_close(watched, plain, rtol=1e-4, atol=1e-4)
    record = guidance.record
    assert record.sigma[0] > 1
    assert record.sigma[-1] < 0.05
    assert all(a >= b - 1e-6 for a, b in zip(record.sigma[:-1], record.sigma[1:], strict=True))
    assert np.isfinite([record.log_prob, record.score_norm, record.distance]).all()
    assert max(record.moved) == 0


@pytest.mark.parametrize("name", NAMES)
def test_correction_steers_to_the_reference(name, both, right):
    """A model of both modes, corrected by the score of one, ends in that one; without, half of its samples do."""
    guidance = DiscoGuidance(right, correct=0.3, correction_steps=3)
    plain = draw(both, SCHEDULERS[name]())
    steered = draw(both, guidance.wrap(SCHEDULERS[name]()))
    # Binomial: 60 draws of one half lie outside 0.2 .. 0.8 with probability 4e-6.
    assert 0.2 < (plain[:, 0] > 0).double().mean() < 0.8
    assert (steered[:, 0] > 0).double().mean() > 0.9


def test_callback_and_wrapped_scheduler_agree(both, right):
    one, other = (DiscoGuidance(right, correct=0.1, seed=3) for _ in range(2))
    wrapped = draw(both, one.wrap(SCHEDULERS["DDIM"]()))
    called = draw(both, SCHEDULERS["DDIM"](), callback_on_step_end=other)
    torch.testing.assert_close(wrapped, called)
    assert one.record == other.record


def test_same_seed_same_samples_and_a_new_record_each_run(both, right):
    guidance = DiscoGuidance(right, correct=0.1)
    scheduler = guidance.wrap(SCHEDULERS["EulerDiscrete"]())
    a, first = draw(both, scheduler), guidance.record
    b, second = draw(both, scheduler), guidance.record
    torch.testing.assert_close(a, b)
    assert first is not second
    assert len(first) == len(second) == 15


def test_diversity_spreads_the_batch(both):
    """Samples of a batch that is pushed apart lie further from one another."""
    guidance = DiscoGuidance(diversify=0.1, model=perturbed())
    plain = draw(both, SCHEDULERS["DDIM"](), count=30)
    spread = draw(both, guidance.wrap(SCHEDULERS["DDIM"]()), count=30)
    assert torch.pdist(spread).mean() > 1.02 * torch.pdist(plain).mean()
    assert np.isnan(guidance.record.log_prob).all()  # nothing to measure against


def test_strength_schedules(both, right):
    """A strength may depend on the share of steps done: none in the first half moves nothing there."""
    guidance = DiscoGuidance(right, correct=lambda done: 0.1 if done > 0.5 else 0.0)
    draw(both, guidance.wrap(SCHEDULERS["DDIM"]()), steps=10)
    moved = guidance.record.moved
    assert max(moved[:5]) == 0
    assert min(moved[5:9]) > 0
    assert moved[9] == 0  # clean samples are not moved


@pytest.mark.parametrize("name", NAMES)
def test_wrapped_scheduler_is_the_scheduler_to_everybody_else(name, right, tmp_path):
    scheduler = SCHEDULERS[name]()
    scheduler.set_timesteps(7)
    before = copy.deepcopy(scheduler.__dict__)
    wrapped = DiscoGuidance(right).wrap(scheduler)
    wrapped.set_timesteps(5)
    assert isinstance(wrapped, type(scheduler))
    assert type(wrapped).__name__ == type(scheduler).__name__
    assert wrapped.config == scheduler.config
    assert str(before) == str(scheduler.__dict__)
    wrapped.save_pretrained(tmp_path)
    assert type(type(scheduler).from_pretrained(tmp_path)) is type(scheduler)
    assert type(copy.deepcopy(wrapped)) is type(wrapped)


def test_guided_pipeline_of_diffusers_saves_and_loads(right, tmp_path):
    """DDIMPipeline calls nobody; with a wrapped scheduler it is guided, and saves the scheduler it had."""
    pipe = diffusers.DDIMPipeline(unet((1, 1), channels=2), diffusers.DDIMScheduler(clip_sample=False))
    guidance = DiscoGuidance(right, correct=0.1)
    pipe.scheduler = guidance.wrap(pipe.scheduler)
    pipe.set_progress_bar_config(disable=True)
    pipe(batch_size=4, num_inference_steps=5, generator=rng(), output_type="np")
    assert len(guidance.record) == 5
    pipe.save_pretrained(tmp_path)
    loaded = diffusers.DDIMPipeline.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert type(loaded.scheduler) is diffusers.DDIMScheduler


@pytest.mark.parametrize("name", NAMES)
def test_level_is_that_of_the_schedulers_own_sample(name):
    """Noise of the level that is read off, added in the scale that is read off, is what the scheduler would have made."""
    scheduler = SCHEDULERS[name]()
    scheduler.set_timesteps(10)
    x0, noise = torch.randn(50, 2, generator=rng()), torch.randn(50, 2, generator=rng(1))
    for index in (1, 4, 8):
        level = _level(scheduler, x0, index)
        t = scheduler.timesteps[index].reshape(1)
        made = scheduler.add_noise(x0, noise, t) if hasattr(scheduler, "add_noise") else scheduler.scale_noise(x0, t, noise)
        torch.testing.assert_close(made, level.scale * (x0 + level.sigma * noise), rtol=1e-4, atol=1e-4)
    assert _level(scheduler, x0, len(scheduler.timesteps)) == (1.0, 0.0)


def test_images_latents_and_classes():
    """Steering to a class of an image set, through the basis of the images."""
    x = torch.randn(120, 1, 4, 4, generator=rng()) * 0.3
    labels = torch.arange(120) % 2
    x[labels == 1] += 1.0
    reference = DiscoScoreModel.from_data(x, labels=labels, model=perturbed(), replicas=1, calibrate=False, share=0.8)
    reference.weight.fill_(1.0)
    guidance = DiscoGuidance(reference, correct=0.2, correction_steps=3, class_labels=1)
    steered = draw(reference, guidance.wrap(SCHEDULERS["DDIM"]()), count=20)
    assert steered.shape == (20, 1, 4, 4)
    assert (steered.flatten(1).mean(1) > 0.5).double().mean() > 0.9


def test_record_is_drawn(right, both, tmp_path):
    guidance = DiscoGuidance(right, correct=0.1)
    draw(both, guidance.wrap(SCHEDULERS["DDIM"]()))
    guidance.record.plot(str(tmp_path / "record.png"))
    assert (tmp_path / "record.png").stat().st_size > 1000


def test_errors(right):
    with pytest.raises(TypeError, match="must be a DiscoScoreModel"):
        DiscoGuidance(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="correct needs a reference"):
        DiscoGuidance(correct=0.1)
    with pytest.raises(ValueError, match="diversify must not be negative"):
        DiscoGuidance(right, diversify=-0.1)
    with pytest.raises(ValueError, match="correct must not be negative or infinite, got inf"):
        DiscoGuidance(right, correct=float("inf"))
    with pytest.raises(TypeError, match="correct must be a number"):
        DiscoGuidance(right, correct="0.1")
    with pytest.raises(TypeError, match="seed must be an integer, got None"):
        DiscoGuidance(right, seed=None)
    with pytest.raises(TypeError, match="the class DDIMScheduler has no step"):
        DiscoGuidance(right).wrap(diffusers.DDIMScheduler)
    with pytest.raises(TypeError, match="correction_steps must be an integer"):
        DiscoGuidance(right, correct=0.1, correction_steps=1.5)
    with pytest.raises(ValueError, match="class_labels are of a reference"):
        DiscoGuidance(diversify=0.1, class_labels=[0])
    with pytest.raises(TypeError, match="has no step to follow"):
        DiscoGuidance(right).wrap(diffusers.ScoreSdeVeScheduler())
    with pytest.raises(ValueError, match="at least 3"):
        draw(right, DiscoGuidance(diversify=0.1, model=perturbed()).wrap(SCHEDULERS["DDIM"]()), count=2)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        draw(right, DiscoGuidance(right, correct=lambda done: -1).wrap(SCHEDULERS["DDIM"]()))
    guided = DiscoGuidance(right).wrap(SCHEDULERS["DDIM"]())
    guided.set_timesteps(2)
    with pytest.raises(ValueError, match=r"\(B, 2\)"):
        guided.step(torch.zeros(2, 3), guided.timesteps[0], torch.zeros(2, 3))
