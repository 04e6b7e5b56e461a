"""The Langevin scheduler: what diffusers demands of every scheduler, and the distribution it leaves alone."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from disco_samplers.measures import sliced_wasserstein
from disco_samplers.testing.statistics import assert_mean_close

pytest.importorskip("diffusers")
import diffusers
from diffusers_zoo import rng, unet
from disco_samplers.integrations.diffusers import DiscoLangevinScheduler

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

SHAPE = (4, 3, 8, 8)
CONFIGS = [
    {},
    {"corrector_steps": 0},
    {"corrector_steps": 3, "snr": 0.1},
    {"predictor": "none"},
    {"eta": 1.0},
    {"prediction_type": "v_prediction", "beta_schedule": "scaled_linear"},
    {"prediction_type": "sample", "timestep_spacing": "leading", "steps_offset": 1},
    {"timestep_spacing": "linspace", "beta_schedule": "squaredcos_cap_v2"},
    {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    {"num_train_timesteps": 200, "beta_start": 0.001, "beta_end": 0.1},
]


def sample():
    return torch.rand(SHAPE, generator=rng())


def public(config):
    return {key: value for key, value in config.items() if not key.startswith("_")}


def run(scheduler, model, x, steps=10):
    scheduler.set_timesteps(steps)
    generator = rng()
    for t in scheduler.timesteps:
        x = scheduler.step(model(scheduler.scale_model_input(x, t), t), t, x, generator=generator).prev_sample
    return x


def gaussian(scheduler, mean, variance):
    """The exact noise prediction for data from N(mean, variance)."""

    def model(x, t):
        kept = scheduler.alphas_cumprod[int(t)]
        return (1 - kept).sqrt() * (x - kept.sqrt() * mean) / (kept * variance + 1 - kept)

    return model


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("timestep", [0, 1, 100])
def test_saved_and_loaded_steps_alike(config, timestep, tmp_path):
    scheduler = DiscoLangevinScheduler(**config)
    scheduler.save_pretrained(tmp_path)
    loaded = DiscoLangevinScheduler.from_pretrained(tmp_path)
    assert public(loaded.config) == public(scheduler.config)
    outputs = []
    for each in (scheduler, loaded):
        each.set_timesteps(10)
        outputs.append(each.step(0.1 * sample(), timestep, sample(), generator=rng()).prev_sample)
    torch.testing.assert_close(*outputs, rtol=0, atol=0)


@pytest.mark.parametrize("config", CONFIGS)
def test_shapes_and_return_types(config):
    scheduler = DiscoLangevinScheduler(**config)
    scheduler.set_timesteps(5)
    for t in scheduler.timesteps:
        output = scheduler.step(0.1 * sample(), t, sample(), generator=rng())
        assert output.prev_sample.shape == SHAPE
        assert torch.isfinite(output.prev_sample).all()
    scheduler.set_timesteps(5)
    a = scheduler.step(0.1 * sample(), scheduler.timesteps[0], sample(), generator=rng())
    scheduler.set_timesteps(5)
    b = scheduler.step(0.1 * sample(), scheduler.timesteps[0], sample(), generator=rng(), return_dict=False)
    assert isinstance(b, tuple)
    torch.testing.assert_close(a.prev_sample, b[0])
    torch.testing.assert_close(a[0], b[0])


def test_steps_out_of_order():
    """A timestep is found wherever it stands, as often as asked, and one between two levels is taken to the lower."""
    scheduler = DiscoLangevinScheduler(corrector_steps=1)
    scheduler.set_timesteps(10)
    first = scheduler.timesteps[0]
    x = sample()
    once = scheduler.step(0.1 * x, first, x, generator=rng()).prev_sample
    scheduler.step(0.1 * x, scheduler.timesteps[7], x, generator=rng())
    again = scheduler.step(0.1 * x, first, x, generator=rng()).prev_sample
    torch.testing.assert_close(once, again)
    for t in (0, 1, 998, 37):
        assert scheduler.step(0.1 * x, t, x, generator=rng()).prev_sample.shape == x.shape


def test_public_interface():
    scheduler = DiscoLangevinScheduler()
    for name in ("init_noise_sigma", "scale_model_input", "step", "set_timesteps", "add_noise", "order", "timesteps"):
        assert hasattr(scheduler, name)
    assert len(scheduler) == 1000
    assert scheduler.timesteps[0] == 999  # set before set_timesteps
    assert scheduler.scale_model_input(sample(), 0.0).shape == SHAPE
    parameters = inspect.signature(DiscoLangevinScheduler.__init__).parameters
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert "generator" in inspect.signature(scheduler.step).parameters
    with pytest.raises(AttributeError, match="has no attribute 'does_not_exist'"):
        _ = scheduler.does_not_exist


def test_timesteps_repeat_each_level_and_follow_the_device():
    scheduler = DiscoLangevinScheduler(corrector_steps=2)
    scheduler.set_timesteps(4, device="cpu")
    assert scheduler.timesteps.tolist() == [t for t in (999, 749, 499, 249) for _ in range(3)]
    assert scheduler.order == 3
    scheduler.set_timesteps(4, device="meta")
    assert scheduler.timesteps.device.type == "meta"


def test_trained_betas(tmp_path):
    scheduler = DiscoLangevinScheduler(trained_betas=np.array([0.1, 0.3]))
    scheduler.save_pretrained(tmp_path)
    assert DiscoLangevinScheduler.from_pretrained(tmp_path).betas.tolist() == scheduler.betas.tolist()


def test_configs_are_exchanged_with_the_common_schedulers():
    """Each compatible class takes our configuration, and ours comes back from its own unchanged."""
    scheduler = DiscoLangevinScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", snr=0.2)
    kinds = [kind for kind in scheduler.compatibles if issubclass(kind, diffusers.SchedulerMixin)]
    assert diffusers.DDIMScheduler in kinds
    assert diffusers.EulerDiscreteScheduler in kinds
    for kind in kinds:
        other = kind.from_config(scheduler.config)
        assert other.config.beta_end == 0.012
        back = DiscoLangevinScheduler.from_config(other.config)
        mine = public(scheduler.config)
        assert {key: value for key, value in public(back.config).items() if key in mine} == mine
    ddim = diffusers.DDIMScheduler(prediction_type="v_prediction", timestep_spacing="leading", clip_sample=False)
    ours = DiscoLangevinScheduler.from_config(ddim.config, corrector_steps=4)
    assert (ours.config.prediction_type, ours.config.timestep_spacing) == ("v_prediction", "leading")
    torch.testing.assert_close(ours.alphas_cumprod, ddim.alphas_cumprod)
    again = diffusers.DDIMScheduler.from_config(ours.config)
    assert again.config.clip_sample is False


def test_add_noise_is_that_of_ddim():
    x, noise, t = sample(), torch.randn(SHAPE, generator=rng()), torch.tensor([1, 5, 500, 999])
    expected = diffusers.DDIMScheduler().add_noise(x, noise, t)
    torch.testing.assert_close(DiscoLangevinScheduler().add_noise(x, noise, t), expected)


def test_without_correctors_it_is_ddim():
    model = gaussian(DiscoLangevinScheduler(), 0.5, 0.3)
    x = torch.randn(100, 2, generator=rng())
    ours = run(DiscoLangevinScheduler(corrector_steps=0), model, x)
    ddim = run(diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing"), model, x)
    torch.testing.assert_close(ours, ddim, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        ({"corrector_steps": 2}, 50),
        ({"corrector_steps": 0, "eta": 1.0}, 200),
        ({"corrector_steps": 50, "predictor": "none", "snr": 0.2}, 100),
    ],
)
def test_gaussian_data_are_drawn(config, steps):
    """With the exact noise prediction of N(0.5, 0.3), mean and variance of 4000 draws are those.

    The allowance for the mean has a false-alarm probability of 1e-6; the variance's is 15 %, of which sampling error is 2.2 %
    (one standard error) and the rest the discretisation's. The last step gives the denoised mean, which adds nothing here.
    """
    scheduler = DiscoLangevinScheduler(**config)
    x = run(scheduler, gaussian(scheduler, 0.5, 0.3), torch.randn(4000, 1, generator=rng()), steps)
    assert_mean_close(x, 0.5)
    assert abs(float(x.var()) / 0.3 - 1) < 0.15


def test_correctors_repair_what_few_steps_do_wrong():
    """On two modes, five levels of DDIM are off; Langevin steps at the same levels bring the draws nearer."""
    means, sd = torch.tensor([-1.0, 1.0]), 0.2

    def model(x, t):
        kept = DiscoLangevinScheduler().alphas_cumprod[int(t)]
        spread = kept * sd**2 + 1 - kept
        weight = (-((x - kept.sqrt() * means) ** 2) / (2 * spread)).softmax(-1)
        center = (weight * means).sum(-1, keepdim=True) * kept.sqrt()
        return (1 - kept).sqrt() * (x - center) / spread

    x = torch.randn(3000, 1, generator=rng())
    exact = means[torch.randint(2, (3000, 1), generator=rng())] + sd * torch.randn(3000, 1, generator=rng())
    plain, corrected = (run(DiscoLangevinScheduler(corrector_steps=c), model, x, 5) for c in (0, 6))
    assert sliced_wasserstein(corrected, exact) < 0.8 * sliced_wasserstein(plain, exact)


def test_begins_in_the_middle():
    scheduler = DiscoLangevinScheduler(corrector_steps=1)
    scheduler.set_timesteps(10)
    scheduler.set_begin_index(6)
    x = sample()
    scheduler.step(0.1 * x, scheduler.timesteps[6], x, generator=rng())
    assert scheduler.step_index == 7
    assert scheduler.begin_index == 6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_stays(dtype):
    scheduler = DiscoLangevinScheduler()
    scheduler.set_timesteps(3)
    x = sample().to(dtype)
    assert scheduler.step(0.1 * x, scheduler.timesteps[0], x).prev_sample.dtype == dtype


def test_in_a_pipeline_of_diffusers_with_a_unet(tmp_path):
    """DDPMPipeline drives it with a network of its own, and saves and loads it."""
    pipe = diffusers.DDPMPipeline(unet(), DiscoLangevinScheduler(corrector_steps=2))
    pipe.set_progress_bar_config(disable=True)
    images = pipe(batch_size=2, num_inference_steps=3, generator=rng(), output_type="np").images
    pipe.save_pretrained(tmp_path)
    loaded = diffusers.DDPMPipeline.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.scheduler.config.corrector_steps == 2
    again = loaded(batch_size=2, num_inference_steps=3, generator=rng(), output_type="np").images
    np.testing.assert_allclose(images, again, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"predictor": "euler"}, "predictor must be one of"),
        ({"prediction_type": "flow"}, "prediction_type must be"),
        ({"corrector_steps": -1}, "corrector_steps must be"),
        ({"corrector_steps": 1.5}, "corrector_steps must be"),
        ({"snr": 0.0}, "snr must lie in"),
        ({"eta": 1.0, "predictor": "none"}, 'eta is the noise of predictor "ddim"'),
        ({"eta": 2.0}, "eta must lie in"),
    ],
)
def test_bad_options(config, message):
    with pytest.raises(ValueError, match=message):
        DiscoLangevinScheduler(**config)


def test_step_before_timesteps():
    with pytest.raises(ValueError, match="call set_timesteps"):
        DiscoLangevinScheduler().step(sample(), 1, sample())
    with pytest.raises(ValueError, match="cannot be larger"):
        DiscoLangevinScheduler(num_train_timesteps=10).set_timesteps(20)
