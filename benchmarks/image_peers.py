"""Models of images that are compared: each predicts the noise of DDPM's samples at a timestep, as U-Nets do."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from torch import Tensor

Predict = Callable[[Tensor, Tensor], Tensor]
"""The noise in samples (m, C, H, W) at a timestep."""

Denoise = Callable[[Tensor, float], Tensor]
"""Denoised rows (m, D) of data plus noise at a level."""

STEPS = 30
_BATCH, _RATE = 64, 1e-3


def draw(predict: Predict, start: Tensor, steps: int = STEPS) -> Tensor:
    """Images from noise (m, C, H, W) of standard deviation one."""
    scheduler = DPMSolverMultistepScheduler(use_karras_sigmas=True)
    scheduler.set_timesteps(steps)
    sample = start
    for t in scheduler.timesteps:
        sample = scheduler.step(predict(sample, t), t, sample).prev_sample
    return sample


def of_denoiser(denoise: Denoise) -> Predict:
    """The model that a denoiser is."""
    shares = DDPMScheduler().alphas_cumprod

    def predict(sample: Tensor, t: Tensor) -> Tensor:
        share = shares[int(t)]
        sigma = float(((1 - share) / share).sqrt())
        y = (sample / share.sqrt()).flatten(1)
        return ((y - denoise(y, sigma)) / sigma).view_as(sample)

    return predict


def nearest_level(sigma: float) -> tuple[int, float]:
    """The timestep nearest to a noise level, and its own level."""
    shares = DDPMScheduler().alphas_cumprod
    levels = ((1 - shares) / shares).sqrt()
    t = int(levels.sub(sigma).abs().argmin())
    return t, float(levels[t])


def denoised(predict: Predict, images: Tensor, sigma: float, noise: Tensor) -> Tensor:
    """What a model makes of images (m, C, H, W) with noise (of standard deviation one), at the timestep nearest to a level."""
    shares, t = DDPMScheduler().alphas_cumprod, torch.tensor(nearest_level(sigma)[0])
    sample = shares[t].sqrt() * images + (1 - shares[t]).sqrt() * noise
    return (sample - (1 - shares[t]).sqrt() * predict(sample, t)) / shares[t].sqrt()


def unet(size: int, seed: int = 0) -> UNet2DModel:
    """A small one: three levels of 32, 64 and 64 channels, attention at the last; of images of 8 x 8, the first two."""
    levels = 3 if size >= 16 else 2
    downs = ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D")[-levels:]
    ups = ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")[:levels]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet2DModel(
            sample_size=size,
            in_channels=1,
            out_channels=1,
            block_out_channels=(32, 64, 64)[:levels],
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=downs,
            up_block_types=ups,
        )


def train(model: UNet2DModel, images: Tensor, minutes: float, seed: int = 0) -> int:
    """Trains a U-Net by the denoising loss for some minutes of processor time; the number of its steps.

    AdamW in batches of 64, its rate of 0.001 falling to zero by a cosine over the time, after a rise over its first twentieth.
    """
    scheduler, generator = DDPMScheduler(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), _RATE)
    started, steps = time.process_time(), 0
    while (part := (time.process_time() - started) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(part / 0.05, 0.5 + 0.5 * float(torch.tensor(torch.pi * part).cos()))
        x = images[torch.randint(len(images), (_BATCH,), generator=generator)]
        noise, t = torch.randn(x.shape, generator=generator), torch.randint(1000, (_BATCH,), generator=generator)
        loss = (model(scheduler.add_noise(x, noise, t), t).sample - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
    model.eval().requires_grad_(False)
    return steps
