"""What the tests of the diffusers integration share: every scheduler, a small U-Net, and a model whose answers are known."""

import sys
from pathlib import Path

import diffusers
import torch
from conftest import perturbed
from disco_samplers.integrations.diffusers import DiscoScoreModel

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from diffusers_exported import schedulers

SCHEDULERS = schedulers()


def unet(sample_size=8, channels=1):
    """An untrained U-Net of a few thousand weights."""
    return diffusers.UNet2DModel(
        sample_size=sample_size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8,),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
    ).eval()


def memoriser(data):
    """The exact denoiser of the data at every level: what a scheduler does with it is known, whatever the weights."""
    model = DiscoScoreModel.from_data(data, model=perturbed(), replicas=1, calibrate=False)
    model.weight.fill_(1.0)
    return model


def rng(seed=0):
    return torch.Generator().manual_seed(seed)
