"""The particle guide: Pyro's published behaviour of automatic guides, and posteriors that are known.

Pyro's own tests of guides, in our terms. What does not apply: ``init_scale`` and scales of parameters (there are none),
subsampling and amortised models (a particle stands for one fixed posterior, see the tests of bad
input), exactness on trees (a property of AutoGaussian), hidden discrete latents inside ``fit`` (the particles' gradients
are those of one continuous posterior; an ``AutoGuideList`` may still hold the fitted guide), reparametrisation through the
guide's draws (nothing is trained through them) and a median that equals a deterministic start exactly (particles start
around it).
"""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from disco_samplers.integrations.pyro import AutoDiSco
from pyro import poutine
from pyro.infer import SVI, Importance, JitTrace_ELBO, Predictive, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from pyro.infer.autoguide import AutoGuideList, AutoNormal, init_to_feasible, init_to_mean, init_to_median, init_to_uniform
from pyro.nn import PyroModule, PyroSample
from pyro.optim import Adam
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_model_guide_match
from torch import Tensor

from disco_samplers.measures import sliced_wasserstein
from disco_samplers.reference import GaussianMixture

MODES = GaussianMixture(
    torch.tensor([0.3, 0.7]),
    torch.tensor([[-3.0, 0.0], [3.0, 1.0]]),
    torch.tensor([[[0.5, 0.3], [0.3, 0.4]], [[0.3, -0.2], [-0.2, 1.0]]]),
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    pyro.clear_param_store()
    pyro.set_rng_seed(0)


def varied() -> None:
    pyro.sample("z1", dist.Normal(0.0, 1.0))
    pyro.sample("z2", dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1))
    with pyro.plate("plate", 3):
        pyro.sample("z3", dist.Normal(torch.zeros(3), torch.ones(3)))
    pyro.sample("z4", dist.MultivariateNormal(torch.zeros(2), torch.eye(2)))
    pyro.sample("z5", dist.Dirichlet(torch.ones(3)))


def simple() -> None:
    pyro.sample("y", dist.LogNormal(0.0, 1.0))
    pyro.sample("z", dist.Beta(2.0, 2.0).expand([2]).to_event(1))
    pyro.sample("x", dist.Normal(0.0, 1.0))


def bimodal() -> None:
    wide = dist.Normal(0.0, 3.0).expand([2]).to_event(1)
    z = pyro.sample("z", wide)
    parts = dist.MultivariateNormal(MODES.means, MODES.covariances).log_prob(z[..., None, :]) + MODES.weights.log()
    pyro.factor("modes", parts.logsumexp(-1) - wide.log_prob(z))


def regression(x: Tensor, y: Tensor | None = None) -> Tensor:
    weight = pyro.sample("weight", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    with pyro.plate("rows", len(x)):
        answer: Tensor = pyro.sample("obs", dist.Normal((x * weight).sum(-1), 0.5), obs=y)
    return answer


def test_twins_are_no_chain() -> None:
    """Particles that birth and death have doubled are the guide's own affair: no warning speaks of a user's chain."""
    guide = AutoDiSco(simple, 60)
    guide.step()
    twins = guide.particles[torch.arange(60) // 2]
    guide.particles, guide._state = twins, None
    guide.step()
    estimate = guide._condition(twins)
    assert (len(estimate.samples), estimate.effective_size) == (30, 30)
    guide.particles, guide._posterior = twins, None
    assert guide.get_posterior().draws.shape == (30, 4)
    torch.testing.assert_close(guide.get_posterior().mean, twins.mean(0))


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceGraph_ELBO, TraceEnum_ELBO])
def test_shapes(elbo: type) -> None:
    guide = AutoDiSco(varied, 32)
    loss = elbo(strict_enumeration_warning=False).loss(varied, guide)
    assert math.isfinite(loss)
    assert guide.particles.shape == (32, guide.latent_dim) == (32, 10)
    assert {name: value.shape for name, value in guide().items()} == {
        "z1": (), "z2": (2,), "z3": (3,), "z4": (2,), "z5": (3,)
    }  # fmt: skip
    vectorised = elbo(strict_enumeration_warning=False, num_particles=4, vectorize_particles=True, max_plate_nesting=1)
    assert math.isfinite(vectorised.loss(simple, AutoDiSco(simple, 32)))


@pytest.mark.parametrize("start", [init_to_feasible, init_to_mean, init_to_median, init_to_uniform])
def test_starts(start: object) -> None:
    """Particles start apart even where the strategy knows one point only."""
    guide = AutoDiSco(varied, 32, init_loc_fn=start)
    guide()
    assert (guide.particles.std(0) > 0).all()


def test_scores_and_match() -> None:
    """The packed latent carries the guide's density, up to the Jacobians at the sites; the model does not see it."""
    guide = AutoDiSco(simple, 32)
    guide_trace = poutine.trace(guide).get_trace()
    model_trace = poutine.trace(poutine.replay(simple, guide_trace)).get_trace()
    guide_trace.compute_log_prob()
    model_trace.compute_log_prob()
    assert "_AutoDiSco_latent" not in model_trace.nodes
    assert guide_trace.nodes["_AutoDiSco_latent"]["log_prob_sum"].item() != 0
    assert guide_trace.nodes["x"]["log_prob_sum"].item() == 0
    check_model_guide_match(model_trace, guide_trace)


def test_factor() -> None:
    def model(log_factor: Tensor) -> None:
        pyro.sample("z1", dist.Normal(0.0, 1.0))
        pyro.factor("f1", log_factor)
        with pyro.plate("plate", 3):
            pyro.factor("f2", log_factor)
            pyro.sample("z2", dist.Normal(torch.zeros(3), torch.ones(3)))

    guide, losses = AutoDiSco(model, 32), []
    guide(torch.tensor(0.0))
    for value in (5.0, 4.0):
        pyro.set_rng_seed(123)
        losses.append(Trace_ELBO().loss(model, guide, torch.tensor(value)))
    assert math.isclose(losses[0] - losses[1], -1 - 3, abs_tol=1e-4)


@pytest.fixture(scope="module")
def fitted() -> AutoDiSco:
    pyro.set_rng_seed(0)
    guide = AutoDiSco(simple, 192)
    guide.fit(num_steps=15, progress=False)
    return guide


def test_median_and_quantiles(fitted: AutoDiSco) -> None:
    """The latents' marginals are known: with 192 particles a quantile's standard error is about 0.1 standard deviations."""
    median, quantiles = fitted.median(), fitted.quantiles([0.1, 0.5, 0.9])
    for name in ("x", "y", "z"):
        assert quantiles[name].shape == (3, *median[name].shape)
        assert not median[name].requires_grad
        torch.testing.assert_close(median[name], quantiles[name][1])
    assert abs(float(median["x"])) < 0.5
    assert 0.6 < float(median["y"]) < 1.7
    assert ((median["z"] - 0.5).abs() < 0.15).all()
    assert abs(float(quantiles["x"][2]) - 1.28) < 0.5
    assert 0.15 < float(quantiles["y"][0]) < 0.5
    assert 2 < float(quantiles["y"][2]) < 6.5


def test_elbo_is_near_zero_without_data(fitted: AutoDiSco) -> None:
    """Without observations log p(y) = 0, so that the best ELBO there is is 0."""
    assert abs(sum(fitted.losses[-5:]) / 5) < 0.3
    loss = Trace_ELBO(num_particles=100, vectorize_particles=True, max_plate_nesting=0).loss(simple, fitted)
    assert abs(loss) < 0.5
    assert float(Importance(simple, fitted, 50).run().get_ESS()) > 25


def test_saved_and_loaded(fitted: AutoDiSco) -> None:
    pyro.set_rng_seed(0)
    expected = fitted.call()
    file = io.BytesIO()
    torch.save(fitted, file)
    # A loaded guide has no model, and needs none.
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    pyro.set_rng_seed(0)
    for actual, wanted in zip(loaded.call(), expected, strict=True):
        torch.testing.assert_close(actual, wanted)
    for copied in (loaded, copy.deepcopy(fitted)):
        with pytest.raises(ValueError, match="copied or loaded has its particles but no model"):
            copied.fit(num_steps=1, progress=False)
    assert not list(loaded.parameters())
    assert set(loaded.state_dict()) == {"particles"}


def saved(guide: AutoDiSco) -> None:
    torch.save(guide, io.BytesIO())


@pytest.mark.parametrize(
    ("keep", "inside"),
    [(saved, False), (copy.copy, True), (copy.deepcopy, False), (copy.deepcopy, True), (pickle.dumps, False)],
)
def test_a_guide_goes_on_after_it_was_copied_or_saved(keep: Callable[[AutoDiSco], object], inside: bool) -> None:
    def run(keep: Callable[[AutoDiSco], object]) -> tuple[AutoDiSco, list[float]]:
        pyro.set_rng_seed(0)
        guide, whole = AutoDiSco(simple, 32), AutoGuideList(simple)
        guide.fit(num_steps=2, progress=False)
        if inside:
            whole.append(guide)
        posterior, model = guide.get_posterior(), guide.model
        keep(guide)
        assert guide.get_posterior() is posterior
        assert guide.model is model
        assert guide.master is None or guide.master() is whole
        return guide, guide.fit(num_steps=2, progress=False)

    guide, losses = run(keep)
    other, expected = run(lambda guide: None)
    assert losses == expected
    assert guide.gradients == other.gradients  # nothing was evaluated twice


def test_gaussian_posterior() -> None:
    """Linear regression: the posterior is normal with known moments; 128 particles leave errors of 0.09 deviations."""
    x = torch.randn(20, 2)
    y = x @ torch.tensor([1.0, -2.0]) + 0.5 * torch.randn(20)
    precision = x.T @ x / 0.25 + torch.eye(2) / 4
    mean, covariance = torch.linalg.solve(precision, x.T @ y / 0.25), torch.linalg.inv(precision)
    guide = AutoDiSco(regression, 128)
    losses = guide.fit(x, y, num_steps=15, progress=False)
    assert losses == guide.losses
    assert len(losses) == 15
    assert guide.gradients >= 15 * 128
    deviation = covariance.diagonal().sqrt()
    assert ((guide.particles.mean(0) - mean) / deviation).abs().max() < 0.4
    assert (
        guide.particles.T.cov() / (deviation[:, None] * deviation) - covariance / (deviation[:, None] * deviation)
    ).abs().max() < 0.5
    # The evidence is known, too.
    evidence = dist.MultivariateNormal(torch.zeros(20), 0.25 * torch.eye(20) + 4 * x @ x.T).log_prob(y)
    assert abs(-losses[-1] - float(evidence)) < 0.5
    predicted = Predictive(regression, guide=guide, num_samples=50)(x)
    assert predicted["obs"].shape == (50, 20)


def test_two_modes() -> None:
    """Both modes with their weights, where the best normal is 0.5 away; two sets of 256 exact draws are about 0.13 apart."""
    guide = AutoDiSco(bimodal, 256)
    guide.fit(num_steps=30, progress=False)
    truth = MODES.draw(4000, torch.Generator().manual_seed(0))
    assert abs(float((guide.particles[:, 0] > 0).float().mean()) - 0.7) < 0.12
    assert sliced_wasserstein(guide.particles, truth, order=2) < 0.25


def test_predictive_of_a_module() -> None:
    class Linear(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = PyroSample(dist.Normal(0.0, 1.0).expand([2]).to_event(1))

        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            scale, weight = pyro.sample("scale", dist.LogNormal(0.0, 1.0)), self.weight
            with pyro.plate("plate", len(x)):
                answer: Tensor = pyro.sample("obs", dist.Normal(x @ weight, scale), obs=y)
            return answer

    model, x = Linear(), torch.randn(5, 2)
    guide = AutoDiSco(model, 16)
    guide.step(x, y=torch.randn(5))
    trace = prune_subsample_sites(poutine.trace(model).get_trace(x))
    samples = Predictive(model, guide=guide, num_samples=7)(x)
    assert all(site in samples for site in trace.stochastic_nodes)


@pytest.mark.parametrize("shape", [(), (6,), (5, 4)])
def test_replay_in_plates(shape: tuple[int, ...]) -> None:
    def model() -> tuple[Tensor, ...]:
        a = pyro.sample("a", dist.Normal(0, 1))
        b = pyro.sample("b", dist.Normal(a[..., None], torch.ones(3)).to_event(1))
        with pyro.plate("i", 2):
            c = pyro.sample("c", dist.Dirichlet(b.exp()))
        return a, b, c

    guide = AutoDiSco(model, 32)
    with pyro.plate_stack("particles", shape, rightmost_dim=-2):
        trace = poutine.trace(guide).get_trace()
        a, b, c = poutine.replay(model, trace)()
    assert a.shape == ((*shape, 1) if shape else ())
    assert b.shape == ((*shape, 1, 3) if shape else (3,))
    assert c.shape == (*shape, 2, 3)


def test_in_a_list() -> None:
    guide = AutoGuideList(simple)
    guide.append(AutoDiSco(poutine.block(simple, expose=["x"]), 16))
    guide.append(AutoNormal(poutine.block(simple, hide=["x"])))
    assert set(guide()) == {"x", "y", "z"}
    svi = SVI(simple, guide, Adam({"lr": 0.01}), Trace_ELBO())
    assert math.isfinite(svi.step())
    assert set(guide.median()) == {"x", "y", "z"}


def test_svi_leaves_the_particles() -> None:
    guide = AutoDiSco(simple, 32)
    svi = SVI(simple, guide, Adam({"lr": 0.01}), Trace_ELBO())
    svi.step()
    before = guide.particles.clone()
    svi.step()
    assert torch.equal(before, guide.particles)


def test_traced_elbo() -> None:
    def model() -> None:
        scale = pyro.param("scale", torch.tensor(2.0))
        pyro.sample("x", dist.Normal(0.0, scale))

    guide = AutoDiSco(model, 32)
    elbos = JitTrace_ELBO(ignore_jit_warnings=True), Trace_ELBO()
    elbos[0].loss_and_grads(model, guide)
    scale = pyro.param("scale")
    for seed in range(4):  # TorchScript writes its own derivatives in the third call
        answers = []
        for elbo in elbos:
            scale.grad = None
            pyro.set_rng_seed(seed)
            answers.append((elbo.loss_and_grads(model, guide), float(scale.grad)))
        assert answers[0] == pytest.approx(answers[1], rel=1e-4)


def test_new_data_are_seen() -> None:
    """Another call's arguments are another posterior: the particles follow."""
    x = torch.ones(50, 2) * torch.tensor([1.0, 0.0])
    guide = AutoDiSco(regression, 64)
    guide.fit(x, torch.ones(50), num_steps=8, progress=False)
    first = float(guide.median()["weight"][0])
    guide.fit(x, -torch.ones(50), num_steps=15, progress=False)
    assert abs(first - 1) < 0.3
    assert abs(float(guide.median()["weight"][0]) + 1) < 0.3


def test_same_seed_same_particles() -> None:
    results = []
    for _ in range(2):
        pyro.set_rng_seed(5)
        guide = AutoDiSco(simple, 32)
        guide.fit(num_steps=3, progress=False)
        results.append(guide.particles)
    assert torch.equal(*results)


def test_interrupt_keeps_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    guide, steps = AutoDiSco(simple, 32), 0
    plain = guide.step

    def step() -> float:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt
        return plain()

    monkeypatch.setattr(guide, "step", step)
    assert len(guide.fit(num_steps=10, progress=False)) == 2


def test_picture(fitted: AutoDiSco, tmp_path) -> None:
    figure = fitted.plot(str(tmp_path / "guide.png"))
    assert (tmp_path / "guide.png").stat().st_size > 1000
    assert [axis.get_title() for axis in figure.axes[:3]] == ["loss", "y", "z[0]"]
