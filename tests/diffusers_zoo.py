"""What the tests of the diffusers integration share: every scheduler, a small U-Net, and a model whose answers are known."""

import diffusers
import torch
from conftest import perturbed
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler
from disco_samplers.integrations.diffusers import DiscoLangevinScheduler, DiscoScoreModel

_OFF = {"clip_sample": False}
SCHEDULERS = {
    "ddpm": lambda: diffusers.DDPMScheduler(**_OFF),
    "ddim": lambda: diffusers.DDIMScheduler(**_OFF),
    "ddim v": lambda: diffusers.DDIMScheduler(prediction_type="v_prediction", **_OFF),
    "ddim sample": lambda: diffusers.DDIMScheduler(prediction_type="sample", **_OFF),
    "ddim zero snr": lambda: diffusers.DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", **_OFF
    ),
    "ddpm parallel": lambda: diffusers.DDPMParallelScheduler(**_OFF),
    "ddim parallel": lambda: diffusers.DDIMParallelScheduler(**_OFF),
    "pndm": diffusers.PNDMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler karras": lambda: diffusers.EulerDiscreteScheduler(use_karras_sigmas=True),
    "euler ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "kdpm2": diffusers.KDPM2DiscreteScheduler,
    "kdpm2 ancestral": diffusers.KDPM2AncestralDiscreteScheduler,
    "dpm++ 2m": diffusers.DPMSolverMultistepScheduler,
    "dpm++ 2m karras": lambda: diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True),
    "dpm++ 2m sde": lambda: diffusers.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"),
    "dpm++ flow": lambda: diffusers.DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
    "dpm sde": diffusers.DPMSolverSDEScheduler,
    "cosine": diffusers.CosineDPMSolverMultistepScheduler,
    "dpm++ 2s": lambda: diffusers.DPMSolverSinglestepScheduler(lower_order_final=True),
    "unipc": diffusers.UniPCMultistepScheduler,
    "deis": diffusers.DEISMultistepScheduler,
    "lms": diffusers.LMSDiscreteScheduler,
    "sa": diffusers.SASolverScheduler,
    "lcm": lambda: diffusers.LCMScheduler(**_OFF),
    "tcd": lambda: diffusers.TCDScheduler(**_OFF),
    "edm": diffusers.EDMEulerScheduler,
    "edm v": lambda: diffusers.EDMEulerScheduler(prediction_type="v_prediction"),
    "edm dpm++": diffusers.EDMDPMSolverMultistepScheduler,
    "flow": diffusers.FlowMatchEulerDiscreteScheduler,
    "flow shifted": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "flow heun": diffusers.FlowMatchHeunDiscreteScheduler,
    "flow lcm": diffusers.FlowMatchLCMScheduler,
    "score sde": lambda: diffusers.ScoreSdeVeScheduler(sigma_max=50.0),
    "karras ve": lambda: KarrasVeScheduler(sigma_max=7.0, s_min=0.1),
    "consistency": lambda: diffusers.CMStochasticIterativeScheduler(clip_denoised=False),
    "langevin": lambda: DiscoLangevinScheduler(corrector_steps=2),
}


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
