"""Every public entry point as a callable of where it is to run: the table that drives ``test_devices.py``.

An entry's tags say what it takes: "data" beside a model, which may be numpy and else must be where the model is, or "draws" of
them; a "generator".
With "random" its answer hangs on random numbers, which no two kinds of device share; what is "long" is tried in one way only.
What needs an optional package skips itself.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import perturbed
from torch import Tensor
from torch.distributions import biject_to, constraints

from disco_samplers import DiscoDenoiser, DiScoFormer, Draws, LangevinSampler, measures, reference, scores
from disco_samplers.estimators import (
    AtomTransform,
    IndependentEstimator,
    JohnsonTransform,
    LinearTransform,
    PartsEstimator,
    TailTransform,
    TransformedEstimator,
    WhitenedPartsEstimator,
    log_normalizer,
)
from disco_samplers.posteriors import (
    Edgeworth,
    log_evidence,
    merge_subposteriors,
    merged_posterior,
    subposterior,
    tension,
    two_sample,
)
from disco_samplers.samplers import ALGORITHMS, integrate, relax
from disco_samplers.samplers.steps.birth_death import survivors
from disco_samplers.testing import DensityConformance, assert_mean_close, assert_same_distribution
from disco_samplers.training import (
    FAMILIES,
    Stream,
    StreamConfig,
    Trainer,
    TrainingConfig,
    consistency_loss,
    make_batch,
    training_loss,
)

MODELS = {symmetry: perturbed(symmetry, layers=1) for symmetry in ("rotations", "axes")}
RNG = np.random.default_rng(0)
X, Y, W = RNG.normal(size=(40, 2)), RNG.normal(size=(5, 2)), RNG.uniform(0.5, 2.0, size=40)
SETS, QUERIES = np.stack([X, X[::-1] + 1]), np.stack([Y, Y])
MASK = np.arange(40)[None] < np.array([[40], [25]])
HEAVY = RNG.standard_t(2.0, size=(80, 1)) @ np.array([[1.0, 0.5]]) + 0.3 * RNG.standard_t(2.0, size=(80, 2))
APART = np.r_[X[:26], X[:26] * [1.0, 0.01] + 9]
MANY = RNG.normal(size=(40, 8))
QUIET = {"progress": False}
FEW = {"num_samples": 200}


class Here:
    """Where an entry runs: models and tensors on ``device``, generators on ``generators``, data on ``data``.

    Of "numpy" data are arrays, and of "Draws" samples are draws of arrays.
    """

    def __init__(self, device: str, path: Path, *, data: str | None = None, generators: str | None = None) -> None:
        self.device, self.data = torch.device(device), data or device
        self.generators, self.path = generators or device, path

    def model(self, symmetry: str = "rotations") -> DiScoFormer:
        return copy.deepcopy(MODELS[symmetry]).to(self.device)

    def estimate(self, symmetry: str = "rotations") -> Any:
        return self.model(symmetry).condition(self.draws(X))

    def put(self, array: np.ndarray) -> Any:
        """Data as a user hands them in."""
        return array if self.data in ("numpy", "Draws") else torch.from_numpy(array.copy()).to(self.data)

    def draws(self, array: np.ndarray) -> Any:
        """Samples as a user hands them in, where draws may stand."""
        return Draws(array) if self.data == "Draws" else self.put(array)

    def tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.array(array, dtype=float)).to(self.device)

    def generator(self) -> torch.Generator:
        return torch.Generator(self.generators).manual_seed(0)


Entry = tuple[str, Callable[[Here], Any]]


def at(h: Here, estimate: Any) -> Any:
    """What an estimate says at a few points."""
    return estimate.log_prob_and_score(h.put(Y))


def white(h: Here) -> Any:
    estimate = h.model().condition(h.tensor(X))
    points = estimate.whiten(h.tensor(Y)[None])
    return points, estimate.white_log_prob(points), estimate.effective_size


def gradient(h: Here, kind: str) -> Tensor:
    y = h.tensor(Y).requires_grad_()
    return torch.autograd.grad(h.model().condition(h.tensor(X)).log_prob(y, gradient=kind).sum(), y)[0]


def moved(h: Here) -> Any:
    there = MODELS["axes"].condition(torch.from_numpy(X)).to(device=h.device)
    back = h.model().condition(h.tensor(X)).to(device="cpu")
    return there.score(h.tensor(Y)), back.score(Y)


def adapted(h: Here, x: np.ndarray, symmetry: str = "rotations") -> Any:
    return h.model(symmetry).condition(h.draws(x)).adapt().score(h.put(x[:5]))


def proposed(estimate: Any, h: Here) -> Any:
    law = estimate.proposal(generator=h.generator())
    return law.log_prob(h.put(Y)), law.sample(3, generator=h.generator())


def conditioned(h: Here, x: np.ndarray, given: dict[int, Any]) -> Any:
    law = h.model().condition(h.draws(x)).conditional(given)
    free = h.put(np.zeros((len(Y), 1, 1)) if law.batched else Y[:, :1] * np.ones(law.dim))
    return law.log_prob(free), law.score(free), law.mean(), law.std(), law.sample(2, generator=h.generator())


def directed(h: Here) -> Any:
    estimate = h.model("axes").condition(h.put(X), support=["circular:9", "real"])
    law = estimate.conditional({1: h.put(Y[:, 1])})
    return law.mean(), law.std(), law.quantile([0.1, 0.9]), estimate.modes()


def region(h: Here) -> Any:
    found = h.model().condition(h.put(X[:, :1])).highest_density(0.8, generator=h.generator())
    return found.level, found.intervals, 1.0 * found.contains(h.put(Y[:, :1])), found.fraction


def estimator(h: Here, kind: Any) -> Any:
    made = kind(h.model().network, h.tensor(APART))
    return *made.log_prob_and_score(h.tensor(APART[::9])), log_normalizer(made, generator=h.generator(), **FEW).value


def transformed(h: Here, fit: Callable[[Tensor], Any]) -> Any:
    x = h.tensor(HEAVY)
    inner = h.model().condition(x)
    return TransformedEstimator(inner, fit(x)).log_prob_and_score(x[:5]), h.model().condition(x, transform=fit(x)).score(x[:5])


def sampled(h: Here, method: str) -> Any:
    model = h.estimate()
    options = {"levels": [2.0, 1.0]} if method == "annealed" else {}
    options |= {"log_prob": lambda x: -0.5 * x.square().sum(-1)} if ALGORITHMS[method].adjusted and method != "jumps" else {}
    options |= {"condition": model.model.condition} if method == "flow" else {}
    sampler = LangevinSampler(score=model, method=method, **options)
    # Exact mode learns at the end of a window, of which there are none in a short warm-up.
    warmup = 50 if method == "exact" else 2
    return sampler.run(2, context=h.draws(X), num_chains=12, num_warmup=warmup, generator=h.generator(), **QUIET).draws


def own_score(h: Here) -> Any:
    sampler = LangevinSampler(score=lambda x: -x, log_prob=lambda x: -0.5 * x.square().sum(-1))
    return sampler.run(3, initial=h.tensor(X[:12]), num_warmup=40, generator=h.generator(), **QUIET).draws


def resumed(h: Here) -> Tensor:
    sampler = LangevinSampler(score=h.estimate())
    result = sampler.run(2, num_warmup=1, seed=0, **QUIET)
    again = sampler.run(1, resume=result, **QUIET)
    return sampler.run(1, resume=again, generator=h.generator(), **QUIET).draws


def of_alike_images(h: Here) -> Tensor:
    """Windows that see the whole image as well, as they do in data of more images."""
    ours = integration("diffusers")
    images = h.tensor(np.random.default_rng(1).normal(size=(40, 36)).cumsum(1)).float()
    near = ours.Near((3,), alike=8)
    local = ours.LocalData(images, (1, 6, 6), lambda sigma: [1.0, 0.0, 0.0], near=near, context_size=256, seed=0)
    return local.noise(images[:3] + 0.5, 0.5)


def told(h: Here) -> Any:
    """What a result says of itself."""
    pytest.importorskip("arviz_stats")
    result = LangevinSampler(score=h.estimate()).run(8, num_warmup=1, seed=0, **QUIET)
    result.save(h.path / "draws.npy")
    return result.ess, len(str(result.summary())), result.numpy()


def pictures(h: Here) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    estimate = h.estimate()
    estimate.plot(path=str(h.path / "estimate.png"))
    result = LangevinSampler(score=estimate).run(8, num_warmup=1, seed=0, **QUIET)
    result.plot(str(h.path / "draws.png"), kind="pair", reference=h.put(X))
    plt.close("all")


def cloud(h: Here, run: Callable[..., Any], *given: Any, **options: Any) -> Any:
    model = h.model()
    return run(h.tensor(X), lambda y: -y, *given, condition=lambda x: model.condition(x).score, **options)


def bounded(h: Here) -> Any:
    x = np.c_[np.exp(X[:, 0]), 1 / (1 + np.exp(X[:, 1]))]
    estimate = h.model("axes").condition(h.draws(x), support=["positive", "unit"])
    return estimate.log_prob_and_score(h.put(x[:5])), estimate.log_prob(h.put(x[:5]), gradient="score")


def kept(h: Here) -> None:
    """The contract's own tests, which are on the CPU."""

    class Law(DensityConformance):
        num_draws, grid_points = 200, 40

        def make(self) -> Any:
            return reference.Gaussian(*(value.cpu() for value in (h.tensor(X[0]), h.tensor(np.eye(2)))))

    tests = [getattr(Law(), name) for name in dir(Law) if name.startswith("test_")]
    for test in tests:
        test()


def exact(h: Here, law: Any) -> Any:
    return law.log_prob_and_score(h.tensor(Y)), law.sample(3, generator=h.generator())


def exact_law(kind: str) -> Entry:
    return "generator random", lambda h: exact(h, LAWS[kind](h.tensor))


LAWS: dict[str, Callable[[Callable[[Any], Tensor]], Any]] = {
    "Gaussian": lambda t: reference.Gaussian(t(X[0]), t(np.eye(2))),
    "GaussianMixture": lambda t: reference.GaussianMixture(t([1, 2]), t(X[:2]), t(np.ones((2, 2)))),
    "StudentT": lambda t: reference.StudentT(t(X[0]), t(np.eye(2)), 3.0),
    "StudentTMixture": lambda t: reference.StudentTMixture(t([1, 2]), t(X[:2]), t(np.ones((2, 2))), t([3, 5])),
    "Laplace": lambda t: reference.Laplace(t(X[0]), t([1, 2])),
    "KDE": lambda t: reference.KDE(t(X), "loo"),
    "KDE, whitened": lambda t: reference.KDE(t(X), 0.5, whiten=True),
    "SDKDE": lambda t: reference.SDKDE(t(X), lambda y: -y),
}


def normal_prior(x: Tensor) -> Tensor:
    return -0.05 * x.square().sum(-1)


def evidence(h: Here, **options: Any) -> Any:
    found = log_evidence(h.draws(X), lambda x: -0.5 * x.square().sum(-1), generator=h.generator(), **options)
    return found.log_z, found.standard_error


def stored(h: Here) -> Any:
    log_prob = -0.5 * (X**2).sum(1)
    found = log_evidence(Draws(h.put(X), log_prob=log_prob), model=h.model(), generator=h.generator())
    return found.log_z, found.standard_error


def law_of_draws(h: Here, **known: Any) -> Any:
    pyro = integration("pyro")
    law = pyro.SampleDistribution(Draws(h.put(X), **known), model=h.model())
    return law.log_prob(h.tensor(Y)), law.sample((3,)), law.mean, law.variance


def merged(h: Here, **options: Any) -> Tensor:
    run = {"num_samples": 1, "num_warmup": 2, "num_chains": 5, "generator": h.generator()}
    return merge_subposteriors([h.draws(X), h.draws(X + 1)], prior=normal_prior, **run, **options, **QUIET).draws


def sums(h: Here) -> Any:
    estimate = h.estimate()
    both = 0.5 * scores.Score(estimate) + scores.from_log_prob(normal_prior) - scores.Score(lambda x: -x, normal_prior)
    return both.log_prob_and_score(h.tensor(Y))


def batches(h: Here) -> Any:
    return [make_batch(family, 2, 3, 32, 16, h.generator(), weighted=True)[1:5] for family in FAMILIES]


def loss(h: Here) -> Any:
    batch = make_batch("paper", 2, 3, 32, 16, h.generator(), far=4, columns=True).to(h.device)
    wide = {name: value.double() for name, value in batch._asdict().items() if isinstance(value, torch.Tensor)}
    batch = batch._replace(frame=type(batch.frame)(*(value.double() for value in batch.frame)), **wide)
    network = h.model("axes").network.double().requires_grad_()  # rounding of second derivatives is not what is looked at
    log_prob, score = network(batch.context, batch.query, batch.counts, None, batch.frame)
    total = training_loss(log_prob, score, batch.log_prob, batch.score, context=32, far=4).total
    total = total + consistency_loss(network, batch.context, batch.query[:, :4], None, batch.frame, batch.counts)
    total.backward()
    return total, torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def trained(h: Here) -> Any:
    stream = StreamConfig(max_dim=2, common_dim=2, max_samples=32, queries=16, max_batch=2, far=0.2, weighted=0.5)
    config = TrainingConfig(stream=stream, consistency=0.1)
    trainer = Trainer(MODELS["axes"].config, config, h.path / "run", h.device)
    # Torch's optimisers count their steps on the default device; the validation takes long.
    with torch.device("cpu"), mock.patch.object(trainer, "validate", dict):
        trainer.run(5.0, max_steps=2, progress=False)
    trainer.resume(h.path / "run")
    return trainer.step, next(iter(Stream(stream, h.generator()))).context.shape[1:]


CORE: dict[str, Entry] = {
    "condition": ("data draws", lambda h: at(h, h.estimate())),
    "condition on columns": ("data draws", lambda h: at(h, h.estimate("axes"))),
    "condition with weights": ("data", lambda h: at(h, h.model().condition(h.put(X), weights=h.put(W)))),
    "condition with a size": ("data draws", lambda h: at(h, h.model().condition(h.draws(X), effective_size=20.0))),
    "condition on sets": ("data", lambda h: h.model().condition(h.put(SETS), mask=h.put(MASK)).score(h.put(QUERIES))),
    "condition on sets with weights": (
        "data",
        lambda h: h.model("axes").condition(h.put(SETS), weights=h.put(np.stack([W, W]))).score(h.put(QUERIES)),
    ),
    "condition on Draws": ("data", lambda h: at(h, h.model().condition(Draws(h.put(X), weights=h.put(W))))),
    "adapt on Draws": ("data", lambda h: at(h, h.model().condition(Draws(h.put(X), weights=h.put(W))).adapt())),
    "entropy of Draws": (
        "data",
        lambda h: measures.entropy(Draws(h.put(X), weights=h.put(W)), model=h.model(), calibrate=False).value,
    ),
    "merging Draws": (
        "data",
        lambda h: (
            merge_subposteriors(
                [Draws(h.put(X), weights=h.put(W)), h.put(X + 1)],
                model=h.model(),
                num_samples=1,
                num_warmup=1,
                num_chains=4,
                generator=h.generator(),
                **QUIET,
            ).draws
        ),
    ),
    "distances of Draws": (
        "",
        lambda h: measures.sliced_wasserstein(Draws(h.tensor(X), weights=h.tensor(W)), h.tensor(X + 1)),
    ),
    "condition on Draws of chains": (
        "data",
        lambda h: pytest.importorskip("arviz_stats") and at(h, h.model().condition(Draws(h.put(X.reshape(2, 20, 2))))),
    ),
    "Draws.resample": (
        "generator random",
        lambda h: Draws(h.tensor(X), weights=h.tensor(W)).resample(9, generator=h.generator()).thin().values,
    ),
    "condition on repeated rows": ("data draws", lambda h: at(h, h.model().condition(h.draws(np.r_[X, X[:3]])))),
    "condition in groups": ("data draws", lambda h: at(h, h.model().condition(h.draws(X), keys=16))),
    "condition on a constant column": (
        "data draws",
        lambda h: h.model("axes").condition(h.draws(np.c_[X, X[:, 0] * 0])).score(h.put(np.c_[Y, Y[:, 0] * 0])),
    ),
    "condition on a support": (
        "data draws",
        lambda h: (
            h.model().condition(h.draws(np.exp(X)), transform=biject_to(constraints.positive).inv).score(h.put(np.exp(Y)))
        ),
    ),
    "estimate of columns with a support": ("data draws", bounded),
    "estimate of angles": (
        "data draws",
        lambda h: h.model("axes").condition(h.draws(X), support=["circular:9", "real"]).log_prob_and_score(h.put(Y)),
    ),
    "estimate of ordered columns": (
        "data draws",
        lambda h: (
            h.model("axes")
            .condition(h.draws(np.sort(X, 1)), support={(0, 1): "ordered"})
            .log_prob_and_score(h.put(np.sort(Y, 1)))
        ),
    ),
    "shipped weights": (
        "data",
        lambda h: at(h, DiScoFormer.from_pretrained(map_location=str(h.device)).condition(h.put(X))),
    ),
    "white density": ("", white),
    "forward": ("", lambda h: h.model()(h.tensor(X), h.tensor(Y))),
    "gradient of the density": ("", lambda h: gradient(h, "density")),
    "gradient by the score": ("", lambda h: gradient(h, "score")),
    "proposal": ("data draws generator random", lambda h: proposed(h.estimate(), h)),
    "sample": ("data draws generator random", lambda h: h.estimate().sample(3, generator=h.generator(), num_steps=2)),
    "normalized": ("data draws generator random", lambda h: at(h, h.estimate().normalized(generator=h.generator(), **FEW))),
    "calibrated": ("data draws generator random", lambda h: at(h, h.estimate().calibrated(generator=h.generator(), **FEW))),
    "to": ("", moved),
    "with_model": ("data draws", lambda h: at(h, h.estimate().with_model(h.model("axes")))),
    "marginal": ("data draws", lambda h: h.model().condition(h.draws(X)).marginal([1]).log_prob_and_score(h.put(Y[:, :1]))),
    "conditional": ("data draws generator random", lambda h: conditioned(h, X, {0: h.put(Y[:, 0])})),
    "conditional of two columns": ("data draws generator random", lambda h: conditioned(h, MANY[:, :3], {1: 0.5})),
    "conditional and modes of angles": ("data", directed),
    "highest density": ("data generator random", region),
    "modes": ("data", lambda h: h.model().condition(h.put(X)).modes()),
    "conditional of many columns": ("data generator random long", lambda h: conditioned(h, MANY[:, :5], {0: 0.5})),
    "adapt": ("data draws random", lambda h: adapted(h, X)),
    "adapt one column": ("data draws random", lambda h: adapted(h, X[:, :1])),
    "adapt many columns": ("data draws random", lambda h: adapted(h, MANY, "axes")),
    "adapt clusters with heavy tails": ("data random long", lambda h: adapted(h, APART)),
    "parts": ("generator random", lambda h: estimator(h, PartsEstimator)),
    "whitened parts": ("generator random", lambda h: estimator(h, WhitenedPartsEstimator)),
    "independent columns": ("generator random", lambda h: estimator(h, IndependentEstimator)),
    "atoms": ("", lambda h: transformed(h, lambda x: AtomTransform.fit(x.clamp_min(0), x.new_full((2,), 0.01)))),
    "Johnson transform": ("", lambda h: transformed(h, JohnsonTransform.fit)),
    "radial tails": ("", lambda h: transformed(h, lambda x: TailTransform.fit(x, 1.0, radial=True))),
    "tails of columns": ("", lambda h: transformed(h, lambda x: TailTransform.fit(x, 1.0, radial=False))),
    "linear transform": ("", lambda h: transformed(h, lambda x: LinearTransform(x.mean(0), x.T.cov()))),
    "pictures": ("data random long", pictures),
    "sampler with a score of one's own": ("generator random", own_score),
    "sampler from given points": (
        "data generator random",
        lambda h: (
            LangevinSampler(score=h.model().condition(h.tensor(X)))
            .run(1, initial=h.put(X[:4]), num_warmup=1, generator=h.generator(), **QUIET)
            .draws
        ),
    ),
    "resume": ("data draws generator random", resumed),
    "result": ("data random long", told),
    "relax": ("", lambda h: [cloud(h, relax, num_steps=3)[0].position]),
    "integrate": ("", lambda h: pytest.importorskip("torchdiffeq") and cloud(h, integrate, [0.0, 0.1])),
    "entropy": ("data draws random", lambda h: measures.entropy(h.draws(X), model=h.model()).contributions),
    "entropy by the shipped model": ("random", lambda h: measures.entropy(h.tensor(X)).contributions),
    "kl_divergence": (
        "data draws random",
        lambda h: measures.kl_divergence(h.draws(X), h.draws(X + 1), model=h.model()).contributions,
    ),
    "mutual_information": (
        "data random",
        lambda h: measures.mutual_information(h.put(X[:, 0]), h.put(X[:, 1:]), model=h.model()).contributions,
    ),
    "conditional_mutual_information": (
        "data random",
        lambda h: (
            measures.conditional_mutual_information(
                h.put(X[:, 0]), h.put(X[:, 1]), h.put(X[:, 0] * X[:, 1]), model=h.model()
            ).contributions
        ),
    ),
    "transfer_entropy": (
        "data random",
        lambda h: measures.transfer_entropy(h.put(X[:, 0]), h.put(X[:, 1]), model=h.model()).contributions,
    ),
    "fisher_information": (
        "data draws",
        lambda h: measures.fisher_information(h.draws(X), model=h.model(), marginals="linear", folds=2).contributions,
    ),
    "relative_fisher_information": (
        "data draws random",
        lambda h: measures.relative_fisher_information(h.draws(X), h.draws(X + 1), model=h.model(), folds=2).contributions,
    ),
    "relative to a score": (
        "data draws",
        lambda h: (
            measures.relative_fisher_information(
                h.draws(X), q_score=h.model().condition(h.tensor(X)), model=h.model(), marginals="johnson", folds=2
            ).contributions
        ),
    ),
    "kernel_stein_discrepancy": (
        "data draws",
        lambda h: measures.kernel_stein_discrepancy(h.draws(X), h.model().condition(h.tensor(X))).contributions,
    ),
    "sliced_wasserstein": ("", lambda h: measures.sliced_wasserstein(h.tensor(X), h.tensor(X + 1))),
    "maximum_mean_discrepancy": ("", lambda h: measures.maximum_mean_discrepancy(h.tensor(X), h.tensor(X + 1))),
    "precision_recall": ("", lambda h: measures.precision_recall(h.tensor(X), h.tensor(X + 1))),
    "nearest_distances": ("", lambda h: measures.nearest_distances(h.tensor(X), h.tensor(Y))),
    "merge_subposteriors": ("data draws generator random", lambda h: merged(h, model=h.model())),
    "merged_posterior": (
        "data draws generator random",
        lambda h: merged_posterior([h.draws(X), h.draws(X + 1)], model=h.model(), generator=h.generator()).score(h.tensor(Y)),
    ),
    "log_evidence": ("generator random", lambda h: evidence(h, proposal="mixture")),
    "log_evidence by an estimate": (
        "data draws generator random",
        lambda h: evidence(h, proposal="estimate", model=h.model()),
    ),
    "log_evidence of stored values": ("data generator random", stored),
    "tension": (
        "generator random long",
        lambda h: float(tension(h.tensor(X), h.tensor(X + 1), proposal="mixture", generator=h.generator()).shift),
    ),
    "tension by the better": (
        "data draws generator random",
        lambda h: float(tension(h.draws(X), h.draws(X + 1), model=h.model(), generator=h.generator()).shift),
    ),
    "two_sample": (
        "generator random",
        lambda h: two_sample(h.tensor(X), h.tensor(X + 1), num_permutations=19, generator=h.generator()).log_ratio(h.tensor(Y)),
    ),
    "two_sample by an estimate": (
        "data draws generator random",
        lambda h: two_sample(
            h.draws(X),
            h.draws(X + 1),
            num_permutations=19,
            proposal="estimate",
            model=h.model(),
            generator=h.generator(),
        ).log_ratio(h.tensor(Y)),
    ),
    "subposterior": (
        "data draws generator",
        lambda h: subposterior(h.draws(X), h.model(), adapt=True, generator=h.generator()).base.score(h.tensor(Y)),
    ),
    "subposterior of Draws": (
        "data generator random",
        lambda h: subposterior(Draws(h.put(X), weights=h.put(W)), h.model(), generator=h.generator()).score(h.tensor(Y)),
    ),
    "Edgeworth": ("", lambda h: Edgeworth(h.tensor(X)).log_prob_and_score(h.tensor(Y))),
    "sum of scores": ("data draws", sums),
    "smooth": (
        "data draws generator random",
        lambda h: scores.smooth(h.estimate(), 1.0, generator=h.generator()).score(h.put(Y)),
    ),
    "smooth by columns": (
        "data generator random",
        lambda h: scores.smooth(h.estimate(), h.tensor([1.0, 0.5]), copies=2, generator=h.generator()).score(h.put(Y)),
    ),
    "ladder": (
        "data generator random",
        lambda h: scores.ladder(h.estimate(), [2.0], generator=h.generator())[0].score(h.put(Y)),
    ),
    "transform": (
        "data",
        lambda h: scores.transform(h.estimate(), biject_to(constraints.positive)).log_prob_and_score(h.tensor(Y)),
    ),
    "survivors": ("generator random", lambda h: survivors(h.tensor(X), h.tensor(X[:, 0]), generator=h.generator())),
    "SSGE": ("", lambda h: reference.SSGE(h.tensor(X)).score(h.tensor(Y))),
    "NuMethod": ("", lambda h: reference.NuMethod(h.tensor(X)).score(h.tensor(Y))),
    "OptimalDenoiser": ("", lambda h: reference.OptimalDenoiser(h.tensor(X)).log_prob(h.tensor(Y), 0.5)),
    "assert_mean_close": ("", lambda h: assert_mean_close(h.tensor(X), [0.0, 0.0], sd=[1.0, 1.0])),
    "assert_same_distribution": ("", lambda h: assert_same_distribution(h.tensor(X), h.tensor(X[::-1]))),
    "DensityConformance": ("", kept),
    "make_batch": ("random", batches),
    "training_loss": ("random", loss),
    "Trainer": ("random", trained),
}
CORE |= {f"sampler {name}": ("data draws generator random", lambda h, name=name: sampled(h, name)) for name in ALGORITHMS}
CORE |= {f"reference {name}": exact_law(name) for name in LAWS}


def integration(name: str) -> Any:
    """An integration, whose package may be missing."""
    if name != "plasma":
        pytest.importorskip(name)
    return import_module(f"disco_samplers.integrations.{name}")


def table(h: Here) -> Any:
    sklearn = integration("sklearn")
    density = sklearn.DiscoDensity(model=h.model(), device=str(h.device), context_size=30, trim=0.1).fit(X)
    return density.score_samples(Y), density.transform(Y), density.sample(2, 0), density.score_training_samples(2)


def holed_table(h: Here) -> Any:
    sklearn = integration("sklearn")
    holes = [np.where(np.arange(rows.size).reshape(rows.shape) % 7 == 0, np.nan, rows) for rows in (X, Y)]
    density = sklearn.DiscoDensity(model=h.model(), device=str(h.device), trim=0.1).fit(holes[0])
    features = np.nan_to_num(density.transform(holes[1]))  # a missing cell has no gradient
    return density.score_samples(holes[1]), features, density.score_training_samples(2, whole=True)


def outliers(h: Here) -> Any:
    sklearn = integration("sklearn")
    detector = sklearn.DiscoOutlierDetector(model=h.model(), device=str(h.device), folds=2).fit(X)
    return detector.decision_function(np.r_[X, Y]), detector.p_values(Y), detector.explain(np.r_[X[:2], Y[:2]])


def regressed(h: Here) -> Any:
    sklearn = integration("sklearn")
    fitted = sklearn.DiscoRegressor(model=h.model(), device=str(h.device)).fit(X[:, :1], X[:, 1])
    return fitted.predict(Y[:, :1], return_std=True), fitted.log_prob(Y[:, :1], Y[:, 1]), fitted.sample(Y[:, :1], 2, 0)


def prior(h: Here, values: np.ndarray, support: Any, **options: Any) -> Any:
    pyro = integration("pyro")
    law = pyro.SampleDistribution(h.draws(values), support, model=h.model(), **options)
    return law.log_prob(h.tensor(values[:5])), law.expand([2]).sample((3,)), law.mean, law.variance


def latents(y: Tensor) -> None:
    import pyro
    from pyro.distributions import LogNormal, Normal

    scale = pyro.sample("scale", LogNormal(y.new_zeros(()), 1.0))
    mean = pyro.sample("mean", Normal(torch.zeros_like(y), 1.0).to_event(1))
    pyro.sample("y", Normal(mean, scale).to_event(1), obs=y)


def pyro_density(h: Here) -> Any:
    pyro = integration("pyro")
    density = pyro.ModelDensity.of(latents, h.tensor([0.3, -1.0]))
    start = density.start(3)
    return density.log_prob_and_score(start), density.constrain(start)


def pyro_guide(h: Here) -> Any:
    pyro = integration("pyro")
    guide, y = pyro.AutoDiSco(latents, num_particles=12, network=h.model()), h.tensor([0.3, -1.0])
    guide.fit(y, num_steps=2, **QUIET)
    return guide.particles, guide.median(), guide(y), guide.draws()


def pyro_kernel(h: Here) -> Any:
    pyro = integration("pyro")
    from pyro.infer import MCMC

    mcmc = MCMC(pyro.LangevinKernel(latents), num_samples=3, warmup_steps=30, disable_progbar=True)
    mcmc.run(h.tensor([0.3, -1.0]))
    return mcmc.get_samples()


def diffusion(h: Here, **options: Any) -> Any:
    ours = integration("diffusers")
    options = {"model": h.model("axes"), "replicas": 1, "calibrate": False} | options
    return ours, ours.DiscoScoreModel.from_data(h.draws(X), **options)


def denoised(h: Here) -> Any:
    _, model = diffusion(h, calibrate=True, replicas=2)
    y = h.tensor(Y).float()
    return model(y, 500).sample, model.denoise(y, 0.5), model.score(y, 0.5), model.log_prob(y, 0.5)


def of_classes(h: Here, labels: Any) -> Tensor:
    _, model = diffusion(h, labels=np.arange(40) % 2)
    y = h.tensor(Y[:4]).float()
    model.encode(torch.tensor([500], device=h.device), class_labels=labels(h))
    return model(y, 500, class_labels=labels(h), guidance_scale=2.0).sample


def wide(h: Here) -> Tensor:
    ours = integration("diffusers")
    data = np.random.default_rng(1).normal(size=(60, 4)) @ np.random.default_rng(2).normal(size=(4, 20)) * 0.5
    model = ours.DiscoScoreModel.from_data(h.put(data), model=h.model(), replicas=1, calibrate=False)
    return model.score(h.tensor(data[:3]).float(), 0.5)


def patch_by_patch(h: Here) -> Any:
    """Images whose answers, and how wide their windows are, are chosen by images held out; and some restored."""
    ours = integration("diffusers")
    images = np.random.default_rng(1).choice([-1.0, 1.0], size=(60, 1, 6, 6)).cumsum(3).clip(-1, 1)
    model = ours.DiscoScoreModel.from_data(h.put(images), model=h.model(), locality="auto", context_size=256)
    y = h.tensor(images[:3]).float()
    seen = torch.ones((6, 6), dtype=torch.bool, device=h.device).tril()
    return model.denoise(y, 0.5), model.measured(ours.Measurement.of_pixels(y, seen)).denoise(y, 0.5), model.stack


def told(h: Here) -> Any:
    estimate = DiscoDenoiser.from_pretrained().to(h.device).condition(h.put(X), 0.5)
    return at(h, estimate), estimate.denoise(h.tensor(Y))


def likelihood(h: Here, divergence: str) -> Tensor:
    pytest.importorskip("torchdiffeq")
    ours, model = diffusion(h)
    return ours.probability_flow_log_prob(model, h.tensor(Y).float(), num_steps=2, divergence=divergence)


def pipeline(h: Here, scheduler: str, on: str | None = None) -> Tensor:
    """Drawn from noise of the model's device or, as diffusers allows, of the CPU."""
    ours, model = diffusion(h)
    import diffusers

    kind = getattr(diffusers, scheduler, None) or getattr(ours, scheduler)
    options = {"clip_sample": False} if scheduler == "DDIMScheduler" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with torch.device("cpu") if hasattr(diffusers, scheduler) else nullcontext():  # as diffusers' own must be made
            made = kind(**options)
        pipe = ours.DiscoPipeline(model, made)
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator(on or h.device).manual_seed(0)
        return pipe(num_samples=3, num_inference_steps=3, generator=generator).samples


def guided(h: Here) -> Tensor:
    ours, model = diffusion(h)
    from diffusers import DDIMScheduler

    with torch.device("cpu"):
        scheduler = DDIMScheduler(clip_sample=False)
    scheduler = ours.DiscoGuidance(model, correct=0.1, diversify=0.05).wrap(scheduler)
    scheduler.set_timesteps(2)
    y = h.tensor(X[:12])
    for t in scheduler.timesteps:
        y = scheduler.step(torch.zeros_like(y), t, y).prev_sample
    return y


def looked_at(h: Here) -> Any:
    ours = integration("diffusers")
    from diffusers import FlowMatchEulerDiscreteScheduler

    with torch.device("cpu"):
        scheduler = FlowMatchEulerDiscreteScheduler()
    found = ours.check_scheduler(scheduler, 4, num_samples=64)
    return found.start, found.worst, found.distance, ours.conventions_of(scheduler)["num_train_timesteps"]


def memorised(h: Here) -> Any:
    ours = integration("diffusers")
    report = ours.memorisation(h.tensor(X[:12]), h.tensor(X[12:26]), h.tensor(X[26:]))
    return report.copied


CELL = np.arange(40) % 2


def velocity_score(h: Here, make: Callable[[Any], Any]) -> Any:
    integration("plasma")
    from disco_samplers.integrations.plasma import scores as velocity_scores

    score = make(velocity_scores)
    here = (h.tensor(X), h.tensor(W), h.tensor(CELL).long(), 2)
    return (score(*here), score.log_prob(*here)) if hasattr(score, "log_prob") else score(*here)


def collided(h: Here, kind: str, **options: Any) -> Tensor:
    ours = integration("plasma")
    operator = getattr(ours, kind)(ours.Blob(), **options)
    return operator(h.tensor(X), h.tensor(W), h.tensor(CELL).long(), 2, h.generator())


def collision_step(h: Here) -> Tensor:
    ours = integration("plasma")
    from disco_samplers.integrations.plasma.collisions import collide

    operator = ours.Landau(ours.Blob(), strength=0.1, exponent=-2, method="batches", batch_size=8)
    return collide(operator, h.tensor(X), h.tensor(W), h.tensor(CELL).long(), 2, 0.01, generator=h.generator())


def between(h: Here, **options: Any) -> Any:
    ours = integration("plasma")
    from disco_samplers.integrations.plasma.collisions import collide_species

    species = [
        ours.Species(name, h.tensor(W), h.tensor(X) * scale, h.tensor(W), charge, mass)
        for name, scale, charge, mass in (("electrons", 1.0, -1.0, 1.0), ("ions", 0.5, 1.0, 4.0))
    ]
    cells = [h.tensor(CELL).long()] * 2
    mixture = ours.Mixture.of(species, cells, 2)
    operator = ours.MultispeciesLandau(ours.Blob(), strength=0.1, subcycle=0.1, **options)
    due = operator.cycles(mixture, 0.01)
    return operator.rates(mixture), due, collide_species(operator, mixture, 0.01, factor=due, generator=h.generator())


def simulated_species(h: Here) -> Any:
    ours = integration("plasma")
    grid = ours.Grid(6.0, 8)
    beams = [ours.Beam((0.0, 0.0), (1.0, 2.0))]
    species = [ours.load(grid, beams, 64, name=name, mass=mass, device=h.device) for name, mass in (("a", 1.0), ("b", 4.0))]
    operator = ours.MultispeciesLandau(ours.Blob(), strength=0.01, exponent=-2, method="batches", batch_size=8, subcycle=0.1)
    run = ours.Simulation(grid, species, dt=0.05, applied=0.1, collisions=operator, collision_cells=2)
    result = run.run(2, entropy_every=2, **QUIET)
    run.save(h.path / "state.pt")
    run.load(h.path / "state.pt")
    return (
        run.state.species[1].v,
        result.history["entropy_production"][::2],
        [check.value for check in ours.startup_checks(run)],
    )


def loaded(h: Here) -> Any:
    ours = integration("plasma")
    grid = ours.Grid(6.0, 8)
    species = ours.load_draws(grid, Draws(h.tensor(X), weights=h.tensor(W)), seed=0, device=h.device)
    run = ours.Simulation(grid, [species], 0.1, collisions=ours.Landau(ours.Blob(), strength=0.1, exponent=0))
    return species.x, species.v, species.w, [check.value for check in ours.startup_checks(run)]


def exact_relaxation(h: Here) -> Any:
    integration("plasma")
    from disco_samplers.integrations.plasma.exact import maxwell_pressure, maxwell_species, ornstein_uhlenbeck

    mean, spread = ornstein_uhlenbeck(
        h.tensor(X[0]), h.tensor(np.eye(2)), 1.0, frequency=0.1, target=h.tensor(X[1]), temperature=2.0
    )
    two = h.tensor([1.0, 2.0])
    species = maxwell_species(
        h.tensor(X[:2]),
        h.tensor(np.stack([np.eye(2)] * 2)),
        1.0,
        density=two,
        mass=two,
        strength=h.tensor(np.eye(2)),
        num_steps=2,
    )
    return maxwell_pressure(h.tensor([[1.5, 0.0], [0.0, 0.5]]), 1.0, strength=0.1), mean, spread, species


def relaxed(h: Here) -> Any:
    ours = integration("plasma")
    operator = ours.Landau(ours.DiscoScore(h.model()), strength=0.1, exponent=-2, method="batches")
    run = ours.Homogeneous(h.tensor(X), operator, dt=0.05, w=h.tensor(W)).run(1, entropy=True, **QUIET)
    run.save(h.path / "run.safetensors")
    again = ours.Homogeneous.load(h.path / "run.safetensors", operator, device=h.device).run(1, **QUIET)
    return again.v, again.column("energy")


def simulated(h: Here, fields: str, start: str) -> Any:
    ours = integration("plasma")
    grid = ours.Grid(6.0, 8)
    beams = [ours.Beam((0.0, 0.0), (1.0, 2.0))]
    species = ours.load(grid, beams, 128, amplitude=0.1, start=start, device=h.device)
    operator = ours.Landau(ours.Blob(), strength=0.01, exponent=-2, method="batches")
    run = ours.Simulation(grid, [species], dt=0.05, fields=fields, light_speed=2.0, collisions=operator, collision_cells=2)
    result = run.run(2, entropy_every=2, **QUIET)
    run.save(h.path / "state.pt")
    run.load(h.path / "state.pt")
    run.step()
    return run.state.species[0].v, run.state.electric, result.energy_error


def watched(h: Here) -> Any:
    """A run whose observers draw and write it."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("openpmd_api")
    ours = integration("plasma")
    grid = ours.Grid(6.0, 8)
    run = ours.Simulation(grid, [ours.load(grid, [ours.Beam()], 64, device=h.device)], dt=0.1)
    film = ours.Animation(str(h.path / "run.gif"), every=1)
    run.run(1, observers=[film, ours.OpenPMDWriter(h.path / "run", every=1)], **QUIET)
    return film.frames


def problem(h: Here, name: str) -> Tensor:
    pytest.importorskip("scipy")
    integration("plasma")
    import dataclasses

    from disco_samplers.integrations.plasma.runfile import read_run

    run = read_run(name, device=str(h.device)).simulation
    fewer = slice(None, None, len(run.state.species[0].x) // 200)
    species = [dataclasses.replace(s, x=s.x[fewer], v=s.v[fewer], w=s.w[fewer]) for s in run.state.species]
    type(run)(run.grid, species, run.dt, collisions=run.collisions, collision_cells=1).step()
    return species[0].v


def carried(h: Here) -> Tensor:
    pytest.importorskip("torchdiffeq")
    ours = integration("plasma")
    from disco_samplers.integrations.plasma.transport import transport

    return transport(h.tensor(X), [0.0, 0.1], drift=lambda x: -x, diffusion=1.0, score=ours.Blob(), **QUIET).x


def velocities(h: Here) -> Any:
    integration("plasma")
    from disco_samplers.integrations.plasma.exact import BKW
    from disco_samplers.integrations.plasma.velocities import gaussian_velocities

    made = [gaussian_velocities(20, [2.0, 1.0], start=start, device=h.device) for start in ("random", "quiet")]
    bkw = BKW(2)
    return made, bkw.sample(20, generator=h.generator(), device=h.device), bkw.score(made[1]), bkw.quiet(20).numpy()


INTEGRATIONS: dict[str, Entry] = {
    "DiscoDensity": ("random", table),
    "DiscoDensity of missing cells": ("random", holed_table),
    "DiscoOutlierDetector": ("random", outliers),
    "DiscoRegressor": ("random", regressed),
    "SampleDistribution": ("data draws random", lambda h: prior(h, X, constraints.real)),
    "SampleDistribution of Draws": ("data random", lambda h: law_of_draws(h, weights=h.put(W))),
    "SampleDistribution of an interval": (
        "data draws random",
        lambda h: prior(h, 1 / (1 + np.exp(X)), constraints.interval(0.0, 1.0), gradient="density", validate_args=False),
    ),
    "ModelDensity": ("random", pyro_density),
    "AutoDiSco": ("random", pyro_guide),
    "LangevinKernel": ("random", pyro_kernel),
    "DiscoScoreModel": ("data draws random", lambda h: diffusion(h)[1].score(h.tensor(Y).float(), 0.5)),
    "DiscoScoreModel, calibrated": ("data random long", denoised),
    "DiscoScoreModel of a class": ("random", lambda h: of_classes(h, lambda h: 1)),
    "DiscoScoreModel of classes": ("random", lambda h: of_classes(h, lambda h: h.tensor([0, 1, 0, 1]).long())),
    "DiscoScoreModel in a basis": ("random", wide),
    "DiscoScoreModel of images": ("random", patch_by_patch),
    "LocalData of alike images": ("random", of_alike_images),
    "DiscoDenoiser": ("data", told),
    "likelihood": ("random", lambda h: likelihood(h, "exact")),
    "likelihood by probes": ("random", lambda h: likelihood(h, "hutchinson")),
    "DiscoPipeline with a generator of the CPU": ("random", lambda h: pipeline(h, "DDIMScheduler", "cpu")),
    "DiscoGuidance": ("random", guided),
    "check_scheduler": ("", looked_at),
    "memorisation": ("", memorised),
    "DiscoScore": ("random", lambda h: velocity_score(h, lambda s: s.DiscoScore(h.model(), keys=16))),
    "DiscoScore of a model of the CPU": ("random", lambda h: velocity_score(h, lambda s: s.DiscoScore(MODELS["rotations"]))),
    "Blob": ("", lambda h: velocity_score(h, lambda s: s.Blob())),
    "Maxwellian": ("", lambda h: velocity_score(h, lambda s: s.Maxwellian())),
    "Calibrated": ("", lambda h: velocity_score(h, lambda s: s.Calibrated(s.Blob()))),
    "Landau by moments": ("", lambda h: collided(h, "Landau", strength=0.1, exponent=0)),
    "Landau by pairs": ("", lambda h: collided(h, "Landau", strength=0.1, exponent=-2)),
    "Landau by batches": (
        "generator random",
        lambda h: collided(h, "Landau", strength=0.1, exponent=-2, method="batches", batch_size=8),
    ),
    "MultispeciesLandau by moments": ("generator random", lambda h: between(h, exponent=0)),
    "MultispeciesLandau by pairs": ("generator random", lambda h: between(h, exponent=-2)),
    "MultispeciesLandau by batches": (
        "generator random",
        lambda h: between(h, exponent=-2, method="batches", batch_size=8),
    ),
    "Simulation of species": ("random", simulated_species),
    "collide": ("generator random", collision_step),
    "load_draws and startup_checks": ("", loaded),
    "exact relaxation": ("", exact_relaxation),
    "Dougherty": ("", lambda h: collided(h, "Dougherty", frequency=0.1)),
    "Homogeneous": ("random", relaxed),
    "transport": ("", carried),
    "Simulation, watched": ("random long", watched),
    "velocities": ("generator random", velocities),
}
SCHEDULERS = ("DDIMScheduler", "FlowMatchEulerDiscreteScheduler", "EulerDiscreteScheduler", "DiscoLangevinScheduler")
INTEGRATIONS |= {f"DiscoPipeline, {name}": ("random", lambda h, name=name: pipeline(h, name)) for name in SCHEDULERS}
STARTS = {"electrostatic": "quiet", "electromagnetic": "random", "none": "lattice"}
INTEGRATIONS |= {
    f"Simulation, {fields}": ("random", lambda h, fields=fields, start=start: simulated(h, fields, start))
    for fields, start in STARTS.items()
}
INTEGRATIONS |= {f"problem {name}": ("random", lambda h, name=name: problem(h, name)) for name in ("two-stream", "bkw-2d")}

ENTRIES = CORE | INTEGRATIONS


def tagged(*wanted: str, short: bool = False) -> list[str]:
    """Names of the entries with these tags, ``short`` for those that are not "long" only."""
    names = [name for name, (tags, _) in ENTRIES.items() if set(wanted) <= set(tags.split())]
    return [name for name in names if not (short and "long" in ENTRIES[name][0])]
