"""Independent proposals from an estimate's rows: exact on known laws, and chains that mix where local moves do not.

Each statistical test states the probability of a false alarm that it was set up with; generators are fixed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from disco_samplers import Draws, LangevinSampler, preconditioners
from disco_samplers.convergence import diagnostic, nested_rhat, pareto_k
from disco_samplers.estimators import NeighbourMixture
from disco_samplers.reference import Gaussian, GaussianMixture
from disco_samplers.samplers import NotMixedWarning, SamplerResult, summarise, unmixed
from disco_samplers.samplers.steps import independence

ALARM = 1e-5
DOUBLE = {"dtype": torch.float64}
QUIET = {"progress": False}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=seeded(seed), **DOUBLE)


class Coins:
    """Independent proposals on the states 0, 1, 2, all alike."""

    def sample(self, num_samples, *, generator=None):
        return torch.randint(3, (num_samples, 1), generator=generator).double()

    def log_prob(self, points):
        return torch.full((len(points),), -np.log(3.0), **DOUBLE)


@pytest.mark.parametrize("candidates", [1, 3])
def test_jumps_leave_a_law_of_three_states_as_it_is(candidates):
    """Counts after three jumps from exact draws, by chi-squared. False alarm 1e-5 a case."""
    law = torch.tensor([0.7, 0.25, 0.05], **DOUBLE)
    start = torch.multinomial(law, 60_000, replacement=True, generator=seeded(1))[:, None].double()

    def target(x):
        return law.log()[x[:, 0].long()], torch.zeros_like(x)

    state = independence.init(start, target, proposal=Coins())._replace(steps=1)
    rng = seeded(2)
    for _ in range(3):
        # The period is never over: there are no local moves among the states.
        state, info = independence.step(
            state, target, step_size=1.0, factor=torch.eye(1), generator=rng, proposal=Coins(), candidates=candidates, period=99
        )
    assert 0.1 < float(info.acceptance.mean()) < 0.9
    counts = torch.bincount(state.position[:, 0].long(), minlength=3)
    assert stats.chisquare(counts.numpy(), 60_000 * law.numpy()).pvalue > ALARM
    assert bool((state.position != start).any())


@pytest.mark.parametrize("period", [1, 2])
def test_jumps_and_local_moves_leave_a_mixture_as_it_is(period):
    """Exact draws stay so, by Kolmogorov-Smirnov for each column. False alarm 1e-5 a case."""
    target = GaussianMixture(
        torch.tensor([0.3, 0.7], **DOUBLE), torch.tensor([[-4.0, 0.0], [4.0, 1.0]], **DOUBLE), torch.ones(2, 2, **DOUBLE)
    )
    wide = Gaussian(torch.zeros(2, **DOUBLE), torch.tensor([25.0, 4.0], **DOUBLE))
    x, exact = target.sample(10_000, generator=seeded(1)), target.sample(40_000, generator=seeded(2))
    state, rng = independence.init(x, target.log_prob_and_score, proposal=wide), seeded(3)
    for _ in range(4):
        state, _ = independence.step(
            state,
            target.log_prob_and_score,
            step_size=0.3,
            factor=torch.eye(2, **DOUBLE),
            generator=rng,
            proposal=wide,
            candidates=3,
            period=period,
        )
    assert float((state.position[:, 0].sign() != x[:, 0].sign()).double().mean()) > 0.2
    for i in range(2):
        assert stats.ks_2samp(state.position[:, i].numpy(), exact[:, i].numpy()).pvalue > ALARM / 2
    torch.testing.assert_close(state.log_weight, target.log_prob(state.position) - wide.log_prob(state.position))


def test_a_state_without_weight_is_left():
    target = Gaussian(torch.zeros(1, **DOUBLE), torch.eye(1, **DOUBLE))
    state = independence.init(torch.full((5, 1), 1e200, **DOUBLE), lambda x: (x[:, 0] * torch.nan, x), proposal=target)
    state, _ = independence.step(
        state,
        target.log_prob_and_score,
        step_size=0.1,
        factor=torch.eye(1, **DOUBLE),
        generator=seeded(0),
        proposal=target,
    )
    assert bool((state.position.abs() < 10).all())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_log_density_of_the_mixture(small, weighted, flat):
    """Against scipy's, one component after another; a column of no variance has the estimate's Gaussian."""
    x = normal(120, 2) @ torch.tensor([[1.0, 0.8], [0.0, 0.3]], **DOUBLE)
    x = torch.cat([x, torch.ones(120, 1, **DOUBLE)], 1) if flat else x
    estimate = small.condition(x, weights=torch.linspace(0, 2, 120) if weighted else None)
    mixture = NeighbourMixture(estimate.estimator.core)
    points = mixture.sample(50, generator=seeded(1))
    white = mixture.whitening(points[None])[0].numpy()
    terms = [
        np.log(w) + stats.multivariate_t(m, f @ f.T, df=7).logpdf(white[:, :2])
        for w, m, f in zip(mixture.weights.numpy(), mixture.means.numpy(), mixture.factors.numpy(), strict=True)
    ]
    expected = np.logaddexp.reduce(terms) + stats.norm.logpdf(white[:, 2:]).sum(1) + float(mixture.whitening.log_det)
    np.testing.assert_allclose(mixture.log_prob(points).numpy(), expected, rtol=1e-9)
    assert float(mixture.weights.sum()) == pytest.approx(1)


def test_the_mixture_is_drawn_as_its_density_says(small):
    """The mean of p / q over draws of q is one for a normal p, within 4.5 standard errors: false alarm 1e-5."""
    x = normal(400, 3)
    q = small.condition(x).proposal()
    p = Gaussian(torch.zeros(3, **DOUBLE), 0.5 * torch.eye(3, **DOUBLE))
    y = q.sample(20_000, generator=seeded(2))
    ratio = (p.log_prob(y) - q.log_prob(y)).exp()
    assert float((ratio.mean() - 1).abs()) < 4.5 * float(ratio.std()) / len(y) ** 0.5
    assert float(ratio.std()) < 5


def test_a_transformed_estimate_proposes_in_its_support(small):
    x = normal(200, 2).exp()
    estimate = small.condition(x, transform=torch.distributions.ExpTransform().inv)
    q = estimate.proposal()
    y = q.sample(2000, generator=seeded(0))
    assert bool((y > 0).all())
    p = torch.distributions.LogNormal(torch.zeros(2, **DOUBLE), 0.8)
    ratio = (p.log_prob(y).sum(1) - q.log_prob(y)).exp()
    assert float((ratio.mean() - 1).abs()) < 4.5 * float(ratio.std()) / len(y) ** 0.5


@pytest.mark.filterwarnings("ignore:chains have not mixed")  # one step, to see the starts
def test_proposals_and_starts_follow_the_weights(small):
    """A tenth of the weight, half of the rows: within 4.5 standard errors, false alarm 1e-5."""
    x = torch.cat([normal(300, 2), 10 + normal(300, 2, seed=1)])
    weights = torch.cat([torch.full((300,), 0.9), torch.full((300,), 0.1)])
    estimate = small.condition(Draws(x, weights=weights))
    result = LangevinSampler(estimate).run(1, num_chains=2000, num_warmup=0, seed=0, **QUIET)
    start = LangevinSampler(estimate, method="mala").run(1, num_chains=2000, num_warmup=0, step_size=1e-12, seed=0, **QUIET)
    drawn = estimate.proposal().sample(2000, generator=seeded(1))
    # One component in five has the moments of all rows; it may propose anywhere.
    for rows, share, spread in ((start.flat, 0.1, 0.0), (drawn, 0.1, 0.2)):
        far = float((rows[:, 0] > 5).double().mean())
        assert abs(far - share) < spread * 0.5 + 4.5 * (share * (1 - share) / 2000) ** 0.5
    assert result.draws.shape == (2000, 1, 2)


def test_a_calibrated_estimate_has_the_columns_of_its_rows(small):
    """Against the mean of importance weights, which no calibration has seen; the gradient is that of the log-density."""
    x = torch.cat([normal(400, 1).exp(), normal(400, 1, seed=1)], 1)
    estimate = small.condition(x)
    calibrated = estimate.calibrated(generator=seeded(1))
    assert calibrated.is_calibrated
    assert not estimate.is_calibrated
    q = estimate.proposal()
    y = q.sample(20_000, generator=seeded(2))
    far = []
    for density in (estimate, calibrated):
        log_weight = density.log_prob(y) - q.log_prob(y)
        share = torch.softmax(log_weight, 0)
        below = torch.stack(
            [(share[:, None] * (y < x.quantile(level, 0))).sum(0) - level for level in (0.1, 0.3, 0.5, 0.7, 0.9)]
        )
        far.append(float(below.abs().max()))
        far.append(float(log_weight.logsumexp(0)))
    assert far[2] < far[0] / 5  # a network that was never trained
    assert far[3] == pytest.approx(far[1], abs=0.2)  # the integral
    points = y[:50].clone().requires_grad_()
    tilt = calibrated.log_prob(points) - estimate.log_prob(points)
    (slope,) = torch.autograd.grad(tilt.sum(), points)
    torch.testing.assert_close(slope, calibrated.score(points) - estimate.score(points))
    white = (
        calibrated.white_log_prob(calibrated.whiten(y[None, :50]))[0]
        - estimate.white_log_prob(estimate.whiten(y[None, :50]))[0]
    )
    torch.testing.assert_close(white, tilt)
    assert calibrated.calibrated().estimator is calibrated.estimator
    moved = calibrated.to(dtype=torch.float64)
    torch.testing.assert_close(moved.log_prob(y[:50]), calibrated.log_prob(y[:50]), rtol=1e-3, atol=1e-3)
    assert calibrated.normalized().is_calibrated
    assert calibrated.with_model(small).is_calibrated


def test_calibration_is_by_weight_and_through_transforms(small):
    x = torch.cat([normal(300, 1), 4 + normal(300, 1, seed=1)])
    weights = torch.cat([torch.full((300,), 0.9), torch.full((300,), 0.1)])
    transform = torch.distributions.ExpTransform().inv
    estimate = small.condition(x.exp(), weights=weights, transform=transform)
    q = estimate.proposal()
    y = q.sample(20_000, generator=seeded(1))
    off = []
    for density in (estimate, estimate.calibrated(generator=seeded(0))):
        share = torch.softmax(density.log_prob(y) - q.log_prob(y), 0)
        above = [
            float(share[y[:, 0] > edge].sum() - weights[x[:, 0].exp() > edge].sum() / weights.sum()) for edge in (0.4, 1, 3, 12)
        ]
        off.append(max(map(abs, above)))
    assert off[1] < off[0] / 5


def test_what_cannot_be_told_is_left(small):
    estimate = small.condition(normal(60, 2))
    with pytest.raises(ValueError, match="num_samples"):
        estimate.calibrated(num_samples=99)
    few = estimate.calibrated(num_samples=100)  # fewer than 100 are effective
    assert torch.equal(few.log_prob(normal(9, 2)), estimate.log_prob(normal(9, 2)))
    with pytest.raises(ValueError, match="one data set"):
        small.condition(normal(30, 1).view(2, 15, 1)).calibrated()


def mixes(estimate, **options):
    result = LangevinSampler(estimate).run(1000, seed=0, **QUIET, **options)
    assert result.method == "jumps"
    assert not result.unmixed
    assert np.max(result.rhat) <= 1.01
    assert min(result.ess.min(), diagnostic("ess_tail", result.numpy()).min()) >= 400
    return result


@pytest.mark.slow
def test_modes_far_apart(rotations):
    """Ten standard deviations apart, three tenths of the mass in one of them; local moves would never cross."""
    x = normal(300, 2)
    x[:90, 0] += 10
    result = mixes(rotations.condition(x))
    assert 0.2 < float((result.flat[:, 0] > 5).double().mean()) < 0.4
    assert result.pareto_k < 0.7


def test_a_funnel_and_no_copies_of_its_rows(rotations):
    v = 1.5 * normal(1100, 1)
    x = torch.cat([v, normal(1100, 1, seed=1) * (v / 2).exp()], 1)
    context, fresh = x[:1000], x[1000:]
    result = mixes(rotations.condition(context))
    assert float((result.flat[:, 0] < -2).double().mean()) > 0.03  # the neck, .09 of the mass
    nearest = torch.cdist(result.flat[::40] / x.std(0), context / x.std(0)).min(1).values
    among = torch.cdist(fresh / x.std(0), context / x.std(0)).min(1).values
    assert float(nearest.median()) > 0.7 * float(among.median())
    assert float(nearest.min()) > 0


@pytest.mark.parametrize("d", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_the_preconditioner_follows_a_ridge(d):
    """Smallest eigenvalue 1e-5, ten rows a column: local moves of the factor mix."""
    turn = torch.linalg.qr(normal(d, d, seed=5))[0]
    covariance = turn @ torch.diag(torch.logspace(-5, 0, d, **DOUBLE)) @ turn.T
    scale = covariance.diagonal().sqrt()
    target = Gaussian(torch.zeros(d, **DOUBLE), covariance / scale / scale[:, None])
    rows = target.sample(10 * d, generator=seeded(6))
    factor = preconditioners.factor(rows)
    white = torch.linalg.solve_triangular(factor, torch.linalg.cholesky(covariance / scale / scale[:, None]), upper=False)
    values = torch.linalg.svdvals(white).square()
    assert float(values.max() / values.min()) < 30
    result = LangevinSampler(target, method="malt").run(500, context=rows, seed=0, **QUIET)
    assert np.max(result.rhat) < 1.01
    assert result.ess.min() >= 400


def test_weighted_rows_of_a_factor_are_repeated_rows():
    x = normal(50, 3)
    counts = torch.arange(50) % 3
    repeated = preconditioners.factor(x.repeat_interleave(counts, 0))
    weighted = preconditioners.factor(x, counts=counts)
    torch.testing.assert_close(weighted, repeated, rtol=0.05, atol=0.01)


def test_a_run_goes_on_as_if_it_had_not_ended(small):
    sampler = LangevinSampler(small.condition(normal(60, 2)))
    options = {"num_warmup": 5, "seed": 3, **QUIET}
    whole, part = sampler.run(40, **options), sampler.run(13, **options)
    for _ in range(2):
        resumed = sampler.run(27, resume=part, **QUIET)
        assert torch.equal(whole.draws, resumed.draws)
    assert resumed.pareto_k == whole.pareto_k


def test_what_has_not_mixed_says_so(small):
    walk = normal(4 * 1000, 2).view(4, 1000, 2)
    walk[..., 1] = walk[..., 1].cumsum(1)
    assert unmixed(walk.numpy()) == [1]
    lines = str(summarise(walk, ["a", "b"])).splitlines()
    assert lines[2].endswith("not mixed")
    assert not lines[1].endswith("not mixed")
    modes = GaussianMixture(torch.tensor([0.5, 0.5]), torch.tensor([[-8.0], [8.0]]), torch.ones(2, 1))
    start = torch.tensor([[-8.0], [8.0]]).repeat(4, 1)
    with pytest.warns(NotMixedWarning, match=r"have not mixed .* in x0: run longer"):
        result = LangevinSampler(modes).run(200, initial=start, num_warmup=50, seed=0, **QUIET)
    assert result.unmixed == ["x0"]


def test_independent_draws_are_not_accused():
    """Of a hundred variables of independent draws none is flagged."""
    for chains, n in ((4, 400), (4, 100), (16, 100), (1, 1600)):
        draws = normal(chains * n, 25, seed=chains + n).view(chains, n, 25).numpy()
        assert not unmixed(draws)


def test_short_chains_are_not_judged():
    draws = torch.zeros(4, 99, 1).cumsum(1) + torch.arange(4.0)[:, None, None]
    table = summarise(draws, ["a"])
    assert np.isnan(table.columns["r_hat"]).all()
    assert str(table).split()[:6] == ["mean", "sd", "5%", "50%", "95%", "a"]
    assert unmixed(draws.numpy()) == []
    assert not SamplerResult(draws, torch.ones(4), torch.zeros(4, 99, dtype=torch.bool), 0.1, "ula", ["a"]).unmixed


def test_nested_r_hat_is_that_of_arviz():
    """Of chains in the order of their super-chains; ranks of all draws have normal scores of their own there."""
    stats = pytest.importorskip("arviz_stats.base").array_stats
    draws, start = normal(40 * 6, 2).view(40, 6, 2), torch.arange(40.0)[:, None].expand(40, 2)
    draws = draws + (start[:, :1] // 5)[..., None] / 4
    found = nested_rhat(draws.numpy(), start.numpy())
    for i in range(2):
        scores = stats._z_scale(draws[..., i].numpy())
        expected = stats.rhat_nested(scores, np.arange(40) // 5, method="identity", chain_axis=0, draw_axis=1)
        assert found[i] == pytest.approx(float(expected), rel=1e-12)


def test_many_short_chains_that_tell_their_start():
    """Chains of three draws that keep .8 of their start are flagged; of fifty variables that have forgotten it none is.

    False alarm 50 in 1e5 of the law that the limit is made for.
    """
    start, noise = normal(256, 51), normal(256 * 3, 51, seed=1).view(256, 3, 51)
    draws = noise.clone()
    draws[..., 0] = 0.8 * start[:, None, 0] + 0.6 * noise[..., 0]
    assert unmixed(draws.numpy(), start.numpy()) == [0]
    assert unmixed(draws[:, :1].numpy(), start.numpy()) == [0]
    assert unmixed(draws[:63].numpy(), start[:63].numpy()) == []
    table = summarise(draws, [f"x{i}" for i in range(51)], start=start.numpy())
    assert "r_hat_nested" in str(table).splitlines()[0]
    assert "ess_bulk" not in str(table)
    assert str(table).splitlines()[1].endswith("not mixed")


def test_short_chains_of_a_sampler(small):
    walk = LangevinSampler(lambda x: -x, log_prob=lambda x: -0.5 * x.square().sum(-1))
    start = normal(200, 1)
    with pytest.warns(NotMixedWarning, match="nested R-hat"):
        result = walk.run(2, initial=start, step_size=1e-3, num_warmup=0, seed=0, **QUIET)
    assert result.unmixed == ["x0"]
    assert torch.equal(result.start, start)
    assert walk.run(2, initial=start, step_size=0.3, num_warmup=60, seed=0, **QUIET).unmixed == []
    assert LangevinSampler(small.condition(normal(60, 1))).run(2, num_chains=200, seed=0, **QUIET).unmixed == []


def test_draws_of_an_estimate_that_tell_their_rows(small):
    """One step in ten columns leaves half of the draws at their rows, and the warning names the columns."""
    estimate = small.condition(Draws(normal(300, 10) * normal(300, 1, seed=1).exp(), names=[f"column {i}" for i in range(10)]))
    with pytest.warns(NotMixedWarning, match=r"nested R-hat.* in column 0.*num_steps of an estimate's sample"):
        estimate.sample(300, num_steps=1, seed=0)
    assert estimate.sample(300, num_steps=60, seed=0).shape == (300, 10)


def test_pareto_k_of_weights():
    """Of a Pareto tail with shape .8, and of bounded weights."""
    uniform = torch.rand(4000, generator=seeded(0), **DOUBLE)
    assert 0.65 < pareto_k((-0.8 * uniform.log()).numpy()) < 0.95
    assert pareto_k(uniform.log().numpy()) < 0.1
    assert np.isnan(pareto_k(np.zeros(100)))


@pytest.mark.parametrize("options", [{}, {"log_prob": lambda x: -x.square().sum(-1)}])
def test_jumps_need_an_estimate(options):
    with pytest.raises(ValueError, match='"jumps" needs an estimate'):
        LangevinSampler(lambda x: -x, method="jumps", **({"log_prob": lambda x: -x.square().sum(-1)} | options))


def test_the_choice_of_the_method(small):
    x = normal(30, 1)
    estimate = small.condition(x)
    assert LangevinSampler(estimate).method == LangevinSampler(small).method == "jumps"
    assert LangevinSampler(estimate, method="auto").method == "jumps"
    assert LangevinSampler(estimate, log_prob=estimate.log_prob).method == "mala"
    assert LangevinSampler(lambda x: -x, method="auto").method == "ula"
    with pytest.raises(ValueError, match="one data set"):
        small.condition(x.view(2, 15, 1)).proposal()


def test_a_proposal_has_the_manners_of_its_estimate(small):
    x = normal(60, 2).numpy()
    q, of_tensor = small.condition(x).proposal(seed=0), small.condition(torch.from_numpy(x)).proposal(seed=0)
    y = q.sample(5, seed=1)
    assert isinstance(y, np.ndarray)
    assert isinstance(q.log_prob(y), np.ndarray)
    assert q.log_prob(y.astype("f4")).dtype == np.float32
    assert q.log_prob(y.tolist()).dtype == np.float64
    np.testing.assert_array_equal(of_tensor.log_prob(of_tensor.sample(5, seed=1)).numpy(), q.log_prob(y))
    frame = pd.DataFrame(x, columns=["a", "b"])
    named = small.condition(frame).proposal(seed=0)
    np.testing.assert_allclose(named.log_prob(frame[["b", "a"]]), q.log_prob(x))
    wrong = (
        (y[0], "must have shape"),
        (y[:, :1], "points must have 2 columns"),
        (y[None], "must have shape"),
        (y * np.nan, "NaN"),
    )
    for points, message in wrong:
        with pytest.raises(ValueError, match=message):
            q.log_prob(points)
    for count, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="num_samples must be"):
            q.sample(count)


def test_a_proposal_keeps_to_the_support(small):
    x = normal(60, 2).sigmoid().float()
    q = small.condition(x, support=["unit", "unit"]).proposal(seed=0)
    drawn = q.sample(2000, seed=1)
    assert drawn.dtype == torch.float32
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert q.log_prob(torch.tensor([[0.5, 1.5], [0.5, 0.5]])).isinf().tolist() == [True, False]


def test_a_proposal_of_ones_own():
    """Modes of masses .2 and .8 from proposals of .5 each: a share of 8000 draws, which are worth 2000 or more, within three
    standard errors of these."""
    means, ones = torch.tensor([[-6.0], [6.0]], **DOUBLE), torch.ones(2, 1, **DOUBLE)
    law, proposed = (GaussianMixture(torch.tensor([p, 1 - p], **DOUBLE), means, s * ones) for p, s in ((0.2, 1.0), (0.5, 2.0)))
    run = {"initial": proposed.sample(40, generator=seeded(0)), "num_warmup": 20, "seed": 1, "progress": False}
    result = LangevinSampler(score=law.score, log_prob=law.log_prob, method="jumps", proposal=proposed).run(200, **run)
    assert abs(float((result.flat < 0).double().mean()) - 0.2) < 0.03
    assert LangevinSampler(score=law, proposal=proposed).method == "jumps"
    with pytest.raises(ValueError, match='proposal is not an option of method "mala"'):
        LangevinSampler(score=law, method="mala", proposal=proposed)
    with pytest.raises(TypeError, match=r"proposal.sample must be callable"):
        LangevinSampler(score=law, proposal=Draws(normal(5, 1)))
    with pytest.raises(ValueError, match="needs an estimate as score, and no log_prob=, or a proposal="):
        LangevinSampler(score=law, method="jumps")
