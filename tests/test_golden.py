"""Numbers that stay as they are: what each part gave, in float64 from fixed seeds, when it was last known to be right.

After a change that is meant to change them: ``python tests/test_golden.py`` writes tests/golden.json anew.
"""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import perturbed

from disco_samplers import DiScoFormer, LangevinSampler
from disco_samplers.estimators import PartsEstimator, WhitenedPartsEstimator, log_normalizer
from disco_samplers.measures import entropy, fisher_information, kl_divergence, mutual_information
from disco_samplers.posteriors import merge_subposteriors
from disco_samplers.reference import GaussianMixture

FILE = Path(__file__).with_name("golden.json")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@cache
def network(symmetry="rotations"):
    return perturbed(symmetry).double()


@cache
def shipped():
    return DiScoFormer.from_pretrained("rotations").double()


def normal(n, d, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=rng(seed))


def evaluated(estimate):
    y = normal(4, estimate.dim, 1)
    y = y[None].expand(*estimate.samples.shape[:-2], *y.shape) if estimate.samples.ndim == 3 else y
    log_prob, score = estimate.log_prob_and_score(y)
    return {"log_prob": log_prob, "score": score}


def rotations():
    return evaluated(network().condition(normal(40, 3)))


def axes():
    return evaluated(network("axes").condition(normal(40, 3)))


def constant_column():
    return evaluated(network("axes").condition(torch.cat([normal(40, 2), torch.ones(40, 1, dtype=torch.float64)], 1)))


def batch():
    mask = torch.arange(20)[None] < torch.tensor([20, 12])[:, None]
    return evaluated(network("axes").condition(normal(40, 2).view(2, 20, 2), mask=mask))


def groups():
    return evaluated(network().condition(normal(50, 2), keys=16))


def normaliser():
    value, error = network("axes").condition(normal(60, 2)).log_normalizer(num_samples=500, generator=rng())
    return {"value": value, "error": error}


def drawn():
    return {"draws": shipped().condition(normal(60, 2)).sample(3, generator=rng(), num_steps=5)}


def adapted(model, x):
    estimate = model.condition(x).adapt(num_steps=2, learning_rate=1e-3)
    report = estimate.report
    told = {"tried": list(report.tried.values()), "losses": report.losses, "criterion": report.criterion}
    kinds = [*report.tried, report.coordinates]
    return evaluated(estimate) | told | {"kinds": [f"{name} {strength}" for name, strength in kinds]} | {"kept": report.chosen}


def adapted_plain():
    return adapted(network("axes"), normal(60, 2) @ torch.tensor([[1.0, 0.5], [0.0, 0.4]], dtype=torch.float64))


def adapted_independent():
    return adapted(shipped(), torch.rand(120, 2, dtype=torch.float64, generator=rng()))


def adapted_heavy():
    x = normal(90, 2)
    return adapted(shipped(), (x / normal(90, 1, 2).abs()) @ torch.tensor([[1.0, 0.6], [0.0, 0.8]], dtype=torch.float64))


def parts():
    x = normal(64, 2)
    x[:32] = 8 + x[:32] * torch.tensor([1.0, 0.01], dtype=torch.float64)
    found = {}
    for name, made in (("plain", PartsEstimator), ("whitened", WhitenedPartsEstimator)):
        estimator = made(shipped().network, x)
        log_prob, score = estimator.log_prob_and_score(x[::16] + 0.01)
        log_z = log_normalizer(estimator, num_samples=200, generator=rng()).value
        found |= {f"{name} log_prob": log_prob, f"{name} score": score, f"{name} log z": log_z}
    return found


TARGET = GaussianMixture(
    torch.tensor([0.4, 0.6]).double(),
    torch.tensor([[-1.0, 0.0], [1.0, 0.5]]).double(),
    torch.tensor([[0.3, 0.5], [0.6, 0.2]]).double(),
)


def sampled(method, **options):
    run = {"num_warmup": 40, "seed": 0, "progress": False, "thinning": 2}
    score = options.pop("score", TARGET)
    run |= {key: options.pop(key) for key in ("context", "initial") if key in options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        result = LangevinSampler(score, method=method, **options).run(5, **run)
    last = {"last": result.draws[:, -1], "acceptance": result.acceptance, "step_size": result.step_size}
    return last | {"mean": result.flat.mean(0)}


def mala():
    return sampled("mala", context=normal(50, 2))


def mala_of_an_estimate():
    return sampled("mala", score=network(), context=normal(50, 2))


def ula():
    return sampled("ula", initial=normal(4, 2))


def baoab():
    return sampled("baoab", initial=normal(4, 2), friction=1.5)


def malt():
    return sampled("malt", context=normal(50, 2), trajectory=1.0)


def annealed():
    return sampled("annealed", initial=normal(4, 2), levels=[2.0, 1.0, 0.3])


def flow():
    return sampled("flow", initial=normal(12, 2), condition=network().condition)


def exact():
    return sampled("exact", score=network(), log_prob=TARGET.log_prob, initial=normal(12, 2))


def merged():
    shards = [normal(80, 2, k) + k for k in range(2)]
    result = merge_subposteriors(
        shards,
        prior=lambda x: -0.05 * x.square().sum(-1),
        model=network("axes"),
        num_samples=2,
        num_chains=6,
        num_warmup=10,
        thinning=2,
        seed=0,
        progress=False,
    )
    return {"last": result.draws[:, -1]}


def information():
    x = normal(60, 2).exp()
    y = normal(50, 2, 1).exp()
    options = {"model": network()}
    found = [entropy(x, **options), entropy(x, marginals="johnson", **options), kl_divergence(x, y, **options)]
    found += [mutual_information(x[:, :1], x[:, 1:], **options), fisher_information(x, folds=3, **options)]
    return {"values": [q.value for q in found], "errors": [q.standard_error for q in found]}


def pyro_distribution():
    pytest.importorskip("pyro")
    from disco_samplers.integrations.pyro import SampleDistribution
    from pyro.distributions import constraints

    prior = SampleDistribution(normal(60, 1)[:, 0].exp(), constraints.positive, model=network())
    simplex = SampleDistribution(normal(60, 3).softmax(-1), constraints.simplex, model=network(), gradient="density")
    x = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64, requires_grad=True)
    found = {}
    for name, law, point in (("positive", prior, x), ("simplex", simplex, y)):
        value = law.log_prob(point)
        found[name], found[f"{name} gradient"] = value.detach(), torch.autograd.grad(value.sum(), point)[0]
    torch.manual_seed(0)
    return found | {"draws": prior.sample((3,)), "vectors": simplex.sample((2,))}


def _pyro_model(y):
    import pyro
    import pyro.distributions as dist

    scale = pyro.sample("scale", dist.LogNormal(torch.zeros((), dtype=torch.float64), 1.0))
    mean = pyro.sample("mean", dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1))
    pyro.sample("y", dist.Normal(mean, scale).to_event(1), obs=y)


def pyro_guide():
    pyro = pytest.importorskip("pyro")
    from disco_samplers.integrations.pyro import AutoDiSco

    pyro.set_rng_seed(0)
    y = torch.tensor([0.3, -1.0], dtype=torch.float64)
    guide = AutoDiSco(_pyro_model, num_particles=16, network=network())
    losses = guide.fit(y, num_steps=4, progress=False)
    return {"losses": losses, "particles": guide.particles, "mean": guide.median()["mean"]}


def pyro_kernel():
    pyro = pytest.importorskip("pyro")
    from disco_samplers.integrations.pyro import LangevinKernel
    from pyro.infer import MCMC

    pyro.set_rng_seed(0)
    mcmc = MCMC(LangevinKernel(_pyro_model), num_samples=5, warmup_steps=10, disable_progbar=True)
    mcmc.run(torch.tensor([0.3, -1.0], dtype=torch.float64))
    return dict(mcmc.get_samples())


def sklearn():
    pytest.importorskip("sklearn")
    from disco_samplers.integrations.sklearn import DiscoDensity, DiscoOutlierDetector

    x = normal(60, 2).exp().numpy()
    density = DiscoDensity(model=network()).fit(x)
    found = {"log_density": density.score_samples(x[:3]), "gradient": density.score_gradient(x[:3])}
    found |= {"draws": density.sample(2, random_state=0), "normaliser": density.log_normalizer_}
    holes = np.where(np.arange(120).reshape(60, 2) % 7 == 0, np.nan, x)
    found |= {"missing": DiscoDensity(model=network(), normalize=False).fit(holes).score_samples(holes[:8], whole=True)}
    detector = DiscoOutlierDetector(model=network()).fit(x)
    return found | {"outliers": detector.decision_function(x[:3]), "unseen": detector.decision_function(x[:3] + 0.5)}


def diffusers():
    schedulers = pytest.importorskip("diffusers")
    from disco_samplers.integrations.diffusers import (
        DiscoPipeline,
        DiscoScoreModel,
        probability_flow_log_prob,
    )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = DiscoScoreModel.from_data(normal(80, 2), model=network(), replicas=2, calibrate=False)
        pipe = DiscoPipeline(model, schedulers.DDIMScheduler(clip_sample=False))
        pipe.set_progress_bar_config(disable=True)
        draws = pipe(num_samples=3, num_inference_steps=4, generator=rng()).samples
        log_prob = probability_flow_log_prob(model, normal(2, 2, 1).float(), num_steps=4)
    return {"draws": draws, "log_prob": log_prob}


def plasma():
    pytest.importorskip("h5py")
    from disco_samplers.integrations.plasma import Beam, DiscoScore, Grid, Landau, Simulation, load

    grid = Grid(length=4.0, cells=4)
    species = load(grid, [Beam(drift=(0.0, 0.0), temperature=(1.0, 0.5))], 160, amplitude=0.1)
    score = DiscoScore(network(), keys=32)
    found = {"score": score(normal(60, 2), torch.ones(60).double(), torch.arange(60) % 2, 2)[:3]}
    simulation = Simulation(grid, [species], dt=0.05, collisions=Landau(score, strength=0.05), collision_cells=2)
    simulation.run(2, progress=False)
    return found | {"v": simulation.state.species[0].v[:3]}


def plasma_species():
    pytest.importorskip("h5py")
    from disco_samplers.integrations.plasma import Beam, DiscoScore, Grid, MultispeciesLandau, Simulation, load

    grid, beams = Grid(length=4.0, cells=4), [Beam(drift=(0.0, 0.0), temperature=(1.0, 0.5))]
    species = [load(grid, beams, 80, name=name, mass=mass) for name, mass in (("electrons", 1.0), ("ions", 9.0))]
    collisions = MultispeciesLandau(DiscoScore(network(), keys=32), strength=0.05, exponent=-2, method="batches", batch_size=8)
    simulation = Simulation(grid, species, dt=0.05, collisions=collisions, collision_cells=2)
    simulation.run(2, progress=False)
    return {s.name: s.v[:3] for s in simulation.state.species}


CASES = [rotations, axes, constant_column, batch, groups, normaliser, drawn, adapted_plain, adapted_independent, adapted_heavy]
CASES += [parts, mala, mala_of_an_estimate, ula, baoab, malt, annealed, flow, exact, merged, information]
CASES += [pyro_distribution, pyro_guide, pyro_kernel, sklearn, diffusers, plasma, plasma_species]

CLOSE = {diffusers: 1e-4, adapted_heavy: 1e-5}
"""Where sums in single precision, which processors do in another order, end in more than the last digits."""


def plain(values):
    return {
        name: value
        if isinstance(value, (str, list, int, float))
        else np.asarray(torch.as_tensor(value).detach().cpu()).tolist()
        for name, value in values.items()
    }


def marks(case):
    return pytest.mark.slow if case.__name__.startswith("adapted") else ()


@pytest.mark.parametrize("case", [pytest.param(case, marks=marks(case), id=case.__name__) for case in CASES])
def test_golden(case):
    expected = json.loads(FILE.read_text())[case.__name__]
    found = plain(case())
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name == "kinds":
            assert found[name] == value
        else:
            np.testing.assert_allclose(found[name], value, rtol=CLOSE.get(case, 1e-6), atol=1e-9, err_msg=name)


if __name__ == "__main__":
    torch.manual_seed(0)
    FILE.write_text(json.dumps({case.__name__: plain(case()) for case in CASES}, indent=1) + "\n")
