"""A score model above a noise level and a trained network below it."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers")
import diffusers
from disco_samplers.integrations.diffusers import DiscoHandover, DiscoPipeline, DiscoScoreModel

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def ours():
    images = torch.randn(60, *SHAPE, generator=torch.Generator().manual_seed(0))
    return DiscoScoreModel.from_data(images, locality="auto", calibrate=False)


class Network(torch.nn.Module):
    """Predicts no noise at all, and says of what size it is."""

    dtype = torch.float32

    def __init__(self, size: int = 8, **others: int) -> None:
        super().__init__()
        self.config = diffusers.configuration_utils.FrozenDict({"sample_size": size, "in_channels": 1} | others)

    def forward(self, sample, timestep, return_dict=True):
        return (torch.zeros_like(sample),)


@pytest.mark.parametrize("kind", ["DDIMScheduler", "EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_each_is_asked_on_its_side_of_the_level(kind, ours):
    scheduler = getattr(diffusers, kind)()
    both = DiscoHandover(ours, Network(), scheduler, noise=1.0)
    scheduler.set_timesteps(30)
    y, matched, network = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)), ours.matching(scheduler), 0
    for t in scheduler.timesteps:
        sigma = float(parameterized(matched, t))
        if abs(sigma - 1.0) < 1e-6:
            continue
        got, expected = both(y, t).sample, matched(y, t).sample if sigma > 1 else torch.zeros_like(y)
        torch.testing.assert_close(got, expected)
        network += 2 * (sigma <= 1)
    assert both.evaluations == network > 0


def parameterized(model, t):
    from disco_samplers.integrations.diffusers.parameterization import parameterization

    return parameterization(model.config).sigma(torch.as_tensor(t).double().reshape(1))


def test_pipelines_take_it_for_a_network(ours):
    pipe = DiscoPipeline(
        DiscoHandover(ours, Network(), diffusers.DDIMScheduler(clip_sample=False), 1.0),
        diffusers.DDIMScheduler(clip_sample=False),
    )
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe(num_samples=3, num_inference_steps=10, generator=torch.Generator().manual_seed(0)).samples
    assert drawn.shape == (3, *SHAPE)
    assert 0 < pipe.unet.evaluations < 30


def test_what_does_not_fit_is_named(ours, tmp_path):
    scheduler = diffusers.DDIMScheduler()
    with pytest.raises(TypeError, match="must be a DiscoScoreModel"):
        DiscoHandover(Network(), Network(), scheduler, 1.0)
    with pytest.raises(TypeError, match=r"network must have config\.sample_size"):
        DiscoHandover(ours, torch.nn.Identity(), scheduler, 1.0)
    with pytest.raises(ValueError, match="noise"):
        DiscoHandover(ours, Network(), scheduler, 0.0)
    with pytest.raises(ValueError, match="network takes samples of shape"):
        DiscoHandover(ours, Network(16), scheduler, 1.0)
    with pytest.raises(ValueError, match="network answers with 2 channels for 1"):
        DiscoHandover(ours, Network(out_channels=2), scheduler, 1.0)
    with pytest.raises(ValueError, match=r"has parameterization 'flow', and the DiscoHandover was made for .* 'epsilon'"):
        DiscoPipeline(DiscoHandover(ours, Network(), scheduler, 1.0), diffusers.FlowMatchEulerDiscreteScheduler())
    both, y = DiscoHandover(ours, Network(), scheduler, 1.0), torch.zeros(2, *SHAPE)
    with pytest.raises(ValueError, match="is not saved: save ours and network"):
        DiscoPipeline(both, scheduler).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="one for all samples, got 2 different"):
        both(y, torch.tensor([900, 5]))
    torch.testing.assert_close(both(y, torch.tensor([900, 900])).sample, both(y, 900).sample)
