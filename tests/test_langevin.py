"""The kernels against theory: stationary laws, detailed balance, step-size adaptation.

Each statistical test states the probability of a false alarm that it was set up with; generators are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from disco_samplers import LangevinSampler, preconditioners
from disco_samplers.reference import KDE, Gaussian, GaussianMixture, ReferenceDensity, StudentT
from disco_samplers.samplers import DualAveraging
from disco_samplers.samplers.steps import mala, ula

CORRELATED = torch.tensor([[4.0, 1.8, 0.0], [1.8, 1.0, 0.0], [0.0, 0.0, 0.01]], dtype=torch.float64)
TARGETS: dict[str, ReferenceDensity] = {
    "gaussian": Gaussian(torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, 9.0], dtype=torch.float64)),
    "correlated": Gaussian(torch.ones(3, dtype=torch.float64), CORRELATED),
    "mixture": GaussianMixture(
        torch.tensor([0.3, 0.7], dtype=torch.float64),
        torch.tensor([[-2.0, 0.0], [2.0, 1.0]], dtype=torch.float64),
        torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=torch.float64),
    ),
    "student": StudentT(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64), 3.0),
}
ALARM = 1e-5


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def evolve(method: str, target: ReferenceDensity, x: Tensor, e: float, factor: Tensor, steps: int) -> tuple[Tensor, float]:
    """The chains' positions after some steps, and their mean acceptance."""
    generator, acceptance = seeded(7), []
    kernel, evaluate = (mala, target.log_prob_and_score) if method == "mala" else (ula, target.score)
    state = kernel.init(x, evaluate)
    for _ in range(steps):
        state, info = kernel.step(state, evaluate, step_size=e, factor=factor, generator=generator)
        acceptance.append(float(info.acceptance.mean()))
    return state.position, float(np.mean(acceptance))


def least_p(draws: Tensor, exact: Tensor) -> float:
    """The smallest p of two-sample Kolmogorov-Smirnov tests of each column and of the columns' standardised sum."""
    d, scale = draws.shape[1], exact.std(0)
    columns = [(draws[:, i], exact[:, i]) for i in range(d)] + [((draws / scale).sum(1), (exact / scale).sum(1))]
    return min(float(stats.ks_2samp(a.numpy(), b.numpy()).pvalue) for a, b in columns) * len(columns)


@pytest.mark.parametrize(("v", "e"), [(1.0, 0.1), (1.0, 1.0), (2.0, 0.5), (0.01, 0.005)])
def test_ula_stationary_variance(v: float, e: float) -> None:
    """On N(0, v) it is v / (1 - e/(2v)). False alarm 1e-5 a case: the sum of squares is exactly chi-squared."""
    target = Gaussian(torch.zeros(1, dtype=torch.float64), torch.full((1,), v, dtype=torch.float64))
    chains, steps = 20_000, math.ceil(20 / -math.log(max(abs(1 - e / v), 0.1)))
    x, _ = evolve("ula", target, torch.zeros(chains, 1, dtype=torch.float64), e, torch.eye(1, dtype=torch.float64), steps)
    ratio = float(x.square().sum()) / (v / (1 - e / (2 * v)))
    assert ALARM / 2 < stats.chi2.cdf(ratio, chains) < 1 - ALARM / 2
    assert stats.kstest(x[:, 0].numpy(), stats.norm(scale=math.sqrt(v / (1 - e / (2 * v)))).cdf).pvalue > ALARM


def test_ula_preconditioned_is_ula_in_other_coordinates() -> None:
    """With P = L L' on N(0, P) each coordinate of L^-1 x has the variance 1 / (1 - e/2). False alarm 1e-5 a coordinate."""
    lower = torch.linalg.cholesky(CORRELATED)
    target = Gaussian(torch.zeros(3, dtype=torch.float64), CORRELATED)
    x, _ = evolve("ula", target, torch.zeros(20_000, 3, dtype=torch.float64), 0.5, lower, 40)
    z = torch.linalg.solve_triangular(lower, x.T, upper=False).T
    p = stats.chi2.cdf((z.square().sum(0) * (1 - 0.25)).numpy(), 20_000)
    assert (p > ALARM / 2).all()
    assert (p < 1 - ALARM / 2).all()


@pytest.mark.parametrize("kind", ["dense", "diagonal", "identity"])
@pytest.mark.parametrize("name", TARGETS)
def test_mala_leaves_the_target_as_it_is(name: str, kind: preconditioners.Kind) -> None:
    """Independent exact draws stay so. False alarm 1e-5 a case (Bonferroni over the projections)."""
    target = TARGETS[name]
    start, exact = target.sample(10_000, generator=seeded(1)), target.sample(40_000, generator=seeded(2))
    factor = preconditioners.factor(exact[:2000], kind)
    step = {"correlated-identity": 0.01, "correlated-diagonal": 0.15}.get(f"{name}-{kind}", 0.3)
    moved, acceptance = evolve("mala", target, start, step, factor, 10)
    assert 0.2 < acceptance < 0.97
    assert least_p(moved, exact) > ALARM


def test_that_test_has_power() -> None:
    """The same test sees that ULA does not leave a Gaussian as it is."""
    target = TARGETS["gaussian"]
    start, exact = target.sample(10_000, generator=seeded(1)), target.sample(40_000, generator=seeded(2))
    moved, _ = evolve("ula", target, start, 1.0, preconditioners.factor(exact[:2000]), 10)
    assert least_p(moved, exact) < 1e-9


@pytest.mark.parametrize("wrong_score", [False, True])
def test_mala_detailed_balance(wrong_score: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """f(x) q(x'|x) a(x, x') is symmetric on random pairs, also where the score is not the gradient of log f."""
    target, e = TARGETS["mixture"], 0.3
    x, y = (2 * torch.randn(500, 2, dtype=torch.float64, generator=seeded(seed)) for seed in (3, 4))
    factor = torch.tensor([[1.5, 0.0], [-0.4, 0.6]], dtype=torch.float64)
    covariance = 2 * e * factor @ factor.T

    def score(points: Tensor) -> Tensor:
        return points.roll(1, 1).sin() if wrong_score else target.score(points)

    def log_f(points: Tensor) -> Tensor:
        z = points[:, None] - target.means
        return torch.logsumexp(
            target.weights.log() - (z.square() / target.covariances + target.covariances.log()).sum(-1) / 2, 1
        )

    def log_q(to: Tensor, of: Tensor) -> Tensor:
        shift = to - of - e * score(of) @ (factor @ factor.T)
        return -0.5 * (shift @ torch.linalg.inv(covariance) * shift).sum(1)

    def acceptance(of: Tensor, to: Tensor) -> Tensor:
        """What the kernel says where its noise is such that it proposes ``to``."""
        shift = to - of - e * score(of) @ (factor @ factor.T)
        noise = torch.linalg.solve_triangular(factor, shift.T, upper=False).T / math.sqrt(2 * e)
        monkeypatch.setattr(torch, "randn", lambda *_, **__: noise)
        both = lambda points: (target.log_prob(points), score(points))  # noqa: E731
        _, info = mala.step(mala.init(of, both), both, step_size=e, factor=factor, generator=seeded(0))
        monkeypatch.undo()
        return info.acceptance.log()

    there, back = (log_f(a) + log_q(b, a) + acceptance(a, b) for a, b in ((x, y), (y, x)))
    torch.testing.assert_close(there, back, rtol=1e-9, atol=1e-9)
    assert (acceptance(x, y) < -0.1).any()
    assert (acceptance(y, x) < -0.1).any()


@pytest.mark.filterwarnings("ignore::disco_samplers.samplers.NotMixedWarning")  # what is looked at is the acceptance
@pytest.mark.parametrize("name", TARGETS)
def test_dual_averaging_reaches_its_target(name: str) -> None:
    """Within .05 of .574; the standard deviation over chains and draws is below .01."""
    target = TARGETS[name]
    sampler = LangevinSampler(score=target)
    start = target.sample(16, generator=seeded(5))
    result = sampler.run(200, initial=start, num_warmup=500, seed=0, progress=False)
    assert abs(float(result.acceptance.mean()) - 0.574) < 0.05


@pytest.mark.parametrize("start", [1e-6, 1e4])
@pytest.mark.parametrize("delta", [0.4, 0.574, 0.8])
def test_dual_averaging_from_any_start(start: float, delta: float) -> None:
    """With acceptance exp(-e) the step must come to -log(delta), from ten orders of magnitude."""
    state = DualAveraging.at(start)
    for _ in range(1000):
        state = state.updated(math.exp(-state.step_size), delta)
    assert math.exp(-state.final) == pytest.approx(delta, abs=0.05)


@pytest.mark.parametrize("bias", [0.02, 0.1])
def test_ula_keeps_to_its_bias(bias: float) -> None:
    """The stationary variance is inflated by about ``bias``. False alarm below 1e-5: five standard errors."""
    target = TARGETS["correlated"]
    start = target.sample(4000, generator=seeded(6))
    sampler = LangevinSampler(score=target.score, bias=bias)
    result = sampler.run(20, initial=start, num_warmup=300, thinning=10, seed=0, progress=False)
    inflation = float((result.flat.var(0) / CORRELATED.diagonal()).mean())
    assert inflation == pytest.approx(1 / (1 - bias), abs=5 * math.sqrt(2 / (3 * 20_000)) + 0.1 * bias)


@pytest.mark.parametrize("kind", ["dense", "diagonal", "identity"])
@pytest.mark.parametrize("d", [1, 3])
def test_preconditioner_is_the_covariance(kind: preconditioners.Kind, d: int) -> None:
    draws = Gaussian(torch.zeros(3, dtype=torch.float64), CORRELATED).sample(5000, generator=seeded(8))[:, :d]
    lower = preconditioners.factor(draws, kind)
    assert torch.equal(lower, lower.tril())
    expected = {"dense": torch.cov(draws.T).reshape(d, d), "diagonal": torch.diag(draws.var(0)), "identity": torch.eye(d)}[kind]
    torch.testing.assert_close(lower @ lower.T, expected.double(), rtol=2e-3, atol=1e-12)


@pytest.mark.parametrize("kind", ["dense", "diagonal"])
def test_preconditioner_of_few_or_degenerate_draws(kind: preconditioners.Kind) -> None:
    few = torch.randn(3, 10, generator=seeded(9))
    constant = torch.cat([few, torch.ones(3, 1)], 1)
    for draws in (few, constant, torch.ones(3, 2)):
        lower = preconditioners.factor(draws, kind)
        assert torch.isfinite(lower).all()
        assert (lower.diagonal() > 0).all()
    with pytest.raises(ValueError, match="at least two draws"):
        preconditioners.factor(few[:1], kind)
    with pytest.raises(ValueError, match="preconditioner must be"):
        preconditioners.factor(few, "full")


def test_estimates_are_sampled_with_smaller_steps_than_exact_targets(small):
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    assert LangevinSampler(score=small.condition(x)).target_acceptance == 0.8
    assert LangevinSampler(score=small).target_acceptance == 0.8
    assert LangevinSampler(score=KDE(x, 0.3)).target_acceptance == 0.574
    assert LangevinSampler(score=small.condition(x), target_acceptance=0.5).target_acceptance == 0.5
    assert LangevinSampler(score=small.condition(x), log_prob=lambda y: -y.square().sum(-1)).target_acceptance == 0.574
