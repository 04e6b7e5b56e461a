"""Draws as a Pyro distribution: Pyro's published behaviour of distributions, densities under bijections, uses in models.

Pyro's own tests of distributions, in our terms. What does not apply: comparisons with scipy's densities, ``cdf`` and ``icdf``,
``entropy`` (no closed form), ``enumerate_support`` and discreteness (continuous only), validation of parameters (draws are
checked whether or not Pyro validates, see the tests of bad input), KL between two of them.
"""

from __future__ import annotations

import io
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from disco_samplers.integrations.pyro import ModelDensity, SampleDistribution
from pyro import poutine
from pyro.distributions import TorchDistribution, constraints
from pyro.infer import MCMC, NUTS, SVI, Importance, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, AutoLaplaceApproximation
from pyro.optim import Adam
from torch import Tensor

from disco_samplers import Draws, LangevinSampler
from disco_samplers.testing.statistics import assert_mean_close, assert_same_distribution


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SUPPORTS = {
    "real": (constraints.real, lambda z: z),
    "real vector": (constraints.real_vector, lambda z: z),
    "positive": (constraints.positive, torch.exp),
    "unit interval": (constraints.unit_interval, torch.sigmoid),
    "bounded": (constraints.interval(-2.0, 5.0), lambda z: 7 * torch.sigmoid(z) - 2),
    "less than": (constraints.less_than(1.0), lambda z: 1 - z.exp()),
    "simplex": (constraints.simplex, torch.distributions.biject_to(constraints.simplex)),
    "columns": (
        constraints.cat([constraints.real, constraints.positive], -1, [1, 1]),
        lambda z: torch.cat([z[:, :1], z[:, 1:].exp()], 1),
    ),
    "words": ({0: "unit", 1: "circular:360"}, lambda z: torch.cat([z[:, :1].sigmoid(), (90 * z[:, 1:]) % 360], 1)),
    "simplex by a word": ({(0, 1, 2): "simplex"}, torch.distributions.biject_to(constraints.simplex)),
    "correlation": (constraints.corr_cholesky, torch.distributions.biject_to(constraints.corr_cholesky)),
}
SIZES = {"correlation": 3}


@pytest.fixture(params=SUPPORTS, scope="module")
def made(request: pytest.FixtureRequest) -> SampleDistribution:
    support, to_support = SUPPORTS[request.param]
    return SampleDistribution(to_support(0.5 * normal(150, SIZES.get(request.param, 2))), support)


@pytest.fixture(scope="module")
def scalar() -> SampleDistribution:
    return SampleDistribution(normal(300))


@pytest.fixture(autouse=True)
def seeded() -> None:
    pyro.clear_param_store()
    pyro.set_rng_seed(0)


def test_shapes_and_support(made: SampleDistribution) -> None:
    assert made.batch_shape == ()
    assert made.event_shape == made.draws.shape[1:]
    assert SampleDistribution.infer_shapes(draws=made.draws.shape, support=()) == (made.batch_shape, made.event_shape)
    assert made.support.event_dim == made.event_dim
    assert not made.support.is_discrete
    for shape in ((), (3,), (2, 3)):
        x = made.sample(shape)
        assert x.shape == shape + made.event_shape
        assert made.support.check(x).all()
        assert made.log_prob(x).shape == shape


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
@pytest.mark.parametrize("kind", [torch.Size, tuple, list])
def test_expand(made: SampleDistribution, shape: tuple[int, ...], kind: type) -> None:
    large = made.expand(kind(shape))
    assert large.batch_shape == shape == made.expand_by(kind(shape)).batch_shape
    assert large.estimate is made.estimate
    assert large.mean.shape == large.variance.shape == large.sample().shape == shape + made.event_shape
    x = made.sample()
    torch.testing.assert_close(large.log_prob(x), made.log_prob(x).expand(shape))
    x = large.sample()
    torch.testing.assert_close(large.log_prob(x), made.log_prob(x))
    default = TorchDistribution.expand(made, kind(shape))
    torch.testing.assert_close(default.log_prob(x), large.log_prob(x))


@pytest.mark.parametrize(("first", "second"), [((2, 1), (4, 3)), ((2, 4), (2, 2, 1)), ((1, 2, 1), (2, 1))])
def test_expand_refuses(scalar: SampleDistribution, first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError):
        scalar.expand(first).expand(second)


def test_expand_again_and_to_event(scalar: SampleDistribution) -> None:
    twice = scalar.expand((2, 1)).expand((2, 3))
    assert twice.sample((5,)).shape == (5, 2, 3)
    event = scalar.expand((4, 3)).to_event(1)
    assert (event.batch_shape, event.event_shape) == ((4,), (3,))
    x = event.sample()
    torch.testing.assert_close(event.log_prob(x), scalar.log_prob(x).sum(-1))
    masked = scalar.expand((3,)).mask(torch.tensor([True, False, True]))
    assert masked.log_prob(torch.zeros(3))[1] == 0


def test_wrong_event_shape(made: SampleDistribution) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        made.log_prob(torch.ones(*made.event_shape[:-1], 7))


@pytest.mark.parametrize("gradient", ["score", "density"])
def test_saved_and_loaded(gradient: str) -> None:
    before = SampleDistribution(normal(50).exp(), constraints.positive, gradient=gradient).expand([3])
    file = io.BytesIO()
    torch.save(before, file)
    file.seek(0)
    after = torch.load(file, weights_only=False)
    x = before.sample()
    torch.testing.assert_close(after.log_prob(x), before.log_prob(x), rtol=0, atol=0)
    assert after.batch_shape == before.batch_shape


def test_density_carries_the_jacobian() -> None:
    """In one dimension exp(log_prob) integrates to about one over the support, which it would not without the Jacobian."""
    for name, (low, high) in {"positive": (1e-4, 15), "unit interval": (1e-4, 1 - 1e-4), "bounded": (-1.999, 4.999)}.items():
        support, to_support = SUPPORTS[name]
        made = SampleDistribution(to_support(0.7 * normal(500)), support)
        x = torch.linspace(low, high, 4001)
        assert math.isclose(float(torch.trapezoid(made.log_prob(x).exp(), x)), 1.0, abs_tol=0.1), name


def test_density_near_truth() -> None:
    """Against the log-normal the draws came from: mean absolute error over fresh draws, which a Gaussian fit misses by far."""
    draws, fresh = normal(1000).exp(), normal(1000, seed=1).exp()
    made = SampleDistribution(draws, constraints.positive)
    truth = dist.LogNormal(0.0, 1.0).log_prob(fresh)
    assert (made.log_prob(fresh) - truth).abs().mean() < 0.1
    assert (dist.Normal(draws.mean(), draws.std()).log_prob(fresh) - truth).abs().mean() > 0.5


def test_gradients() -> None:
    """The score head through the bijection is the chain rule; the density head's gradient agrees with finite differences."""
    draws = normal(200, 2).exp()
    x = torch.tensor([[0.5, 1.5]], dtype=torch.float64, requires_grad=True)
    by_score = SampleDistribution(draws, constraints.positive)
    (got,) = torch.autograd.grad(by_score.log_prob(x).sum(), x)
    score = by_score.estimate.score(x.detach().log())
    torch.testing.assert_close(got, (score - 1) / x.detach())
    by_density = SampleDistribution(draws, constraints.positive, gradient="density")
    (got,) = torch.autograd.grad(by_density.log_prob(x).sum(), x)
    steps = 1e-2 * torch.eye(2, dtype=torch.float64)
    finite = torch.stack([by_density.log_prob(x + h) - by_density.log_prob(x - h) for h in steps], 1) / 2e-2
    torch.testing.assert_close(got, finite, rtol=5e-3, atol=5e-3)


def test_supports_in_words() -> None:
    """The full density at an edge; draws that know their support need no other; words are of scalars and vectors."""
    x = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    made = SampleDistribution(x, ["unit", "unit"])
    assert made.log_prob(torch.zeros(2)).exp() > 0.7
    assert SampleDistribution(x[:, 0], "unit").log_prob(torch.zeros(3)).exp().min() > 0.7
    known = SampleDistribution(Draws(x, support=["unit", (0, None)]), validate_args=False)
    assert known.log_prob(torch.tensor([0.5, -0.1])) == -math.inf
    assert known.estimate.support == [(0.0, 1.0), (0.0, None)]
    with pytest.raises(ValueError, match="words are of scalars and vectors"):
        SampleDistribution(x.view(250, 4, 2), {0: "positive"})
    with pytest.raises(ValueError, match="ordered of x1, x0 must be of all columns, in their order"):
        SampleDistribution(x.sort(1, descending=True).values, {(1, 0): "ordered"})


def test_outside_the_support() -> None:
    made = SampleDistribution(normal(100).exp(), constraints.positive)
    with pyro.validation_enabled(False):
        quiet = SampleDistribution(normal(100).exp(), constraints.positive)
        x = torch.tensor([-1.0, 1.0, math.nan, math.inf, 0.0])
        assert torch.isinf(quiet.log_prob(x)).tolist() == [True, False, True, True, True]
        torch.testing.assert_close(quiet.log_prob(x)[1], made.log_prob(x[1]))
    with pytest.raises(ValueError, match="within the support"):
        made.log_prob(torch.tensor(-1.0))


def test_moments_and_samples() -> None:
    """False alarm 1e-6 each: samples against fresh draws of the truth, twice, with an allowance for 1500 context rows."""
    draws = torch.cat([0.3 * normal(750, 2) - 2, 0.5 * normal(750, 2, seed=1) + 1])
    made = SampleDistribution(draws)
    torch.testing.assert_close(made.mean, draws.mean(0))
    torch.testing.assert_close(made.variance, draws.var(0))
    torch.testing.assert_close(made.stddev, draws.std(0))
    x = made.sample((1500,))
    truth = torch.cat([0.3 * normal(750, 2, seed=2) - 2, 0.5 * normal(750, 2, seed=3) + 1])
    assert_same_distribution(x, truth)
    assert_mean_close(x, made.mean, made.stddev)
    # Not the rows themselves: most have moved.
    assert (torch.cdist(x, draws).amin(1) > 1e-4).float().mean() > 0.5


def test_same_seed_same_samples(scalar: SampleDistribution) -> None:
    pyro.set_rng_seed(3)
    first = scalar.sample((4,))
    pyro.set_rng_seed(3)
    assert torch.equal(first, scalar.sample((4,)))


def test_vmap_agrees() -> None:
    made = SampleDistribution(normal(100, 3).sigmoid(), constraints.unit_interval, validate_args=False)
    x = 0.1 + 0.8 * torch.rand(7, 3)
    gradient, value = torch.func.vmap(torch.func.grad_and_value(made.log_prob))(x)
    torch.testing.assert_close(value, made.log_prob(x))
    (wanted,) = torch.autograd.grad(made.log_prob(x.requires_grad_()).sum(), x)
    torch.testing.assert_close(gradient, wanted)


def test_observed_and_in_plates() -> None:
    made = SampleDistribution(normal(100, 2))

    def model(data: Tensor) -> Tensor:
        with pyro.plate("outer", 3, dim=-2), pyro.plate("inner", 4, dim=-1):
            z: Tensor = pyro.sample("z", made)
            pyro.sample("y", made, obs=data)
        return z

    data = normal(3, 4, 2, seed=5)
    trace = poutine.trace(model).get_trace(data)
    trace.compute_log_prob()
    assert trace.nodes["z"]["value"].shape == (3, 4, 2)
    assert trace.nodes["z"]["log_prob"].shape == trace.nodes["y"]["log_prob"].shape == (3, 4)
    torch.testing.assert_close(trace.nodes["y"]["log_prob"], made.log_prob(data))
    prior = Predictive(model, num_samples=5)(data)
    assert prior["z"].shape == (5, 3, 4, 2)
    assert Predictive(model, num_samples=5, parallel=True)(data)["z"].shape == (5, 3, 4, 2)


def conjugate(prior: SampleDistribution) -> Tensor:
    with pyro.plate("unit", 1):
        z: Tensor = pyro.sample("z", prior)
        pyro.sample("y", dist.Normal(z, 0.5), obs=torch.tensor([1.0]))
    return z


@pytest.mark.slow
def test_prior_under_nuts() -> None:
    """With draws of N(0, 1) as the prior and y = 1 with noise 0.5 the posterior is N(0.8, 0.2); 0.3 is five standard errors at
    60 effective draws."""
    prior = SampleDistribution(normal(400))
    torch.manual_seed(1)  # 50 steps of warm-up end at a step size that is too long for one seed in six
    mcmc = MCMC(NUTS(conjugate), num_samples=100, warmup_steps=50, disable_progbar=True)
    mcmc.run(prior)
    z = mcmc.get_samples()["z"]
    assert abs(float(z.mean()) - 0.8) < 0.3
    assert abs(float(z.std()) - 0.2**0.5) < 0.2
    assert not mcmc.diagnostics()["divergences"]["chain 0"]


@pytest.mark.slow
def test_prior_in_vectorised_chains() -> None:
    """200 chains at once of the same posterior; false alarm 1e-6 plus the prior's own error, which the tolerance covers."""
    density = ModelDensity.of(conjugate, SampleDistribution(normal(800)))
    result = LangevinSampler(score=density).run(10, initial=normal(200, 1, seed=4), num_warmup=60, seed=0, progress=False)
    z = density.constrain(result.flat)["z"]
    assert z.shape == (2000, 1)
    assert abs(float(z.mean()) - 0.8) < 0.12
    assert abs(float(z.std()) - 0.2**0.5) < 0.08


def test_prior_under_svi_and_importance() -> None:
    prior = SampleDistribution(normal(400))
    guide = AutoDiagonalNormal(conjugate)
    svi = SVI(conjugate, guide, Adam({"lr": 0.1}), Trace_ELBO(num_particles=8, vectorize_particles=True, max_plate_nesting=1))
    for _ in range(80):
        svi.step(prior)
    assert abs(float(guide.median()["z"]) - 0.8) < 0.3
    assert float(Importance(conjugate, guide, 50).run(prior).get_ESS()) > 25


def test_density_gradient_has_a_hessian() -> None:
    """What a Laplace approximation needs; the posterior's standard deviation is 0.45."""
    prior = SampleDistribution(normal(400), gradient="density")
    guide = AutoLaplaceApproximation(conjugate)
    svi = SVI(conjugate, guide, Adam({"lr": 0.1}), Trace_ELBO())
    for _ in range(40):
        svi.step(prior)
    scale = guide.laplace_approximation(prior).get_posterior(prior).stddev
    assert 0.3 < float(scale) < 0.65


def test_adapted_and_given_model(disco) -> None:
    made = SampleDistribution(normal(60, 2), adapt=True, model=disco)
    assert made.estimate.report is not None
    assert made.log_prob(torch.zeros(2)).shape == ()
