"""Pipelines: ours with every scheduler, and diffusers' own with our model; saved, loaded, called back, and refused."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from conftest import perturbed

from disco_samplers.measures import sliced_wasserstein
from disco_samplers.reference import GaussianMixture

pytest.importorskip("diffusers")
import diffusers
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler
from diffusers_zoo import SCHEDULERS, memoriser, rng, unet
from disco_samplers.integrations.diffusers import DiscoPipeline, DiscoPipelineOutput, DiscoScoreModel

# diffusers hands tensors to numpy 2 in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

F = GaussianMixture(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), torch.full((2, 2), 0.05))


@pytest.fixture(scope="module")
def data():
    return F.sample(400, generator=rng())


@pytest.fixture(scope="module")
def exact(data):
    return memoriser(data)


@pytest.fixture(scope="module")
def square():
    """Images of three channels, as some pipelines demand."""
    generator = torch.Generator().manual_seed(1)
    x = (torch.randn(60, 2, generator=generator) @ torch.randn(2, 48, generator=generator)).view(60, 3, 4, 4)
    x = x / x.abs().max()
    return DiscoScoreModel.from_data(x, model=perturbed(), replicas=1, calibrate=False, share=0.9)


def pipeline(model, scheduler):
    pipe = DiscoPipeline(model, scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


# torchsde is told the ends of its interval in float32 and in float64.
@pytest.mark.filterwarnings("ignore:Should have t:UserWarning")
@pytest.mark.parametrize("name", ["EulerAncestralDiscrete", "DPMSolverSDE", "CosineDPMSolverMultistep"])
def test_same_generator_same_samples_and_another_others(name, exact):
    pipe = pipeline(exact, SCHEDULERS[name]())
    a, b, c = (pipe(num_samples=3, num_inference_steps=3, generator=rng(seed)).samples for seed in (7, 7, 8))
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.allclose(a, c, atol=1e-3)
    each = [pipe(num_samples=2, num_inference_steps=3, generator=[rng(1), rng(2)]).samples for _ in range(2)]
    torch.testing.assert_close(*each, rtol=0, atol=0)
    if name == "DPMSolverSDE":  # as the user gave it
        assert pipe.scheduler.noise_sampler_seed is None
        assert pipeline(exact, diffusers.DPMSolverSDEScheduler(noise_sampler_seed=3)).scheduler.noise_sampler_seed == 3


def test_one_generator_a_sample(exact):
    pipe = pipeline(exact, SCHEDULERS["DDIM"]())
    together = pipe(num_samples=2, num_inference_steps=3, generator=[rng(1), rng(2)]).samples
    alone = pipe(num_samples=1, num_inference_steps=3, generator=[rng(2)]).samples
    torch.testing.assert_close(together[1:], alone)


def test_latents_are_the_starting_noise(exact):
    pipe = pipeline(exact, SCHEDULERS["EulerDiscrete"]())
    noise = torch.randn(4, 2, generator=rng(3))
    a = pipe(num_samples=4, num_inference_steps=4, latents=noise).samples
    b = pipe(num_samples=4, num_inference_steps=4, generator=rng(3)).samples
    torch.testing.assert_close(a, b)


def test_callback_sees_and_changes_latents(exact):
    seen = []

    def callback(pipe, step, timestep, kwargs):
        seen.append((step, float(timestep), kwargs["latents"].shape))
        return {"latents": torch.zeros_like(kwargs["latents"])} if step == 4 else {}

    pipe = pipeline(exact, SCHEDULERS["DDIM"]())
    samples = pipe(num_samples=2, num_inference_steps=5, generator=rng(), callback_on_step_end=callback).samples
    assert [step for step, *_ in seen] == [0, 1, 2, 3, 4]
    assert seen[0][1] > seen[-1][1]
    assert torch.equal(samples, torch.zeros(2, 2))


def test_output_types(square):
    pipe = pipeline(square, SCHEDULERS["DDIM"]())
    options = {"num_samples": 2, "num_inference_steps": 2}
    tensor = pipe(**options, generator=rng()).samples
    (plain,) = pipe(**options, generator=rng(), return_dict=False)
    torch.testing.assert_close(plain, tensor)
    array = pipe(**options, generator=rng(), output_type="np").samples
    np.testing.assert_allclose(array, tensor.numpy())
    images = pipe(**options, generator=rng(), output_type="pil").samples
    assert [image.size for image in images] == [(4, 4), (4, 4)]
    np.testing.assert_allclose(
        np.asarray(images[0]) / 255, (tensor[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy(), atol=0.5 / 255 + 1e-6
    )


def test_series_and_vectors_are_not_clamped():
    x = 3 * torch.randn(80, 2, 6, generator=rng())
    model = DiscoScoreModel.from_data(x, model=perturbed(), replicas=1, calibrate=False)
    samples = pipeline(model, SCHEDULERS["FlowMatchEulerDiscrete"]())(
        num_samples=20, num_inference_steps=5, generator=rng()
    ).samples
    assert samples.shape == (20, 2, 6)
    assert samples.abs().max() > 2


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 6), (1, 4, 4), (3, 4, 4)])
def test_outputs_are_drawn(shape, tmp_path):
    samples = torch.randn(30, *shape, generator=rng())
    output = DiscoPipelineOutput(samples=samples)
    output.plot(str(tmp_path / "a.png"), reference=2 * samples)
    output.plot(str(tmp_path / "b.png"))
    assert min(path.stat().st_size for path in tmp_path.iterdir()) > 1000


def test_pictures_of_pictures_are_refused():
    with pytest.raises(ValueError, match="PIL images already"):
        DiscoPipelineOutput(samples=[]).plot()
    with pytest.raises(ValueError, match="must have shape"):
        DiscoPipelineOutput(samples=torch.zeros(3)).plot()


def test_classes_and_guidance():
    """Each sample is of the class asked for; guidance pushes away from the other."""
    x = torch.cat([F.sample(100, generator=rng()) + shift for shift in (-2.0, 2.0)])
    model = DiscoScoreModel.from_data(x, labels=torch.arange(200) // 100, model=perturbed(), replicas=1, calibrate=False)
    model.weight.fill_(1.0)
    pipe = pipeline(model, SCHEDULERS["DDIM"]())
    options = {"num_samples": 6, "num_inference_steps": 10, "generator": rng()}
    samples = pipe(**options, class_labels=[0, 1, 0, 1, 0, 1]).samples
    assert (samples.sum(1).sign() == torch.tensor([-1, 1, -1, 1, -1, 1])).all()
    plain = pipe(**options | {"generator": rng()}, class_labels=1).samples
    guided = pipe(**options | {"generator": rng()}, class_labels=1, guidance_scale=3.0).samples
    assert guided.sum(1).mean() > plain.sum(1).mean()


@pytest.mark.parametrize("name", ["DDIM", "FlowMatchEulerDiscrete", "DiscoLangevin"])
def test_pipeline_saves_and_loads(name, square, tmp_path):
    pipe = pipeline(square, SCHEDULERS[name]())
    pipe.save_pretrained(tmp_path)
    loaded = DiscoPipeline.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded.scheduler) is type(pipe.scheduler)
    a, b = (p(num_samples=2, num_inference_steps=3, generator=rng()).samples for p in (pipe, loaded))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)  # at the first noise level data are a thousandth of the sample


def test_exchanged_scheduler_is_matched(exact, data):
    pipe = pipeline(exact, SCHEDULERS["DDIM"]())
    pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    samples = pipe(num_samples=200, num_inference_steps=10, generator=rng()).samples
    assert sliced_wasserstein(samples, data) < 0.3


@pytest.mark.parametrize("options", [{"replicas": 1, "share": 0.5}, {"locality": "auto"}], ids=["basis", "patches"])
def test_autoencoder_decodes_latents(options):
    vae = diffusers.AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, latent_channels=2, sample_size=4)
    x = torch.randn(50, 2, 4, 4, generator=rng())
    model = DiscoScoreModel.from_data(x, model=perturbed(), calibrate=False, **options)
    pipe = DiscoPipeline(model, SCHEDULERS["DDIM"](), vae=vae)
    pipe.set_progress_bar_config(disable=True)
    assert pipe(num_samples=2, num_inference_steps=2, generator=rng()).samples.shape == (2, 3, 4, 4)


def test_a_trained_unet_in_our_pipeline():
    pipe = pipeline(unet(), SCHEDULERS["DDIM"]())
    assert pipe(num_samples=2, num_inference_steps=2, generator=rng()).samples.shape == (2, 1, 8, 8)


# diffusers' own pipelines, unchanged.


def test_ddpm_and_ddim_pipelines_draw_vectors(exact, data):
    """Vectors are images of one pixel; these pipelines clamp, so data are brought into [-1, 1] first."""
    model = memoriser(data / 2.5)
    for pipe, options in (
        (diffusers.DDPMPipeline(model, diffusers.DDPMScheduler()), {}),
        (diffusers.DDIMPipeline(model, diffusers.DDIMScheduler()), {"eta": 0.0}),
    ):
        pipe.set_progress_bar_config(disable=True)
        images = pipe(batch_size=300, num_inference_steps=50, generator=rng(), output_type="np", **options).images
        assert images.shape == (300, 1, 1, 2)
        samples = torch.from_numpy(images).view(300, 2) * 2 - 1
        assert sliced_wasserstein(samples, data / 2.5) < 0.2


def test_ddim_pipeline_saves_and_loads_with_our_model(square, tmp_path):
    pipe = diffusers.DDIMPipeline(square, diffusers.DDIMScheduler())
    pipe.save_pretrained(tmp_path)
    loaded = diffusers.DDIMPipeline.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert isinstance(loaded.unet, DiscoScoreModel)
    for p in (pipe, loaded):
        p.set_progress_bar_config(disable=True)
    a, b = (p(batch_size=2, num_inference_steps=2, generator=rng(), output_type="np").images for p in (pipe, loaded))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_consistency_pipeline(square):
    scheduler = diffusers.CMStochasticIterativeScheduler()
    pipe = diffusers.ConsistencyModelPipeline(square.matching(scheduler), scheduler)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(batch_size=2, num_inference_steps=2, generator=rng(), output_type="pt").images
    assert images.shape == (2, 3, 4, 4)
    assert torch.isfinite(images).all()


@pytest.mark.parametrize("name", ["PNDM", "ScoreSdeVe", "KarrasVe", "RePaint", "LDM", "DanceDiffusion"])
def test_deprecated_pipelines(name, square):
    from diffusers.pipelines import deprecated

    if not (kind := getattr(deprecated, f"{name}Pipeline", None)):
        pytest.skip("this version of diffusers does not call it deprecated")
    options = {"batch_size": 2, "num_inference_steps": 5, "generator": rng()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each of them announces its end
        if name == "PNDM":
            pipe = kind(square, diffusers.PNDMScheduler())
        elif name == "ScoreSdeVe":
            scheduler = diffusers.ScoreSdeVeScheduler(sigma_max=50.0)
            pipe = kind(square.matching(scheduler), scheduler)
        elif name == "KarrasVe":
            scheduler = KarrasVeScheduler(sigma_max=7.0)
            pipe = kind(square.matching(scheduler), scheduler)
        elif name == "RePaint":
            pipe = kind(square, diffusers.RePaintScheduler())
            image = square.samples[:1]
            options = {"image": image, "mask_image": torch.ones(1, 1, 4, 4), "num_inference_steps": 4}
            options |= {"jump_length": 1, "jump_n_sample": 1, "generator": rng()}
        elif name == "LDM":
            vqvae = diffusers.VQModel(block_out_channels=(4,), norm_num_groups=2, latent_channels=3, num_vq_embeddings=8)
            pipe = kind(vqvae, square, diffusers.DDIMScheduler())
        else:
            series = DiscoScoreModel.from_data(
                torch.randn(60, 1, 8, generator=rng()), model=perturbed(), replicas=1, calibrate=False
            )
            pipe = kind(series, diffusers.DPMSolverMultistepScheduler())
        pipe.set_progress_bar_config(disable=True)
        if name == "DanceDiffusion":
            audios = pipe(**options).audios
            assert audios.shape == (2, 1, 8)
            return
        images = pipe(**options, output_type="np").images
    assert images.shape[1:] == (4, 4, 3)
    assert np.isfinite(images).all()
    if name == "RePaint":  # a mask of ones keeps the whole image
        np.testing.assert_allclose(images[0].transpose(2, 0, 1), (image[0] / 2 + 0.5).clamp(0, 1), atol=0.05)


# What is wrong is said.


def test_sigma_scheduler_where_it_cannot_work(exact):
    """DDPMPipeline neither scales the noise nor the model's input: the model notices, and names what does."""
    pipe = diffusers.DDPMPipeline(exact, diffusers.EulerDiscreteScheduler())
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(ValueError, match="use DiscoPipeline, or DDIMScheduler or DDPMScheduler"):
        pipe(batch_size=8, num_inference_steps=20, generator=rng(), output_type="pt")


def test_clipping_scheduler_is_refused_for_data_beyond(exact):
    with pytest.raises(ValueError, match="clip_sample=False"):
        DiscoPipeline(exact, diffusers.DDIMScheduler())


def test_scheduler_of_another_kind_is_refused(exact):
    with pytest.raises(ValueError, match="none of the schedulers"):
        DiscoPipeline(exact, diffusers.VQDiffusionScheduler(num_vec_classes=4))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_samples": 0}, ValueError, "num_samples must be at least 1"),
        ({"num_samples": 2.0}, TypeError, "num_samples must be an integer"),
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps must be at least 1"),
        ({"output_type": "jpg"}, ValueError, "output_type must be one of"),
        ({"output_type": "pil"}, ValueError, "needs images"),
        ({"latents": torch.zeros(2, 3)}, ValueError, "latents must have shape"),
        ({"generator": [torch.Generator()]}, ValueError, "one a sample"),
        ({"callback_on_step_end_tensor_inputs": ["prompt_embeds"]}, ValueError, "prompt_embeds"),
        ({"class_labels": 1}, ValueError, "no labels"),
        ({"class_labels": "1"}, TypeError, "class_labels must be whole numbers, got '1'"),
        ({"class_labels": ["a", "b"]}, TypeError, "class_labels must be whole numbers"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator or a list of one a sample, got 0"),
        ({"class_labels": 1, "guidance_scale": "2"}, TypeError, "guidance_scale must be a number"),
        ({"class_labels": 1, "guidance_scale": math.nan}, ValueError, "guidance_scale must be finite, got nan"),
    ],
)
def test_bad_calls(options, error, message, exact):
    pipe = pipeline(exact, SCHEDULERS["DDIM"]())
    with pytest.raises(error, match=message):
        pipe(**{"num_samples": 2, "num_inference_steps": 2} | options)
