"""Images given some of their pixels, block means, or noisy copies: against exact posteriors of normal images."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers")
import diffusers
from disco_samplers.integrations.diffusers import (
    DiscoHandover,
    DiscoPipeline,
    DiscoScoreModel,
    Measurement,
    probability_flow_log_prob,
)

SHAPE = (1, 4, 4)


@pytest.fixture(scope="module")
def normal():
    """A model of independent standard normal pixels: by the linear answer alone it is exact, up to the data's moments."""
    images = torch.randn(4000, *SHAPE, generator=torch.Generator().manual_seed(0))
    made = DiscoScoreModel.from_data(images, locality="auto", calibrate=False)
    made.stack.zero_()
    made.stack[:, -1] = 1.0
    return made


def measurements(images):
    seen = torch.zeros(SHAPE, dtype=torch.bool)
    seen[:, :2] = True
    noise = torch.Generator().manual_seed(1)
    noisy = images + 0.5 * torch.randn(images.shape, generator=noise)
    means = torch.nn.functional.avg_pool2d(images, 2)
    return {
        "pixels": Measurement.of_pixels(images, seen),
        "noisy pixels": Measurement.of_pixels(noisy, seen, 0.5),
        "means": Measurement.of_means(means, 2, 0.1),
        "all": Measurement.of_all(noisy, 0.5),
    }


@pytest.mark.parametrize("name", ["pixels", "noisy pixels", "means", "all"])
def test_draws_have_the_exact_posterior_mean_and_spread_of_normal_pixels(name, normal):
    """Of x ~ N(0, I), x | v has mean A^T v / (c + s^2) and variance 1 - A^T A / (c + s^2); 600 draws of one image.

    Means of 600 draws err by .041 at most times the spread; the bounds are four of that and what 50 steps leave.
    """
    image = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(7)).expand(600, *SHAPE)
    measurement = measurements(image[:1])[name]
    values = measurement.values.expand(600, *measurement.values.shape[1:])
    remade = {
        "pixels": lambda: Measurement.of_pixels(values, measurement.values[0] != 0),
        "noisy pixels": lambda: Measurement.of_pixels(values, measurement.values[0] != 0, 0.5),
        "means": lambda: Measurement.of_means(values, 2, 0.1),
        "all": lambda: Measurement.of_all(values, 0.5),
    }[name]()
    pipe = DiscoPipeline(normal.measured(remade), diffusers.EDMEulerScheduler(sigma_min=0.01, sigma_max=40.0))
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe(num_samples=600, num_inference_steps=50, generator=torch.Generator().manual_seed(3)).samples
    gain = 1 / (measurement.square + measurement.noise**2)
    mean = gain * measurement.adjoint(measurement.values)[0]
    basis = torch.eye(16).view(16, *SHAPE)
    shown = torch.stack([measurement.forward(pixel[None].expand(1, *SHAPE)).square().sum() for pixel in basis])
    spread = (1 - gain * shown).clamp_min(0).sqrt().view(SHAPE)
    assert float((drawn.mean(0) - mean).abs().max()) < 0.17
    assert float((drawn.std(0) - spread).abs().max()) < 0.15


def test_a_mask_fills_what_is_not_known_and_keeps_what_is(normal):
    images = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(2))
    pipe = DiscoPipeline(normal.measured(measurements(images)["pixels"]), diffusers.DDIMScheduler(clip_sample=False))
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe(num_samples=5, num_inference_steps=50, generator=torch.Generator().manual_seed(0)).samples
    torch.testing.assert_close(drawn[:, :, :2], images[:, :, :2], atol=0.1, rtol=0)


def test_adjoints_and_squares_are_those_of_the_maps():
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    for measurement in measurements(x).values():
        v = torch.randn(measurement.values.shape, generator=torch.Generator().manual_seed(1))
        v = measurement.forward(measurement.adjoint(v)) / measurement.square  # of the shape of what is measured
        torch.testing.assert_close((measurement.forward(x) * v).sum(), (x * measurement.adjoint(v)).sum())
        torch.testing.assert_close(measurement.forward(measurement.adjoint(v)), measurement.square * v)


def test_what_does_not_fit_is_named(normal, tmp_path):
    images = torch.zeros(3, *SHAPE)
    with pytest.raises(ValueError, match="nothing is measured"):
        Measurement.of_pixels(images, torch.zeros(SHAPE, dtype=torch.bool))
    with pytest.raises(TypeError, match="truth values"):
        Measurement.of_pixels(images, torch.zeros(SHAPE))
    with pytest.raises(ValueError, match="noise must be positive"):
        Measurement.of_all(images, 0.0)
    with pytest.raises(TypeError, match="images must be a tensor"):
        Measurement.of_all(images.numpy(), 0.5)
    with pytest.raises(TypeError, match="noise must be a number, got None"):
        Measurement.of_all(images, None)
    with pytest.raises(ValueError, match=r"measurement holds values up to 255, and the data reach .*: scale both"):
        normal.measured(Measurement.of_all(images + 255, 0.5))
    with pytest.raises(ValueError, match="factor"):
        Measurement.of_means(images, 1)
    with pytest.raises(ValueError, match="not of images of shape"):
        normal.measured(Measurement.of_means(torch.zeros(3, 1, 3, 3), 2))
    with pytest.raises(TypeError, match="must be a Measurement"):
        normal.measured(images)
    with pytest.raises(ValueError, match="NaN"):
        Measurement.of_pixels(images * float("nan"), torch.ones(SHAPE, dtype=torch.bool))
    given = normal.measured(Measurement.of_all(images, 0.5))
    with pytest.raises(ValueError, match="a measurement is not saved"):
        DiscoPipeline(given, diffusers.DDIMScheduler(clip_sample=False)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is of 3 images"):
        given.denoise(images[:2], 0.5)
    for shape in ((1, 4, 3), (4, *SHAPE)):
        with pytest.raises(ValueError, match="known must broadcast to images"):
            Measurement.of_pixels(images, torch.ones(shape, dtype=torch.bool))
    with pytest.raises(ValueError, match="means must have shape"):
        Measurement.of_means(images[0], 2)
    with pytest.raises(ValueError, match="not of images of shape"):  # blocks of 3 do not cover 4 pixels
        normal.measured(Measurement.of_means(torch.zeros(3, 1, 1, 1), 3))


def test_what_knows_nothing_of_a_measurement_says_so(normal):
    images = torch.zeros(3, *SHAPE)
    given = normal.measured(Measurement.of_all(images, 0.5))
    assert given.is_measured
    assert not normal.is_measured
    with pytest.raises(ValueError, match="as it was before measured"):
        given.log_prob(images, 0.5)
    with pytest.raises(ValueError, match="as it was before measured"):
        probability_flow_log_prob(given, images)
    network = diffusers.UNet2DModel(
        sample_size=4,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        block_out_channels=(32,),
    )
    with pytest.raises(ValueError, match="as it was before measured"):
        DiscoHandover(given, network, diffusers.DDIMScheduler(), 1.0)


def test_it_is_the_same_in_inference_mode(normal):
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2))
    given = normal.measured(Measurement.of_all(images, 0.5))
    expected = given.denoise(images, 0.5)
    with torch.inference_mode():
        got = given.denoise(images + 0.0, 0.5)
    torch.testing.assert_close(got.clone(), expected)
