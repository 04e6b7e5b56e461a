"""A data set as a diffusion model: DiScoFormer's score in place of a trained network."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor
from tqdm import tqdm

from disco_samplers.arrays import check_count, check_flag, check_positive, device_of, placed
from disco_samplers.draws import Draws, distinct_rows
from disco_samplers.estimate import DiScoFormer
from disco_samplers.estimators import DEFAULTS
from disco_samplers.types import ArrayLike

from .basis import Coordinates, LinearBasis
from .calibration import nearest
from .conventions import conventions_of
from .data_checks import FEW, checked_data, checked_images, checked_judges, checked_labels
from .data_score import DataScore, classes_of
from .local_data import Near
from .measurement import Measurement
from .memory import check_memory
from .parameterization import VARIANCE_PRESERVING, parameterization

_SMALL = 16
"""Largest dimension that is carried whole unless a share is asked for."""

_FAR = 10.0
"""How far beyond the data and its noise a measurement may reach."""

_SHARE = 0.99
_ROWS_A_DIRECTION = 4

_PATCHES = 8192
"""Patches that one is compared with. For 5,000 digits of 28 x 28, four times as many lower the denoising loss by 1 to 5 %."""


class DiscoScoreModel(DataScore, ModelMixin, ConfigMixin):
    r"""A training-free diffusion model: at noise level sigma, DiScoFormer reads the data noised to sigma.

    .. math:: D(y, \sigma) = y + \sigma^2\, \hat s(y, \sigma), \qquad y = x_0 + \sigma \epsilon

    Made by :meth:`from_data`. Called as a scheduler calls its model, it returns what the scheduler expects
    (``parameterization``); :meth:`matching` gives the same model in the conventions of a scheduler. Data are carried in a
    linear basis, the rest as Gaussian noise of known variance (:class:`LinearBasis`); at large noise the exact denoiser of the
    training set takes over, where held-out rows say so (:class:`NoisedData`). The first use of a noise level encodes its
    contexts; they are cached. Images can be read patch by patch instead (:class:`LocalData`): what is met again in a new image
    is a stroke or an edge, not the image.

    Arguments:
        shape: of one sample: (d,), (C, L), (C, H, W), ...
        num_samples: rows of the data N.
        rank: dimensions of the basis k.
        rest_rank: directions outside the basis whose variance is known (:class:`LinearBasis`).
        model: configuration of the DiScoFormer.
        context_size: most rows of a context; of images that are read patch by patch, patches that one is compared with.
        replicas: independently noised contexts at each level, whose scores are averaged.
        seed: of noise, subsets and the calibration's split.
        adapt: whether the estimate is adapted at each noise level.
        cache_size: most noise levels (of each class) whose contexts are kept.
        num_class_embeds: number of classes; None where the data have no labels.
        weighted: whether rows are worth unlike, as weighted draws and those of chains are.
        near: of images that are read patch by patch, :class:`Near` as plain values; None of data that are not.
        parameterization: "epsilon", "v_prediction", "sample" (VP), "edm", "edm_cosine", "flow", "flow_epsilon",
            "flow_sample", "score" (VE) or "consistency".
        num_train_timesteps: of the VP or flow schedule.
        beta_start: of the VP schedule, as are beta_end, beta_schedule, trained_betas and rescale_betas_zero_snr.
        timestep_type: of the VP schedule, "discrete" or "continuous": a quarter of log(sigma).
        float_timesteps: whether the scheduler's timesteps are fractions; whole ones, of another scheduler, are refused then.
        sigma_data: of the EDM and consistency schedulers.
        sigma_min: of the consistency scheduler.
        edm_prediction_type: "epsilon" or "v_prediction", as the EDM scheduler has it.
        consistency_steps: where positive, the denoised mean is replaced by the end of the probability-flow trajectory, in
            so many steps per 100-fold of sigma: what distilled models learn.
        sample_size: what pipelines read as the image size, as in_channels, out_channels and sample_rate.

    References:
        Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, *Score-based generative modeling through stochastic differential
        equations*, ICLR 2021; Efron, *Tweedie's formula and selection bias*, JASA 2011, eq. 1.3, for D.

    Example:
        >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> model = DiscoScoreModel.from_data(x, replicas=1)
        >>> model(torch.zeros(3, 2), 500).sample.shape
        torch.Size([3, 2])
    """

    config: Any
    register_to_config: Any
    config_name = "config.json"
    up_blocks = ()  # DanceDiffusionPipeline asks how often its model halves the length

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        shape: tuple[int, ...] = (2,),
        num_samples: int = 0,
        rank: int = 2,
        rest_rank: int = 0,
        model: dict[str, Any] | None = None,
        context_size: int = 1024,
        replicas: int = 4,
        seed: int = 0,
        adapt: bool = False,
        cache_size: int = 64,
        num_class_embeds: int | None = None,
        weighted: bool = False,
        near: dict[str, Any] | None = None,
        parameterization: str = "epsilon",
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        rescale_betas_zero_snr: bool = False,
        timestep_type: str = "discrete",
        float_timesteps: bool = False,
        sigma_data: float = 0.5,
        sigma_min: float = 0.002,
        edm_prediction_type: str = "epsilon",
        consistency_steps: int = 0,
        sample_size: int | tuple[int, ...] = (1, 1),
        in_channels: int = 2,
        out_channels: int = 2,
        sample_rate: int = 1,
    ) -> None:
        self._measurement: Measurement | None = None
        context = {
            "context_size": context_size,
            "replicas": replicas,
            "seed": seed,
            "adapt": adapt,
            "cache_size": cache_size,
        }
        for name, least in (("context_size", FEW), ("replicas", 1), ("cache_size", 1), ("seed", 0)):
            check_count(name, context[name], least)
        check_flag("adapt", adapt)
        check_count("consistency_steps", consistency_steps, 0)
        images, known = (None, None) if near is None else (_image_shape(shape), Near.from_dict(near))
        size, ranks = math.prod(shape), (rank, rest_rank)
        super().__init__(size, num_samples, ranks, model or {}, num_class_embeds, weighted, context, images, known)

    @classmethod
    @torch.inference_mode(False)
    def from_data(
        cls,
        data: ArrayLike | Draws,
        *,
        labels: ArrayLike | None = None,
        share: float | None = None,
        locality: Literal["auto"] | None = None,
        held_out: ArrayLike | None = None,
        model: DiScoFormer | None = None,
        scheduler: Any | None = None,
        calibrate: bool = True,
        progress: bool = False,
        **config: Any,
    ) -> DiscoScoreModel:
        """The model of a data set.

        Arguments:
            data: (N, d) vectors, (N, C, L) series, (N, C, H, W) images or latents, scaled to a standard deviation of about one
                (images to [-1, 1]). A numpy array goes to the device of ``model``, a tensor must be there already. Of
                :class:`~disco_samplers.Draws` the distinct rows are taken, each for what it is worth.
            labels: (N,) classes, whole numbers from zero on.
            share: of the variance that the basis keeps. By default everything up to 16 dimensions; above, 0.99 of it, or what
                one direction for every four samples keeps, where that is less.
            locality: "auto" for images or series that are read patch by patch, with patches from nearby or from anywhere,
                whichever leaves the lower denoising loss on images held out. Of patches from nearby, windows are then as wide
                as they can be without copies (:func:`~.widening.widest`). The network serves :class:`DiscoGuidance` alone.
                Not of draws, whose rows are vectors.
            held_out: (M, C, H, W) or (M, C, L), with locality: those that judge how much each answer counts and how near new
                images come to those that are read, and are not read. Without, some of the data are left out for that. Give
                images from elsewhere where the data overlap or nearly repeat, as crops of one picture do: what is left out of
                them says too little against copies.
            model: the pretrained network; by default the shipped "axes" where the columns are carried as they are, and
                "rotations" in a basis, whose directions are no columns of the data.
            scheduler: whose conventions to take; those of DDPM otherwise.
            calibrate: whether to measure on held-out rows from which noise level on the exact denoiser of the training set is
                the better one. Without, DiScoFormer is used alone up to four times the data's scale, and of images that are
                read patch by patch the answer for whole images, which copies them. Rows that are the same are held out
                together.
            progress: whether to show a progress bar.
            config: the other arguments of the class.

        Raises:
            TypeError: if data or labels are not numbers, or an argument is unknown.
            ValueError: if data hold NaN, are not scaled, are too few for their dimension or on another device than ``model``,
                or a class has too few; if there are labels and draws that repeat or weigh nothing; or if ``held_out`` are of
                another shape than the data, or are given where nothing is judged by them.

        Warns:
            UserWarning: if images that judge hold the same pixels as some that are read, or nearly.
        """
        if unknown := sorted(set(config) - set(inspect.signature(cls.__init__).parameters)):
            raise TypeError(f"{', '.join(unknown)}: no argument of from_data or of {cls.__name__}")
        given, counts, blocks = _known(data) if isinstance(data, Draws) else (data, None, None)
        if labels is not None and isinstance(data, Draws) and len(given) < len(data):
            raise ValueError("labels cannot be given with draws that repeat or weigh nothing: leave these out")
        x = checked_data(given, counts)
        x = placed(x, "data", device_of(model), free=not isinstance(given, Tensor))
        if locality is not None:
            checked_images(x, locality, share, config)
        judges = None if held_out is None else checked_judges(held_out, x, calibrate and locality is not None)
        flat = x.flatten(1)
        if not isinstance(data, Draws) and len((distinct := distinct_rows(flat))[0]) < len(flat):
            blocks = distinct[1].cpu()  # what is held out must not have been read in a copy
        classes = None if labels is None else checked_labels(labels, len(flat)).to(flat.device)
        if share is None and flat.shape[1] > _SMALL:
            worth = len(flat) if counts is None else round(float(counts.sum()))
            share, most = _SHARE, max(1, worth // _ROWS_A_DIRECTION)
        else:
            share, most = 1.0 if share is None else share, None
        counts = None if counts is None else counts.to(flat.device)
        near: Near | None = None
        with flat.device:
            basis: LinearBasis | Coordinates = Coordinates(flat.shape[1])
        if locality is None:
            basis = LinearBasis.fit(flat, share, most, counts)
        else:
            config = {"context_size": _PATCHES} | config
            options = {name: config.get(name, 0) for name in ("context_size", "seed")}
            images = _image_shape(x.shape[1:])
            check_memory(len(flat), images, config["context_size"], flat.device)
            near = nearest(flat, images, judges, blocks, **options) if calibrate else Near.of(images, len(flat))
        if locality is None and len(flat) < 2 * basis.rank:
            raise ValueError(
                f"data has {len(flat)} samples for the {basis.rank} dimensions that keep {share:g} of its variance; at least "
                f"{2 * basis.rank} are needed: give more samples or a smaller share"
            )
        if model is None:
            model = DiScoFormer.from_pretrained(DEFAULTS["basis" if basis.rest_dim else "table"], map_location=str(flat.device))
        conventions = {} if scheduler is None else conventions_of(scheduler)
        shape = tuple(x.shape[1:])
        with flat.device:
            made: DiscoScoreModel = cls(
                shape=shape,
                num_samples=len(flat),
                rank=basis.rank,
                rest_rank=len(basis.rest_variances),
                model=model.config.to_dict(),
                num_class_embeds=None if classes is None else int(classes.max()) + 1,
                weighted=counts is not None,
                near=None if near is None else dataclasses.asdict(near),
                **_as_pipelines_read_it(shape) | conventions | config,
            )
        made.disco, made.basis = copy.deepcopy(model).float().requires_grad_(False).eval(), basis
        made.data, made.counts = basis.project(flat)[0], counts
        made.labels = torch.zeros(len(flat), dtype=torch.int64, device=flat.device) if classes is None else classes
        made.to(flat.device)
        made.calibrate(calibrate, progress, blocks, judges)
        made.eval()
        return made

    @classmethod
    def from_pretrained(
        cls, *args: Any, dtype: torch.dtype | None = None, torch_dtype: torch.dtype | None = None, **kwargs: Any
    ) -> DiscoScoreModel:
        """Loads a saved model; in half precision, samples are half and the data are not rounded.

        Arguments:
            args: folder or repository, as ``ModelMixin.from_pretrained`` has it.
            dtype: of samples.
            torch_dtype: the same, as diffusers named it before.
            kwargs: as ``ModelMixin.from_pretrained`` has them.

        Raises:
            TypeError: if ``dtype`` is not a ``torch.dtype``.
            ValueError: if data and configuration are not of one model, or of another version.
        """
        wanted = torch_dtype if dtype is None else dtype
        if not isinstance(wanted, torch.dtype | None):
            raise TypeError(f"dtype must be a torch.dtype, got {wanted!r}")
        try:
            told = kwargs.pop("output_loading_info", False)
            loaded = super().from_pretrained(*args, output_loading_info=True, **kwargs)  # which would round the data
        except RuntimeError as error:
            if "size mismatch for" not in str(error):
                raise
            at = str(error).split("size mismatch for", 1)[1].splitlines()[0].strip()
            raise ValueError(
                f"data and {cls.config_name} are not of one model, or of another version ({at}): make and save it anew"
            ) from None
        model: DiscoScoreModel = loaded[0]
        if absent := loaded[1]["missing_keys"]:
            raise ValueError(
                f"data and {cls.config_name} are not of one model ({min(absent)} is missing): make and save it anew"
            )
        model = model if wanted is None else model.to(wanted)
        return (model, loaded[1]) if told else model  # type: ignore[return-value]  # as ModelMixin has it

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.config.shape)

    @property
    def is_measured(self) -> bool:
        """Whether it is of images that agree with a measurement (:meth:`measured`)."""
        return self._measurement is not None

    @functools.wraps(ModelMixin.save_pretrained, ("__name__",), ())  # pipelines ask which arguments it takes
    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """To a folder, as ``ModelMixin.save_pretrained`` has it, with the data.

        Raises:
            ValueError: if the model has a measurement.
        """
        if self.is_measured:
            raise ValueError("a measurement is not saved: save the model as it was before measured")
        super().save_pretrained(*args, **kwargs)

    @property
    def samples(self) -> Tensor:
        """The data (N, *shape), as far as the basis keeps them."""
        samples: Tensor = self.basis.lift(self.data).unflatten(1, self.sample_shape)
        return samples

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
        guidance_scale: float = 1.0,
        **ignored: Any,
    ) -> Any:
        """What a scheduler of the configured family expects of its model.

        Arguments:
            sample: (B, *shape), as the scheduler scales it.
            timestep: of the scheduler, one or (B,), fractional or not.
            class_labels: (B,), or one for all.
            return_dict: whether to return an output with ``sample``, or a tuple of it.
            guidance_scale: g of classifier-free guidance, s + g (s_class - s); needs class_labels.
            ignored: what pipelines hand to models with other conditions.

        Raises:
            ValueError: if a shape does not fit, a timestep is outside the schedule, a class does not exist, or the sample's
                size is not that of the timestep's noise level.

        References:
            Ho, Salimans, *Classifier-free diffusion guidance*, 2022, eq. 6 (their w is g - 1).
        """
        conventions = parameterization(self.config)
        flat = self.flat(sample)
        if self.config.float_timesteps and isinstance(timestep, Tensor) and not timestep.is_floating_point():
            raise ValueError(
                f"timestep is a whole number ({timestep.flatten()[0].item()}), which schedulers of this model's "
                f"parameterization ({self.config.parameterization}) do not have. DDIMPipeline and PNDMPipeline replace the "
                "scheduler that they are given by their own: use DiscoPipeline, or the model as it was before matching"
            )
        t = torch.as_tensor(timestep, device=flat.device).detach().double().reshape(-1)
        if len(t) not in (1, len(flat)):
            raise ValueError(f"timestep must be one number or one a sample, got {len(t)} for {len(flat)} samples")
        sigma = conventions.sigma(t)
        column = sigma[:, None].to(flat.dtype)
        y = flat / conventions.scale(column)
        if self.config.parameterization in VARIANCE_PRESERVING:
            self._check_size(y, column)
        steps = self.config.consistency_steps
        noise = self.noise(y, sigma.expand(len(flat)), class_labels, guidance_scale, steps)
        output = conventions.output(y, noise, column).to(sample.dtype).reshape(sample.shape)
        return UNet2DOutput(sample=output) if return_dict else (output,)

    def noise(
        self, y: Tensor, sigma: Tensor, class_labels: Any = None, guidance_scale: float = 1.0, trajectory_steps: int = 0
    ) -> Tensor:
        """The predicted noise (B, D) in y (B, D) at levels sigma (B,), given the measurement if there is one."""
        measurement = self._measurement
        if measurement is None or not bool((sigma > 0).all()):
            return super().noise(y, sigma, class_labels, guidance_scale, trajectory_steps)
        if len(levels := sigma.unique()) > 1 or trajectory_steps:
            raise ValueError("a model with a measurement takes one noise level at a time, and no consistency steps")
        if len(y) != len(measurement.values):
            raise ValueError(f"the measurement is of {len(measurement.values)} images, and {len(y)} are asked for")
        level, plain = float(levels), super().noise

        def denoise(images: Tensor) -> Tensor:
            flat = images.flatten(1)
            return (flat - level * plain(flat, sigma, class_labels, guidance_scale)).view_as(images)

        clean = measurement.guided(denoise, y.view(-1, *self.sample_shape), level, self.noised().scale)
        return (y - clean.flatten(1)) / level

    def denoise(self, samples: Tensor, sigma: float | Tensor, class_labels: Tensor | None = None) -> Tensor:
        r"""The denoised mean :math:`D(y, \sigma)` of samples y (B, *shape); sigma is one number or one a sample.

        Raises:
            ValueError: if samples are of another shape, or a level is negative or not finite.
        """
        y = self.flat(samples)
        levels = torch.as_tensor(sigma, dtype=torch.float64, device=y.device).reshape(-1)
        if len(levels) not in (1, len(y)):
            raise ValueError(f"sigma must be one number or one a sample, got {len(levels)} for {len(y)} samples")
        levels = levels.expand(len(y))
        if not bool(levels.isfinite().all()):
            raise ValueError(f"sigma must be finite, got {float(levels[~levels.isfinite()][0])}")
        noise = self.noise(y, levels, class_labels)
        return (y - levels[:, None].to(y.dtype) * noise).to(samples.dtype).reshape(samples.shape)

    def score(self, samples: Tensor, sigma: float, class_labels: Tensor | None = None) -> Tensor:
        r"""The score :math:`\nabla \log f_\sigma` at samples y (B, *shape).

        Raises:
            ValueError: if samples are of another shape, or the level is not positive and finite.
        """
        check_positive("sigma", float(sigma))
        y = self.flat(samples)
        levels = torch.full((len(y),), float(sigma), dtype=torch.float64, device=y.device)
        noise = self.noise(y, levels, class_labels)
        return (-noise / sigma).to(samples.dtype).reshape(samples.shape)

    def log_prob(self, samples: Tensor, sigma: float, class_labels: Tensor | None = None) -> Tensor:
        r"""The density head's :math:`\log f_\sigma` at samples y (B, *shape), as (B,).

        :func:`~disco_samplers.integrations.diffusers.probability_flow_log_prob` is normalised, and slower.

        Raises:
            ValueError: if the model has a measurement, or reads images patch by patch.
        """
        if self.is_measured:
            raise ValueError("a model with a measurement has no density head: use the model as it was before measured")
        return self.log_density(self.flat(samples), float(sigma), class_labels)

    def encode(self, timesteps: Tensor, class_labels: Tensor | None = None, progress: bool = False) -> None:
        """Encodes the contexts of a schedule's timesteps ahead of their use."""
        t = torch.as_tensor(timesteps, device=self.data.device).double().reshape(-1)
        sigmas = parameterization(self.config).sigma(t).tolist()
        wanted = None if class_labels is None else classes_of(class_labels, self.data.device)
        labels = [label for label, _ in self.groups(wanted, 1 if wanted is None else len(wanted))]
        for sigma in tqdm(sorted(set(sigmas), reverse=True), disable=not progress, desc="encoding"):
            for label in labels:
                self.noised(label).encode(sigma)

    def matching(self, scheduler: Any, **changes: Any) -> DiscoScoreModel:
        """The same model, data and cache shared, in the conventions of a scheduler.

        Arguments:
            scheduler: of the VP, EDM, flow, VE or consistency family.
            changes: of the configuration, besides.

        Raises:
            ValueError: if the scheduler belongs to none of the families.

        Example:
            >>> from diffusers import EDMEulerScheduler
            >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
            >>> model = DiscoScoreModel.from_data(x, replicas=1, calibrate=False)
            >>> model.matching(EDMEulerScheduler()).config.parameterization
            'edm'
        """
        view = copy.copy(self)
        view._noised = self._noised
        view.register_to_config(**conventions_of(scheduler) | changes)
        return view

    def measured(self, measurement: Measurement) -> DiscoScoreModel:
        """The same model, data and cache shared, of images that agree with what was measured of them.

        Pipelines then draw one image for each that was measured; give the same one several times for several draws. Only
        the model without the measurement can be saved.

        Arguments:
            measurement: of (B, C, H, W) images.

        Raises:
            TypeError: if it is no :class:`Measurement`.
            ValueError: if it is not of images as the data are, or of others' scale.

        Example:
            >>> x = torch.randn(200, 1, 4, 4, generator=torch.Generator().manual_seed(0))
            >>> model = DiscoScoreModel.from_data(x, replicas=1, calibrate=False)
            >>> seen = torch.zeros(1, 4, 4, dtype=torch.bool)
            >>> seen[:, :2] = True
            >>> given = model.measured(Measurement.of_pixels(x[:3], seen))
            >>> bool((given.denoise(x[:3], 0.05) - x[:3])[:, :, :2].abs().mean() < 0.05)
            True
        """
        if not isinstance(measurement, Measurement):
            raise TypeError(f"measurement must be a Measurement, got {type(measurement).__name__}")
        blank = torch.zeros((1, *self.sample_shape), device=self.data.device)
        try:
            shape = measurement.forward(blank.expand(len(measurement.values), *self.sample_shape)).shape
            whole = measurement.adjoint(measurement.values).shape[1:] == self.sample_shape
        except RuntimeError:
            shape, whole = None, False
        if shape != measurement.values.shape or not whole:
            raise ValueError(
                f"measurement has shape {tuple(measurement.values.shape)}, which is not of images of shape {self.sample_shape}"
            )
        reach, top = float(measurement.values.abs().max()), float(self.samples.abs().max())
        if reach > _FAR * (top + measurement.noise):
            raise ValueError(
                f"measurement holds values up to {reach:.3g}, and the data reach {top:.3g}: scale both in the same way"
            )
        view = copy.copy(self)
        view._noised, view._measurement = self._noised, measurement
        return view

    def flat(self, sample: Tensor) -> Tensor:
        """Samples (B, *shape) as rows (B, D) in the precision of the data, checked."""
        size = math.prod(self.sample_shape)

        def long(shape: Sequence[int]) -> list[int]:
            return [axis for axis in shape if axis != 1]

        # Vectors come as images of one pixel, images as rows; with other axes, channels last say, pixels would be mixed up.
        known = (long(self.sample_shape), long([size]))
        if not isinstance(sample, Tensor) or sample.ndim < 2 or long(sample.shape[1:]) not in known:
            got = tuple(sample.shape) if isinstance(sample, Tensor) else type(sample).__name__
            raise ValueError(
                f"sample must have shape (B, {', '.join(map(str, self.sample_shape))}) as the data have, got {got}; "
                "pipelines made for square images cannot draw other shapes: use DiscoPipeline"
            )
        if not sample.is_floating_point():
            raise TypeError(f"sample must be of floating-point numbers, on the data's scale, got {sample.dtype}")
        if sample.device != self.data.device:
            raise ValueError(f"sample is on {sample.device}, the model on {self.data.device}: move one with .to(...)")
        return sample.flatten(1).to(self.data.dtype)

    def _check_size(self, y: Tensor, sigma: Tensor) -> None:
        """A pipeline that leaves out what its scheduler needs hands over samples of a wrong size."""
        clean = (self.basis.mean.square().sum() + self.data.square().sum(1).mean()) / y.shape[1]
        expected = (clean + sigma.square().mean()).sqrt()
        size = y.square().mean().sqrt()
        if not torch.isfinite(size):
            raise ValueError(
                "sample holds NaN or infinite values, which its scheduler made: it cannot be run as it is configured"
            )
        if not size <= 10 * expected:
            raise ValueError(
                f"sample has a root mean square of {float(size):.3g} in units where noise level {float(sigma.mean()):.3g} has "
                f"{float(expected):.3g}. Either the scheduler works with scaled samples (init_noise_sigma, scale_model_input) "
                "and the pipeline does not scale them: use DiscoPipeline, or DDIMScheduler or DDPMScheduler in this pipeline; "
                "or its steps are too few"
            )


def _known(draws: Draws) -> tuple[ArrayLike, Tensor | None, Tensor | None]:
    """The distinct rows of draws, how many independent ones each is worth if not one, and the runs that they are of."""
    rows, counts = draws.counts()
    return rows if draws.is_tensor else rows.numpy(), counts, draws.blocks()


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W) of images; a series (C, L) is one of height one."""
    channels, *space = shape
    height, width = (1, *space) if len(space) == 1 else space
    return channels, height, width


def _as_pipelines_read_it(shape: tuple[int, ...]) -> dict[str, Any]:
    """Channels first; square images have one size, series their length, and vectors are images of one pixel."""
    channels, *space = shape
    size: int | tuple[int, ...] = tuple(space) or (1, 1)
    if len(set(space)) == 1:
        size = space[0]
    return {"in_channels": channels, "out_channels": channels, "sample_size": size}
