"""A pipeline for anything a score model can be made of: vectors, series, images or latents."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from disco_samplers.arrays import check_count, check_number

from .conventions import check_scheduler_type, conventions_of, is_inverse
from .data_score import classes_of
from .handover import DiscoHandover
from .pictures import plot_samples
from .scheduler_steps import accepted, start_size, step_of
from .score_model import DiscoScoreModel

OUTPUT_TYPES = ("pt", "np", "pil", "latent")


@dataclasses.dataclass
class DiscoPipelineOutput(BaseOutput):
    """What the pipeline returns: ``samples`` (num_samples, *shape) as a tensor or array, or a list of PIL images."""

    samples: Any

    def plot(self, path: str | None = None, *, reference: Any = None, names: Sequence[str] | None = None) -> Any:
        """Draws the samples, with ``reference`` data beside; see :func:`~.pictures.plot_samples`. Needs matplotlib.

        Raises:
            ValueError: if the samples are PIL images, which are pictures already.
        """
        if isinstance(self.samples, list):
            raise ValueError('samples are PIL images already; plot works on those of output_type "pt" or "np"')
        old = None if reference is None else torch.as_tensor(reference, device="cpu").numpy()
        return plot_samples(torch.as_tensor(self.samples, device="cpu").float().numpy(), old, names, path)


class DiscoPipeline(DiffusionPipeline):
    r"""Draws samples with a model and any scheduler of the VP, EDM, flow, VE or consistency family.

    A :class:`DiscoScoreModel` is brought into the scheduler's conventions; any other model (a trained U-Net, say) must
    have been trained for them. Samples come unclamped and in the shape of the data. An inverse scheduler leads from data,
    given as ``latents``, to their noise.

    A saved pipeline is loaded by ``DiscoPipeline.from_pretrained``; ``DiffusionPipeline`` does not know this class. One of
    diffusers' own pipelines that holds a :class:`DiscoScoreModel` is loaded by its own class, after this package has been
    imported.

    Arguments:
        unet: a :class:`DiscoScoreModel`, or any model called as a ``UNet2DModel`` is.
        scheduler: of any of the families.
        vae: decoder of latents, if the model's data are latents.

    Raises:
        ValueError: if the scheduler belongs to none of the families, clips samples to less than the data's range, or is not
            the kind that a :class:`DiscoHandover` was made for.

    Example:
        >>> from diffusers import FlowMatchEulerDiscreteScheduler
        >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> pipe = DiscoPipeline(DiscoScoreModel.from_data(x, replicas=1, calibrate=False), FlowMatchEulerDiscreteScheduler())
        >>> pipe.set_progress_bar_config(disable=True)
        >>> pipe(num_samples=5, num_inference_steps=4, generator=torch.Generator().manual_seed(0)).samples.shape
        torch.Size([5, 2])
    """

    model_cpu_offload_seq = "unet->vae"
    _optional_components = ["vae"]  # noqa: RUF012  # as diffusers has it
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012

    def __init__(self, unet: ModelMixin, scheduler: SchedulerMixin, vae: ModelMixin | None = None) -> None:
        super().__init__()
        self.register_modules(unet=_matched(unet, scheduler), scheduler=scheduler, vae=vae)

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, **kwargs: Any) -> DiscoPipeline:
        """The pipeline made of another's components, whatever the classes of its models; ``kwargs`` take their place."""
        models = {name: model for name in ("unet", "vae") if (model := getattr(pipeline, name, None)) is not None}
        made: DiscoPipeline = super().from_pipe(pipeline, **models | kwargs)
        return made

    @torch.no_grad()
    def __call__(
        self,
        num_samples: int = 1,
        num_inference_steps: int = 50,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        class_labels: Any = None,
        guidance_scale: float = 1.0,
        output_type: str = "pt",
        return_dict: bool = True,
        mu: float | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: tuple[str, ...] | list[str] = ("latents",),
    ) -> Any:
        """Draws samples.

        Arguments:
            num_samples: how many.
            num_inference_steps: of the scheduler.
            generator: source of randomness, or one a sample.
            latents: the noise to start from, (num_samples, *shape), of standard deviation one; for an inverse scheduler
                the data.
            class_labels: class of each sample, or one for all.
            guidance_scale: of classifier-free guidance towards the class; 1 for none.
            output_type: "pt", "np", "pil" for images in [-1, 1], or "latent" for a tensor that is not decoded.
            return_dict: whether to return a :class:`DiscoPipelineOutput`, or a tuple of its samples.
            mu: shift of a scheduler with dynamic shifting, which pipelines of large images choose by the images' size.
            callback_on_step_end: called as ``callback(pipe, step, timestep, {"latents": ...})`` after each step; the latents in
                the dictionary that it returns take the place of the old.
            callback_on_step_end_tensor_inputs: what the dictionary holds; "latents" is all there is.

        Raises:
            TypeError: if a count is not an integer, a class or the guidance's scale no number, or ``generator`` is none.
            ValueError: if a count, shape, class, scale, shift or output type is wrong, or an inverse scheduler has no data.
        """
        check_count("num_samples", num_samples, 1)
        check_count("num_inference_steps", num_inference_steps, 1)
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}")
        inputs = getattr(callback_on_step_end, "tensor_inputs", callback_on_step_end_tensor_inputs)
        if unknown := sorted(set(inputs) - set(self._callback_tensor_inputs)):
            raise ValueError(f"callback_on_step_end_tensor_inputs can hold {self._callback_tensor_inputs}, got {unknown}")
        _check_generator(generator, num_samples)
        _check_guidance(class_labels, guidance_scale)
        self._model = _matched(self.unet, self.scheduler)  # either may have been exchanged since
        self._conditions = {} if class_labels is None else self._condition(class_labels, guidance_scale)
        self._generator = generator
        self._set_timesteps(num_inference_steps, mu)
        sample = self._start(num_samples, latents)
        step = step_of(self.scheduler)
        timesteps = self.scheduler.timesteps
        for i, t in enumerate(self.progress_bar(timesteps)):
            sample = step(self.scheduler, self._predict, sample, t, i, generator)
            if callback_on_step_end is not None:
                changed = callback_on_step_end(self, i, t, {"latents": sample} if "latents" in inputs else {})
                sample = (changed or {}).get("latents", sample)
        if not bool(torch.isfinite(sample).all()):
            raise ValueError(
                f"samples hold NaN or infinite values: {type(self.scheduler).__name__} cannot be run as it is configured"
            )
        samples = self._finished(sample, output_type)
        self.maybe_free_model_hooks()
        return DiscoPipelineOutput(samples=samples) if return_dict else (samples,)

    def _condition(self, class_labels: Any, guidance_scale: float) -> dict[str, Any]:
        labels = classes_of(class_labels, self._execution_device)
        ours = isinstance(self._model, DiscoScoreModel)
        return {"class_labels": labels} | ({"guidance_scale": guidance_scale} if ours else {})

    def _set_timesteps(self, num_inference_steps: int, mu: float | None) -> None:
        scheduler = self.scheduler
        if bool(scheduler.config.get("use_dynamic_shifting")) != (mu is not None):
            wrong = (
                "needed by it: give it, or turn that off"
                if mu is None
                else "for schedulers with use_dynamic_shifting=True only"
            )
            raise ValueError(f"mu is the shift that use_dynamic_shifting asks for, and {wrong} ({type(scheduler).__name__})")
        options = {"device": self._execution_device} | ({} if mu is None else {"mu": mu})
        scheduler.set_timesteps(num_inference_steps, **accepted(scheduler.set_timesteps, **options))
        if hasattr(scheduler, "set_sigmas"):
            scheduler.set_sigmas(num_inference_steps)

    def _start(self, num_samples: int, latents: Tensor | None) -> Tensor:
        shape = (num_samples, *_sample_shape(self._model))
        if latents is None and is_inverse(self.scheduler):
            raise ValueError(f"latents are needed: they are the data that {type(self.scheduler).__name__} leads to noise")
        if latents is None:
            latents = randn_tensor(shape, generator=self._generator, device=self._execution_device, dtype=self._model.dtype)
        elif latents.shape != shape:
            raise ValueError(f"latents must have shape {shape}, got {tuple(latents.shape)}")
        start: Tensor = latents.to(self._execution_device, self._model.dtype) * start_size(self.scheduler)
        return start

    def _predict(self, sample: Tensor, t: Any) -> Tensor:
        return self._model(sample, t, return_dict=False, **self._conditions)[0]  # type: ignore[no-any-return]

    def _finished(self, sample: Tensor, output_type: str) -> Any:
        if self.vae is not None and output_type != "latent" and not is_inverse(self.scheduler):
            shift = self.vae.config.get("shift_factor") or 0.0
            sample = self.vae.decode(sample / self.vae.config.scaling_factor + shift).sample
        if output_type in ("pt", "latent"):
            return sample
        array: np.ndarray = sample.float().cpu().numpy()
        if output_type == "np":
            return array
        if array.ndim != 4 or array.shape[1] not in (1, 3):
            raise ValueError(f'output_type "pil" needs images of 1 or 3 channels, got samples of shape {array.shape[1:]}')
        return self.numpy_to_pil((array / 2 + 0.5).clip(0, 1).transpose(0, 2, 3, 1))


def _matched(model: Any, scheduler: Any) -> Any:
    """The model in the scheduler's conventions, where it is ours."""
    if isinstance(model, DiscoHandover):
        _check_handover(model, scheduler)
    if not isinstance(model, DiscoScoreModel):
        return model
    check_scheduler_type(scheduler)
    limit = _clips(scheduler.config)
    top = float(model.samples.abs().max())
    if top > 1.01 * limit:
        name = type(scheduler).__name__
        raise ValueError(
            f"{name} clips samples to [-{limit:g}, {limit:g}], and the data reach {top:.3g}: scale the data, or turn it off: "
            f"{name}.from_config(scheduler.config, clip_sample=False, thresholding=False, clip_denoised=False)"
        )
    return model.matching(scheduler)


def _check_handover(model: DiscoHandover, scheduler: Any) -> None:
    conventions = conventions_of(scheduler)
    for name in ("parameterization", *conventions):  # what says most first
        if (made := model.ours.config[name]) != (value := conventions[name]):
            raise ValueError(
                f"{type(scheduler).__name__} has {name} {value!r}, and the DiscoHandover was made for a scheduler with {made!r}"
                ": make it anew for this one, with a network that was trained for it"
            )


def _clips(config: Any) -> float:
    """The largest absolute value that a scheduler leaves as it is."""
    if config.get("clip_sample") or config.get("thresholding"):
        return float(config.get("clip_sample_range") or 1.0)
    return 1.0 if config.get("clip_denoised") else math.inf


def _sample_shape(model: Any) -> tuple[int, ...]:
    if isinstance(model, DiscoScoreModel):
        return tuple(model.sample_shape)
    size = model.config.sample_size
    return (int(model.config.in_channels), *((size, size) if isinstance(size, int) else size))


def _check_generator(generator: Any, num_samples: int) -> None:
    given = generator if isinstance(generator, list) else [generator]
    if not all(isinstance(one, torch.Generator | None) for one in given):
        raise TypeError(f"generator must be a torch.Generator or a list of one a sample, got {generator!r}")
    if isinstance(generator, list) and len(generator) != num_samples:
        raise ValueError(f"generator must be one, or one a sample: got {len(generator)} for {num_samples} samples")


def _check_guidance(class_labels: Any, guidance_scale: Any) -> None:
    check_number("guidance_scale", guidance_scale)
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale must be finite, got {guidance_scale}")
    if class_labels is None and guidance_scale != 1.0:
        raise ValueError("guidance_scale needs class_labels: guidance is towards a class")
