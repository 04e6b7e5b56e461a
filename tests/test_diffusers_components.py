"""What diffusers' own suites ask of every pipeline and model: components, files, precision, batches, outputs, callbacks."""

from __future__ import annotations

import copy
import inspect
import json
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import perturbed

pytest.importorskip("diffusers")
import diffusers
from diffusers import DiffusionPipeline
from diffusers_zoo import memoriser, rng, unet
from disco_samplers.integrations.diffusers import DiscoPipeline, DiscoScoreModel

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ddim():
    return diffusers.DDIMScheduler(clip_sample=False)


@pytest.fixture(scope="module")
def model():
    x = (torch.randn(60, 2, generator=rng(1)) @ torch.randn(2, 48, generator=rng(2))).view(60, 3, 4, 4)
    return DiscoScoreModel.from_data(x / x.abs().max(), model=perturbed(), replicas=1, calibrate=False, share=0.9)


@pytest.fixture(scope="module")
def latent():
    """Latents of two channels, with an autoencoder that makes pictures of three of them."""
    vae = diffusers.AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, latent_channels=2, sample_size=4)
    x = torch.randn(40, 2, 4, 4, generator=rng())
    model = DiscoScoreModel.from_data(x, model=perturbed(), replicas=1, calibrate=False, share=0.5)
    return quiet(DiscoPipeline(model, ddim(), vae=vae))


# Components.


def test_from_pipe_carries_the_models_over(latent):
    """The base class carries those of exactly the annotated class only."""
    other = quiet(DiscoPipeline.from_pipe(latent))
    assert other.unet.noised() is latent.unet.noised()  # data and encoded contexts are shared
    assert other.vae is latent.vae
    assert other.scheduler is latent.scheduler
    first, second = (pipe(2, 2, generator=rng(), output_type="latent").samples for pipe in (latent, other))
    torch.testing.assert_close(first, second)
    ours = unet(4, 2)
    assert DiscoPipeline.from_pipe(latent, unet=ours).unet is ours


def test_from_pipe_takes_the_models_of_diffusers_pipelines(model):
    """A trained U-Net, or our model, out of a pipeline of diffusers'."""
    for network in (unet(), model):
        theirs = diffusers.DDIMPipeline(network, ddim())
        ours = DiscoPipeline.from_pipe(theirs)
        assert ours.unet.config.sample_size == network.config.sample_size
        assert ours.vae is None
        assert isinstance(ours.scheduler, diffusers.DDIMScheduler)


def test_contexts_survive_a_move_to_where_they_are(model):
    """``from_pipe`` moves everything to a precision, and encoding takes seconds a level."""
    model.encode(torch.tensor([500]))
    kept = dict(model.noised()._levels)
    model.to(torch.float32).to("cpu")
    assert dict(model.noised()._levels) == kept


def test_components_make_the_same_pipeline(latent):
    again = quiet(DiscoPipeline(**latent.components))
    first, second = (pipe(2, 2, generator=rng()).samples for pipe in (latent, again))
    torch.testing.assert_close(first, second)


def test_call_takes_what_pipelines_take():
    names = set(inspect.signature(DiscoPipeline.__call__).parameters)
    asked = {"num_inference_steps", "generator", "latents", "output_type", "return_dict", "class_labels", "guidance_scale"}
    assert asked | {"callback_on_step_end", "callback_on_step_end_tensor_inputs"} <= names


# Files.


def test_optional_components_stay_left_out(model, tmp_path):
    DiscoPipeline(model, ddim()).save_pretrained(tmp_path)
    loaded = DiscoPipeline.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert loaded.vae is None
    assert json.loads((tmp_path / "model_index.json").read_text())["vae"] == [None, None]


def test_saved_pipeline_is_loaded_by_its_own_class(model, tmp_path):
    """diffusers looks for pipelines among its own: DiffusionPipeline says that it does not know this one."""
    DiscoPipeline(model, ddim()).save_pretrained(tmp_path)
    with pytest.raises(AttributeError, match="DiscoPipeline"):
        DiffusionPipeline.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    loaded = quiet(DiscoPipeline.from_pretrained(tmp_path, low_cpu_mem_usage=False))
    assert loaded(2, 2, generator=rng()).samples.shape == (2, 3, 4, 4)


def test_diffusers_pipeline_with_our_model_is_loaded_by_either_class(model, tmp_path):
    diffusers.DDIMPipeline(model, ddim()).save_pretrained(tmp_path)
    for kind in (diffusers.DDIMPipeline, DiffusionPipeline):
        loaded = kind.from_pretrained(tmp_path, low_cpu_mem_usage=False)
        assert isinstance(loaded, diffusers.DDIMPipeline)
        assert isinstance(loaded.unet, DiscoScoreModel)


# Precision.


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_loading_in_half_precision_rounds_no_data(name, model, tmp_path):
    """Samples are half, data and estimates stay as they are: the same answer up to the samples' rounding."""
    model.save_pretrained(tmp_path)
    loaded = DiscoScoreModel.from_pretrained(tmp_path, low_cpu_mem_usage=False, **{name: torch.float16})
    assert loaded.dtype == torch.float16
    assert torch.equal(loaded.data, model.data)
    x = torch.randn(2, 3, 4, 4, generator=rng())
    torch.testing.assert_close(loaded(x.half(), 500).sample, model(x.half(), 500).sample)
    with pytest.raises(TypeError, match=r"dtype must be a torch.dtype"):
        DiscoScoreModel.from_pretrained(tmp_path, low_cpu_mem_usage=False, **{name: "half"})


def test_a_file_without_the_data_is_named(model, tmp_path):
    """diffusers makes up what a file lacks."""
    model.save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    kept = safetensors.torch.load_file(path)
    del kept["data"]
    safetensors.torch.save_file(kept, path, {"format": "pt"})
    with pytest.raises(ValueError, match=r"not of one model \(data is missing\)"):
        DiscoScoreModel.from_pretrained(tmp_path, low_cpu_mem_usage=False)


def test_loading_a_pipeline_in_half_precision_rounds_no_data(model, tmp_path):
    DiscoPipeline(model, ddim()).save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of its newer name, which the oldest version does not know
        loaded = quiet(DiscoPipeline.from_pretrained(tmp_path, low_cpu_mem_usage=False, torch_dtype=torch.float16))
    assert loaded.unet.dtype == torch.float16
    assert torch.equal(loaded.unet.data, model.data)
    assert loaded(2, 2, generator=rng()).samples.dtype == torch.float16


# Batches and outputs.


def test_a_sample_does_not_depend_on_its_batch(model):
    pipe = quiet(DiscoPipeline(model, ddim()))
    together = pipe(3, 4, generator=[rng(0), rng(1), rng(2)]).samples
    for seed in range(3):
        torch.testing.assert_close(together[seed : seed + 1], pipe(1, 4, generator=[rng(seed)]).samples, rtol=1e-4, atol=1e-4)


def test_latents_are_not_decoded(latent):
    options = {"num_samples": 2, "num_inference_steps": 2}
    raw = latent(**options, generator=rng(), output_type="latent").samples
    assert raw.shape == (2, 2, 4, 4)
    decoded = latent(**options, generator=rng()).samples
    with torch.no_grad():
        torch.testing.assert_close(latent.vae.decode(raw / latent.vae.config.scaling_factor).sample, decoded)
    plain = quiet(DiscoPipeline(latent.unet, ddim()))
    torch.testing.assert_close(plain(**options, generator=rng()).samples, raw)


def test_latents_are_shifted_as_the_autoencoder_says(latent):
    shifted = diffusers.AutoencoderKL.from_config(latent.vae.config, shift_factor=0.5)
    shifted.load_state_dict(latent.vae.state_dict())
    options = {"num_samples": 2, "num_inference_steps": 2}
    raw = latent(**options, generator=rng(), output_type="latent").samples
    decoded = quiet(DiscoPipeline(latent.unet, ddim(), vae=shifted))(**options, generator=rng()).samples
    with torch.no_grad():
        torch.testing.assert_close(latent.vae.decode(raw / latent.vae.config.scaling_factor + 0.5).sample, decoded)


def test_the_noise_of_an_inverse_scheduler_is_not_decoded(latent):
    pipe = quiet(DiscoPipeline(latent.unet, diffusers.DDIMInverseScheduler(clip_sample=False), vae=latent.vae))
    noise = pipe(2, 3, latents=latent.unet.samples[:2], output_type="np").samples
    assert isinstance(noise, np.ndarray)
    assert noise.shape == (2, 2, 4, 4)


def test_callbacks_get_what_they_ask_for_and_no_more(model):
    seen = []

    def callback(pipe, step, timestep, tensors):
        seen.append(set(tensors))
        return tensors

    pipe = quiet(DiscoPipeline(model, ddim()))
    asked = [{"callback_on_step_end_tensor_inputs": names} for names in ([], ["latents"])]
    both = [pipe(2, 3, generator=rng(), callback_on_step_end=callback, **options).samples for options in asked]
    assert seen == [set()] * 3 + [{"latents"}] * 3
    torch.testing.assert_close(*both)


# Pipelines that exchange the scheduler.


@pytest.mark.parametrize(
    "scheduler",
    [
        diffusers.FlowMatchEulerDiscreteScheduler,
        lambda: diffusers.ScoreSdeVeScheduler(sigma_max=50.0),
        diffusers.CMStochasticIterativeScheduler,
    ],
)
def test_a_pipeline_that_swaps_the_scheduler_is_noticed(scheduler, model):
    """DDIMPipeline takes any scheduler and uses DDIM: a model that was matched to the one given would return noise."""
    matched = model.matching(scheduler())
    pipe = quiet(diffusers.DDIMPipeline(matched, scheduler()))
    with pytest.raises(ValueError, match="DDIMPipeline and PNDMPipeline replace the scheduler"):
        pipe(batch_size=2, num_inference_steps=3, generator=rng())
    assert quiet(DiscoPipeline(matched, diffusers.FlowMatchEulerDiscreteScheduler()))(2, 3).samples.shape == (2, 3, 4, 4)


def test_the_same_pipeline_with_the_model_as_it_is(model):
    """DDIM with the schedule that the model has: what both mean."""
    theirs = quiet(diffusers.DDIMPipeline(model, diffusers.FlowMatchEulerDiscreteScheduler()))
    ours = quiet(DiscoPipeline(model, ddim()))
    images = theirs(
        batch_size=2, num_inference_steps=4, generator=rng(), output_type="np", use_clipped_model_output=False
    ).images
    expected = (ours(2, 4, generator=rng()).samples / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(images, expected, atol=0.15)  # their DDIM clips


def test_models_are_deterministic_and_copied_whole():
    model = memoriser(torch.randn(64, 2, generator=rng()))
    x = torch.randn(3, 2, generator=rng(1))
    first = model(x, 300).sample
    torch.testing.assert_close(model(x, 300).sample, first, rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(model)(x, 300).sample, first, rtol=0, atol=0)
    assert torch.isfinite(first).all()
