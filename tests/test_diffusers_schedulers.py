"""Schedulers and what the pipeline makes of them: every exported one, with every option, has an exact answer or is refused."""

from __future__ import annotations

import contextlib
import re

import pytest
import torch

pytest.importorskip("diffusers")
import diffusers
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler
from diffusers_zoo import SCHEDULERS, memoriser, rng
from disco_samplers.integrations.diffusers import (
    DiscoPipeline,
    DiscoScoreModel,
    SchedulerCheck,
    check_scheduler,
    conventions_of,
)
from disco_samplers.integrations.diffusers.scheduler_check import _Normal

# diffusers hands tensors to numpy 2 in a way that numpy 2 deprecates; torchsde is told the ends of its interval in float32.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The maximum number of subdivisions"),  # LMSDiscrete integrates its coefficients
]


def refusal(name):
    """Why a score model cannot serve a scheduler, or None; skips what diffusers cannot make."""
    try:
        scheduler = SCHEDULERS[name]()
    except Exception as error:  # missing arguments, options that exclude each other
        pytest.skip(f"diffusers does not make it: {error}")
    try:
        conventions_of(scheduler)
    except ValueError as error:
        return str(error)
    return None


CANNOT_RUN = (
    "prediction_type not implemented yet|Prediction type sample is not supported|cannot be run as it is configured"
    "|will return nan|prediction_type given as"
)
"""What diffusers says of options that a class takes and does not have, and what we say of those that give NaN."""


# Every class always, their options with the slow tests.
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if "," in name else []) for name in SCHEDULERS])
@pytest.mark.filterwarnings("ignore")  # some are made with a warning
def test_every_scheduler_and_option_gives_the_exact_law(name):
    """Within a quarter of the data's scale after 16 steps, or after 256 where they are spaced coarsely at the end.

    The noise at the start is right within 3 %. Draws are fixed by their seed. Wrong conventions give 0.3 and more that no steps
    mend, or noise of a wrong size.
    """
    refused = refusal(name)
    if refused is not None:
        assert name.partition(",")[0] in refused
        assert re.search("use |needs |leave ", refused)
        return
    shifted = {"mu": 0.5} if SCHEDULERS[name]().config.get("use_dynamic_shifting") else {}

    def found(steps):
        return check_scheduler(SCHEDULERS[name](), steps, num_samples=256, **shifted)

    try:
        check = found(16)
    except (ValueError, NotImplementedError) as error:
        if re.search(CANNOT_RUN, str(error)):
            pytest.skip(str(error))
        assert "its steps are too few" in str(error)  # noqa: PT017
        check = found(256)
    if check.distance > 0.25:
        check = found(256)
    assert check.start == pytest.approx(1, abs=0.03)
    assert check.distance < 0.25


@pytest.mark.filterwarnings("ignore")
def test_most_of_the_exported_schedulers_are_served():
    """33 classes with diffusers 0.42, ours among them."""
    served = 0
    for name in SCHEDULERS:
        if "," not in name:
            with contextlib.suppress(pytest.skip.Exception):
                served += refusal(name) is None
    assert served >= 30


def test_a_wrong_convention_shows():
    """The noise of another scheduler, at whose levels the model is not asked."""
    scheduler = diffusers.EulerDiscreteScheduler()
    kind = type("EulerDiscreteScheduler", (diffusers.EulerDiscreteScheduler,), {"init_noise_sigma": property(lambda self: 3.0)})
    wrong = check_scheduler(kind.from_config(scheduler.config), 10, num_samples=64)
    assert wrong.start < 0.1
    assert not wrong.right
    assert check_scheduler(scheduler, 50, num_samples=64).right
    assert isinstance(wrong, SchedulerCheck)
    with pytest.raises(TypeError, match="num_samples must be an integer"):
        check_scheduler(scheduler, num_samples=20.5)


LEADING = (
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LMSDiscreteScheduler",
    "DPMSolverSDEScheduler",
)


@pytest.mark.parametrize("name", sorted(LEADING))
def test_noise_at_the_start_is_known_once_the_timesteps_are(name):
    """With "leading" spacing it depends on them; the second call starts as the first did."""
    scheduler = getattr(diffusers, name)(timestep_spacing="leading")
    # They start as for data of variance one: of the second column's .25 that is seen at a noise level of 8.
    assert check_scheduler(scheduler, 5, num_samples=64).start == pytest.approx(1, abs=0.01)
    pipe = DiscoPipeline(memoriser(torch.randn(64, 2, generator=rng())), getattr(diffusers, name)(timestep_spacing="leading"))
    pipe.set_progress_bar_config(disable=True)
    first, second = (pipe(4, 5, generator=rng(1)).samples for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_karras_ve_starts_at_its_first_level():
    """Its noise levels begin at the square of what it calls the noise at the start."""
    found = check_scheduler(KarrasVeScheduler(sigma_max=7.0, s_min=0.1, s_churn=0.0), 50)
    assert found.start == pytest.approx(1, abs=1e-3)
    assert found.right


# Inverse schedulers.


@pytest.mark.parametrize(
    ("inverse", "forward"),
    [
        (lambda: diffusers.DDIMInverseScheduler(clip_sample=False), lambda: diffusers.DDIMScheduler(clip_sample=False)),
        (diffusers.DPMSolverMultistepInverseScheduler, diffusers.DPMSolverMultistepScheduler),
        (
            lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
            diffusers.FlowMatchEulerDiscreteScheduler,
        ),
    ],
)
def test_inverse_schedulers_give_noise_that_gives_the_data_back(inverse, forward):
    """Of normal data the noise is as many standard deviations from zero as the data are from their mean."""
    data = torch.tensor([0.3, -0.2]) + torch.tensor([1.0, 0.5]) * torch.randn(300, 2, generator=rng())
    pipe = DiscoPipeline(_Normal.of(data), inverse())
    pipe.set_progress_bar_config(disable=True)
    noise = pipe(300, 100, latents=data).samples
    # The last level of the schedules is some noise short of pure noise; first-order steps leave a few percent.
    assert (noise - (data - data.mean(0)) / data.std(0)).abs().mean() < 0.05
    pipe.scheduler = forward()
    assert (pipe(300, 100, latents=noise).samples - data).abs().mean() < 0.05


def test_inverse_schedulers_need_data():
    pipe = DiscoPipeline(memoriser(torch.randn(64, 2, generator=rng())), diffusers.DDIMInverseScheduler(clip_sample=False))
    with pytest.raises(ValueError, match="latents are needed: they are the data that DDIMInverseScheduler"):
        pipe(2, 3)


# What is refused, and what it says.


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("EulerDiscreteScheduler", {"interpolation_type": "log_linear"}, "use use_exponential_sigmas=True"),
        ("DDPMScheduler", {"variance_type": "learned"}, "predicts a variance too"),
        ("UniPCMultistepScheduler", {"use_flow_sigmas": True}, 'prediction_type="flow_prediction"'),
        (
            "DPMSolverMultistepScheduler",
            {"use_flow_sigmas": True, "prediction_type": "v_prediction"},
            'prediction_type="flow_prediction"',
        ),
        ("DPMSolverMultistepScheduler", {"prediction_type": "flow_prediction"}, "needs use_flow_sigmas=True"),
        ("DPMSolverMultistepInverseScheduler", {"algorithm_type": "sde-dpmsolver++"}, "has no inverse"),
        ("DPMSolverMultistepInverseScheduler", {"use_flow_sigmas": True}, "does not go from data to noise"),
        ("DDIMInverseScheduler", {"prediction_type": "sample"}, "set_alpha_to_one=False"),
        ("RePaintScheduler", {}, "a picture and a mask at every step"),
        ("SCMScheduler", {}, "trigonometric"),
        ("IPNDMScheduler", {}, "none of the schedulers"),
    ],
)
def test_what_no_denoiser_can_serve(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        conventions_of(getattr(diffusers, name)(**options))
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["HeliosScheduler", "HeliosDMDScheduler", "MiniMaxH3Scheduler", "PiflowScheduler"])
def test_schedulers_of_newer_versions(name):
    kind = getattr(diffusers, name, None)
    if kind is None:
        pytest.skip("not in this version of diffusers")
    with pytest.raises(ValueError, match=name):
        conventions_of(kind())


@pytest.mark.parametrize(("scheduler", "got"), [("ddim", "'ddim'"), (diffusers.DDIMScheduler, "the class DDIMScheduler")])
def test_the_name_or_class_of_a_scheduler_is_none(scheduler, got):
    model = DiscoScoreModel.from_data(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), calibrate=False)
    for call in (conventions_of, model.matching, lambda it: DiscoPipeline(model, it), lambda it: check_scheduler(it, 5)):
        with pytest.raises(TypeError, match=f"scheduler must be a scheduler of diffusers.*got {got}"):
            call(scheduler)


def test_dynamic_shifting_needs_its_shift():
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    pipe = DiscoPipeline(memoriser(torch.randn(64, 2, generator=rng())), scheduler)
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(ValueError, match="needed by it"):
        pipe(2, 3)
    shifted = pipe(2, 3, mu=1.0, generator=rng()).samples
    assert not torch.allclose(shifted, pipe(2, 3, mu=0.0, generator=rng()).samples)
    pipe.scheduler = diffusers.DDIMScheduler(clip_sample=False)
    with pytest.raises(ValueError, match="use_dynamic_shifting=True only"):
        pipe(2, 3, mu=1.0)


def test_samples_that_are_no_numbers_are_not_returned():
    pipe = DiscoPipeline(
        memoriser(torch.randn(64, 2, generator=rng())),
        diffusers.UniPCMultistepScheduler(lower_order_final=False),
    )
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(ValueError, match="UniPCMultistepScheduler cannot be run as it is configured"):
        pipe(2, 10)
