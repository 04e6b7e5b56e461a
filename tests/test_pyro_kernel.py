"""Langevin kernels under ``pyro.infer.MCMC``: posteriors that are known, Pyro's published behaviour of kernels, ArviZ.

Pyro's own tests of MCMC, in our terms. What does not apply: JIT compilation, tree depth and mass-matrix structure by site
(options of NUTS and HMC that these kernels do not have), the warm-up schedule's numbers.
"""

from __future__ import annotations

import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from disco_samplers.integrations.pyro import LangevinKernel, ModelDensity, SampleDistribution
from pyro.infer.mcmc import MCMC
from pyro.infer.mcmc.api import StreamingMCMC, _MultiSampler, _UnarySampler
from torch import Tensor

from disco_samplers import LangevinSampler
from disco_samplers.extras import optional

METHODS = ["mala", "malt"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    pyro.set_rng_seed(0)


def normal_model(data: Tensor) -> None:
    y = pyro.sample("y", dist.Normal(torch.zeros(1), torch.ones(data.shape)))
    pyro.sample("obs", dist.Normal(y, torch.ones(1)), obs=data)


def mixed_model() -> None:
    x = pyro.sample("x", dist.LogNormal(0.0, 0.5))
    with pyro.plate("plate", 2):
        y = pyro.sample("y", dist.Normal(x, 1.0))
        pyro.sample("obs", dist.Normal(y, 1.0), obs=torch.zeros(2))


def assigned_model(data: Tensor) -> None:
    where = pyro.sample("where", dist.Normal(0.0, 3.0))
    with pyro.plate("rows", len(data)):
        kind = pyro.sample("kind", dist.Bernoulli(0.5))
        pyro.sample("obs", dist.Normal(torch.where(kind > 0, where, 0.0), 0.5), obs=data)


def run(
    kernel: LangevinKernel, *args: Tensor, samples: int = 100, warmup: int = 100, chains: int = 1, **options: object
) -> MCMC:
    mcmc = MCMC(kernel, num_samples=samples, warmup_steps=warmup, num_chains=chains, disable_progbar=True, **options)
    mcmc.run(*args)
    return mcmc


@pytest.mark.parametrize("method", METHODS)
def test_posterior(method: str) -> None:
    """N(0, 1) prior and y = 2 with unit noise: N(1, 1/2). Limits are six Monte Carlo errors at the effective number."""
    mcmc = run(LangevinKernel(normal_model, method=method), torch.tensor([2.0]), samples=700, warmup=200)
    y, found = mcmc.get_samples()["y"], mcmc.diagnostics()
    error = 0.5**0.5 / float(found["y"]["n_eff"]) ** 0.5
    assert abs(float(y.mean()) - 1) < 6 * error
    assert abs(float(y.var()) - 0.5) < 6 * 2**0.5 * 0.5**0.5 * error
    assert not found["divergences"]["chain 0"]
    assert 0.35 < found["acceptance rate"]["chain 0"] < 0.99


@pytest.mark.slow
def test_estimate_proposes_and_the_model_decides(disco) -> None:
    """The posterior stays that of the model, N(1, 1/2), though the score comes from draws of another, N(1.3, 0.7)."""
    draws = 1.3 + 0.7**0.5 * torch.randn(200, 1)
    kernel = LangevinKernel(normal_model, score=disco.condition(draws))
    mcmc = run(kernel, torch.tensor([2.0]), samples=500, warmup=150)
    y, found = mcmc.get_samples()["y"], mcmc.diagnostics()
    assert abs(float(y.mean()) - 1) < 6 * 0.5**0.5 / float(found["y"]["n_eff"]) ** 0.5
    assert abs(float(y.var()) - 0.5) < 0.25


@pytest.mark.parametrize("chains", [1, 2])
@pytest.mark.parametrize("draws", [None, 30, 70])
@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.filterwarnings("ignore:num_chains")
def test_interface(chains: int, draws: int | None, grouped: bool) -> None:
    mcmc = run(LangevinKernel(normal_model), torch.ones(3), samples=40, warmup=10, chains=chains)
    samples = mcmc.get_samples(draws, group_by_chain=grouped)["y"]
    if grouped:
        assert samples.shape == (chains, draws or 40, 3)
    else:
        assert samples.shape == (draws or chains * 40, 3)
    found = mcmc.diagnostics()
    assert found["y"]["n_eff"].shape == found["y"]["r_hat"].shape == (3,)
    assert set(found["divergences"]) == {f"chain {i}" for i in range(chains)}


@pytest.mark.parametrize(("chains", "cpus"), [(1, 2), (2, 1), (2, 3)])
def test_chains_in_parallel_and_one_after_another(chains: int, cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More chains than processors is Pyro's warning, and they still all run."""
    monkeypatch.setattr(torch.multiprocessing, "cpu_count", lambda: cpus)
    if chains > max(1, cpus - 1):
        with pytest.warns(UserWarning, match="drawn sequentially"):
            mcmc = MCMC(LangevinKernel(mixed_model), num_samples=20, warmup_steps=20, num_chains=chains, disable_progbar=True)
    else:
        mcmc = MCMC(LangevinKernel(mixed_model), num_samples=20, warmup_steps=20, num_chains=chains, disable_progbar=True)
    assert isinstance(mcmc.sampler, _MultiSampler if 1 < chains < cpus else _UnarySampler)
    mcmc.run()
    grouped = mcmc.get_samples(group_by_chain=True)
    assert {name: value.shape for name, value in grouped.items()} == {"x": (chains, 20), "y": (chains, 20, 2)}
    assert (grouped["x"] > 0).all()
    if chains == 2:
        assert not torch.equal(grouped["x"][0], grouped["x"][1])
    assert len(mcmc.diagnostics()["acceptance rate"]) == chains


@pytest.mark.filterwarnings("ignore:num_chains")
def test_nothing_is_left_of_an_earlier_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chains with seeds 0 and 1 are those with seeds 1 and 0, in the other order."""
    monkeypatch.setattr(torch.multiprocessing, "cpu_count", lambda: 1)

    class Seeded(LangevinKernel):
        def __init__(self, *args: object, seeds: list[int]) -> None:
            super().__init__(*args)
            self.seeds = seeds

        def setup(self, warmup_steps: int, *args: object, **kwargs: object) -> None:
            if warmup_steps:
                pyro.set_rng_seed(self.seeds.pop(0))
            super().setup(warmup_steps, *args, **kwargs)

    both = [
        run(Seeded(mixed_model, seeds=seeds), samples=20, warmup=60, chains=2).get_samples(group_by_chain=True)["x"]
        for seeds in ([0, 1], [1, 0])
    ]
    assert torch.equal(both[0], both[1].flip(0))


@pytest.mark.parametrize("method", ["mala", "malt"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_potential_is_one_number_of_any_shape(method: str, shape: tuple[int, ...]) -> None:
    def draws(shape: tuple[int, ...]) -> Tensor:
        pyro.set_rng_seed(0)
        kernel = LangevinKernel(potential_fn=lambda params: 0.5 * params["x"].square().sum().reshape(shape), method=method)
        samples: Tensor = run(kernel, samples=20, warmup=20, initial_params={"x": torch.ones(2)}).get_samples()["x"]
        return samples

    assert torch.equal(draws(shape), draws(()))
    density = ModelDensity(lambda params: 0.5 * params["x"].square().sum().reshape(shape), {"x": torch.Size([2])})
    log_prob, score = density.log_prob_and_score(torch.ones(3, 2))
    assert log_prob.tolist() == [-1.0] * 3
    assert torch.equal(score, -torch.ones(3, 2))


def test_potential_function_and_hook() -> None:
    def potential(params: dict[str, Tensor]) -> Tensor:
        return 0.5 * params["z"].square().sum() / 4

    seen: list[tuple[str, int]] = []
    mcmc = run(
        LangevinKernel(potential_fn=potential),
        samples=300,
        warmup=150,
        initial_params={"z": torch.zeros(2)},
        hook_fn=lambda kernel, params, stage, i: seen.append((stage, i)),
    )
    z = mcmc.get_samples()["z"]
    assert z.shape == (300, 2)
    assert 1.2 < float(z.std()) < 3
    assert seen == [("Warmup", i) for i in range(150)] + [("Sample", i) for i in range(300)]


def test_model_without_latents() -> None:
    def model() -> None:
        pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(1.0))

    assert run(LangevinKernel(model), samples=5, warmup=5).get_samples() == {}


def test_saved_parameters_and_summary(capsys: pytest.CaptureFixture[str]) -> None:
    mcmc = run(LangevinKernel(mixed_model), samples=20, warmup=10, save_params=["x"])
    assert set(mcmc.get_samples()) == {"x"}
    mcmc.summary()
    assert "Number of divergences: 0" in capsys.readouterr().out


def test_streaming() -> None:
    mcmc = StreamingMCMC(LangevinKernel(mixed_model), num_samples=20, warmup_steps=20, disable_progbar=True)
    mcmc.run()
    assert set(mcmc.get_statistics(group_by_chain=False)) == {"x", "y"}


def test_discrete_latents_are_summed_out() -> None:
    """Rows at 0 and at 2 with unknown assignment: ``where`` is near 2, or, as the components may share all rows, lower."""
    data = torch.tensor([0.1, -0.2, 0.3, 2.1, 1.9, 2.2])
    samples = run(LangevinKernel(assigned_model, method="malt"), data, samples=150, warmup=100).get_samples()
    assert set(samples) == {"where"}
    assert abs(float(samples["where"].median()) - 2) < 0.6


@pytest.mark.filterwarnings("ignore:num_chains")
def test_arviz_reads_it() -> None:
    arviz = optional("arviz", "files")
    if not hasattr(arviz, "from_pyro"):
        pytest.skip("ArviZ 1.x has no converter for Pyro; it takes from_dict of the draws and diagnostics()")
    mcmc = run(LangevinKernel(normal_model), torch.ones(2), samples=50, warmup=50, chains=2)
    data = arviz.from_pyro(mcmc, log_likelihood=False)
    assert data.posterior["y"].shape == (2, 50, 2)
    assert data.sample_stats["diverging"].shape == (2, 50)
    assert not data.sample_stats["diverging"].any()


def test_kernel_is_pickled_and_same_seed_same_draws() -> None:
    kernel = pickle.loads(pickle.dumps(LangevinKernel(mixed_model, method="malt")))
    pyro.set_rng_seed(1)
    first = run(kernel, samples=10, warmup=20).get_samples()["x"]
    pyro.set_rng_seed(1)
    assert torch.equal(first, run(LangevinKernel(mixed_model, method="malt"), samples=10, warmup=20).get_samples()["x"])


def test_draws_as_prior() -> None:
    prior = SampleDistribution(torch.randn(200).exp(), dist.constraints.positive)

    def model() -> None:
        scale = pyro.sample("scale", prior)
        pyro.sample("y", dist.Normal(0.0, scale), obs=torch.tensor(1.0))

    mcmc = run(LangevinKernel(model), samples=60, warmup=60)
    assert (mcmc.get_samples()["scale"] > 0).all()


def test_model_density() -> None:
    """Pyro's own potential with the sign turned; packing is undone by unpacking; vectorised and single points agree."""
    density = ModelDensity.of(mixed_model)
    points = torch.randn(6, density.dim)
    assert density.dim == 3
    parts = density.unpack(points)
    assert {name: value.shape for name, value in parts.items()} == {"x": (6,), "y": (6, 2)}
    assert torch.equal(density.pack(parts), points)
    together, score = density.log_prob_and_score(points)
    for i in range(6):
        torch.testing.assert_close(density.log_prob(points[i : i + 1])[0], together[i])
        torch.testing.assert_close(density.score(points[i : i + 1])[0], score[i])
    x, y = points[:, 0].exp(), points[:, 1:]
    wanted = dist.LogNormal(0.0, 0.5).log_prob(x) + x.log()
    wanted = wanted + (dist.Normal(x[:, None], 1.0).log_prob(y) + dist.Normal(y, 1.0).log_prob(torch.zeros(2))).sum(1)
    torch.testing.assert_close(together, wanted)
    assert (density.constrain(points)["x"] > 0).all()


def test_model_that_cannot_be_vectorised() -> None:
    def model() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x if x.item() > 0 else 2 * x, 1.0), obs=torch.tensor(1.0))

    density = ModelDensity.of(model)
    points = torch.tensor([[-1.0], [1.0]])
    wanted = dist.Normal(0.0, 1.0).log_prob(points[:, 0]) + dist.Normal(torch.tensor([-2.0, 1.0]), 1.0).log_prob(
        torch.tensor(1.0)
    )
    torch.testing.assert_close(density.log_prob(points), wanted)


def test_vectorised_chains() -> None:
    """A hundred chains at once of the same normal posterior, N(1, 1/2); false alarm below 1e-6 at 400 effective draws."""
    density = ModelDensity.of(normal_model, torch.tensor([2.0]))
    start = density.start(100)
    assert start.shape == (100, 1)
    result = LangevinSampler(score=density).run(20, initial=start, num_warmup=100, seed=0, progress=False)
    assert abs(float(result.flat.mean()) - 1) < 0.2
    assert abs(float(result.flat.var()) - 0.5) < 0.2
