"""Columns of angles: the turns of a line added up, exactly, and what the network makes of it at the seam."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from conftest import perturbed

from disco_samplers import Draws, LangevinSampler
from disco_samplers.convergence import nested_rhat
from disco_samplers.draws import Circle, Support, supports_of
from disco_samplers.estimators import CircularEstimator, Layout, unnormalized
from disco_samplers.estimators.circular import _window
from disco_samplers.reference import Gaussian
from disco_samplers.samplers import SamplerResult, summarise

TURN = 2 * math.pi


def von_mises(t, concentration=3.0):
    """Log-density at angles."""
    k = torch.tensor(concentration, dtype=torch.float64)
    return k * t.cos() - torch.special.i0(k).log() - math.log(TURN)


def angles(rng, n, spread, around=0.0):
    """Normal angles (n, 1), wrapped to one turn."""
    return torch.remainder(around + spread * torch.randn(n, 1, dtype=torch.float64, generator=rng), TURN)


class Windowed:
    """A von Mises law times the window of a layout, on the line."""

    def __init__(self, centre, flat):
        self.centre, self.flat = centre, flat

    def log_prob(self, points):
        t = points[:, 0]
        shares = torch.stack([_window(t + TURN * k - self.centre, self.flat) for k in range(-6, 7)])
        return von_mises(t) + (shares[6] / shares.sum(0)).log()


@pytest.mark.parametrize(("flat", "tolerance"), [(False, 1e-12), (True, 1e-5)], ids=["window", "normal"])
def test_the_turns_add_up(flat, tolerance):
    """The window's shares sum to one: whatever it is, what was laid out comes back; of the normal one 5 deviations are kept."""
    layout = Layout([0], [Circle(0.0, TURN)], [[1.0]], [2.0], [flat])
    t = torch.linspace(-7, 14, 50, dtype=torch.float64)[:, None]
    found = CircularEstimator(Windowed(2.0, flat), layout).log_prob(t)
    torch.testing.assert_close(found, von_mises(t[:, 0]), rtol=0, atol=tolerance)


def test_rows_are_dealt_by_the_window(rng):
    """Of evenly spread rows as many are on each turn as the window says, in whichever order they come, and none is moved."""
    x = torch.arange(4000, dtype=torch.float64)[:, None] * (360 / 4000)
    layout = Layout([0], [Circle(0.0, 360.0)], [[1.0]], [math.pi], [False])
    laid = layout.dealt(x)
    torch.testing.assert_close(torch.remainder(laid, 360), x)
    for low, high, share in [(-90, -45, 0.0498), (-45, 0, 0.3135), (0, 45, 0.6865), (90, 270, 1.0), (400, 450, 0.0611)]:
        inside = float(((laid >= low) & (laid < high)).double().mean()) * 360 / (high - low)
        assert inside == pytest.approx(share, abs=0.02)
    order = torch.randperm(4000, generator=rng)
    assert torch.equal(layout.dealt(x[order]), laid[order])


def test_a_sum_that_is_known_better(rng):
    """Two angles that are not known, with a sum that is: it is laid out in the place of one of them."""
    omega = TURN * torch.rand(500, 1, dtype=torch.float64, generator=rng)
    x = torch.cat([omega, torch.remainder(angles(rng, 500, 0.2, 1.0) - omega, TURN)], 1)
    layout = Layout.of(x, [Circle(0.0, TURN)] * 2)
    assert sorted(map(sorted, layout.mix)) == [[0.0, 1.0], [1.0, 1.0]]
    assert layout.flat.count(True) == 1
    assert Layout.of(x[:, :1], [Circle(0.0, TURN)]).flat == [True]
    assert Layout.of(angles(rng, 500, 0.5), [Circle(0.0, TURN)]).flat == [False]
    torch.testing.assert_close(layout.wrapped(layout.dealt(x)), x)


@pytest.mark.parametrize("mix", [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 1.0]]], ids=["plain", "mixed"])
def test_the_score_is_the_gradient(mix):
    """Of a law whose score is exact, through the turns, units and sums of angles."""
    covariance = torch.tensor([[900.0, 0.1, 0.2], [0.1, 1.0, 0.3], [0.2, 0.3, 2.0]], dtype=torch.float64)
    layout = Layout([0, 2], [Circle(0.0, 360.0), Circle(-math.pi, math.pi)], mix, [math.pi, 0.5], [False, False])
    law = CircularEstimator(Gaussian(torch.tensor([200.0, 0.0, 3.0]).double(), covariance), layout)
    x = torch.tensor([[10.0, 0.3, 3.0], [200.0, -1.0, -0.4], [355.0, 0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    log_prob, score = law.log_prob_and_score(x)
    (gradient,) = torch.autograd.grad(log_prob.sum(), x)
    torch.testing.assert_close(score, gradient)
    torch.testing.assert_close(law.log_prob(x), log_prob)
    torch.testing.assert_close(law.log_prob(x + torch.tensor([360.0, 0.0, -TURN]).double()), log_prob)


def test_no_seam(disco, rng):
    """Where the density is highest, rows end and begin; within 15 % of the truth there, and the same from both sides.

    Of 50 other sets of 1000 rows none was off by more.
    """
    x = angles(rng, 1000, 0.6)
    estimate = disco.condition(x, support=["circular"])
    y = torch.tensor([[0.0], [TURN], [-0.3], [1e-7], [-1e-7], [1.0]], dtype=torch.float64)
    t = torch.remainder(y[:, 0] + math.pi, TURN) - math.pi
    true = torch.distributions.Normal(0.0, 0.6).log_prob(t)
    found = estimate.log_prob(y)
    assert (found - true).abs().max() < 0.15
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[3], found[4], rtol=0, atol=1e-5)
    assert estimate.log_normalizer(seed=0).value == pytest.approx(0, abs=0.05)
    assert disco.condition(x).log_prob(y[:1]) < found[0] - 0.4


def test_a_circle_without_a_mode(disco, rng):
    """Uniform angles: within 8 % everywhere. Of 50 other sets none was off by more."""
    x = 360 * torch.rand(1000, 1, dtype=torch.float64, generator=rng)
    y = torch.linspace(0, 360, 73, dtype=torch.float64)[:, None]
    found = disco.condition(x, support=["circular:360"]).log_prob(y)
    assert (found + math.log(360)).abs().max() < 0.08


@pytest.mark.filterwarnings("ignore::disco_samplers.samplers.NotMixedWarning")  # chains too short to mix
def test_what_an_estimate_does_is_done_with_circles(rng):
    network = perturbed().double()
    x = torch.cat([angles(rng, 45, 0.7), torch.rand(45, 2, dtype=torch.float64, generator=rng)], 1)
    x[:, 1] = x[:, 1] * 360 - 180
    draws = Draws(x, names=["t", "phi", "p"], support={"t": "circular", "phi": "circular:360", "p": "unit"})
    assert draws.support == [Circle(0.0, TURN), Circle(-180.0, 180.0), Support(0.0, 1.0)]
    estimate = network.condition(draws)
    whole = estimate.normalized(num_samples=300, generator=rng)
    for other in (whole, estimate.adapt(), estimate.calibrated(num_samples=200)):
        assert isinstance(unnormalized(other.estimator), CircularEstimator)
        turned = x[:5] + torch.tensor([TURN, -360.0, 0.0], dtype=torch.float64)
        torch.testing.assert_close(other.log_prob(turned), other.log_prob(x[:5]))
    for again in (copy.deepcopy(estimate), pickle.loads(pickle.dumps(estimate))):
        assert torch.equal(again.log_prob(x), estimate.log_prob(x))
    sampled = [estimate.sample(50, generator=rng, num_steps=2), estimate.proposal().sample(50, generator=rng)]
    for new in sampled:
        assert ((new[:, 0] >= 0) & (new[:, 0] <= TURN)).all()
        assert (new[:, 1].abs() <= 180).all()
    assert torch.isfinite(estimate.proposal().log_prob(sampled[1])).all()
    given = estimate.conditional({"p": 0.5, "phi": 0.0}).sample(50, seed=0)
    assert ((given >= 0) & (given <= TURN)).all()
    assert estimate.marginal(["phi"]).support == [Circle(-180.0, 180.0)]
    circles = network.condition(draws.columns(["t", "phi"]))
    run = LangevinSampler(score=circles, method="ula").run(3, num_chains=2, initial=x[:2, :2] + 720, progress=False)
    assert ((run.draws[..., 0] >= 0) & (run.draws[..., 0] <= TURN) & (run.draws[..., 1].abs() <= 180)).all()


def test_a_law_given_an_angle(disco, rng):
    """A normal number around the cosine of an angle: its mean at the seam; the law of the angle integrates to one."""
    t = angles(rng, 1500, 1.2)
    x = torch.cat([t, t.cos() + 0.3 * torch.randn(1500, 1, dtype=torch.float64, generator=rng)], 1)
    estimate = disco.condition(x, support={0: "circular"})
    law = estimate.conditional({0: TURN + 0.1})
    assert float(law.mean()) == pytest.approx(math.cos(0.1), abs=0.1)
    assert float(law.std()) == pytest.approx(0.3, abs=0.05)
    other = estimate.conditional({1: 0.5})
    grid = torch.linspace(0, TURN, 201, dtype=torch.float64)[:, None]
    assert float(torch.trapezoid(other.log_prob(grid).exp(), grid[:, 0])) == pytest.approx(1, abs=0.01)
    assert ((other.sample(200, seed=0) >= 0) & (other.sample(200, seed=0) <= TURN)).all()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a": "circular:"}, "column a must have a period, as circular:360 has"),
        ({"a": "circular:-2"}, "must have a period"),
        ({"a": "circular"}, "column a spans 3.*more than the turn of its support, 6.28319: write its period, as circular:360"),
        ({"a": "circular:360", "b": "circular", "c": "circular", "d": "circular"}, "4 circular columns; at most 3"),
    ],
)
def test_what_is_refused(small, rng, given, told):
    x = torch.rand(30, 4, generator=rng) * torch.tensor([360.0, 6.0, 6.0, 6.0])
    with pytest.raises(ValueError, match=told):
        small.condition(Draws(x, names=list("abcd")), support=given)


def test_the_turn_in_which_angles_are_given():
    def turn(*values):
        return tuple(supports_of(["circular:360"], ["a"], torch.tensor(values)[:, None])[0])

    assert turn(0.0, 360.0) == (0, 360)
    assert turn(-180.0, 10.0) == (-180, 180)
    assert turn(-200.0, 20.0) == (-200, 160)
    assert Circle(0.0, 360.0) != Support(0.0, 360.0)


def test_chains_of_angles_are_judged_as_unit_vectors():
    """Chains of independent angles about the seam mix; those that keep to a place of their own there do not.

    As plain numbers the first would do as well, and the second too, for the seam between 0 and a turn hides where they lie.
    """
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.3, size=(4, 500, 1))
    apart = noise + np.array([-0.3, -0.1, 0.1, 0.3])[:, None, None]
    good, bad = (Draws(x % (2 * np.pi), support=["circular"]) for x in (noise, apart))
    assert good.rhat[0] < 1.01
    assert bad.rhat[0] > 1.2
    assert Draws(apart % (2 * np.pi)).rhat[0] < bad.rhat[0]
    assert good.effective_size > 1000
    assert bad.effective_size < 100
    degrees = Draws(np.degrees(apart % (2 * np.pi)), support=["circular:360"])
    np.testing.assert_allclose(degrees.rhat, bad.rhat)
    summary = summarise(apart % (2 * np.pi), ["t"], periods=[2 * np.pi])
    assert list(summary.unmixed) == [0]
    assert summary.columns["r_hat"][0] == bad.rhat[0]
    start = (apart[:, :1] + np.zeros((4, 40, 1))).reshape(-1, 1) % (2 * np.pi)
    short = start[:, None] + 0.1 * rng.normal(size=(160, 2, 1))
    found = nested_rhat(short % (2 * np.pi), start, periods=[2 * np.pi])
    assert found[0] > 1.5
    assert nested_rhat(noise.reshape(-1, 2, 1)[:160], rng.normal(size=(160, 1)), periods=[2 * np.pi])[0] < 1.1


@pytest.mark.parametrize("low", [0.0, -180.0])
@pytest.mark.parametrize("place", [0.0, 180.0])
def test_tables_of_angles_are_about_their_direction(low, place):
    """By the raw numbers angles about the seam have their mean half a turn away, and a deviation of half a turn."""
    noise = np.random.default_rng(0).normal(scale=20, size=(4, 500, 2))
    draws = np.stack([(noise[..., 0] + place - low) % 360 + low, noise[..., 1]], -1)
    table = summarise(draws, ["angle", "x"], periods=[360.0, None]).columns
    exact = np.quantile(noise.reshape(-1, 2), [0.05, 0.5, 0.95], axis=0)
    for column, value in zip(["5%", "50%", "95%"], exact, strict=True):
        assert (table[column][0] - value[0] - place + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)
        assert table[column][1] == value[1]
    assert table["5%"][0] < table["50%"][0] < table["95%"][0] < table["5%"][0] + 180
    assert (table["mean"][0] - place + 180) % 360 - 180 == pytest.approx(noise[..., 0].mean(), abs=0.2)
    assert low <= table["mean"][0] <= low + 360
    assert table["sd"] == pytest.approx(noise.reshape(-1, 2).std(0, ddof=1), rel=1e-3)
    assert table["mcse"] == pytest.approx(20 / 2000**0.5, rel=0.15)


def test_a_sampler_of_angles_tells_so(small, rng):
    x = torch.rand(100, 2, generator=rng) * 360
    estimate = small.condition(x, support=["circular:360", "real"])
    sampler = LangevinSampler(score=estimate, method="mala")
    result = sampler.run(100, num_chains=4, context=x, num_warmup=10, seed=0, progress=False)
    assert result.periods == [360.0, None]
    assert np.isfinite(result.rhat).all()
    assert 1 <= result.effective_size <= 400


def test_pictures_of_angles_are_about_their_direction(rng):
    """Draws about the seam, and what they are compared with, are drawn in one piece."""
    x = (torch.randn(4, 200, 1, generator=rng) * 20) % 360
    whole = torch.ones(4), torch.zeros(4, 200, dtype=torch.bool), 1.0
    result = SamplerResult(x, *whole, "mala", ["angle"], periods=[360.0])
    for figure in (result.plot(reference=x[0]), result.plot(reference=[x[0].numpy(), x[1].numpy()]), result.plot(kind="pair")):
        low, high = figure.axes[0].get_xlim()
        assert high - low < 200
