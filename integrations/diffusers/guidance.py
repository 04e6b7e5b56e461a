"""A hook for anybody's pipeline: steer to a data set, spread the batch, or only watch."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from diffusers.callbacks import PipelineCallback
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from disco_samplers.arrays import check_count, check_flag, check_number
from disco_samplers.estimate import DiScoFormer
from disco_samplers.estimators import DEFAULTS
from disco_samplers.measures import nearest_distances

from .basis import LinearBasis
from .guidance_record import GuidanceRecord
from .score_model import DiscoScoreModel

Strength: TypeAlias = "float | Callable[[float], float]"
"""A number, or a function of the share of steps done, from 0 to 1."""


class Level(NamedTuple):
    """Where a scheduler stands: its sample is ``scale`` times data plus noise of standard deviation ``sigma``."""

    scale: float
    sigma: float


class DiscoGuidance(PipelineCallback):
    r"""Changes or records the samples of a pipeline after each step, whatever its model.

    With y the sample in the data's scale, at noise level sigma after the step, each step may

    - **correct**: Langevin steps on the reference's score, which steer a trained model to the reference set,

      .. math:: y \leftarrow y + c\, \sigma^2 s_{\mathrm{ref}}(y, \sigma) + \sqrt{2 c}\, \sigma z

    - **diversify**: move away from where the batch is dense, by the score that DiScoFormer reads in the batch itself,

      .. math:: y \leftarrow y - \delta\, \sigma^2 s_{\mathrm{batch}}(y)

    - **record**: log-density and score norm under the reference, and distance from it (:class:`GuidanceRecord`).

    Use :meth:`wrap` for pipelines that call nobody (DDPM, DDIM, DiT, ...), on the scheduler of a pipeline that is made already:
    ``pipe.scheduler = guidance.wrap(pipe.scheduler)``. (DDIMPipeline makes a plain scheduler of a wrapped one that it is
    given.) Or give the object itself as ``callback_on_step_end``. The noise level is read off the scheduler's own
    ``add_noise``, so any scheduler that has one will do.

    Arguments:
        reference: what to steer to and to measure against; needed for ``correct`` and the record.
        correct: step c, relative to the noise level; 0 for none, 0.05 to 0.3 is usual. A number, or a function of the share
            of steps done.
        correction_steps: Langevin steps after each step.
        diversify: step delta; 0 for none, 0.01 to 0.1 is usual for a few numbers. In d directions it adds noise to all of them:
            of images 0.002 is much, and every gain in variety is paid for in images that are not like the data.
        class_labels: class or classes of the reference to steer to; its data need labels.
        model: the pretrained network that reads the batch; the reference's, or the shipped one.
        record: whether to record.
        seed: of the corrections' noise.

    Raises:
        TypeError: if ``correction_steps`` or the seed is not an integer, a strength no number, or the reference no score model.
        ValueError: if a strength or the seed is negative, ``correct`` or ``class_labels`` has no reference.

    References:
        Song et al., *Score-based generative modeling through stochastic differential equations*, ICLR 2021, for correctors;
        Corso, Xu, De Bortoli, Barzilay, Jaakkola, *Particle guidance*, ICLR 2024, for moving a batch apart.

    Example:
        >>> from diffusers import DDIMScheduler
        >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> reference = DiscoScoreModel.from_data(x, replicas=1, calibrate=False)
        >>> guidance = DiscoGuidance(reference, correct=0.1)
        >>> scheduler = guidance.wrap(DDIMScheduler(clip_sample=False))
        >>> scheduler.set_timesteps(2)
        >>> y = torch.zeros(3, 2)
        >>> for t in scheduler.timesteps:
        ...     y = scheduler.step(torch.zeros(3, 2), t, y).prev_sample
        >>> len(guidance.record)
        2
    """

    def __init__(
        self,
        reference: DiscoScoreModel | None = None,
        *,
        correct: Strength = 0.0,
        correction_steps: int = 1,
        diversify: Strength = 0.0,
        class_labels: Any = None,
        model: DiScoFormer | None = None,
        record: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if reference is not None and not isinstance(reference, DiscoScoreModel):
            raise TypeError(
                f"reference must be a DiscoScoreModel (from_data of the reference set), got {type(reference).__name__}"
            )
        check_count("correction_steps", correction_steps, 1)
        check_count("seed", seed, 0)
        check_flag("record", record)
        for name, strength in (("correct", correct), ("diversify", diversify)):
            if not callable(strength):
                check_number(name, strength)
                if not 0 <= strength < math.inf:
                    raise ValueError(f"{name} must not be negative or infinite, got {strength}")
        if reference is None and (callable(correct) or correct):
            raise ValueError("correct needs a reference: DiscoGuidance(DiscoScoreModel.from_data(...), correct=...)")
        if reference is None and class_labels is not None:
            raise ValueError("class_labels are of a reference, which is not given: leave them out")
        self.reference, self.correct, self.diversify = reference, correct, diversify
        self.correction_steps, self.class_labels = correction_steps, class_labels
        self.model, self.seed, self.recording = model, seed, record
        self.record = GuidanceRecord()
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def tensor_inputs(self) -> list[str]:
        """What the pipeline is to hand over at the end of a step."""
        return ["latents"]

    def callback_fn(self, pipeline: Any, step_index: int, timesteps: Any, callback_kwargs: dict[str, Any]) -> dict[str, Any]:
        """What a pipeline calls at the end of each step: changes ``callback_kwargs["latents"]``."""
        index = step_index + 1
        if index == 1:
            self.reset()
        callback_kwargs["latents"] = self.apply(pipeline.scheduler, callback_kwargs["latents"], index)
        return callback_kwargs

    def wrap(self, scheduler: Any) -> Any:
        """A copy of a scheduler whose every step this guidance follows.

        The copy is of a class of the same name, with the same configuration: a pipeline that holds it saves, and loads,
        the scheduler it was. The scheduler given is left as it is.

        Raises:
            TypeError: if the scheduler has no ``step``, or nothing that adds noise.
        """
        kind = type(scheduler)
        if not hasattr(kind, "step") or not (hasattr(kind, "add_noise") or hasattr(kind, "scale_noise")):
            name = f"the class {scheduler.__name__}" if isinstance(scheduler, type) else kind.__name__
            raise TypeError(f"{name} has no step to follow: use DDIMScheduler or another whose step gives prev_sample")
        guidance = self

        @functools.wraps(kind.step)
        def step(self: Any, model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
            output = kind.step(self, model_output, timestep, sample, *args, **kwargs)
            index = _next_index(self, timestep)
            if index == 1:
                guidance.reset()
            if isinstance(output, tuple):
                return (guidance.apply(self, output[0], index), *output[1:])
            output.prev_sample = guidance.apply(self, output.prev_sample, index)
            return output

        guided = copy.deepcopy(scheduler)
        guided.__class__ = type(kind.__name__, (kind,), {"step": step, "__module__": kind.__module__, "__doc__": kind.__doc__})
        return guided

    def reset(self) -> None:
        """Starts a new record, and the noise from its seed."""
        self.record = GuidanceRecord()
        self._generator = torch.Generator().manual_seed(self.seed)

    def apply(self, scheduler: Any, sample: Tensor, index: int) -> Tensor:
        """The sample, changed as the guidance says, before the scheduler's step number ``index``."""
        total = len(scheduler.timesteps)
        if _within_a_step(scheduler):
            return sample
        level = _level(scheduler, sample, index)
        done = index / total
        y = sample / level.scale
        if level.sigma > 0:
            y = self._diversified(y, level.sigma, _at(self.diversify, done))
            y = self._corrected(y, level.sigma, _at(self.correct, done))
        if self.recording:
            self._note(y, level.sigma, float((y - sample / level.scale).square().mean().sqrt()))
        return (y * level.scale).to(sample.dtype)

    def _corrected(self, y: Tensor, sigma: float, strength: float) -> Tensor:
        if not strength or self.reference is None:
            return y
        for _ in range(self.correction_steps):
            score = self.reference.score(y, sigma, self.class_labels)
            noise = randn_tensor(y.shape, generator=self._generator, device=y.device, dtype=y.dtype)
            y = y + strength * sigma**2 * score + (2 * strength) ** 0.5 * sigma * noise
        return y

    def _diversified(self, y: Tensor, sigma: float, strength: float) -> Tensor:
        if not strength:
            return y
        if len(y) < 3:
            raise ValueError(f"diversify moves the samples of a batch apart: it needs at least 3 of them, got {len(y)}")
        flat = y.flatten(1).float()
        known = None if self.reference is None else self.reference.basis
        basis = known if isinstance(known, LinearBasis) else LinearBasis.fit(flat, 0.95)
        z, _ = basis.project(flat)
        with torch.no_grad():
            score = self._reader(z.device).condition(z).score(z)
        moved = -strength * sigma**2 * basis.turn(score)
        return y.add(moved.reshape(y.shape).to(y.dtype))

    def _reader(self, device: torch.device) -> DiScoFormer:
        if self.model is None:
            own = None if self.reference is None else self.reference.disco
            self.model = own or DiScoFormer.from_pretrained(DEFAULTS["table"], map_location=str(device))
        return self.model

    def _note(self, y: Tensor, sigma: float, moved: float) -> None:
        if self.reference is None:
            self.record.add(sigma=sigma, moved=moved)
            return
        reference = self.reference
        least = max(sigma, 0.05 * reference.noised().scale)  # of clean samples, at a level that smooths over neighbours
        known = reference.stack is None  # patches have no density
        log_prob = float(reference.log_prob(y, least, self.class_labels).mean()) if known else math.nan
        score = reference.score(y, least, self.class_labels).flatten(1)
        distance = nearest_distances(reference.flat(y), reference.samples.flatten(1))
        self.record.add(
            sigma=sigma,
            moved=moved,
            log_prob=log_prob,
            score_norm=float(score.norm(dim=1).mean()),
            distance=float(distance.mean()),
        )


def _at(strength: Strength, done: float) -> float:
    value = float(strength(done)) if callable(strength) else float(strength)
    if not value >= 0:
        raise ValueError(f"a strength must not be negative, got {value} at {done:.0%} of the steps")
    return value


def _next_index(scheduler: Any, timestep: Any) -> int:
    """Position of the step that comes next; schedulers that do not count are asked for their timestep's place."""
    counted = getattr(scheduler, "step_index", None)
    if counted is not None:
        return int(counted)
    found = (torch.as_tensor(scheduler.timesteps, device="cpu") == float(timestep)).nonzero()
    return int(found[-1]) + 1 if len(found) else len(scheduler.timesteps)


def _within_a_step(scheduler: Any) -> bool:
    """Whether the sample is an inner stage of a step of higher order, which the scheduler will take back."""
    if not getattr(scheduler, "state_in_first_order", True):
        return True
    stages = getattr(scheduler, "prk_timesteps", None)
    return stages is not None and 0 < scheduler.counter < len(stages)


def _level(scheduler: Any, sample: Tensor, index: int) -> Level:
    """What the scheduler's own noising makes of clean data, and of pure noise, at its next timestep."""
    if index >= len(scheduler.timesteps):
        return Level(1.0, 0.0)
    t = scheduler.timesteps[index].reshape(1).to(sample.device)
    one = torch.ones_like(sample[:1], dtype=torch.float32)
    zero = torch.zeros_like(one)
    if hasattr(scheduler, "add_noise"):
        kept, added = scheduler.add_noise(one, zero, t), scheduler.add_noise(zero, one, t)
    else:
        kept, added = scheduler.scale_noise(one, t, zero), scheduler.scale_noise(zero, t, one)
    scale = float(kept.flatten()[0])
    return Level(scale, float(added.flatten()[0]) / scale)
