"""Two models one after the other: ours while there is much noise, a trained one for the rest."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor

from disco_samplers.arrays import check_positive

from .parameterization import parameterization
from .score_model import DiscoScoreModel


class DiscoHandover(ModelMixin, ConfigMixin):
    r"""A score model above a noise level, and somebody's trained network below it: evaluations of the network are saved.

    .. math:: \hat\epsilon(y, \sigma) = \begin{cases} \hat\epsilon_{\rm ours}(y, \sigma) & \sigma > \sigma_h \\
        \hat\epsilon_{\rm network}(y, \sigma) & \text{otherwise} \end{cases}

    At much noise the denoised mean is a blur that few data tell as well as a network; what a network is trained for is the
    rest. It stands in a pipeline where the network stood, and :attr:`evaluations` counts what the network was still asked.

    Arguments:
        ours: score model of data like the network's.
        network: called as a ``UNet2DModel`` is, trained for the scheduler's conventions.
        scheduler: whose conventions these are.
        noise: :math:`\sigma_h`, in units where the clean data are as they are: 1 to 2 for images in [-1, 1].

    Raises:
        TypeError: if ``ours`` is no :class:`DiscoScoreModel`, ``network`` no model of images, or ``scheduler`` none.
        ValueError: if ``noise`` is not positive, the two are of other shapes, or ``ours`` has a measurement.

    Example:
        >>> from diffusers import DDIMScheduler, UNet2DModel
        >>> x = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> ours = DiscoScoreModel.from_data(x, locality="auto", calibrate=False)
        >>> blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (32,)}
        >>> network = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, **blocks)
        >>> both = DiscoHandover(ours, network, DDIMScheduler(), noise=1.5)
        >>> _ = both(x[:2], 900), both(x[:2], 100)
        >>> both.evaluations
        2
    """

    config: Any
    config_name = "config.json"

    def __init__(self, ours: DiscoScoreModel, network: Any, scheduler: Any, noise: float) -> None:
        super().__init__()
        if not isinstance(ours, DiscoScoreModel):
            raise TypeError(f"ours must be a DiscoScoreModel, got {type(ours).__name__}")
        if ours.is_measured:
            raise ValueError("ours has a measurement, which network would not follow: give the model as it was before measured")
        check_positive("noise", noise)
        known = getattr(network, "config", None)
        if not (hasattr(known, "sample_size") and hasattr(known, "in_channels")):
            raise TypeError("network must have config.sample_size and config.in_channels, as a UNet2DModel has")
        size = network.config.sample_size
        shape = (network.config.in_channels, *((size, size) if isinstance(size, int) else size))
        if tuple(shape) != ours.sample_shape:
            raise ValueError(f"network takes samples of shape {tuple(shape)}, ours of {ours.sample_shape}")
        if (channels := getattr(known, "out_channels", shape[0])) != shape[0]:
            raise ValueError(f"network answers with {channels} channels for {shape[0]}, as one that predicts a variance too")
        self.ours, self.network, self.noise = ours.matching(scheduler), network, float(noise)
        self.evaluations = 0
        self.register_to_config(
            sample_size=size, in_channels=network.config.in_channels, out_channels=network.config.in_channels
        )

    @property
    def dtype(self) -> torch.dtype:
        """The precision of samples: the network's."""
        dtype: torch.dtype = self.network.dtype
        return dtype

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """It is not saved: which network it asks cannot be told from a folder.

        Raises:
            ValueError: always, with what to do instead.
        """
        raise ValueError("a DiscoHandover is not saved: save ours and network, and make it anew of what is loaded")

    def forward(self, sample: Tensor, timestep: Tensor | float, return_dict: bool = True, **options: Any) -> Any:
        """What the scheduler expects, of whichever model is in charge of the timestep.

        Arguments:
            sample: (B, C, H, W), as the scheduler scales it.
            timestep: one for all samples.
            return_dict: whether to return an output with ``sample``, or a tuple of it.
            options: class labels, say, handed on.

        Raises:
            ValueError: if there are several timesteps.
        """
        t = torch.as_tensor(timestep).detach().double().unique()
        if len(t) != 1:
            raise ValueError(f"timestep must be one for all samples, got {len(t)} different ones")
        if float(parameterization(self.ours.config).sigma(t)) > self.noise:
            output = self.ours(sample, timestep, return_dict=False, **options)[0].to(sample.dtype)
        else:
            self.evaluations += len(sample)
            output = self.network(sample, timestep, return_dict=False, **options)[0]
        return UNet2DOutput(sample=output) if return_dict else (output,)
