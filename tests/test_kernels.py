"""The kernels against theory: orders, exact stationary laws, detailed balance, and moments of targets that are hard.

Each statistical test states the probability of a false alarm that it was set up with; generators are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg, stats
from torch import Tensor

from disco_samplers import LangevinSampler
from disco_samplers.reference import KDE, Gaussian, GaussianMixture
from disco_samplers.samplers.steps import Guided, annealed, baoab, mala, malt, ula
from disco_samplers.scores import from_log_prob, ladder
from disco_samplers.testing import assert_mean_close, assert_same_distribution

QUIET = {"progress": False}
ALARM = 1e-6


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_map(kernel, h: float, monkeypatch: pytest.MonkeyPatch, **options) -> tuple[np.ndarray, np.ndarray]:
    """The matrices of z' = A z + B xi that a kernel is on N(0, 1), by giving it each unit vector of state and noise."""
    names = [n for n in kernel.State._fields if n != "score"]

    def image(state: list[float], xi: float) -> np.ndarray:
        columns = dict(zip(names, (torch.tensor([[v]], dtype=torch.float64) for v in state), strict=True))
        monkeypatch.setattr(kernel, "noise", lambda like, _: torch.full_like(like, xi))
        start = kernel.State(**columns, score=-columns["position"])
        factor = torch.eye(1, dtype=torch.float64)
        moved, _ = kernel.step(start, lambda x: -x, step_size=h, factor=factor, generator=None, **options)
        return np.array([float(getattr(moved, n)) for n in names])

    d = len(names)
    a = np.stack([image([float(i == j) for j in range(d)], 0.0) for i in range(d)], 1)
    return a, image([0.0] * d, 1.0)[:, None]


@pytest.mark.parametrize(("kernel", "order"), [(ula, 1), (baoab, 2)])
def test_order_of_weak_convergence(kernel, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """E[x^2] at time 1 from x = 2 on N(0, 1), without any sampling error: the error falls as the step to the stated order."""
    if kernel is ula:
        drift, diffusion, start = np.array([[-1.0]]), np.array([[2.0]]), np.array([2.0])
        options = {}
    else:
        drift, diffusion, start = np.array([[0.0, 1.0], [-1.0, -1.5]]), np.diag([0.0, 3.0]), np.array([2.0, 0.0])
        options = {"friction": 1.5}
    flow = linalg.expm(drift)
    stationary = linalg.solve_continuous_lyapunov(drift, -diffusion)
    exact = (flow @ (np.outer(start, start) - stationary) @ flow.T + stationary)[0, 0]
    errors = []
    for steps in (64, 128, 256):
        a, b = linear_map(kernel, 1 / steps, monkeypatch, **options)
        second = np.outer(start, start)
        for _ in range(steps):
            second = a @ second @ a.T + b @ b.T
        errors.append(abs(second[0, 0] - exact))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (np.abs(orders - order) < 0.15).all()


@pytest.mark.parametrize("h", [0.2, 1.0, 1.9])
def test_baoab_is_exact_on_a_gaussian(h: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stationary variance of x is that of the target for every stable step; ULA's is 1 / (1 - e/2)."""
    a, b = linear_map(baoab, h, monkeypatch)
    assert linalg.solve_discrete_lyapunov(a, b @ b.T)[0, 0] == pytest.approx(1.0, abs=1e-9)
    a, b = linear_map(ula, h, monkeypatch)
    assert linalg.solve_discrete_lyapunov(a, b @ b.T)[0, 0] == pytest.approx(1 / (1 - h / 2), abs=1e-9)


TWO = GaussianMixture(
    torch.tensor([0.3, 0.7]).double(), torch.tensor([[-1.0], [1.5]]).double(), torch.tensor([[0.3], [0.8]]).double()
)
POOR = KDE(TWO.sample(40, generator=seeded(9)), 0.3)
ADJUSTED = {
    "mala": (mala, TWO.log_prob_and_score, {"step_size": 0.5}),
    "malt": (malt, TWO.log_prob_and_score, {"step_size": 0.6}),
    "hmc": (malt, TWO.log_prob_and_score, {"step_size": 0.6, "friction": 0.0}),
    "exact": (mala, Guided(TWO.log_prob, POOR).log_prob_and_score, {"step_size": 0.3}),
    "random walk": (mala, Guided(TWO.log_prob).log_prob_and_score, {"step_size": 0.5}),
}


@pytest.mark.parametrize("name", ADJUSTED)
def test_detailed_balance_on_a_grid(name: str) -> None:
    """From exact draws, as many chains go from cell i to cell j as back. Under reversibility each pair's difference is
    binomial: the sum of its squares over the variance is chi-squared; false alarm 1e-6 a case.
    """
    kernel, target, options = ADJUSTED[name]
    x = TWO.sample(60_000, generator=seeded(1))
    factor = torch.ones(1, 1, dtype=torch.float64)
    state, info = kernel.step(kernel.init(x, target), target, factor=factor, generator=seeded(2), **options)
    assert 0.3 < float(info.acceptance.mean()) < 0.97
    edges = torch.linspace(-2.5, 4, 10).double()
    i, j = (torch.bucketize(v[:, 0].contiguous(), edges) for v in (x, state.position))
    counts = torch.zeros(11, 11).double().index_put_((i, j), torch.ones(len(x)).double(), accumulate=True)
    upper = torch.triu_indices(11, 11, 1)
    there, back = counts[upper[0], upper[1]], counts.T[upper[0], upper[1]]
    seen = there + back >= 20
    chi2 = float(((there - back).square() / (there + back))[seen].sum())
    assert int(seen.sum()) > 10
    assert stats.chi2.sf(chi2, int(seen.sum())) > ALARM


def test_that_test_has_power() -> None:
    """The same count sees that ULA is not reversible with respect to the target."""
    x = TWO.sample(60_000, generator=seeded(1))
    state, _ = ula.step(ula.init(x, TWO.score), TWO.score, step_size=0.5, factor=torch.ones(1, 1).double(), generator=seeded(2))
    left = float(((x[:, 0] < 0) & (state.position[:, 0] > 0)).sum())
    right = float(((x[:, 0] > 0) & (state.position[:, 0] < 0)).sum())
    assert stats.binomtest(int(left), int(left + right)).pvalue < 1e-6


def banana(x: Tensor) -> Tensor:
    return -0.5 * (x[:, 0] / 1.5).square() - 2 * (x[:, 1] - 0.5 * x[:, 0].square()).square()


def funnel(x: Tensor) -> Tensor:
    return -0.5 * x[:, 0].square() - 0.5 * x[:, 1:].square().sum(1) * (-x[:, 0]).exp() - 0.5 * (x.shape[1] - 1) * x[:, 0]


@pytest.mark.filterwarnings("ignore:.*came after a step that diverged:RuntimeWarning")
@pytest.mark.parametrize("name", ["banana", "funnel"])
def test_moments_of_banana_and_funnel(name: str) -> None:
    """From a standard normal start, one draw of each of 1000 chains. False alarm 1e-6 a moment (central limit theorem)."""
    start = torch.randn(1000, 2, dtype=torch.float64, generator=seeded(3))
    sampler = LangevinSampler(score=from_log_prob({"banana": banana, "funnel": funnel}[name]), method="malt")
    x = sampler.run(1, initial=start, num_warmup=150, seed=4, **QUIET).flat
    if name == "banana":
        mean, sd, first = torch.tensor([0.0, 1.125]), torch.tensor([1.5, (0.5 * 1.5**4 + 0.25) ** 0.5]), 2.25
    else:
        mean, sd, first = torch.zeros(2), torch.tensor([1.0, math.exp(0.25)]), 1.0
    assert_mean_close(x, mean, sd, false_alarm=ALARM)
    assert_mean_close(x[:, 0].square(), first, first * 2**0.5, false_alarm=ALARM)


def test_gaussian_of_unknown_scale() -> None:
    """Warm-up learns a preconditioner for scales 1 and 50, correlated, from chains that start at one point.

    False alarm 1e-6; the effective number of draws is taken as that which ArviZ estimates, halved.
    """
    scale = torch.tensor([1.0, 50.0]).double()
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]]).double() * scale[:, None] * scale
    target = Gaussian(torch.tensor([5.0, -30.0]).double(), covariance)
    result = LangevinSampler(score=target).run(
        300, initial=torch.zeros(32, 2).double(), num_warmup=600, thinning=2, seed=0, **QUIET
    )
    assert (result.ess > 1000).all()
    assert (result.rhat < 1.02).all()
    assert_mean_close(result.flat, target.means[0], scale, false_alarm=ALARM, ess=torch.from_numpy(result.ess / 2))


GRID = torch.cartesian_prod(*[4.0 * torch.arange(-2, 3)] * 2)
MODES = GaussianMixture(torch.ones(25), GRID, torch.full((25, 2), 0.09))


def test_annealing_finds_all_25_modes() -> None:
    """From far outside, one draw of each of 1500 chains: the 25 counts are multinomial with equal shares, and within a mode
    the variance is 0.09, up to the stated bias. False alarm 1e-6 each.
    """
    levels = [8 * (0.3 / 8) ** (i / 7) for i in range(8)]
    sampler = LangevinSampler(score=MODES, method="annealed", levels=levels, bias=0.04)
    x = sampler.run(1, initial=8 * torch.randn(1500, 2, generator=seeded(0)), num_warmup=720, seed=1, **QUIET).flat
    mode = torch.cdist(x, GRID).argmin(1)
    counts = mode.bincount(minlength=25)
    assert stats.chisquare(counts.numpy()).pvalue > ALARM
    spread = float((x - GRID[mode]).square().mean()) / 0.09
    assert abs(spread - 1 / (1 - 0.04)) < 0.03 + 4.9 * (2 / 3000) ** 0.5


def test_annealing_steps_down_and_stays() -> None:
    seen = []
    scores = [lambda x, k=k: (seen.append(k), -x)[1] for k in range(3)]
    state = annealed.init(torch.ones(4, 1), scores)
    for _ in range(8):
        state, _ = annealed.step(state, scores, step_size=0.1, factor=torch.eye(1), generator=seeded(0), steps_per_level=2)
    assert sorted(set(seen)) == [0, 1, 2]
    assert seen == sorted(seen)
    assert seen.count(2) >= 4


@pytest.mark.parametrize("mode", [0.0, 1e-9])
def test_annealing_from_a_mode(mode: float) -> None:
    """Chains that all start where the score is zero stay within the law: the mean square of 800 is 1, sd 0.05."""
    levels = [Gaussian(torch.zeros(1), torch.full((1,), 1 + s**2)) for s in (3.0, 1.0, 0.0)]
    sampler = LangevinSampler(score=levels[-1], method="annealed", levels=levels)
    reached = []
    run = {"initial": torch.full((800, 1), mode), "num_warmup": 300, "seed": 0} | QUIET
    result = sampler.run(1, callback=lambda p: reached.append(float(p.state.position.abs().max())), **run)
    assert max(reached) < 20  # six standard deviations of the widest level
    assert 0.75 < float(result.draws.square().mean()) < 1.25


@pytest.mark.filterwarnings("ignore:chains have not mixed")  # so few steps at each level do not mix the modes
def test_annealing_an_estimate(disco) -> None:
    """An estimate is smoothed by noising its rows; both of its modes are found from starts of their own making."""
    x = torch.cat([torch.randn(150, 2, generator=seeded(0)) - 4, torch.randn(150, 2, generator=seeded(1)) + 4])
    result = LangevinSampler(score=disco.condition(x), method="annealed").run(1, num_chains=100, num_warmup=66, seed=0, **QUIET)
    share = float((result.flat[:, 0] > 0).float().mean())
    assert 0.25 < share < 0.75  # false alarm below 1e-6 for a binomial of 100
    assert float((result.flat.abs() - 4).abs().mean()) < 2
    assert len(ladder(disco.condition(x), [3.0, 1.0, 0.0])) == 3


class BlackBox:
    """A log-density that takes no gradient and counts its calls."""

    def __init__(self, log_prob) -> None:
        self.log_prob, self.calls = log_prob, 0

    def __call__(self, x: Tensor) -> Tensor:
        assert not x.requires_grad
        assert not torch.is_grad_enabled()
        self.calls += 1
        return torch.from_numpy(self.log_prob(x).numpy().copy())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*came after a step that diverged.*:RuntimeWarning")  # from far out on the banana's arms
def test_exact_mode_is_exact_and_learns(disco, monkeypatch) -> None:
    """A banana from its log-density alone: the draws have its law (DKW bound, false alarm 1e-6)."""
    shown: list[Tensor] = []
    condition = type(disco).condition
    monkeypatch.setattr(
        type(disco), "condition", lambda self, rows, **options: shown.append(rows) or condition(self, rows, **options)
    )
    start = torch.randn(100, 2, generator=seeded(5))
    box = BlackBox(banana)
    result = LangevinSampler(score=disco, log_prob=box, method="exact").run(
        4, initial=start, num_warmup=100, thinning=20, seed=0, **QUIET
    )
    assert box.calls == 180 + 1 + 1 + 2  # every step, the check, the start, and one after each window of warm-up
    z = torch.randn(4000, 2, generator=seeded(6))
    exact = torch.stack([1.5 * z[:, 0], 0.5 * (1.5 * z[:, 0]).square() + 0.5 * z[:, 1]], 1)
    assert_same_distribution(result.draws[:, -1], exact, false_alarm=ALARM)
    assert len(shown[-1]) == 1000
    # Where a chain stood still its rows are one.
    assert result.checkpoint.target._both.__self__.estimate.num_samples == len(torch.unique(shown[-1], dim=0))


def test_exact_mode_refreshes_in_warm_up_only(disco) -> None:
    sampler = LangevinSampler(score=disco, log_prob=lambda x: -0.5 * x.square().sum(-1), method="exact")
    result = sampler.run(5, initial=START4, num_warmup=40, seed=0, **QUIET)
    first = result.checkpoint.target
    more = sampler.run(5, resume=result, **QUIET)
    assert more.checkpoint.target is first


START4 = torch.randn(4, 2, generator=seeded(8))


def test_fallback_where_the_estimate_has_no_data() -> None:
    guided = Guided(TWO.log_prob, POOR)
    _, drift = guided.log_prob_and_score(torch.tensor([[0.0], [50.0], [-1e6]]).double())
    assert (drift != 0).flatten().tolist() == [True, False, False]
    _, plain = Guided(TWO.log_prob, lambda x: x / 0).log_prob_and_score(torch.tensor([[1.0]]))
    assert (plain == 0).all()


def test_diverging_trajectories_are_rejected() -> None:
    """Half of the line has no density: HMC never goes there, and says that it tried."""

    def half(x: Tensor) -> tuple[Tensor, Tensor]:
        log_prob = torch.where(x[:, 0] > 0, -0.5 * x[:, 0].square(), torch.nan)
        return log_prob, torch.where(x > 0, -x, torch.nan)

    state = malt.init(torch.ones(500, 1), half)
    tried = 0
    for i in range(5):
        state, info = malt.step(state, half, step_size=0.5, factor=torch.eye(1), generator=seeded(i))
        tried += int(info.diverged.sum())
        assert (state.position > 0).all()
        assert torch.isfinite(torch.cat([state.log_prob, state.score[:, 0]])).all()
    assert tried > 100


def test_baoab_restarts_at_rest_after_a_divergence() -> None:
    wall = lambda x: torch.where(x > 1, torch.nan, -x)  # noqa: E731
    state = baoab.State(torch.full((3, 1), 0.9), torch.full((3, 1), -0.9), torch.full((3, 1), 50.0))
    moved, info = baoab.step(state, wall, step_size=0.1, factor=torch.eye(1), generator=seeded(0))
    assert info.diverged.all()
    assert torch.equal(moved.position, state.position)
    assert (moved.velocity == 0).all()
