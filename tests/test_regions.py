"""Regions of highest density and modes: against laws whose level sets are known, and what is refused."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import brentq

from disco_samplers import Draws
from disco_samplers.draws import Support
from disco_samplers.estimate import ManyModesWarning
from disco_samplers.estimate.ascent import find_modes
from disco_samplers.estimate.regions import density_levels, highest_density
from disco_samplers.reference import Gaussian, GaussianMixture, ReferenceDensity

DOUBLE = {"dtype": torch.float64}


class HalfNormal(ReferenceDensity):
    """The absolute value of a standard normal number."""

    dim, dtype, device = 1, torch.float64, torch.device("cpu")

    def evaluate(self, y):
        log_prob = math.log(2) + torch.distributions.Normal(0.0, 1.0).log_prob(y[..., 0])
        return torch.where(y[..., 0] >= 0, log_prob, -math.inf)

    def draw(self, num_samples, generator):
        return torch.randn(num_samples, 1, generator=generator, **DOUBLE).abs()


class Lopsided(ReferenceDensity):
    """A proposal that draws as the law, and whose weights one draw has all the same."""

    def __init__(self, law):
        self.law, self.dim, self.dtype, self.device = law, law.dim, law.dtype, law.device

    def evaluate(self, y):
        return self.law.evaluate(y) - 100 * torch.randn(len(y), generator=torch.Generator().manual_seed(0))

    def draw(self, num_samples, generator):
        return self.law.draw(num_samples, generator)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def known(law, *, support=None, proposal=None, count=2000):
    """What regions and modes want of an estimate, of a law that is known exactly."""
    samples = law.sample(count, generator=rng(1))
    supports = None if support is None else [Support.of(support)]
    return SimpleNamespace(
        samples=samples,
        counts=None,
        dim=law.dim,
        support=supports,
        log_prob=law.log_prob,
        log_prob_and_score=law.log_prob_and_score,
        sample=law.sample,
        proposal=lambda generator: proposal or law,
    )


def normal(d):
    return Gaussian(torch.arange(d, **DOUBLE), torch.diag(torch.linspace(0.5, 2.0, d, **DOUBLE) ** 2))


def two_modes(share=0.7, d=1):
    means = torch.stack([torch.full((d,), -2.0, **DOUBLE), torch.full((d,), 3.0, **DOUBLE)])
    return GaussianMixture(torch.tensor([share, 1 - share], **DOUBLE), means, 0.5 * torch.eye(d, **DOUBLE).expand(2, d, d))


@pytest.mark.parametrize("d", [1, 2, 6])
@pytest.mark.parametrize("mass", [0.3, 0.68, 0.95])
def test_level_of_a_normal_law(d, mass):
    """A share's standard error is that of 4096 draws; the bound is four of them."""
    law = normal(d)
    region = highest_density(known(law), mass, rng())
    top = float(law.log_prob(torch.arange(d, **DOUBLE)[None])[0])
    told = stats.chi2.cdf(2 * (top - region.level), d)
    assert abs(told - mass) < 4 * math.sqrt(mass * (1 - mass) / 4096)
    assert abs(region.fraction - mass) < 4 * math.sqrt(mass * (1 - mass) * (1 / 4096 + 1 / 2000))


def test_interval_of_a_normal_law():
    region = highest_density(known(Gaussian(torch.tensor([5.0], **DOUBLE), torch.tensor([[4.0]], **DOUBLE))), 0.9, rng())
    assert region.intervals.shape == (1, 2)
    exact = torch.tensor(stats.norm.interval(0.9, 5.0, 2.0), **DOUBLE)
    torch.testing.assert_close(region.intervals[0], exact, atol=0.1, rtol=0)  # four standard errors
    half = math.sqrt(2 * 4 * (float(stats.norm.logpdf(0, 0, 2)) - region.level))  # and of its own level exactly
    torch.testing.assert_close(region.intervals[0], torch.tensor([5 - half, 5 + half], **DOUBLE), atol=1e-6, rtol=0)


def test_two_intervals_of_two_modes():
    law = two_modes()
    region = highest_density(known(law), 0.9, rng())

    def above(x):
        return float(law.log_prob(torch.tensor([[x]], **DOUBLE))[0]) - region.level

    exact = [brentq(above, *cell) for cell in ((-6, -2), (-2, 0.5), (0.5, 3), (3, 7))]
    torch.testing.assert_close(region.intervals, torch.tensor(exact, **DOUBLE).view(2, 2), atol=1e-6, rtol=0)
    inside = region.contains(np.array([[-2.0], [0.5], [3.0]]))
    assert inside.tolist() == [True, False, True]
    assert isinstance(inside, np.ndarray)


def test_an_interval_begins_where_the_support_does():
    region = highest_density(known(HalfNormal(), support="positive"), 0.8, rng())
    assert region.intervals[0, 0] == 0
    assert region.intervals[0, 1] == pytest.approx(stats.halfnorm.ppf(0.8), abs=0.06)


def test_own_draws_where_the_proposal_will_not_do():
    law = normal(3)
    found = highest_density(known(law, proposal=Lopsided(law)), 0.9, rng())
    told = stats.chi2.cdf(2 * (float(law.log_prob(torch.arange(3, **DOUBLE)[None])[0]) - found.level), 3)
    assert abs(told - 0.9) < 4 * math.sqrt(0.09 / 2048)


def test_levels_of_several_masses_are_those_of_each():
    estimate = known(normal(2))
    assert density_levels(estimate, [0.68, 0.95], rng()) == [highest_density(estimate, m, rng()).level for m in (0.68, 0.95)]


@pytest.mark.parametrize("d", [1, 3])
def test_modes_of_two(d):
    """A share's standard error is that of 200 starts; the bound is four of them."""
    found = find_modes(known(two_modes(d=d)))
    assert len(found) == 2
    for mode, place, mass in zip(found, (-2.0, 3.0), (0.7, 0.3), strict=True):
        torch.testing.assert_close(mode.location, torch.full((d,), place, **DOUBLE), atol=1e-3, rtol=0)
        assert abs(mode.mass - mass) < 4 * math.sqrt(0.21 / 200)
    assert sum(mode.mass for mode in found) == 1
    assert found[0].log_prob - found[1].log_prob == pytest.approx(math.log(0.7 / 0.3), abs=1e-3)


def test_no_ascent_jumps_over_a_valley(disco):
    """Three bumps of widths .5, .3 and 1: each row climbs its own."""
    rng = torch.Generator().manual_seed(2)
    parts = [(-6, 0.5, 150), (0, 0.3, 100), (5, 1.0, 150)]
    x = torch.cat([where + width * torch.randn(n, 1, generator=rng) for where, width, n in parts])
    found = sorted((float(mode.location), mode.mass) for mode in disco.condition(x).modes())
    assert [mass for _, mass in found] == pytest.approx([0.375, 0.25, 0.375], abs=0.01)


def test_a_normal_law_has_one_mode():
    law = normal(4)
    (mode,) = find_modes(known(law, count=100))
    torch.testing.assert_close(mode.location, torch.arange(4, **DOUBLE), atol=1e-3, rtol=0)
    assert mode.mass == 1


def test_a_mode_at_the_edge():
    (mode,) = find_modes(known(HalfNormal(), support="positive"))
    assert 0 <= float(mode.location) < 1e-2


def test_modes_lie_inside_the_support(disco):
    """Where a density diverges at both of its ends, rounding does not lead the ascents out."""
    x = torch.from_numpy(stats.beta(0.5, 0.5).rvs((500, 1), random_state=0))
    modes = disco.condition(x, support=["unit"]).modes()
    assert sorted(round(float(mode.location)) for mode in modes) == [0, 1]
    assert all(0 <= float(mode.location) <= 1 for mode in modes)


def test_modes_of_angles(disco):
    """One of them at the seam, where a turn of 360 degrees ends; between -5 and 5 degrees by four standard errors."""
    laws = [(stats.vonmises(20), 600), (stats.vonmises(20, loc=2.5), 300)]
    angle = np.concatenate([law.rvs(n, random_state=0) for law, n in laws])
    modes = disco.condition(np.degrees(angle)[:, None] % 360, support=["circular:360"]).modes()
    (seam, other), masses = (float(mode.location[0]) for mode in modes), [mode.mass for mode in modes]
    assert min(seam, 360 - seam) < 5
    assert abs(other - np.degrees(2.5)) < 5
    assert masses == pytest.approx([2 / 3, 1 / 3], abs=0.04)


def test_angles_that_go_together_have_one_mode(disco):
    """About (0, 3), near the seam of the first: ascents from both sides of it end at the same place."""
    a = stats.vonmises(6).rvs(800, random_state=1)
    b = a + stats.vonmises(6, loc=3).rvs(800, random_state=2)
    (mode,) = disco.condition(np.stack([a, b], 1) % (2 * np.pi), support=["circular"] * 2).modes()
    away = (np.asarray(mode.location) - [0, 3] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(away).max() < 0.25


def test_modes_too_shallow_to_be_told_from_noise_are_one():
    law = GaussianMixture(
        torch.tensor([0.5, 0.5], **DOUBLE),
        torch.tensor([[-1.0], [1.0]], **DOUBLE),
        0.9**2 * torch.ones(2, 1, 1, **DOUBLE),
    )
    ends = law.log_prob(torch.tensor([[0.0], [0.75]], **DOUBLE))
    assert 0 < float(ends[1] - ends[0]) < 0.2  # there are two of them
    assert len(find_modes(known(law))) == 1


def test_of_an_estimate(disco):
    """With the shipped weights: a level's error is that of the estimate, a tenth of a nat or two."""
    x = two_modes().sample(1000, generator=rng())
    estimate = disco.condition(Draws(x.numpy(), names=["mu"]))
    region = estimate.highest_density(0.9, seed=0)
    assert region.intervals.shape == (2, 2)
    assert isinstance(region.intervals, np.ndarray)
    np.testing.assert_allclose(region.intervals, [[-3.3, -0.7], [1.9, 4.1]], atol=0.25)
    assert abs(region.fraction - 0.9) < 0.03
    modes = estimate.modes()
    np.testing.assert_allclose([mode.location[0] for mode in modes], [-2, 3], atol=0.25)
    np.testing.assert_allclose([mode.mass for mode in modes], [0.7, 0.3], atol=0.06)
    half = disco.condition(HalfNormal().sample(500, generator=rng()), support=["positive"]).highest_density(0.8, seed=0)
    assert half.intervals.shape == (1, 2)
    assert half.intervals[0, 0] == 0


@pytest.mark.parametrize("mass", [0, 1, -0.1, 68, math.nan])
def test_a_mass_that_is_none(mass, small):
    with pytest.raises(ValueError, match=r"mass must be in \(0, 1\)"):
        small.condition(torch.randn(20, 1)).highest_density(mass)


def test_what_is_refused(small):
    estimate, batch = small.condition(torch.randn(20, 2)), small.condition(torch.randn(3, 20, 2))
    with pytest.raises(TypeError, match="mass must be a number"):
        estimate.highest_density("0.9")
    with pytest.raises(ValueError, match="intervals are of one column, and the estimate has 2"):
        _ = estimate.highest_density(0.9).intervals
    for call in (lambda: batch.highest_density(0.9), batch.modes):
        with pytest.raises(ValueError, match="one data set"):
            call()


@pytest.mark.parametrize("mass", [0.5, 0.9])
def test_contours_of_a_normal_law(mass):
    """An ellipse of the squared distance -2 log(1 - mass); its standard error is that of 4096 draws, and the bound four."""
    law = normal(2)
    (line,) = highest_density(known(law), mass, rng()).contours
    distance = ((line - torch.arange(2, **DOUBLE)) / torch.tensor([0.5, 2.0], **DOUBLE)).square().sum(1)
    assert torch.equal(line[0], line[-1])
    error = 4 * math.sqrt(mass * (1 - mass) / 4096)
    assert (-2 * math.log(1 - mass - error) > distance).all()
    assert (-2 * math.log(1 - mass + error) < distance).all()


def test_contours_of_two_modes_and_at_an_edge(disco):
    assert len(highest_density(known(two_modes(d=2)), 0.9, rng()).contours) == 2
    x = torch.rand(500, 2, generator=rng(2), **DOUBLE)
    estimate = disco.condition((-x.log()).numpy(), support=["positive", "positive"])
    (line,) = estimate.highest_density(0.5, seed=0).contours
    assert isinstance(line, np.ndarray)
    assert line.min() == 0
    assert 1.2 < line.max() < 2.2  # the sum of both is below 1.68 in it
    with pytest.raises(ValueError, match="contours are of two columns, and the estimate has 1: see intervals"):
        _ = highest_density(known(normal(1)), 0.5, rng()).contours
    with pytest.raises(ValueError, match=r"has 3: take those of its marginal, as estimate.marginal\(\[0, 1\]\)"):
        _ = highest_density(known(normal(3)), 0.5, rng()).contours


def test_an_interval_of_angles_goes_over_the_seam(disco):
    """From 330 to 390 degrees, as 68 % of a normal law of deviation 30 do, within four standard errors of 800 rows."""
    angle = (30 * torch.randn(800, 1, generator=rng(3), **DOUBLE)) % 360
    estimate = disco.condition(angle, support=["circular:360"])
    (interval,) = estimate.highest_density(0.68, seed=0).intervals.tolist()
    assert interval == pytest.approx([330, 390], abs=8)


def test_modes_in_many_columns_are_doubted():
    """Also where they are there: the estimate cannot tell."""
    with pytest.warns(ManyModesWarning, match="2 modes in 13 columns"):
        assert len(find_modes(known(two_modes(d=13), count=60))) == 2
    assert len(find_modes(known(two_modes(d=12), count=60))) == 2
    assert len(find_modes(known(normal(13), count=60))) == 1
