"""Which device things are on: numpy data go to the model, generators are where they draw, and no default device matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import perturbed

from disco_samplers import LangevinSampler
from disco_samplers.arrays import device_of, placed
from disco_samplers.estimators import PartsEstimator
from disco_samplers.measures import (
    entropy,
    fisher_information,
    kernel_stein_discrepancy,
    kl_divergence,
    maximum_mean_discrepancy,
    mutual_information,
    relative_fisher_information,
    sliced_wasserstein,
)
from disco_samplers.posteriors import merge_subposteriors, merged_posterior
from disco_samplers.reference import KDE, SDKDE, Gaussian, StudentT
from disco_samplers.samplers import ALGORITHMS
from disco_samplers.samplers.steps.birth_death import survivors
from disco_samplers.scores import ladder, smooth

X = np.random.default_rng(0).normal(size=(60, 2))
MODEL, AXES = perturbed(), perturbed("axes")
CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")
QUIET = {"progress": False}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Asked(Exception):
    """Says on which device something was asked for."""


class Density:
    """A density or score on a device that no array is on."""

    device, dim = ELSEWHERE, 2

    def log_prob(self, points):
        raise Asked(points.device)

    __call__ = score = log_prob


class Elsewhere(Density):
    """A model there."""

    def condition(self, samples, **options):
        raise Asked(samples.device)


def own(points):
    raise Asked(points.device)


def merge(shards, model):
    return merged_posterior(shards, model=model)


FOLLOWING = {
    "entropy": lambda x, m: entropy(x, model=m, marginals="linear"),
    "kl": lambda x, m: kl_divergence(x, x + 1, model=m, marginals="linear"),
    "mutual": lambda x, m: mutual_information(x[:, :1], x[:, 1:], model=m, marginals="linear"),
    "fisher": lambda x, m: fisher_information(x, model=m, marginals="linear"),
    "relative": lambda x, m: relative_fisher_information(x, x + 1, model=m, marginals="linear"),
    "relative to": lambda x, m: relative_fisher_information(x, q_score=m.score, model=m, marginals="linear"),
    "stein": kernel_stein_discrepancy,
    "initial": lambda x, m: LangevinSampler(score=Density(), method="ula").run(1, initial=x[:4], **QUIET),
    "context": lambda x, m: LangevinSampler(score=Density(), method="ula").run(1, context=x, **QUIET),
    "exact": lambda x, m: LangevinSampler(score=m, log_prob=own, method="exact").run(1, initial=x[:4], num_warmup=0, **QUIET),
    "flow": lambda x, m: LangevinSampler(score=own, method="flow", condition=m.condition).run(1, initial=x[:4], **QUIET),
}


@pytest.mark.parametrize("name", FOLLOWING)
def test_numpy_data_go_where_the_model_is(name, monkeypatch):
    monkeypatch.setattr("disco_samplers.measures.information.crossfit", lambda x, *_, **__: own(x))
    with pytest.raises(Asked, match="meta"):
        FOLLOWING[name](X, Elsewhere())


@pytest.mark.parametrize("name", FOLLOWING)
def test_a_tensor_on_another_device_than_the_model_is_named(name):
    with pytest.raises(ValueError, match=r"^(samples|p_samples|x|initial|context) is on cpu, the estimate on meta: move one"):
        FOLLOWING[name](torch.from_numpy(X), Elsewhere())


def test_shards_go_where_the_model_is(monkeypatch):
    monkeypatch.setattr("disco_samplers.posteriors.merging.subposterior", lambda x, model, **_: own(x))
    with pytest.raises(Asked, match="meta"):
        merged_posterior([X, X + 1], model=Elsewhere())
    with pytest.raises(Asked, match="cpu"):
        merged_posterior([X, torch.from_numpy(X)], model=MODEL)
    with pytest.raises(ValueError, match=r"^shards\[1\] is on cpu"):
        merged_posterior([X, torch.from_numpy(X)], model=Elsewhere())


def test_draws_of_a_distribution_go_where_its_model_is(monkeypatch):
    pyro = pytest.importorskip("disco_samplers.integrations.pyro")
    with pytest.raises(ValueError, match=r"^draws is on cpu, the estimate on meta: move one"):
        pyro.SampleDistribution(torch.from_numpy(X), model=Elsewhere())
    monkeypatch.setattr(pyro.SampleDistribution, "_unconstrain", lambda self, x: own(x))
    with pytest.raises(Asked, match="meta"):
        pyro.SampleDistribution(X, model=Elsewhere())


def test_whose_device_counts():
    assert device_of(None, X, own, Elsewhere(), torch.zeros(1)) == ELSEWHERE
    assert device_of(None, X) is None
    assert placed(torch.zeros(1), "x", None, free=False).device == CPU
    assert placed(torch.zeros(1), "x", ELSEWHERE, free=True).device == ELSEWHERE


class OtherGenerator:
    """As one of a GPU, which cannot be made here."""

    device = torch.device("cuda")


DRAWING = {
    "sample": lambda g: MODEL.condition(X).sample(2, generator=g),
    "normalized": lambda g: MODEL.condition(X).normalized(generator=g),
    "run": lambda g: LangevinSampler(score=lambda x: -x).run(1, initial=X, generator=g, **QUIET),
    "merge": lambda g: merge_subposteriors([X, X], model=MODEL, generator=g, **QUIET),
    "smooth": lambda g: smooth(MODEL.condition(X), 1.0, generator=g),
    "ladder": lambda g: ladder(MODEL.condition(X), [2.0, 1.0], generator=g),
    "reference": lambda g: KDE(torch.from_numpy(X), 1.0).sample(2, generator=g),
    "survivors": lambda g: survivors(torch.from_numpy(X), torch.zeros(60), generator=g),
}


@pytest.mark.parametrize("name", DRAWING)
def test_a_generator_of_another_device_is_named(name):
    with pytest.raises(ValueError, match=r"^generator is on cuda, what it draws is to be on cpu: make it by Generator"):
        DRAWING[name](OtherGenerator())


def test_a_generator_of_another_device_cannot_resume():
    sampler = LangevinSampler(score=lambda x: -x)
    result = sampler.run(1, initial=X, num_warmup=0, **QUIET)
    with pytest.raises(ValueError, match="generator is on cuda"):
        sampler.run(1, resume=result, generator=OtherGenerator(), **QUIET)


def sampled(method: str) -> torch.Tensor:
    model = MODEL.condition(X)
    options = {"levels": [2.0, 1.0]} if method == "annealed" else {}
    options |= {"log_prob": lambda x: -0.5 * x.square().sum(-1)} if ALGORITHMS[method].adjusted else {}
    options |= {"condition": MODEL.condition} if method == "flow" else {}
    sampler = LangevinSampler(score=model, method=method, **options)
    # Exact mode learns at the end of a window, of which there are none in a short warm-up.
    return sampler.run(2, context=X, num_warmup=50 if method == "exact" else 2, seed=0, **QUIET).draws


def merged() -> torch.Tensor:
    options = {"model": MODEL, "num_samples": 1, "num_warmup": 2, "num_chains": 5, "seed": 0} | QUIET
    return merge_subposteriors([X, X + 1], **options).draws


def distribution() -> torch.Tensor:
    pyro = pytest.importorskip("disco_samplers.integrations.pyro")
    torch.manual_seed(0)
    made = pyro.SampleDistribution(X, model=MODEL)
    return made.log_prob(made.sample((3,)))


def table() -> np.ndarray:
    sklearn = pytest.importorskip("disco_samplers.integrations.sklearn")
    density = sklearn.DiscoDensity(model=MODEL, context_size=50, trim=0.1).fit(X)
    return np.concatenate([density.score_samples(X), density.sample(2, 0)[0], density.score_training_samples()])


def denoised() -> torch.Tensor:
    diffusers = pytest.importorskip("disco_samplers.integrations.diffusers")
    model = diffusers.DiscoScoreModel.from_data(X, model=AXES, replicas=2, calibrate=True, progress=False)
    return model.score(torch.from_numpy(X).float(), 0.5)


def plasma(start: str) -> torch.Tensor:
    ours = pytest.importorskip("disco_samplers.integrations.plasma")
    grid = ours.Grid(6.0, 8)
    run = ours.Simulation(grid, [ours.load(grid, [ours.Beam()], 100, start=start)], dt=0.1)
    run.run(2, progress=False)
    return run.state.species[0].v


def velocities(start: str) -> torch.Tensor:
    pytest.importorskip("disco_samplers.integrations.plasma")
    from disco_samplers.integrations.plasma.exact import BKW
    from disco_samplers.integrations.plasma.scores import DiscoScore
    from disco_samplers.integrations.plasma.velocities import gaussian_velocities

    v = gaussian_velocities(60, [2.0, 1.0], start=start)
    bkw = BKW(2)
    of_bkw = bkw.quiet(50) if start == "quiet" else bkw.sample(50, generator=seeded())
    cell = torch.zeros(60, dtype=torch.int64, device="cpu")
    score = DiscoScore(MODEL, keys=40)
    w = torch.ones_like(v[:, 0])
    return torch.cat([v.flatten(), of_bkw.flatten(), score(v, w, cell, 1).flatten(), score.log_prob(v, w, cell, 1)])


PATHS = {
    "estimate": lambda: MODEL.condition(X).log_prob(X),
    "sample": lambda: MODEL.condition(X).sample(3, generator=seeded(), num_steps=2),
    "normalized": lambda: MODEL.condition(X).normalized(num_samples=100, generator=seeded()).log_prob(X),
    "adapt": lambda: MODEL.condition(X[:, :1]).adapt(1).log_prob(X[:, :1]),
    "adapt many columns": lambda: MODEL.condition(np.c_[X, X + 1, X**2][:40]).adapt(1).score(np.c_[X, X + 1, X**2]),
    "parts": lambda: PartsEstimator(MODEL.network, torch.from_numpy(np.r_[X, X + 9])).score(torch.from_numpy(X)),
    "smooth": lambda: smooth(MODEL.condition(X), 1.0, generator=seeded()).score(X),
    "ladder": lambda: ladder(MODEL.condition(X), [2.0, 1.0], generator=seeded())[0].score(X),
    "entropy": lambda: entropy(X, model=MODEL).contributions,
    "mutual": lambda: mutual_information(X[:, :1], X[:, 1:], model=MODEL).contributions,
    "fisher": lambda: fisher_information(X, model=MODEL).contributions,
    "stein": lambda: kernel_stein_discrepancy(X, MODEL.condition(X)).contributions,
    "wasserstein": lambda: sliced_wasserstein(torch.from_numpy(X), torch.from_numpy(X + 1)),
    "mmd": lambda: maximum_mean_discrepancy(torch.from_numpy(X), torch.from_numpy(X + 1)),
    "kde": lambda: KDE(torch.from_numpy(X), "loo").sample(3, generator=seeded()),
    "sdkde": lambda: SDKDE(torch.from_numpy(X), lambda x: -x).log_prob(X),
    "gaussian": lambda: Gaussian(torch.from_numpy(X[0]), torch.from_numpy(np.eye(2))).sample(3, generator=seeded()),
    "student": lambda: StudentT(torch.from_numpy(X[0]), torch.from_numpy(np.eye(2)), 3.0).sample(3, generator=seeded()),
    "merge": merged,
    "distribution": distribution,
    "table": table,
    "denoised": denoised,
} | {f"{method} sampler": lambda method=method: sampled(method) for method in ALGORITHMS}
PATHS |= {f"plasma, {start}": lambda start=start: plasma(start) for start in ("random", "quiet", "lattice")}
PATHS |= {f"velocities, {start}": lambda start=start: velocities(start) for start in ("random", "quiet")}


@pytest.mark.filterwarnings("ignore:.*were still spreading.*:RuntimeWarning")
@pytest.mark.parametrize("name", PATHS)
def test_the_default_device_does_not_matter(name):
    """With arrays of the CPU nothing may come to lie elsewhere, least of all where nothing can be computed."""
    expected = PATHS[name]()
    torch.set_default_device(ELSEWHERE)
    try:
        found = PATHS[name]()
    finally:
        torch.set_default_device(None)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
