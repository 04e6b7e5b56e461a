"""What benchmarks of images judge by, and how they hold peers to one convention."""

import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")
sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from image_judge import Classifier, agreement, frechet, judge
from image_peers import denoised, draw, of_denoiser, train, unet

from disco_samplers.reference import OptimalDenoiser

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_frechet_distance_of_gaussians_is_the_closed_form():
    """Of independent columns: squared differences of means and of standard deviations."""
    white = torch.randn(400, 3, generator=rng()).double()
    white = (white - white.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(white.T.cov())).T
    x, y = white * torch.tensor([1.0, 2.0, 0.5]), white.flip(0) * torch.tensor([2.0, 2.0, 1.0]) + torch.tensor([0.0, 3.0, 0.0])
    assert frechet(x, y) == pytest.approx(1 + 0.25 + 9)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)


def test_agreement_is_one_of_the_same_and_zero_of_the_mean():
    x = torch.randn(20, 1, 4, 4, generator=rng())
    assert agreement(x, x) == 1
    assert agreement(x, x.mean(0).expand_as(x)) == pytest.approx(0, abs=1e-6)


def test_peers_draw_and_denoise_by_the_convention_of_ddpm():
    """The exact denoiser of two images gives them back, whatever noise it starts from."""
    images = torch.stack([torch.full((1, 4, 4), -0.5), torch.full((1, 4, 4), 0.8)])
    predict = of_denoiser(OptimalDenoiser(images.flatten(1)))
    drawn = draw(predict, torch.randn(6, 1, 4, 4, generator=rng()))
    nearest = torch.cdist(drawn.flatten(1), images.flatten(1)).amin(1)
    assert float(nearest.max()) < 0.05
    noise = torch.randn(2, 1, 4, 4, generator=rng(1))
    torch.testing.assert_close(denoised(predict, images, 0.1, noise), images, atol=1e-3, rtol=0)


def test_a_classifier_tells_what_it_has_learnt_and_the_judge_tells_copies():
    generator = rng()
    labels = torch.arange(200) % 2
    images = -torch.ones(200, 1, 8, 8)
    images[labels == 0, :, 2:4] = 1.0
    images[labels == 1, :, :, 2:4] = 1.0
    images += 0.2 * torch.randn(images.shape, generator=generator)
    classifier = Classifier.trained(images[:100], labels[:100])
    assert classifier.accuracy(images[100:], labels[100:]) == 1
    found = judge(images[:50], images[:100], images[100:], classifier)
    assert found.copied == 1
    assert found.entropy == pytest.approx(0.693, abs=0.02)
    assert found.mean_entropy < 0.2


def test_a_u_net_trains_for_the_time_given():
    images = torch.randn(64, 1, 8, 8, generator=rng())
    network = unet(8)
    assert train(network, images, 0.01) >= 1
    assert not network.training
