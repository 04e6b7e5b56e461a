"""The particle flow against its exact solution on Gaussians, its entropy, and what it reaches on other targets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from disco_samplers.measures import sliced_wasserstein
from disco_samplers.reference import KDE, Gaussian, GaussianMixture
from disco_samplers.samplers import flow
from disco_samplers.samplers.steps import particle_flow


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fit(x: Tensor) -> Gaussian:
    """The Gaussian of a cloud's moments: on Gaussian targets the flow is then exactly solvable."""
    return Gaussian(x.mean(-2), (x - x.mean(-2, keepdim=True)).mT @ (x - x.mean(-2, keepdim=True)) / (x.shape[-2] - 1))


def cloud(n: int = 300, d: int = 2, seed: int = 0) -> Tensor:
    """Particles with mean exactly zero and covariance exactly one, in float64."""
    x = torch.randn(n, d, dtype=torch.float64, generator=seeded(seed))
    x = x - x.mean(0)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov().reshape(d, d)), x.T, upper=False).T


def run(x: Tensor, score, steps: int, **options) -> particle_flow.State:
    state = particle_flow.init(x, score, condition=options["condition"])
    for _ in range(steps):
        state, _ = particle_flow.step(state, score, **options)
    return state


def test_order_one_on_the_exact_solution() -> None:
    """On N(0, 1) from N(m, r): m' = -r m, r' = 2 r (1 - r), so r = 1 / (1 + (1/r0 - 1) exp(-2t)).

    The error of mean and variance halves with the step; the entropy's trapezoidal rule does better.
    """
    x = 0.5 + 0.7 * cloud(d=1)
    r0, time = 0.49, 1.0
    growth = 1 / r0 - 1
    variance = 1 / (1 + growth * math.exp(-2 * time))
    mean = 0.5 * math.exp(-0.5 * math.log((math.exp(2 * time) + growth) / (1 + growth)))
    entropy = 0.5 * math.log(variance / r0)
    errors = []
    for steps in (20, 40):
        state = run(x, lambda y: -y, steps, condition=fit, step_size=time / steps)
        found = torch.stack([state.position.mean(), state.position.var(), state.entropy])
        errors.append((found - torch.tensor([mean, variance, entropy], dtype=torch.float64)).abs())
    assert (errors[1] < 0.01).all()
    order = (errors[0] / errors[1]).log2()
    assert (order > 0.85).all()
    assert (order[:2] < 1.15).all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_ill_scaled_gaussians_are_reached_safely(scale: float) -> None:
    """A target with condition number 1e8 in variance, up to 1e4 of the cloud's deviations away and wide or narrow."""
    deviation = scale * torch.tensor([1.0, 1e4], dtype=torch.float64)
    target = Gaussian(3 * deviation, deviation.square())
    state = run(cloud(), target.score, 120, condition=fit)
    torch.testing.assert_close(
        state.position.mean(0) / deviation, torch.full((2,), 3.0, dtype=torch.float64), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        state.position.T.cov(), torch.diag(deviation.square()), atol=1e-3 * float(deviation.prod()), rtol=1e-3
    )


def test_units_and_order_do_not_matter() -> None:
    """The flow in other coordinates is the flow: A x + b goes with the score A^-T s."""
    matrix = torch.tensor([[0.0, 1e3], [-0.02, 0.0]], dtype=torch.float64)
    shift = torch.tensor([5.0, -100.0], dtype=torch.float64)
    inverse = torch.linalg.inv(matrix)
    target = GaussianMixture(
        *(torch.tensor(v, dtype=torch.float64) for v in ([0.5, 0.5], [[-1.0, 0], [2, 1]], [[1.0, 1], [1, 2]]))
    )
    x = cloud(60)
    here = run(x, target.score, 5, condition=fit)
    there = run(x @ matrix.T + shift, lambda y: target.score((y - shift) @ inverse.T) @ inverse, 5, condition=fit)
    torch.testing.assert_close(here.position @ matrix.T + shift, there.position, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(here.entropy, there.entropy, rtol=1e-8, atol=1e-8)


def test_batch_is_its_clouds(disco) -> None:
    x = torch.stack([cloud(40), 3 * cloud(40, seed=1)]).float()
    together = run(x, lambda y: -y, 3, condition=disco.condition)
    for i in range(2):
        alone = run(x[i], lambda y: -y, 3, condition=disco.condition)
        torch.testing.assert_close(together.position[i], alone.position, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(together.entropy[i], alone.entropy, rtol=1e-3, atol=1e-4)


def test_no_speed_where_the_scores_agree() -> None:
    x = cloud()
    state = particle_flow.init(x, fit(x), condition=fit)
    moved, info = particle_flow.step(state, fit(x), condition=fit)
    assert float(info.speed) < 1e-12
    assert torch.equal(moved.position, x)


def test_a_particle_that_would_leave_the_numbers_stays() -> None:
    def broken(y: Tensor) -> Tensor:
        return torch.where(y[:, :1] > 1, torch.nan, -y + 5)

    x = cloud().clamp(-1, 1)
    state = particle_flow.init(x - 0.1, broken, condition=fit)
    seen = 0
    for _ in range(10):
        before = state
        state, info = particle_flow.step(state, broken, condition=fit)
        assert torch.isfinite(state.position).all()
        assert torch.equal(state.position[info.diverged], before.position[info.diverged])
        seen += int(info.diverged.sum())
    assert seen > 0


BIMODAL = GaussianMixture(torch.tensor([0.5, 0.5]), torch.tensor([[-3.0, 0.0], [3.0, 0.0]]), torch.full((2, 2), 0.5))


@pytest.mark.parametrize("estimator", ["disco", "kde"])
def test_bimodal(estimator: str, disco) -> None:
    """Nearer to the target than the start by far, and nearer than the best Gaussian; both modes keep their half."""
    condition = disco.condition if estimator == "disco" else lambda y: KDE(y, "loo")
    x = 2 * cloud(200).float()
    exact = BIMODAL.sample(5000, generator=seeded(1))
    state = run(x, BIMODAL.score, 20, condition=condition)
    distance = sliced_wasserstein(state.position, exact)
    gaussian = Gaussian(exact.mean(0), exact.T.cov()).sample(5000, generator=seeded(2))
    assert distance < 0.5 * sliced_wasserstein(x, exact)
    assert distance < sliced_wasserstein(gaussian, exact)
    assert 0.4 < float((state.position[:, 0] > 0).float().mean()) < 0.6


@pytest.mark.parametrize("name", ["banana", "funnel"])
def test_curved_targets(name: str, disco) -> None:
    """The flow comes nearer to a banana and to a funnel, from a standard normal start, and nothing diverges."""
    z = torch.randn(5000, 2, generator=seeded(3))

    def log_prob(y: Tensor) -> Tensor:
        if name == "banana":
            return -0.5 * (y[:, 0] / 1.5).square() - 2 * (y[:, 1] - 0.5 * y[:, 0].square()).square()
        return -0.5 * (y[:, 0] / 1.5).square() - 0.5 * y[:, 1].square() * (-y[:, 0]).exp() - 0.5 * y[:, 0]

    def score(y: Tensor) -> Tensor:
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            return torch.autograd.grad(log_prob(y).sum(), y)[0]

    first = 1.5 * z[:, 0]
    second = 0.5 * first.square() + 0.5 * z[:, 1] if name == "banana" else (first / 2).exp() * z[:, 1]
    exact = torch.stack([first, second], 1)
    x = cloud(200).float()
    state = run(x, score, 30, condition=disco.condition)
    assert sliced_wasserstein(state.position, exact) < 0.6 * sliced_wasserstein(x, exact)
    assert torch.isfinite(state.position).all()


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_solver_reaches_the_exact_solution(method: str) -> None:
    """r' = 2 r (1 - r) and its entropy, at two times, to the solver's tolerance."""
    times = [0.0, *torch.linspace(0.1, 1.0, 10).tolist()]
    tolerances = {"rtol": 1e-8, "atol": 1e-8} if method == "dopri5" else {}
    positions, entropy = flow.integrate(0.7 * cloud(d=1), lambda y: -y, times, condition=fit, method=method, **tolerances)
    exact = torch.tensor([1 / (1 + (1 / 0.49 - 1) * math.exp(-2 * t)) for t in times], dtype=torch.float64)
    # The preconditioner is the cloud's variance times 1 up to rounding in one dimension.
    torch.testing.assert_close(positions.var((1, 2)), exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(entropy, 0.5 * (exact / 0.49).log(), rtol=5e-3, atol=5e-3)


def test_relax_stops_at_rest_and_by_patience(disco) -> None:
    state, entropy = flow.relax(3 + cloud(), lambda y: -y / 4, condition=fit)
    assert len(entropy) < 60
    assert float(entropy[-1]) == pytest.approx(2 * math.log(2), abs=0.05)
    torch.testing.assert_close(state.position.T.cov(), 4 * torch.eye(2, dtype=torch.float64), rtol=0.05, atol=0.05)
    _, entropy = flow.relax(
        cloud(100).float(), lambda y: -y, condition=disco.condition, tolerance=0.0, patience=3, num_steps=60
    )
    assert len(entropy) < 60
    with pytest.raises(ValueError, match="patience must be at least 1"):
        flow.relax(cloud(), lambda y: -y, condition=fit, patience=0)


def test_an_interrupt_in_the_first_step_is_passed_on() -> None:
    def interrupted(after: int):
        calls = iter(range(100))

        def score(y: Tensor) -> Tensor:
            if next(calls) == after:
                raise KeyboardInterrupt
            return -y

        return score

    # The start asks for two scores, each step for one.
    with pytest.raises(KeyboardInterrupt):
        flow.relax(cloud() + 3, interrupted(2), condition=fit)
    assert len(flow.relax(cloud() + 3, interrupted(4), condition=fit)[1]) == 2


def test_options_that_a_solver_does_not_heed_are_named() -> None:
    pytest.importorskip("torchdiffeq")
    options = {"condition": fit, "score": lambda y: -y, "times": [0.0, 0.1]}
    with pytest.raises(ValueError, match="'rk4' does not heed rtol"):
        flow.integrate(cloud(), method="rk4", rtol=1e-3, **options)
    with pytest.raises(ValueError, match="method must be one of"):
        flow.integrate(cloud(), method="dopri", **options)
    with pytest.raises(ValueError, match="atol must be positive"):
        flow.integrate(cloud(), atol=-1.0, **options)
