"""A data set as a diffusion model: DiScoFormer's score in place of a trained network."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor
from tqdm import tqdm

from disco_samplers._arrays import as_tensor, check_count, check_finite
from disco_samplers.model.config import DiScoFormerConfig
from disco_samplers.model.discoformer import DiScoFormer
from disco_samplers.types import ArrayLike

from .basis import LinearBasis
from .calibration import KNOTS, held_out_weights, knots
from .noised_data import NoisedData, weight_curve
from .parameterization import VARIANCE_PRESERVING, conventions_of, parameterization

_FEW, _SMALL = 16, 16
"""Fewest samples (of a class, too); largest dimension that is carried whole unless a share is asked for."""

_SCALES = 0.05, 10.0
"""Standard deviations of data that the schedulers' noise levels are made for."""


class DiscoScoreModel(ModelMixin, ConfigMixin):
    r"""A training-free diffusion model: at noise level sigma, DiScoFormer reads the data noised to sigma.

    .. math:: D(y, \sigma) = y + \sigma^2\, \hat s(y, \sigma), \qquad y = x_0 + \sigma \epsilon

    Made by :meth:`from_data`. Called as a scheduler calls its model, it returns what the scheduler expects
    (``parameterization``); :meth:`matching` gives the same model in the conventions of a scheduler. Data are carried in a
    linear basis, the rest as Gaussian noise of known variance (:class:`LinearBasis`); at large noise the exact denoiser of the
    training set takes over, where held-out rows say so (:class:`NoisedData`). The first use of a noise level encodes its
    contexts; they are cached.

    Arguments:
        shape: of one sample: (d,), (C, L), (C, H, W), ...
        num_samples: rows of the data N.
        rank: dimensions of the basis k.
        rest_rank: directions outside the basis whose variance is known (:class:`LinearBasis`).
        model: configuration of the DiScoFormer.
        context_size: most rows of a context.
        replicas: independently noised contexts at each level, whose scores are averaged.
        seed: of noise, subsets and the calibration's split.
        adapt: steps of on-the-fly adaptation at each noise level; 0 for none.
        cache_size: most noise levels (of each class) whose contexts are kept.
        num_class_embeds: number of classes; None where the data have no labels.
        parameterization: "epsilon", "v_prediction", "sample" (VP), "edm", "flow", "score" (VE) or "consistency".
        num_train_timesteps: of the VP or flow schedule.
        beta_start: of the VP schedule, as are beta_end, beta_schedule, trained_betas and rescale_betas_zero_snr.
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

    config_name = "config.json"
    up_blocks = ()  # DanceDiffusionPipeline asks how often its model halves the length
    disco: DiScoFormer
    basis: LinearBasis
    data: Tensor
    labels: Tensor
    log_sigma: Tensor
    weight: Tensor

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
        adapt: int = 0,
        cache_size: int = 64,
        num_class_embeds: int | None = None,
        parameterization: str = "epsilon",
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        rescale_betas_zero_snr: bool = False,
        sigma_data: float = 0.5,
        sigma_min: float = 0.002,
        edm_prediction_type: str = "epsilon",
        consistency_steps: int = 0,
        sample_size: int | tuple[int, ...] = (1, 1),
        in_channels: int = 2,
        out_channels: int = 2,
        sample_rate: int = 1,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("context_size", context_size, _FEW),
            ("replicas", replicas, 1),
            ("adapt", adapt, 0),
            ("cache_size", cache_size, 1),
            ("consistency_steps", consistency_steps, 0),
        ):
            check_count(name, value, least)
        self.disco = DiScoFormer(DiScoFormerConfig.from_dict(model or {})).requires_grad_(False).eval()
        self.basis = LinearBasis(math.prod(shape), rank, rest_rank)
        self.register_buffer("data", torch.zeros(num_samples, rank))
        self.register_buffer("labels", torch.zeros(num_samples, dtype=torch.int64))
        # Row 0 is that of all data, row 1 + c that of class c.
        self.register_buffer("log_sigma", torch.zeros(1 + (num_class_embeds or 0), KNOTS, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(1 + (num_class_embeds or 0), KNOTS, dtype=torch.float64))
        self._dtype = torch.float32
        self._noised: dict[int | None, NoisedData] = {}

    @classmethod
    def from_data(
        cls,
        data: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        share: float | None = None,
        disco: DiScoFormer | None = None,
        scheduler: Any | None = None,
        calibrate: bool = True,
        progress: bool = False,
        **config: Any,
    ) -> DiscoScoreModel:
        """The model of a data set.

        Arguments:
            data: (N, d) vectors, (N, C, L) series, (N, C, H, W) images or latents, scaled to a standard deviation of about one
                (images to [-1, 1]).
            labels: (N,) classes, whole numbers from zero on.
            share: of the variance that the basis keeps; by default everything up to 16 dimensions, 0.9 above.
            disco: the pretrained model; the shipped one by default.
            scheduler: whose conventions to take; those of DDPM otherwise.
            calibrate: whether to measure on held-out rows from which noise level on the exact denoiser of the training set is
                the better one. Without, DiScoFormer is used alone up to four times the data's scale.
            progress: whether to show a progress bar.
            config: the other arguments of the class.

        Raises:
            TypeError: if data or labels are not numbers.
            ValueError: if data hold NaN, are not scaled, are too few for their dimension, or a class is.
        """
        x = as_tensor(data, "data")
        if x.ndim < 2:
            raise ValueError(f"data must have shape (N, d), (N, C, L) or (N, C, H, W), got {tuple(x.shape)}")
        flat = x.detach().flatten(1).float()
        _check_data(flat)
        share = share if share is not None else (1.0 if flat.shape[1] <= _SMALL else 0.9)
        basis = LinearBasis.fit(flat, share)
        if len(flat) < 2 * basis.rank:
            raise ValueError(
                f"data has {len(flat)} samples for the {basis.rank} dimensions that keep {share:g} of its variance; at least "
                f"{2 * basis.rank} are needed: give more samples or a smaller share"
            )
        classes = None if labels is None else _check_labels(labels, len(flat)).to(flat.device)
        disco = disco if disco is not None else DiScoFormer.from_pretrained(map_location=str(flat.device))
        conventions = {} if scheduler is None else conventions_of(scheduler)
        shape = tuple(x.shape[1:])
        model: DiscoScoreModel = cls(
            shape=shape,
            num_samples=len(flat),
            rank=basis.rank,
            rest_rank=len(basis.rest_variances),
            model=disco.config.to_dict(),
            num_class_embeds=None if classes is None else int(classes.max()) + 1,
            **_as_pipelines_read_it(shape) | conventions | config,
        )
        model.disco, model.basis = copy.deepcopy(disco).float().requires_grad_(False).eval(), basis
        model.data = basis.project(flat)[0]
        model.labels = torch.zeros(len(flat), dtype=torch.int64) if classes is None else classes
        model.to(flat.device)
        for row in range(len(model.weight)):
            model._calibrate(row, calibrate, progress)
        model.eval()
        return model

    @classmethod
    def from_pretrained(cls, *args: Any, torch_dtype: torch.dtype | None = None, **kwargs: Any) -> DiscoScoreModel:
        """Loads a saved model; in half precision, samples are half and the data are not rounded."""
        model: DiscoScoreModel = super().from_pretrained(*args, **kwargs)
        if torch_dtype is not None:
            model.to(torch_dtype)
        return model

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.config.shape)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of samples; in half precision the estimates themselves stay in float32."""
        return self._dtype

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
        t = torch.as_tensor(timestep, device=flat.device).detach().double().reshape(-1)
        if len(t) not in (1, len(flat)):
            raise ValueError(f"timestep must be one number or one a sample, got {len(t)} for {len(flat)} samples")
        sigma = conventions.sigma(t)
        column = sigma[:, None].to(flat.dtype)
        y = flat / conventions.scale(column)
        if self.config.parameterization in VARIANCE_PRESERVING:
            self._check_size(y, column)
        noise = self._noise(y, sigma.expand(len(flat)), class_labels, guidance_scale)
        output = conventions.output(y, noise, column).to(sample.dtype).reshape(sample.shape)
        return UNet2DOutput(sample=output) if return_dict else (output,)

    def denoise(self, samples: Tensor, sigma: float | Tensor, class_labels: Tensor | None = None) -> Tensor:
        r"""The denoised mean :math:`D(y, \sigma)` of samples y (B, *shape); sigma is one number or one a sample."""
        y = self.flat(samples)
        levels = torch.as_tensor(sigma, device=y.device).double().reshape(-1).expand(len(y))
        noise = self._noise(y, levels, class_labels, 1.0)
        return (y - levels[:, None].to(y.dtype) * noise).to(samples.dtype).reshape(samples.shape)

    def score(self, samples: Tensor, sigma: float, class_labels: Tensor | None = None) -> Tensor:
        r"""The score :math:`\nabla \log f_\sigma` at samples y (B, *shape)."""
        y = self.flat(samples)
        noise = self._noise(y, torch.full((len(y),), float(sigma), dtype=torch.float64, device=y.device), class_labels, 1.0)
        return (-noise / sigma).to(samples.dtype).reshape(samples.shape)

    def log_prob(self, samples: Tensor, sigma: float, class_labels: Tensor | None = None) -> Tensor:
        r"""The density head's :math:`\log f_\sigma` at samples y (B, *shape), as (B,).

        :func:`~disco_samplers.integrations.diffusers.probability_flow_log_prob` is normalised, and slower.
        """
        y = self.flat(samples)
        z, rest = self.basis.project(y)
        log_prob = self.basis.rest_log_prob(rest, float(sigma))
        for label, rows in self.groups(class_labels, len(y)):
            log_prob[rows] += self.noised(label).log_prob(z[rows], float(sigma))
        return log_prob

    def encode(self, timesteps: Tensor, class_labels: Tensor | None = None, progress: bool = False) -> None:
        """Encodes the contexts of a schedule's timesteps ahead of their use."""
        sigmas = parameterization(self.config).sigma(torch.as_tensor(timesteps).double().reshape(-1)).tolist()
        labels = [label for label, _ in self.groups(class_labels, len(class_labels) if class_labels is not None else 1)]
        for sigma in tqdm(sorted(set(sigmas), reverse=True), disable=not progress, desc="encoding"):
            for label in labels:
                noised = self.noised(label)
                if noised.weight(max(sigma, 1e-12)) < 1:
                    noised.noise(noised.data[:1], sigma)

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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_noised": {}}  # copies may change what contexts were made from

    def _apply(self, fn: Any, recurse: bool = True) -> DiscoScoreModel:
        def kept(tensor: Tensor) -> Tensor:
            moved: Tensor = fn(tensor)
            half = moved.is_floating_point() and moved.dtype not in (torch.float32, torch.float64)
            return tensor.to(moved.device) if half else moved

        self._dtype = fn(torch.zeros(0, dtype=self._dtype, device=self.data.device)).dtype
        super()._apply(kept, recurse)
        self._noised.clear()  # encoded where the model was
        return self

    def flat(self, sample: Tensor) -> Tensor:
        """Samples (B, *shape) as rows (B, D) in the precision of the data, checked."""
        size = math.prod(self.sample_shape)
        if not isinstance(sample, Tensor) or sample.ndim < 2 or math.prod(sample.shape[1:]) != size:
            got = tuple(sample.shape) if isinstance(sample, Tensor) else type(sample).__name__
            raise ValueError(
                f"sample must have shape (B, {', '.join(map(str, self.sample_shape))}) as the data have, got {got}; "
                "pipelines made for square images cannot draw other shapes: use DiscoPipeline"
            )
        if sample.device != self.data.device:
            raise ValueError(f"sample is on {sample.device}, the model on {self.data.device}: move one with .to(...)")
        return sample.flatten(1).to(self.data.dtype)

    def _check_size(self, y: Tensor, sigma: Tensor) -> None:
        """A pipeline that leaves out what its scheduler needs hands over samples of a wrong size."""
        expected = (self.samples.square().mean() + sigma.square().mean()).sqrt()
        size = y.square().mean().sqrt()
        if not size <= 10 * expected:
            raise ValueError(
                f"sample has a root mean square of {float(size):.3g} in units where noise level {float(sigma.mean()):.3g} has "
                f"{float(expected):.3g}. The scheduler works with scaled samples (init_noise_sigma, scale_model_input), and "
                "the pipeline does not scale them: use DiscoPipeline, or DDIMScheduler or DDPMScheduler in this pipeline"
            )

    def _noise(self, y: Tensor, sigma: Tensor, class_labels: Any, guidance_scale: float) -> Tensor:
        z, rest = self.basis.project(y)
        noise = torch.zeros_like(z)
        conditional = class_labels is not None
        if not conditional and guidance_scale != 1.0:
            raise ValueError("guidance_scale needs class_labels: guidance is towards a class")
        parts = [(class_labels, guidance_scale if conditional else 1.0)]
        if conditional and guidance_scale != 1.0:
            parts.append((None, 1.0 - guidance_scale))
        for labels, factor in parts:
            for label, rows in self.groups(labels, len(y)):
                for level in sigma[rows].unique().tolist():
                    at = rows[sigma[rows] == level]
                    noise[at] += factor * self._at_level(label, z[at], level)
        column = sigma[:, None].to(y)
        least = 1e-6  # a sigma of zero has no score, and nothing to remove
        return noise @ self.basis.components - column * self.basis.rest_score(rest, column.clamp_min(least))

    def _at_level(self, label: int | None, z: Tensor, sigma: float) -> Tensor:
        """The predicted noise in the basis; with consistency steps, that of the whole way to the trajectory's end."""
        noised = self.noised(label)
        noise = noised.noise(z, sigma)
        steps = self.config.consistency_steps
        if not steps or sigma <= 0:
            return noise
        start, level = z, sigma
        # One ladder of levels for every start, so that their contexts are encoded once.
        ladder = noised.scale * torch.logspace(math.log10(4), -2, steps, dtype=torch.float64)
        for lower in [*ladder[ladder < 0.9 * sigma].tolist(), 0.0]:
            z, level = z + (lower - level) * noise, lower
            if lower:
                noise = noised.noise(z, lower)
        return (start - z) / sigma

    def groups(self, class_labels: Any, count: int) -> list[tuple[int | None, Tensor]]:
        """Each class among ``count`` samples with its rows; None for all of them without classes."""
        rows = torch.arange(count, device=self.data.device)
        if class_labels is None:
            return [(None, rows)]
        classes = self.config.num_class_embeds
        if classes is None:
            raise ValueError("class_labels given, but the data have no labels: give labels= to from_data")
        labels = torch.as_tensor(class_labels, device=rows.device).reshape(-1)
        if len(labels) not in (1, count):
            raise ValueError(f"class_labels must be one class or one a sample, got {len(labels)} for {count} samples")
        known = set(self.labels.unique().tolist())
        if unknown := sorted(set(labels.tolist()) - known):
            raise ValueError(f"class_labels: there is no class {unknown[0]!r} in the data; there are {sorted(known)}")
        labels = labels.expand(count)
        return [(int(label), rows[labels == label]) for label in labels.unique().tolist()]

    def noised(self, label: int | None = None) -> NoisedData:
        """The estimates, at any noise level, of all data or of one class."""
        if label not in self._noised:
            row = 0 if label is None else 1 + label
            rows = self.data if label is None else self.data[self.labels == label]
            self._noised[label] = self._noised_rows(rows, row)
        return self._noised[label]

    def _noised_rows(self, rows: Tensor, row: int) -> NoisedData:
        keys = ("context_size", "replicas", "seed", "adapt", "cache_size")
        options = {key: self.config[key] for key in keys}
        return NoisedData(self.disco, rows, weight_curve(self.log_sigma[row], self.weight[row]), **options)

    def _calibrate(self, row: int, calibrate: bool, progress: bool) -> None:
        """Fills a row of the weights: zero below the last knot, until held-out rows say more."""
        rows = self.data if row == 0 else self.data[self.labels == row - 1]
        if len(rows) == 0:
            return

        def fit(kept: Tensor) -> Any:
            noised = self._noised_rows(kept, row)
            noised.weight = lambda sigma: 0.0
            return lambda y, sigma: y - sigma * noised.noise(y, sigma)

        sigmas = knots(rows)
        self.log_sigma[row] = sigmas.log()
        if calibrate:
            what = "calibrating" if row == 0 else f"calibrating class {row - 1}"
            options = {"seed": self.config.seed, "progress": progress, "description": what}
            self.weight[row] = held_out_weights(rows, sigmas, fit, **options)
        self.weight[row, -1] = 1.0


def _check_data(flat: Tensor) -> None:
    check_finite(flat, "data")
    if len(flat) < _FEW:
        raise ValueError(f"data has {len(flat)} samples; at least {_FEW} are needed to estimate their density")
    spread = float(flat.std(0).square().mean().sqrt())
    if not _SCALES[0] <= spread <= _SCALES[1]:
        raise ValueError(
            f"data is not scaled: its standard deviation is {spread:.3g}, while the schedulers' noise levels are made "
            "for about one. Give (data - data.mean()) / data.std(), or images in [-1, 1]"
        )


def _check_labels(labels: ArrayLike, count: int) -> Tensor:
    given = as_tensor(labels, "labels")
    if given.shape != (count,):
        raise ValueError(f"labels must have shape ({count},), one a sample, got {tuple(given.shape)}")
    classes = given.long()
    if bool((classes != given).any()) or bool((classes < 0).any()):
        raise ValueError("labels must be whole numbers from zero on")
    for label, size in zip(*(t.tolist() for t in classes.unique(return_counts=True)), strict=True):
        if size < _FEW:
            raise ValueError(f"class {label} has {size} samples; at least {_FEW} are needed to estimate its density")
    return classes


def _as_pipelines_read_it(shape: tuple[int, ...]) -> dict[str, Any]:
    """Channels first; square images have one size, series their length, and vectors are images of one pixel."""
    channels, *space = shape
    size: int | tuple[int, ...] = tuple(space) or (1, 1)
    if len(set(space)) == 1:
        size = space[0]
    return {"in_channels": channels, "out_channels": channels, "sample_size": size}
