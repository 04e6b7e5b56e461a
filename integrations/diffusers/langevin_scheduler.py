"""Annealed Langevin dynamics and predictor-corrector sampling as a scheduler."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, DDIMScheduler, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

PREDICTORS = ("ddim", "none")


class DiscoLangevinScheduler(SchedulerMixin, ConfigMixin):
    r"""Langevin steps at each noise level, then a step to the next one; for any model of the VP family.

    With :math:`x = \sqrt{\bar\alpha} x_0 + \sqrt{1 - \bar\alpha} \epsilon` the sample at a level
    and :math:`h = 2\, \mathrm{snr}^2 (1 - \bar\alpha)`, a corrector step is

    .. math:: x \leftarrow x - h\, \frac{\hat\epsilon(x)}{\sqrt{1 - \bar\alpha}} + \sqrt{2 h}\, z

    and the predictor is that of DDIM, stochastic with ``eta``. With ``predictor="none"`` the sample is taken to the
    next level as it is:
    annealed Langevin dynamics, which needs many levels or corrector steps. Each level occurs ``corrector_steps + 1`` times
    in ``timesteps``, one model call each; the last step returns the denoised mean.

    Arguments:
        num_train_timesteps: of the training schedule, as are beta_start, beta_end, beta_schedule and trained_betas.
        prediction_type: "epsilon", "v_prediction" or "sample": what the model returns.
        timestep_spacing: "leading", "trailing" or "linspace", as diffusers defines them.
        steps_offset: added to "leading" timesteps.
        rescale_betas_zero_snr: as diffusers defines it.
        corrector_steps: Langevin steps at each level.
        snr: size of a corrector step, as the ratio of its noise to the level's, over the square root of four.
        predictor: "ddim" or "none".
        eta: noise of the predictor "ddim"; 0 for none, 1 for as much as DDPM has.

    Raises:
        ValueError: if an option is out of range, or one that the predictor ignores.

    References:
        Song, Ermon, *Generative modeling by estimating gradients of the data distribution*, NeurIPS 2019, algorithm 1; Song et
        al., *Score-based generative modeling through stochastic differential equations*, ICLR 2021, algorithms 3 and 5; Song,
        Meng, Ermon, *Denoising diffusion implicit models*, ICLR 2021, eq. 12 and 16.

    Example:
        >>> scheduler = DiscoLangevinScheduler(corrector_steps=2)
        >>> scheduler.set_timesteps(4)
        >>> scheduler.timesteps[:4].tolist()
        [999, 999, 999, 749]
    """

    _compatibles = [kind.name for kind in KarrasDiffusionSchedulers]  # noqa: RUF012  # as diffusers has it
    order = 1

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Any = None,
        prediction_type: str = "epsilon",
        timestep_spacing: str = "trailing",
        steps_offset: int = 0,
        rescale_betas_zero_snr: bool = False,
        corrector_steps: int = 1,
        snr: float = 0.16,
        predictor: str = "ddim",
        eta: float = 0.0,
    ) -> None:
        if predictor not in PREDICTORS:
            raise ValueError(f"predictor must be one of {', '.join(PREDICTORS)}, got {predictor!r}")
        if prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise ValueError(f'prediction_type must be "epsilon", "v_prediction" or "sample", got {prediction_type!r}')
        if not isinstance(corrector_steps, int) or corrector_steps < 0:
            raise ValueError(f"corrector_steps must be a whole number from zero on, got {corrector_steps!r}")
        if not 0 < snr < 1:
            raise ValueError(f"snr must lie in (0, 1), got {snr}")
        if not 0 <= eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], got {eta}")
        if eta and predictor == "none":
            raise ValueError('eta is the noise of predictor "ddim", and predictor is "none": leave it out')
        # The schedule and its spacings are diffusers' own.
        with torch.device("cpu"):
            self._schedule = DDIMScheduler(
                num_train_timesteps=num_train_timesteps,
                beta_start=beta_start,
                beta_end=beta_end,
                beta_schedule=beta_schedule,
                trained_betas=trained_betas,
                timestep_spacing=timestep_spacing,
                steps_offset=steps_offset,
                rescale_betas_zero_snr=rescale_betas_zero_snr,
            )
        self.betas = self._schedule.betas
        self.alphas_cumprod = self._schedule.alphas_cumprod
        self.init_noise_sigma = 1.0
        self.order = corrector_steps + 1
        self.num_inference_steps: int | None = None
        self.timesteps = self._schedule.timesteps
        self._step_index: int | None = None
        self._begin_index: int | None = None

    @property
    def step_index(self) -> int | None:
        """Position of the next step in ``timesteps``; None before the first."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """Position to begin at, where a pipeline starts in the middle."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Sets the position to begin at."""
        self._begin_index = begin_index

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The sample as it is: the model is asked in the scheduler's own scaling."""
        return sample

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Sets ``num_inference_steps`` noise levels, each repeated for its corrector steps and its predictor.

        Raises:
            ValueError: if there are more levels than training timesteps.
        """
        self._schedule.set_timesteps(num_inference_steps, device)
        self.num_inference_steps = num_inference_steps
        self.timesteps = self._schedule.timesteps.repeat_interleave(self.order)
        self._step_index = self._begin_index = None

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[Tensor]:
        """One corrector or predictor step, whichever is next at this timestep.

        A timestep that is not next in line is looked for in ``timesteps``, where its first occurrence counts; one that is not
        there at all gets a predictor step to the next lower level.

        Arguments:
            model_output: what the model said of ``sample``.
            timestep: at which it was asked.
            sample: the current sample.
            generator: source of randomness.
            return_dict: whether to return a ``SchedulerOutput``, or a tuple of its sample.

        Raises:
            ValueError: if the timesteps have not been set.
        """
        if self.num_inference_steps is None:
            raise ValueError("the number of inference steps is not set: call set_timesteps before step")
        t = int(timestep)
        position = self._locate(t)
        kept = self._kept(t, sample)
        denoised, noise = self._split(model_output, sample, kept)
        last_of_level = position is None or position % self.order == self.order - 1
        if not last_of_level or (self.config.predictor == "none" and self._below(t) is not None):
            moved = self._correct(sample, noise, kept, generator)
        else:
            moved = sample
        if last_of_level:
            moved = self._predict(moved, denoised, noise, t, kept, generator)
        self._step_index = None if position is None else position + 1
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Samples noised to timesteps (B,)."""
        return self._schedule.add_noise(original_samples, noise, timesteps)  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    def _locate(self, t: int) -> int | None:
        position = self._begin_index if self._step_index is None else self._step_index
        if position is not None and position < len(self.timesteps) and int(self.timesteps[position]) == t:
            return position
        found = (self.timesteps == t).nonzero()
        return int(found[0]) if len(found) else None

    def _below(self, t: int) -> int | None:
        """The next lower level; None where there is none, which is clean data."""
        lower = self.timesteps[self.timesteps < t]
        return int(lower.max()) if len(lower) else None

    def _kept(self, t: int | None, sample: Tensor) -> Tensor:
        # A schedule may end in pure noise, of which nothing can be divided out.
        kept = torch.ones((), device="cpu") if t is None else self.alphas_cumprod[t].clamp_min(1e-8)
        return kept.to(sample.device, torch.promote_types(sample.dtype, torch.float32))

    def _split(self, output: Tensor, sample: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Denoised mean and predicted noise, from whichever the model returns."""
        a, b = kept.sqrt(), (1 - kept).sqrt()
        if self.config.prediction_type == "v_prediction":
            return a * sample - b * output, a * output + b * sample
        if self.config.prediction_type == "sample":
            return output, (sample - a * output) / b
        return (sample - b * output) / a, output

    def _correct(self, sample: Tensor, noise: Tensor, kept: Tensor, generator: torch.Generator | None) -> Tensor:
        relative = 2 * self.config.snr**2  # the step over the level's variance
        fresh = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
        spread = (1 - kept).sqrt()
        moved: Tensor = sample - relative * spread * noise + (2 * relative) ** 0.5 * spread * fresh
        return moved.to(sample.dtype)

    def _predict(
        self, sample: Tensor, denoised: Tensor, noise: Tensor, t: int, kept: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        lower = self._below(t)
        if lower is None:
            return denoised.to(sample.dtype)
        below = self._kept(lower, sample)
        if self.config.predictor == "none":
            return ((below / kept).sqrt() * sample).to(sample.dtype)
        variance = self.config.eta**2 * (1 - below) / (1 - kept) * (1 - kept / below)
        moved: Tensor = below.sqrt() * denoised + (1 - below - variance).clamp_min(0).sqrt() * noise
        if self.config.eta:
            fresh = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
            moved = moved + variance.sqrt() * fresh
        return moved.to(sample.dtype)
