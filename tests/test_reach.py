"""Beyond the samples log-densities fall along every ray, whatever reads the samples."""

import math

import pytest
import torch

from disco_samplers import DiScoFormer, LangevinSampler
from disco_samplers.estimators import (
    IndependentEstimator,
    JohnsonTransform,
    NetworkEstimator,
    PartsEstimator,
    TailTransform,
    TransformedEstimator,
    WhitenedPartsEstimator,
    shipped_network,
)
from disco_samplers.estimators.reach import Reach


def rows(law, n, d, rng):
    x = torch.randn(n, d, dtype=torch.float64, generator=rng)
    if law == "two clusters":
        return x + 3 * torch.sign(x[:, :1])
    if law == "heavy":
        return x / (torch.randn(n, 3, dtype=torch.float64, generator=rng).square().mean(1, keepdim=True)).sqrt()
    return x.exp() if law == "skewed" else x


def rises(estimator, x, rays, rng, *, farthest=100.0):
    """Along how many random rays from the mean the log-density rises anywhere beyond the outermost sample."""
    whitening = estimator.core.whitening
    outermost = float(estimator.core.whiten(estimator.core.samples[None]).norm(dim=-1).max())
    u = torch.randn(rays, x.shape[1], dtype=torch.float64, generator=rng)
    u = u / u.norm(dim=1, keepdim=True)
    steps = outermost * torch.logspace(0, math.log10(farthest), 10, dtype=torch.float64)
    z = (steps[:, None, None] * u).flatten(0, 1)
    points = estimator.from_core(whitening.center[0] + torch.linalg.solve(whitening.matrix[0].mT, z.mT).mT)
    log_prob = estimator.log_prob(points).view(len(steps), rays)
    return int((log_prob.diff(dim=0) > 0).any(0).sum())


@pytest.mark.parametrize("law", ["two clusters", "heavy"])
@pytest.mark.parametrize(("weights", "d"), [("axes", 1), ("axes", 2), ("axes", 10), ("rotations", 5), ("velocities", 3)])
def test_falls_along_every_ray(rng, weights, d, law):
    x = rows(law, 80, d, rng)
    assert rises(NetworkEstimator(shipped_network(weights), x), x, 1000, rng) == 0


@pytest.mark.parametrize("weights", ["axes", "rotations"])
@pytest.mark.parametrize("d", [30, 100])
def test_falls_in_many_dimensions(rng, weights, d):
    x = rows("skewed", 80, d, rng)
    assert rises(NetworkEstimator(shipped_network(weights), x), x, 30, rng) == 0


@pytest.mark.parametrize("kind", ["radius", "columns", "johnson", "independent", "parts", "whitened parts"])
def test_falls_however_samples_are_read(rng, kind):
    network = shipped_network("axes")
    x = rows("two clusters" if "parts" in kind else "heavy", 150, 2, rng)
    if kind in ("radius", "columns", "johnson"):
        made = JohnsonTransform.fit(x) if kind == "johnson" else TailTransform.fit(x, 0.3, radial=kind == "radius")
        estimator = TransformedEstimator(NetworkEstimator(network, made(x)), made, validate_args=False)
    elif kind == "independent":
        estimator = IndependentEstimator(network, x)
    else:
        estimator = (PartsEstimator if kind == "parts" else WhitenedPartsEstimator)(network, x)
        assert len(estimator.parts) > 1
    assert rises(estimator, x, 1000, rng, farthest=10.0) == 0


@pytest.mark.slow
def test_an_adapted_estimate_falls(rng):
    x = rows("heavy", 120, 2, rng)
    adapted = DiScoFormer.from_pretrained().condition(x).adapt(seed=0)
    assert rises(adapted.estimator, x, 1000, rng, farthest=10.0) == 0


def test_an_outlier_is_never_more_usual_farther_out(rng):
    x = rows("normal", 200, 3, rng)
    u = torch.tensor([[0.6, 0.0, -0.8]], dtype=torch.float64)
    far = torch.tensor([[4.0], [8.0], [20.0], [100.0], [1e6]], dtype=torch.float64) * math.sqrt(3) * u
    assert (DiScoFormer.from_pretrained().condition(x).log_prob(far).diff() < 0).all()


def test_chains_come_home(rng):
    """A standard normal of two columns: the chance that one of four chains is beyond 4 at the end is 4 exp(-8), 1.3e-3."""
    x = rows("normal", 300, 2, rng)
    estimate = DiScoFormer.from_pretrained().condition(x)
    far = 12 * math.sqrt(2) * torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-0.7, -0.7]], dtype=torch.float64)
    result = LangevinSampler(estimate, method="mala").run(1, initial=far, num_warmup=150, seed=0, progress=False)
    assert result.draws[:, -1].norm(dim=-1).max() < 4


def law(z):
    """A normal law's log-density, and its score."""
    return -0.5 * z.square().sum(-1), -z


def cauchy(z):
    """The log-density of a tail like that of a Cauchy law, and its score."""
    k = z.shape[-1] + 1
    return -k * z.norm(dim=-1).log(), -k * z / z.square().sum(-1, keepdim=True)


@pytest.mark.parametrize(("tail", "each"), [(law, 1e6), (cauchy, 1e-6)])
def test_the_law_of_the_tail_goes_on_as_it_is(rng, tail, each):
    """A normal law of as many draws as tell of one, a power law of as few as tell of none."""
    reach = Reach.of(rows("normal", 400, 3, rng)[None], torch.full((1, 400), each))
    far = 50 * rows("normal", 40, 3, rng)[None]
    for found, true in zip(reach.continued(far, tail), tail(far), strict=True):
        torch.testing.assert_close(found, true, rtol=1e-4, atol=0)


def test_a_few_draws_do_not_tell_that_a_tail_is_light(rng):
    far = 5 * rows("normal", 40, 3, rng)[None]
    z = rows("normal", 400, 3, rng)[None]
    few, many = (Reach.of(z, torch.full((1, 400), each)).continued(far, law)[0] for each in (0.1, 10.0))
    beyond = far.norm(dim=-1) > Reach.of(z).radius[0, 0]
    assert (few >= many).all()
    assert (few > many)[beyond].all()


def test_nothing_changes_within(rng):
    z = rows("normal", 100, 2, rng)[None]
    for found, true in zip(Reach.of(z).continued(z, law), law(z), strict=True):
        torch.testing.assert_close(found, true, rtol=0, atol=0)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_score_is_the_slope_along_the_ray(rng, sign):
    reach = Reach.of(rows("normal", 300, 2, rng)[None])
    y = (20 * rows("normal", 10, 2, rng)[None]).requires_grad_()
    # Also of a log-density that rises at the edge: it falls beyond all the same.
    log_prob, score = reach.continued(y, lambda z: (0.5 * sign * z.square().sum(-1), sign * z))
    (gradient,) = torch.autograd.grad(log_prob.sum(), y)
    torch.testing.assert_close((y * score).sum(-1), (y * gradient).sum(-1))
    assert ((y * score).sum(-1) < 0).all()


def test_rows_that_do_not_count_have_no_reach(rng):
    z = rows("normal", 60, 2, rng)[None]
    counts = torch.ones(1, 60)
    counts[0, 40:] = 0
    far = torch.cat([z[:, :40], 1e3 * z[:, 40:]], 1)
    for found, true in zip(Reach.of(far, counts), Reach.of(z[:, :40]), strict=True):
        torch.testing.assert_close(found, true)
