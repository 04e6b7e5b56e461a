"""What the Pyro adapters say to models, draws and options that cannot work."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from disco_samplers.integrations.pyro import AutoDiSco, LangevinKernel, ModelDensity, SampleDistribution
from pyro.distributions import constraints
from pyro.infer import MCMC
from torch import Tensor


@pytest.fixture(autouse=True)
def seeded() -> None:
    pyro.set_rng_seed(0)


def count_model() -> None:
    pyro.sample("n", dist.Poisson(3.0))
    pyro.sample("x", dist.Normal(0.0, 1.0))


def nan_model() -> None:
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.factor("f", x * math.nan)


def improper_model() -> None:
    """What multiplies the prior is its inverse, and more."""
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.factor("f", 0.6 * x.square())


def plain_model() -> None:
    pyro.sample("x", dist.Normal(0.0, 1.0))


def subsampled_model(data: Tensor) -> None:
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(data), subsample_size=2) as rows:
        pyro.sample("y", dist.Normal(x, 1.0), obs=data[rows])


DRAWS = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
SPHERE = DRAWS / DRAWS.norm(dim=1, keepdim=True)


@pytest.mark.parametrize(
    ("draws", "support", "error", "message"),
    [
        (DRAWS, constraints.positive, ValueError, "draws: .* of 50 do not lie inside the support .*, first draw"),
        (DRAWS.exp(), constraints.simplex, ValueError, "draws: 50 of 50 do not lie inside the support"),
        (
            torch.tensor([0.5, 1.0, 0.7]),
            constraints.unit_interval,
            ValueError,
            "draws: 1 of 3 do not lie inside .*first draw 1",
        ),
        (DRAWS[:3], constraints.real, ValueError, "draws must be more than their dimensions, got 3 of 3 dimensions"),
        (DRAWS[:1], constraints.real, ValueError, "draws must have shape"),
        (torch.tensor(1.0), constraints.real, ValueError, "draws must have shape"),
        (DRAWS * math.nan, constraints.real, ValueError, "draws holds NaN or infinite values"),
        (DRAWS + 1j, constraints.real, TypeError, "draws must hold real numbers"),
        (torch.arange(9.0), constraints.nonnegative_integer, ValueError, "support must be continuous .*discrete"),
        (SPHERE, constraints.sphere, ValueError, "support must be continuous .*no bijection"),
        (DRAWS[:, 0].exp(), constraints.simplex, ValueError, "draws have 0 event dimensions, too few"),
        (DRAWS, "positive", TypeError, "support must say which column"),
        (torch.ones(20, 2), constraints.real, ValueError, "no variance"),
    ],
)
def test_draws(draws: Tensor, support: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        SampleDistribution(draws, support)


@pytest.mark.parametrize(
    ("options", "message"), [({"gradient": "both"}, "gradient must be"), ({"adapt": 8}, "adapt must be True or False")]
)
def test_options_of_draws(options: dict[str, object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        SampleDistribution(DRAWS, **options)


def test_draws_outside_through_a_model() -> None:
    prior = SampleDistribution(DRAWS[:, 0].exp(), constraints.positive)

    def model() -> None:
        pyro.sample("x", prior, obs=torch.tensor(-1.0))

    with pytest.raises(ValueError, match="within the support"):
        pyro.poutine.trace(model).get_trace().compute_log_prob()


def test_discrete_latents() -> None:
    with pytest.raises(ValueError, match="discrete sample site 'n'"):
        AutoDiSco(count_model).step()
    with pytest.raises(ValueError, match="discrete sample site 'n'"):
        MCMC(LangevinKernel(count_model), num_samples=2, disable_progbar=True).run()
    with pytest.raises(ValueError, match="discrete sample site 'n'"):
        ModelDensity.of(count_model)


def test_subsampled_plates() -> None:
    for call in (lambda d: AutoDiSco(subsampled_model).step(d), lambda d: ModelDensity.of(subsampled_model, d)):
        with pytest.raises(ValueError, match="plates that subsample"):
            call(torch.zeros(5))


def test_nan_potentials() -> None:
    with pytest.raises(ValueError, match="cannot find valid initial params"):
        MCMC(LangevinKernel(nan_model), num_samples=2, disable_progbar=True).run()
    kernel = LangevinKernel(potential_fn=lambda params: params["x"].sum() * math.nan)
    with pytest.raises(ValueError, match="the potential is NaN or infinite at the chain's first point"):
        MCMC(kernel, num_samples=2, initial_params={"x": torch.zeros(2)}, disable_progbar=True).run()
    with pytest.raises(ValueError, match="log_factor: nan"):
        AutoDiSco(nan_model).step()
    with pyro.validation_enabled(False), pytest.raises(ValueError, match="cannot find valid initial params"):
        AutoDiSco(nan_model).step()


def test_no_overlap_of_prior_and_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("disco_samplers.integrations.pyro.model_density._TRIES", 30)

    def model() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("f", torch.where(x > 0.5, 0.0, -math.inf) + 0 * x)

    with pyro.validation_enabled(False):
        hardly = ModelDensity.of(model)
    assert (hardly.start(3) > 0.5).all()
    hardly.potential_fn = lambda params: math.inf * params["x"].square()
    with pytest.raises(ValueError, match="finite at 0 starting points only, 3 are needed"):
        hardly.start(3)


def test_improper() -> None:
    def flat(params: dict[str, Tensor]) -> Tensor:
        return 0 * params["x"].sum()

    mcmc = MCMC(LangevinKernel(potential_fn=flat), 5, 200, {"x": torch.zeros(1)}, disable_progbar=True)
    with pytest.warns(RuntimeWarning, match="give every latent a proper prior"):
        mcmc.run()
    guide = AutoDiSco(improper_model, 32)
    with pytest.raises(RuntimeError, match="the posterior looks improper"):
        guide.fit(num_steps=300, progress=False)


def test_no_proposal_accepted() -> None:
    kernel = LangevinKernel(potential_fn=lambda params: 0.5 * params["x"].square().sum(), step_size=300.0)
    mcmc = MCMC(kernel, 10, 5, {"x": torch.zeros(20)}, disable_progbar=True)
    with pytest.warns(RuntimeWarning, match="none of 10 proposals was accepted"):
        mcmc.run()
    assert mcmc.diagnostics()["acceptance rate"]["chain 0"] == 0


def test_diverging_chain() -> None:
    """Finite at the start only."""

    def cliff(params: dict[str, Tensor]) -> Tensor:
        x = params["x"].sum()
        return 0 * x if params["x"].tolist() == [0.0] else math.nan * x

    with pytest.raises(RuntimeError, match="diverged in 100 steps in a row"):
        MCMC(LangevinKernel(potential_fn=cliff), 200, 0, {"x": torch.zeros(1)}, disable_progbar=True).run()


def test_divergences_are_counted() -> None:
    """A wall at 1 that returns NaN: steps beyond it are divergences, draws stay before it."""

    def wall(params: dict[str, Tensor]) -> Tensor:
        x = params["x"].sum()
        return 0.5 * x.square() if params["x"].tolist()[0] < 1 else math.nan * x

    mcmc = MCMC(LangevinKernel(potential_fn=wall, step_size=0.5), 100, 0, {"x": torch.zeros(1)}, disable_progbar=True)
    mcmc.run()
    divergences = mcmc.diagnostics()["divergences"]["chain 0"]
    assert divergences
    assert all(0 <= i < 100 for i in divergences)
    assert (mcmc.get_samples()["x"] < 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either model or potential_fn"),
        ({"model": plain_model, "potential_fn": len}, "give either model or potential_fn"),
        ({"model": plain_model, "method": "hmc"}, "method must be"),
        ({"model": plain_model, "target_acceptance": 1.5}, "target_acceptance must lie in"),
        ({"model": plain_model, "step_size": 0.0}, "step_size must be positive"),
        ({"model": plain_model, "preconditioner": "full"}, "preconditioner must be"),
        ({"model": plain_model, "step_size": 0.1, "target_acceptance": 0.6}, "give step_size, .* or target_acceptance"),
        ({"potential_fn": len, "max_plate_nesting": 1}, "max_plate_nesting and init_strategy are options of a model"),
        ({"potential_fn": len, "init_strategy": len}, "max_plate_nesting and init_strategy are options of a model"),
    ],
)
def test_options_of_the_kernel(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LangevinKernel(**options)


def test_a_target_acceptance_without_warm_up() -> None:
    kernel = LangevinKernel(plain_model, target_acceptance=0.6)
    with pytest.raises(ValueError, match="target_acceptance has no effect without warm-up"):
        MCMC(kernel, num_samples=2, warmup_steps=0, disable_progbar=True).run()


def test_a_potential_of_several_numbers() -> None:
    kernel = LangevinKernel(potential_fn=lambda params: params["x"].square())
    with pytest.raises(ValueError, match=r"potential_fn must return one number, it returned shape \(2,\): sum over it"):
        MCMC(kernel, 2, 2, {"x": torch.zeros(2)}, disable_progbar=True).run()


def test_potential_needs_a_start() -> None:
    with pytest.raises(ValueError, match="initial_params="):
        MCMC(LangevinKernel(potential_fn=lambda params: params["x"]), 2, disable_progbar=True).run()


def test_options_of_the_guide() -> None:
    with pytest.raises(ValueError, match="num_particles must be at least 2"):
        AutoDiSco(plain_model, 1)
    with pytest.raises(ValueError, match="num_particles must exceed the number of dimensions, got 5 for 8"):
        AutoDiSco(lambda: pyro.sample("x", dist.Normal(torch.zeros(8), 1.0).to_event(1)), 5).step()
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        AutoDiSco(plain_model).fit(num_steps=0)
    with pytest.raises(RuntimeError, match="no latent variables"):
        AutoDiSco(lambda: None).step()
    with pytest.raises(ValueError, match="no continuous latent"):
        ModelDensity.of(lambda: None)
    with pytest.raises(ValueError, match="no particles yet"):
        AutoDiSco(plain_model).plot()
    with pytest.raises(ValueError, match="start needs a model"):
        ModelDensity(lambda params: params["x"].sum(), {"x": torch.Size([2])}).start(3)
