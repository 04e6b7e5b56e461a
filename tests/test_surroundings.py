"""Answers do not depend on autocast, default dtypes, grad mode or precision settings around them."""

import contextlib
import functools

import pytest
import torch
from conftest import perturbed, points
from torch.distributions.transforms import ExpTransform

from disco_samplers import DensityEstimate
from disco_samplers.estimators import IndependentEstimator, TailTransform, WhitenedPartsEstimator


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def shortened(by):
    """Matrix products as on a GPU in TensorFloat32, by each of torch's two ways to ask for it."""
    cuda, everywhere = torch.backends.cuda.matmul, torch.backends
    before = torch.get_float32_matmul_precision()
    if by == "older":
        torch.set_float32_matmul_precision("medium")
    elif by == "cuda":
        cuda.fp32_precision = "tf32"
    else:
        everywhere.fp32_precision = "tf32"
    state = [b.fp32_precision for b in (cuda, torch.backends.mkldnn.matmul, everywhere)]
    try:
        yield
        assert [b.fp32_precision for b in (cuda, torch.backends.mkldnn.matmul, everywhere)] == state
        if by == "older":
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        everywhere.fp32_precision = "none"
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        yield
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.bfloat16


SURROUNDINGS = {
    "autocast": autocast,
    "double": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "half": lambda: default_dtype(torch.float16),
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "inference": torch.inference_mode,
    "older": lambda: shortened("older"),
    "cuda": lambda: shortened("cuda"),
    "everywhere": lambda: shortened("everywhere"),
}


def answers(model, x, y, mask):
    """Of estimates of every kind, all made and asked here."""
    rng = torch.Generator().manual_seed(0)
    flat = x.clone()
    flat[:, 1] = 5.0
    estimate = model.condition(x)
    asked = {
        "plain": estimate,
        "double": estimate.to(dtype=torch.float64),
        "groups": model.condition(x, keys=20),
        "flat": model.condition(flat),
        "normalized": estimate.normalized(num_samples=100, generator=rng),
        "adapted": model.condition(x[:40]).adapt(),
        "tails": model.condition(x, transform=TailTransform.fit(x, 0.3, radial=True)),
        "positive": model.condition(x.exp(), transform=ExpTransform().inv),
        "independent": DensityEstimate(model, x, IndependentEstimator(model.network, x)),
        "parts": DensityEstimate(model, x, WhitenedPartsEstimator(model.network, x)),
        "other": estimate.with_model(model),
    }
    found = {name: each.log_prob_and_score(y.abs() if name == "positive" else y) for name, each in asked.items()}
    found["batch"] = model.condition(torch.stack([x, x + 1]), mask=mask).log_prob_and_score(torch.stack([y, y]))
    found["white"] = [estimate.white_log_prob(estimate.whiten(y[None]))]
    found["sample"] = [estimate.sample(3, num_steps=3, generator=rng)]
    of_numpy = model.condition(x.numpy()).log_prob_and_score(y.numpy())
    found["numpy"] = [torch.as_tensor(answer, dtype=torch.float32) for answer in of_numpy]
    return found, asked


def asked_of(symmetry):
    rng = torch.Generator().manual_seed(0)
    return perturbed(symmetry), points(rng), points(rng, 7), torch.rand(2, 60, generator=rng) < 0.7


@functools.cache
def plain_answers(symmetry):
    return answers(*asked_of(symmetry))[0]


def denoised(locality):
    """By a diffusion model of images, also given a measurement, made and asked here."""
    diffusers = pytest.importorskip("disco_samplers.integrations.diffusers")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(80, 1, 5, 5, generator=generator, dtype=torch.float32).cumsum(-1) / 2
    options = {"replicas": 1, "share": 0.8} if locality is None else {"context_size": 256}
    model = diffusers.DiscoScoreModel.from_data(images, locality=locality, **options)
    given = model.measured(diffusers.Measurement.of_all(images[:3], 0.5))
    return [asked.denoise(images[:3] + 0.1, sigma).detach() for sigma in (0.1, 2.0) for asked in (model, given)]


@functools.cache
def plainly_denoised(locality):
    return denoised(locality)


@pytest.mark.parametrize("name", SURROUNDINGS)
@pytest.mark.parametrize("locality", [None, "auto"])
def test_diffusion_models_do_not_depend_on_what_surrounds_them(locality, name):
    expected = plainly_denoised(locality)
    with SURROUNDINGS[name]():
        found = denoised(locality)
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == wanted.dtype
        assert torch.equal(got.clone(), wanted)


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_answers_do_not_depend_on_what_surrounds_them(symmetry, name):
    expected, asking = plain_answers(symmetry), asked_of(symmetry)
    with SURROUNDINGS[name]():
        found, asked = answers(*asking)
    for kind, values in expected.items():
        assert [v.dtype for v in found[kind]] == [v.dtype for v in values]
        assert all(torch.equal(a, b) for a, b in zip(found[kind], values, strict=True)), kind
    # What was made there is as good as any outside.
    for kind, estimate in asked.items():
        y = torch.ones(1, estimate.dim, requires_grad=True)
        assert torch.isfinite(torch.autograd.grad(estimate.log_prob(y).sum(), y)[0]).all(), kind
